"""Another tool's figures beside ours, day by day, with what explains the difference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pandas as pd

from customer360.reconciliation.exports import DATE, Export
from customer360.reconciliation.own import CAUSES, POSSIBLE, Tool, line_counts, own_figures
from customer360.settings import Shop
from customer360.snapshot import Snapshot

DEFAULT_TOOLS = {"ga4": False, "books": True, "mail": True}  # kind -> whether its revenue is usually net of returns


@dataclass(frozen=True)
class Reconciliation:
    """The two sides of each day, and what explains their difference.

    ``days``: one row per day of the export and measure: ``date``, ``measure``, ``theirs``, ``ours``, ``difference``
    (theirs - ours), ``CAUSES`` (what each of them adds), ``unexplained`` (the difference less the causes) and ``POSSIBLE``
    (what may explain it, where the tool counts what came late or again otherwise). ``totals``: the same by measure, of the days
    that both have. ``lines``: ``line_counts`` of the export's days. ``notes``: what to know of both, in words.
    """

    days: pd.DataFrame
    totals: pd.DataFrame
    lines: pd.DataFrame
    notes: tuple[str, ...]


def usual_tool(kind: str, shop: Shop) -> Tool:
    """How a tool of the kind counts unless somebody knows better: by the shop's days, GA4 without returns."""
    return Tool(shop.time_zone, DEFAULT_TOOLS[kind])


def reconcile(snapshot: Snapshot, export: Export, tool: Tool) -> Reconciliation:
    """The export beside our figures of its days. Days on which we have no data have none of ours, and are in no total."""
    own = own_figures(snapshot, export.kind, tool)
    theirs = export.days.melt(id_vars=DATE, value_vars=export.measures, var_name="measure", value_name="theirs")
    days = compare(theirs, own)
    lines = line_counts(snapshot).reset_index()
    first, last = export.days[DATE].min(), export.days[DATE].max()
    notes = [*export.notes, *_coverage(days, own)]
    if export.kind == "ga4":
        notes.append("Robots that a converter left out of logs are not among ours; how many they were is not kept.")
    return Reconciliation(days, totals(days), lines[lines[DATE].between(first, last)].reset_index(drop=True), tuple(notes))


def compare(theirs: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """``Reconciliation.days`` of ``theirs`` (date, measure, theirs) and ``own_figures``.

    Between our first and our last day, a day without a row had no activity: 0.
    """
    days = theirs.merge(own, on=[DATE, "measure"], how="left")
    spans = own.groupby("measure")[DATE]
    first, last = days["measure"].map(spans.min()).fillna(date.max), days["measure"].map(spans.max()).fillna(date.min)
    inside = (days[DATE] >= first) & (days[DATE] <= last)
    figures = ["ours", *CAUSES, *POSSIBLE]
    days.loc[inside, figures] = days.loc[inside, figures].fillna(0)
    days["difference"] = days["theirs"] - days["ours"]
    days["unexplained"] = (days["difference"] - days[list(CAUSES)].sum(axis=1)).round(6)
    columns = [DATE, "measure", "theirs", "ours", "difference", *CAUSES, "unexplained", *POSSIBLE]
    return days[columns].sort_values(["measure", DATE], ignore_index=True)


def totals(days: pd.DataFrame) -> pd.DataFrame:
    """The sums by measure of the days that both sides have. People who came on several days count on each of them."""
    both = days.dropna(subset=["theirs", "ours"])
    return both.drop(columns=DATE).groupby("measure", as_index=False, sort=False).sum()


def _coverage(days: pd.DataFrame, own: pd.DataFrame) -> list[str]:
    unknown = sorted(set(days["measure"]) - set(own["measure"]))
    notes = [f"We keep no figures of {', '.join(unknown)} by day."] if unknown else []
    missing = sorted(set(days.loc[days["ours"].isna() & ~days["measure"].isin(unknown), DATE]))
    if missing:
        reach = f"ours reach from {own[DATE].min()} to {own[DATE].max()}"
        notes.append(f"We have no data of {len(missing)} of its days, from {missing[0]} to {missing[-1]}: {reach}.")
    return notes
