"""``campaign_variant_results``: the variants of a campaign's message, beside one another and beside the customers held out.

Every customer who was to be mailed counts for the variant that was drawn, whatever became of the mail (intention to treat).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from customer360.campaigns.ledger import CONTACT, HOLDOUT
from customer360.settings import MAIL_CHANNEL
from ml.bootstrap import Interval
from ml.effects.lift import rate_difference


def variant_rows(campaign: str, ours: pd.DataFrame, *, is_closed: bool) -> list[dict[str, object]]:
    """One row a variant of a campaign that has several; none of others. ``ours``: its rows of ``judged_contacts``.

    Those held out are the customers who would have been mailed. The first variant is what the others are compared with.
    """
    is_mailed = ours["channel"] == MAIL_CHANNEL
    contacts = ours[is_mailed & (ours["arm"] == CONTACT) & ours["variant"].notna()]
    held = ours[is_mailed & (ours["arm"] == HOLDOUT) & ours["is_judged"]]
    names = sorted(contacts["variant"].unique())
    return list(_rows(campaign, contacts, held, names, is_closed=is_closed)) if len(names) > 1 else []


def variant_lines(rows: pd.DataFrame) -> list[str]:
    """A line for people about each variant of a campaign that is judged. ``rows``: its rows of ``campaign_variant_results``."""
    lines = []
    for _, row in rows[rows["customers"] > 0].iterrows():
        line = f"variant {row['variant']}: {row['conversion_rate']:.2%} of {row['customers']:,} converted"
        if not pd.isna(row["difference"]):
            difference, low, high = (100 * float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
            line += f", {difference:+.2f} percentage points beside the first (95% interval {low:+.2f} to {high:+.2f})"
        lines.append(line)
    return lines


def _rows(
    campaign: str, contacts: pd.DataFrame, held: pd.DataFrame, names: list[str], *, is_closed: bool
) -> Iterator[dict[str, object]]:
    judged = contacts[contacts["is_judged"]]
    first = judged[judged["variant"] == names[0]]
    for name in names:
        rows = judged[judged["variant"] == name]
        other = rows.head(0) if name == names[0] else first
        yield {
            "campaign_id": campaign,
            "variant": name,
            "planned": int((contacts["variant"] == name).sum()),
            "customers": len(rows),
            "contacted": int(rows["is_sent"].sum()),
            "converted": int(rows["is_converted"].sum()),
            "conversion_rate": float(rows["is_converted"].mean()) if len(rows) else None,
            "revenue": float(rows["revenue"].sum()) if len(rows) else None,
            **_bounds("lift", _difference(rows, held)),
            **_bounds("difference", _difference(rows, other)),
            "is_closed": is_closed,
        }


def _difference(rows: pd.DataFrame, others: pd.DataFrame) -> Interval:
    return rate_difference(int(rows["is_converted"].sum()), len(rows), int(others["is_converted"].sum()), len(others))


def _bounds(name: str, interval: Interval) -> dict[str, float | None]:
    bounds = {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {column: None if math.isnan(value) else value for column, value in bounds.items()}
