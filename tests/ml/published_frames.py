"""Seeded frames with the shape of the published tables, for the tests of ``ml``. The truth is drawn here, so it is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from customer360.features import feature_list
from customer360.settings import NONE, AttributeType, Shop, slug

LAST_CUTOFF = datetime(2026, 4, 20, 16, 0)  # noqa: DTZ001 (published timestamps are plain UTC)


def small_shop(**changes: object) -> Shop:
    """A shop of three categories plus other, two channels and two dayparts."""
    values: dict[str, object] = {
        "name": "corner",
        "title": "Corner shop",
        "time_zone": "Europe/Amsterdam",
        "currency": "EUR",
        "slices_start": datetime(2026, 4, 30, 16, tzinfo=UTC),
        "live": False,
        "categories": ["computers", "fitness", "beauty"],
        "attributes": {
            "age": {"type": "integer", "description": "Age in years", "personal": True},
            "household_size": {"type": "integer", "description": "People in the household"},
            "is_head_of_household": {"type": "boolean", "description": "Head of the household"},
            "region": {"type": "text", "description": "Region"},
        },
        "windows_days": [3, 30],
        "channels": ["email", "call", "sms"],
        "dayparts": {
            "morning": {"from": 6, "to": 12},
            "afternoon": {"from": 12, "to": 18},
            "evening": {"from": 18, "to": 24},
        },
    }
    return Shop.model_validate({**values, **changes})


def feature_frame(shop: Shop, customers: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """One row a customer: customer_id, every feature of the shop, then the true ``label``, ``spend`` and ``is_churned``.

    A customer views and buys along a personal affinity; ``shift`` moves browsing (planted drift).
    """
    rng = np.random.default_rng(seed)
    categories = shop.category_ids
    affinity = rng.dirichlet(np.full(len(categories), 0.4), customers)
    rate = rng.gamma(1.5, 0.7, customers) * (1 + shift)
    values: dict[str, np.ndarray | list[object] | pd.Series] = {}
    for name, spec in shop.attributes.items():
        if spec.type in {AttributeType.INTEGER, AttributeType.DOUBLE}:
            values[name] = pd.Series(rng.integers(18, 80, customers)).astype("Int64")
        elif spec.type is AttributeType.BOOLEAN:
            values[name] = pd.Series(rng.random(customers) < 0.4).astype("boolean")
        else:
            drawn = pd.Series(rng.choice(["north", "south"], customers), dtype="object")
            values[name] = drawn.where(rng.random(customers) > 0.1, None)
    totals: dict[tuple[str, int], np.ndarray] = {}
    for index, category in enumerate(categories):
        before = {measure: np.zeros(customers) for measure in ("views", "orders")}
        previous = 0
        for days in shop.windows_days:
            step = days - previous
            previous = days
            before["views"] = before["views"] + rng.poisson(affinity[:, index] * rate * step)
            before["orders"] = before["orders"] + rng.poisson(affinity[:, index] * rate * step * 0.06)
            measured = {
                "views": before["views"],
                "dwell_seconds": before["views"] * rng.gamma(4, 10, customers),
                "orders": before["orders"],
                "spend": np.round(before["orders"] * rng.gamma(4, 8, customers), 2),
            }
            for measure, amount in measured.items():
                values[f"{measure}_{slug(category)}_{days}d"] = amount
                totals[measure, days] = totals.get((measure, days), np.zeros(customers)) + amount
    for days in shop.windows_days:
        for measure in ("views", "dwell_seconds", "orders", "spend"):
            values[f"{measure}_{days}d"] = totals[measure, days]
        values[f"returned_amount_{days}d"] = np.round(0.1 * totals["spend", days], 2)
        values[f"carts_{days}d"] = rng.binomial(totals["views", days].astype(int), 0.1)
        values[f"offers_shown_{days}d"] = rng.poisson(0.5 * days, customers)
        values[f"offers_clicked_{days}d"] = rng.poisson(0.01 * days, customers)
    longest = shop.windows_days[-1]
    values |= lifetime(shop, pd.DataFrame(values))
    bought = totals["orders", longest] > 0
    values["recency_days"] = np.where(bought, rng.integers(0, longest, customers), np.nan)
    values["frequency"] = totals["orders", longest]
    values["monetary"] = totals["spend", longest]
    values["return_share"] = np.where(bought, 0.1, np.nan)
    values["days_since_last_activity"] = rng.exponential(3, customers)
    spends = np.column_stack([values[f"spend_{slug(c)}_{longest}d"] for c in categories])
    drawn_last = np.array(categories, dtype=object)[spends.argmax(axis=1)]
    values["last_category_id"] = np.where(bought, drawn_last, NONE)
    buys = rng.random(customers) < 1 - np.exp(-0.4 * rate)
    picks = (affinity.cumsum(axis=1) > rng.random(customers)[:, None]).argmax(axis=1)
    frame = pd.DataFrame(values)[[feature.name for feature in feature_list(shop)]]
    frame.insert(0, "customer_id", [f"c{number:06d}" for number in range(customers)])
    frame["label"] = np.where(buys, np.array(categories, dtype=object)[picks], NONE)
    # What is spent follows what was spent before and household size; who comes seldom may not come again. By a seed of its own.
    later = np.random.default_rng(seed + 1_000_000)
    usual = np.asarray(values[f"spend_{longest}d"]) / np.maximum(totals["orders", longest], 1)
    size = next((np.asarray(values[name], np.float64) for name in ("household_size", "age") if name in values), 40.0)
    frame["spend"] = np.where(buys, np.round((size + 0.3 * usual) * later.gamma(6, 1 / 6, customers) + 0.01, 2), 0)
    frame["is_churned"] = pd.Series(~buys & (later.random(customers) < np.exp(-0.5 * rate))).astype("boolean")
    return frame


def lifetime(shop: Shop, values: pd.DataFrame) -> dict[str, pd.Series]:
    """Everything known: before the longest window as much was bought as in it, one line an order."""
    longest = shop.windows_days[-1]
    lines = 2 * values[f"orders_{longest}d"]
    found = {"lifetime_lines": lines, "lifetime_spend": 2 * values[f"spend_{longest}d"]}
    for name in map(slug, shop.category_ids):
        found[f"lifetime_lines_{name}"] = 2 * values[f"orders_{name}_{longest}d"]
        found[f"lifetime_spend_{name}"] = 2 * values[f"spend_{name}_{longest}d"]
        found[f"lifetime_share_{name}"] = found[f"lifetime_lines_{name}"] / lines.where(lines > 0)
    return found


def training_frame(shop: Shop, customers: int, cutoffs: int, seed: int = 7) -> pd.DataFrame:
    """``training_features`` as published: cutoff_no 1 is the latest, weekly cut-offs before it."""
    frames = []
    for number in range(1, cutoffs + 1):
        frame = feature_frame(shop, customers, seed * 1000 + number)
        frame.insert(0, "cutoff_no", number)
        frame.insert(1, "as_of", pd.Timestamp(LAST_CUTOFF - timedelta(days=7 * (number - 1))))
        frame.insert(frame.columns.get_loc("label") + 1, "weight", 1.0)
        if number <= (shop.churn_horizon_days - shop.label_horizon_days + 6) // 7:  # not known yet
            frame["is_churned"] = pd.Series([None] * customers, dtype="boolean")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def customer_frame(shop: Shop, customers: int, seed: int = 3, shift: float = 0.0) -> pd.DataFrame:
    """``customer_features`` as published."""
    frame = feature_frame(shop, customers, seed, shift).drop(columns=["label", "spend", "is_churned"])
    frame.insert(1, "as_of", pd.Timestamp(LAST_CUTOFF + timedelta(days=9)))
    return frame


def top_categories(scores: pd.DataFrame) -> list[str]:
    """The most probable category of each customer that is not "none", in the order of their ids."""
    real = scores[scores["category_id"] != "none"].sort_values(["customer_id", "rank"])
    return list(real.drop_duplicates("customer_id")["category_id"])
