"""What was known of a customer just before a contact: earlier contacts, their conversions and orders.

Training asks for the moments of past touches, planning for the moment of the plan; both call this one function. All of it lies
strictly before the moment: a touch is never part of its own features, and two touches at one instant do not see each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.responses.timeline import Floats, Moments, Timeline, as_moments, days_since, earlier, sums

ORDER_DAYS = 365
ORDER_COLUMNS = ("days_since_last_order", "orders_365d", "spend_365d")


def history_columns(channels: Sequence[str]) -> list[str]:
    """The columns of ``contact_history`` in their order."""
    return [
        *(f"contacts_{one}" for one in channels),
        "previous_channel",
        "days_since_last_contact",
        "conversions",
        *ORDER_COLUMNS,
    ]


def contact_history(
    points: pd.DataFrame, touches: pd.DataFrame, orders: pd.DataFrame | None, channels: Sequence[str]
) -> pd.DataFrame:
    """One row for each of ``points`` (customer_id, at in plain UTC), in their order and with their index.

    ``touches``: ``campaign_touch_history``; controls were not contacted and leave no trace. ``orders``: ``customer_orders``
    (customer_id, ordered_at, amount); None or empty where the shop has none, and then the features of orders are null.

    - contacts_<channel>: contacts through it so far; one whose channel is unknown counts for none.
    - previous_channel: of the last contact, null before the first and where unknown.
    - days_since_last_contact: null before the first.
    - conversions: known by then (``converted_at``); one without a time is never known.
    - days_since_last_order; orders_365d and spend_365d (net, in the shop's currency) of the 365 days before.
    """
    moments = as_moments(points["at"])
    made = contacts(touches).reset_index(drop=True)
    if "touch_id" in made:  # of two contacts at one instant, which one was the last must not depend on the order of rows
        made = made.sort_values("touch_id", ignore_index=True)
    columns = {**_contacts(points, moments, made, channels), "conversions": _conversions(points, moments, made)}
    columns |= _orders(points, moments, orders)
    previous = pd.Series(columns.pop("previous_channel"), index=points.index, dtype=object)
    return pd.DataFrame(columns, index=points.index).assign(previous_channel=previous)[history_columns(channels)]


def contacts(touches: pd.DataFrame) -> pd.DataFrame:
    """The touches that reached somebody: all but controls. What was published before there were any does not say, and did."""
    return touches[~touches["is_control"].astype("boolean").fillna(value=False)] if "is_control" in touches else touches


def _contacts(
    points: pd.DataFrame, moments: Moments, made: pd.DataFrame, channels: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    timeline = Timeline.of(made["customer_id"], made["touched_at"])
    start, end = timeline.before(points, moments)
    channel = made["channel"].astype(object).where(made["channel"].notna(), None).to_numpy(dtype=object)[timeline.order]
    previous = np.full(len(points), None, dtype=object)
    has = end > start
    previous[has] = channel[end[has] - 1]
    return {
        **{f"contacts_{name}": sums(channel == name, start, end) for name in channels},
        "previous_channel": previous,
        "days_since_last_contact": days_since(timeline, start, end, moments),
    }


def _conversions(points: pd.DataFrame, moments: Moments, made: pd.DataFrame) -> Floats:
    is_converted = made["is_converted"].astype("boolean").fillna(value=False).to_numpy(dtype=bool)
    won = made[is_converted & made["converted_at"].notna().to_numpy()]
    # No conversion is known before its contact, whatever the producer wrote: else a touch would tell its own outcome.
    known_at = won[["converted_at", "touched_at"]].max(axis=1)
    start, end = Timeline.of(won["customer_id"], known_at).before(points, moments)
    return np.asarray(end - start, dtype=np.float64)


def _orders(points: pd.DataFrame, moments: Moments, orders: pd.DataFrame | None) -> dict[str, npt.NDArray[Any]]:
    if orders is None or orders.empty:
        return {name: np.full(len(points), np.nan) for name in ORDER_COLUMNS}
    timeline = Timeline.of(orders["customer_id"], orders["ordered_at"])
    start, end = timeline.before(points, moments)
    _, year_ago = timeline.before(points, earlier(moments, ORDER_DAYS))
    amount = orders["amount"].to_numpy(dtype=np.float64)[timeline.order]
    return {
        "days_since_last_order": days_since(timeline, start, end, moments),
        "orders_365d": (end - year_ago).astype(np.float64),
        "spend_365d": sums(amount, year_ago, end),
    }
