"""``customer360 campaigns results``."""

from __future__ import annotations

import argparse
import math

import pandas as pd

from customer360.campaigns.ledger import CONTACT
from customer360.decisions import DecisionRefused
from customer360.snapshot import ORDERS, open_snapshot
from ml.effects.results import published_results
from orchestration.console import WELL, say, settings_of

EXPECTED = (DecisionRefused,)
MEASURES = {"revenue_lift": "revenue a customer", "cuped_revenue_lift": "the same, by spend before", "profit": "profit"}

DECILE = ["decile", "customers", "predicted", "realised"]


def run(options: argparse.Namespace) -> int:
    """What each campaign brought, from what is published now; nothing is recorded."""
    settings = settings_of(options)
    try:
        with open_snapshot(settings) as snapshot:
            found = published_results(snapshot) if snapshot.has(ORDERS) else None
    except FileNotFoundError:
        found = None
    if found is None:
        raise DecisionRefused("no orders are published yet; run warehouse_job first")
    campaigns = found.campaigns
    if options.campaign:
        campaigns = campaigns[campaigns["campaign_id"] == options.campaign]
    if campaigns.empty:
        say(f"{options.campaign} has no approved plan yet." if options.campaign else "No plan is approved yet.")
    for name, rows in campaigns.groupby("campaign_id", sort=False):
        say(f"{name}: {rows['verdict'].iloc[0]}", *_measures(rows[rows["arm"] == CONTACT].iloc[0], settings.shop.currency))
        deciles = found.deciles[found.deciles["campaign_id"] == name]
        for decile, customers, predicted, realised in deciles[DECILE].itertuples(index=False):
            say(f"  decile {decile}: {predicted:.2%} expected, {realised:.2%} of {customers:,} converted")
    return WELL


def _measures(row: pd.Series, currency: str) -> list[str]:
    judged = f"{row['customers']:,} judged and {row['planned']:,} planned"
    lines = [f"  {row['contacted']:,} contacted of {judged}, for {row['cost']:,.2f} {currency}"]
    for name, words in MEASURES.items():
        bounds = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
        if not any(pd.isna(value) or math.isinf(value) for value in bounds):
            lines.append(f"  {words}: {bounds[0]:+,.2f} {currency} (95% interval {bounds[1]:+,.2f} to {bounds[2]:+,.2f})")
    return lines
