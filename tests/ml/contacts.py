"""Contacts as published, with a truth that is drawn here: who answers to which channel and day."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.responses.contact_rows import ResponseInputs

KNOWN_AT = datetime(2026, 4, 30)  # noqa: DTZ001 (published timestamps are plain UTC)
CAMPAIGNS = pd.DataFrame({"campaign_id": ["k1", "k2"], "kind": ["newsletter", None], "offer_id": ["f1", None]}, dtype=object)
OFFERS = pd.DataFrame({"offer_id": ["f1"], "category_id": ["fitness"]}, dtype=object)


def truth(age: np.ndarray, channel: np.ndarray, day: np.ndarray) -> np.ndarray:
    """P(convert): the young answer to sms, others to email, and everybody more on Mondays. ``day``: 1 = Monday."""
    liked = np.where(age < 40, channel == "sms", channel == "email")
    return np.where(liked, 0.35, 0.05) + np.where(day == 1, 0.25, 0.0)


def drawn_inputs(shop: Shop, customers: int = 300, touches: int = 3_000, days: int = 60, seed: int = 3) -> ResponseInputs:
    """Random channels, days and hours over ``days`` that end 4 days before ``KNOWN_AT``; times are UTC and local at once."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, customers)
    ids = np.array([f"c{number:04}" for number in range(customers)], dtype=object)
    who = rng.integers(0, customers, touches)
    dates = np.datetime64(KNOWN_AT - timedelta(days=4), "D") - rng.integers(0, days, touches)
    hour = rng.integers(6, 24, touches)
    at = pd.Series(
        dates.astype("datetime64[us]") + hour.astype("timedelta64[h]") + rng.integers(0, 60, touches).astype("timedelta64[m]")
    )
    channel = np.array(shop.channels, dtype=object)[rng.integers(0, len(shop.channels), touches)]
    day = at.dt.dayofweek.to_numpy() + 1
    converted = rng.random(touches) < truth(age[who], channel, day)
    frame = pd.DataFrame(
        {
            "touch_id": [f"t{number:05}" for number in range(touches)],
            "campaign_id": np.array(["k1", "k2"], dtype=object)[rng.integers(0, 2, touches)],
            "customer_id": ids[who],
            "channel": channel,
            "touched_at": at,
            "is_time_known": True,
            "local_date": at.dt.normalize(),
            "day_of_week": day,
            "local_hour": hour,
            "is_converted": converted,
            "converted_at": (at + pd.Timedelta(hours=5)).where(converted),
            "is_control": False,
            "is_randomised": rng.random(touches) < 0.5,
        }
    )
    attributes = pd.DataFrame(
        {
            "customer_id": ids,
            "valid_from": pd.Timestamp("1970-01-01"),
            "valid_to": pd.NaT,
            "age": age,
            "household_size": rng.integers(1, 6, customers),
            "is_head_of_household": rng.random(customers) < 0.5,
            "region": np.array(["north", "south", None], dtype=object)[rng.integers(0, 3, customers)],
        }
    )
    return ResponseInputs(frame, attributes, CAMPAIGNS, OFFERS, None)
