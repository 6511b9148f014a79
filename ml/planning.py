"""The campaign plan: for every customer a decision, when and through which channel, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.settings import Shop
from ml.contact_rates import UNKNOWN, ContactRates, Integers, Touches, estimate_rates
from ml.frames import FrameError, require_columns
from ml.holdout import in_holdout
from ml.offer_choice import choose
from ml.purchase_times import time_shares
from ml.scoring import top_categories
from ml.shrinkage import Floats, expit

CONTACT, HOLDOUT, LEFT_OUT = "contact", "holdout", "left out"
DAYS_AHEAD = 7
# With fewer touches that say when, weekday and daypart are learned from purchases instead.
MIN_TIMED_TOUCHES = 100
# Customers x 63 combinations at a time: about 10 MB an array.
BATCH = 20_000
NO_SEGMENT = "Prospect"

# Column -> pandas type; the table is typed even when it has no rows. Dates are shop-local, at midnight: cast them to DATE.
PLAN_COLUMNS = {
    "plan_id": "str",
    "plan_date": "datetime64[us]",
    "customer_id": "str",
    "decision": "str",
    "reason": "str",
    "campaign_id": "str",
    "channel": "str",
    "contact_date": "datetime64[us]",
    "day_of_week": "Int64",
    "daypart": "str",
    "offer_id": "str",
    "expected_conversion": "Float64",
    "segment": "str",
    "model_version": "str",
}


@dataclass(frozen=True)
class PlanInputs:
    """The frames that a plan is made of. Timestamps are plain UTC; weekdays are 1 (Monday) to 7 and hours 0 to 23, shop-local.

    ``customers``: customer_id, segment, one row each. ``consents``: customer_id, channel, is_allowed (empty means no).
    ``touches``: customer_id, campaign_id, channel, day_of_week, local_hour, is_converted, touched_at; channel, day and hour empty
    where unknown. ``purchase_times``: customer_id, day_of_week, local_hour, orders. ``scores``: customer_scores. ``campaigns``
    and ``offers``: the reference tables.
    """

    customers: pd.DataFrame
    consents: pd.DataFrame
    touches: pd.DataFrame
    purchase_times: pd.DataFrame
    scores: pd.DataFrame
    campaigns: pd.DataFrame
    offers: pd.DataFrame


def plan_campaign(inputs: PlanInputs, shop: Shop, plan_date: date) -> pd.DataFrame:
    """``campaign_plan``: exactly one row a customer, in the order of customer_id.

    ``decision`` is "contact"; "holdout" (would be contacted, but is in the holdout; campaign, offer and expected conversion say what
    a contact would have been); or "left out" (no consent for any channel, or contacted too recently). A contact lies one to seven
    days after ``plan_date`` (shop-local), at least ``minimum_gap_days`` after the last touch, on a channel with consent.
    ``expected_conversion`` is the smoothed share of such touches that converted: an association, not the contact's effect.

    Raises ``FrameError`` on missing columns, repeated customers and channels that shop.yaml does not name.
    """
    _check(inputs, shop)
    customers = inputs.customers.sort_values("customer_id", ignore_index=True)
    index = pd.Index(customers["customer_id"].astype(str))
    segment_names = customers["segment"].astype("object").where(customers["segment"].notna(), NO_SEGMENT).astype(str)
    segment, names = pd.factorize(segment_names, sort=True)
    days = [plan_date + timedelta(days=ahead) for ahead in range(1, DAYS_AHEAD + 1)]
    touches = _index_touches(inputs.touches, index, segment, shop)
    shape = (len(shop.channels), 7, len(shop.dayparts))
    rates = estimate_rates(touches, len(index), len(names), shape)
    preferences = _stand_in(touches, inputs.purchase_times, index, segment, len(names), shop)
    earliest = _earliest_days(inputs.touches, index, shop, plan_date)
    allowed_channels = _allowed_channels(inputs.consents, index, shop)
    best = _best_combinations(rates, segment.astype(np.int64), preferences, allowed_channels, earliest, days)
    return _decide(inputs, shop, plan_date, customers.assign(segment=segment_names), best, allowed_channels, days, preferences)


@dataclass(frozen=True)
class _Best:
    """Each customer's best combination as places on the axes, its expected conversion, and whether any is possible."""

    channel: Integers
    day: Integers
    daypart: Integers
    expected: Floats
    is_possible: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Preferences:
    """Log shares of purchase times (customers x 7, customers x dayparts) where they stand in, else None."""

    day: Floats | None
    daypart: Floats | None


def _check(inputs: PlanInputs, shop: Shop) -> None:
    require_columns(inputs.customers, "customers", ["customer_id", "segment"])
    require_columns(inputs.consents, "consents", ["customer_id", "channel", "is_allowed"])
    touch_columns = ["customer_id", "campaign_id", "channel", "day_of_week", "local_hour", "is_converted", "touched_at"]
    require_columns(inputs.touches, "touches", touch_columns)
    require_columns(inputs.purchase_times, "purchase_times", ["customer_id", "day_of_week", "local_hour", "orders"])
    require_columns(inputs.scores, "customer_scores", ["customer_id", "category_id", "probability", "rank", "model_version"])
    repeated = inputs.customers["customer_id"][inputs.customers["customer_id"].duplicated()]
    if len(repeated):
        raise FrameError(f"customers names {repeated.iloc[0]} twice; a plan has one row a customer")
    unknown = sorted(set(inputs.touches["channel"].dropna().astype(str)) - set(shop.channels))
    if unknown:
        raise FrameError(
            f"touches.channel holds {unknown[:5]}, which shop.yaml does not name under channels; add or correct them"
        )


def _index_touches(touches: pd.DataFrame, index: pd.Index[str], segment: Integers, shop: Shop) -> Touches:
    """Touches of the plan's customers; others (erased, merged) say nothing about them and are dropped."""
    customer = index.get_indexer(touches["customer_id"].astype(str))
    known = customer >= 0
    rows = touches[known]
    channels = {channel: place for place, channel in enumerate(shop.channels)}
    channel = rows["channel"].map(channels).fillna(UNKNOWN).to_numpy(np.int64)
    day = rows["day_of_week"].astype("Float64").fillna(UNKNOWN + 1).to_numpy(np.int64) - 1
    daypart = _dayparts(rows["local_hour"], shop)
    if int((day != UNKNOWN).sum()) < MIN_TIMED_TOUCHES:
        day = np.full(len(rows), UNKNOWN, dtype=np.int64)
    if int((daypart != UNKNOWN).sum()) < MIN_TIMED_TOUCHES:
        daypart = np.full(len(rows), UNKNOWN, dtype=np.int64)
    places = customer[known].astype(np.int64)
    converted = rows["is_converted"].astype("boolean").fillna(False).to_numpy(np.float64)  # noqa: FBT003 (pandas' own signature)
    return Touches(places, segment[places].astype(np.int64), (channel, day, daypart), converted)


def _dayparts(hours: pd.Series[int], shop: Shop) -> Integers:
    place = np.full(25, UNKNOWN, dtype=np.int64)
    for number, daypart in enumerate(shop.dayparts.values()):
        place[daypart.start : daypart.end] = number
    return np.asarray(place[hours.astype("Float64").fillna(24).to_numpy(np.int64)], dtype=np.int64)


def _stand_in(
    touches: Touches, purchase_times: pd.DataFrame, index: pd.Index[str], segment: Integers, segments: int, shop: Shop
) -> _Preferences:
    customer = index.get_indexer(purchase_times["customer_id"].astype(str))
    rows = purchase_times[customer >= 0]
    customer = customer[customer >= 0]
    orders = rows["orders"].to_numpy(np.float64)
    result: list[Floats | None] = []
    places = (rows["day_of_week"].astype("Float64").fillna(0).to_numpy(np.int64) - 1, _dayparts(rows["local_hour"], shop))
    for values, known_by_touches, size in zip(places, touches.values[1:], (7, len(shop.dayparts)), strict=True):
        if (known_by_touches != UNKNOWN).any():
            result.append(None)
            continue
        known = values != UNKNOWN
        counts = np.bincount(customer[known] * size + values[known], weights=orders[known], minlength=len(index) * size)
        result.append(np.log(time_shares(counts.reshape(len(index), size), segment, segments)))
    return _Preferences(result[0], result[1])


def _earliest_days(touches: pd.DataFrame, index: pd.Index[str], shop: Shop, plan_date: date) -> Integers:
    """Days after ``plan_date`` from which each customer may be contacted again."""
    result = np.full(len(index), 1, dtype=np.int64)
    if touches.empty:
        return result
    last = touches.groupby(touches["customer_id"].astype(str))["touched_at"].max()
    local = pd.to_datetime(last).dt.tz_localize("UTC").dt.tz_convert(shop.zone).dt.tz_localize(None).dt.normalize()
    ahead = (local - pd.Timestamp(plan_date)).dt.days + shop.contact_rules.minimum_gap_days
    return np.maximum(result, ahead.reindex(index).fillna(1).to_numpy(np.int64))


def _allowed_channels(consents: pd.DataFrame, index: pd.Index[str], shop: Shop) -> npt.NDArray[np.bool_]:
    allowed = np.zeros((len(index), len(shop.channels)), dtype=bool)
    customer = index.get_indexer(consents["customer_id"].astype(str))
    yes = consents["is_allowed"].astype("boolean").fillna(False).to_numpy(bool)  # noqa: FBT003 (pandas' own signature)
    channel_ids = consents["channel"].astype(str).to_numpy()
    for place, channel in enumerate(shop.channels):
        named = (channel_ids == channel) & (customer >= 0)
        allowed[customer[named & yes], place] = True
        # Two answers for one channel: no wins.
        allowed[customer[named & ~yes], place] = False
    return allowed


def _best_combinations(
    rates: ContactRates,
    segment: Integers,
    preferences: _Preferences,
    allowed: npt.NDArray[np.bool_],
    earliest: Integers,
    days: list[date],
) -> _Best:
    weekdays = np.array([day.isoweekday() - 1 for day in days])
    ahead = np.arange(1, len(days) + 1)
    parts = []
    for start in range(0, len(segment), BATCH):
        rows = np.arange(start, min(start + BATCH, len(segment)))
        # Axes: days in the order of the calendar, channels and dayparts in the shop's; argmax takes the first of equals.
        log_odds = rates.log_odds(rows, segment[rows])[:, :, weekdays, :].transpose(0, 2, 1, 3)
        value = log_odds.copy()
        if preferences.day is not None:
            value += preferences.day[rows][:, weekdays][:, :, None, None]
        if preferences.daypart is not None:
            value += preferences.daypart[rows][:, None, None, :]
        possible = (ahead[None, :] >= earliest[rows, None])[:, :, None] & allowed[rows][:, None, :]
        value = np.where(possible[..., None], np.round(value, 9), -np.inf).reshape(len(rows), -1)
        flat = value.argmax(axis=1)
        day, channel, daypart = np.unravel_index(flat, log_odds.shape[1:])
        expected = expit(log_odds.reshape(len(rows), -1)[np.arange(len(rows)), flat])
        parts.append((channel, day, daypart, expected, possible.any(axis=(1, 2))))
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return _Best(none, none, none, none.astype(np.float64), none.astype(bool))
    channel, day, daypart, expected, is_possible = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Best(channel, day, daypart, expected, is_possible)


def _decide(
    inputs: PlanInputs,
    shop: Shop,
    plan_date: date,
    customers: pd.DataFrame,
    best: _Best,
    allowed: npt.NDArray[np.bool_],
    days: list[date],
    preferences: _Preferences,
) -> pd.DataFrame:
    ids = customers["customer_id"].astype(str)
    rules = shop.contact_rules
    held = in_holdout(ids, rules.holdout_salt, rules.holdout_share)
    decision = np.select([~best.is_possible, held], [LEFT_OUT, HOLDOUT], CONTACT).astype(object)
    top = top_categories(inputs.scores).set_index("customer_id")["category_id"].reindex(ids.to_numpy())
    category = [str(value) if isinstance(value, str) else None for value in top]
    chosen = [choose(inputs.campaigns, inputs.offers, shop.category_ids, day) for day in days]
    carried = [chosen[day].get(name, chosen[day][None]) for day, name in zip(best.day, category, strict=True)]
    is_contact, is_planned = decision == CONTACT, decision != LEFT_OUT
    dayparts = list(shop.dayparts)
    frame = pd.DataFrame(
        {
            "plan_id": f"plan-{plan_date.isoformat()}",
            "plan_date": pd.Timestamp(plan_date),
            "customer_id": ids,
            "decision": decision,
            "campaign_id": [choice.campaign_id for choice in carried],
            "channel": np.array(shop.channels, dtype=object)[best.channel],
            "contact_date": pd.to_datetime(np.array(days, dtype="datetime64[us]"))[best.day],
            "day_of_week": np.array([day.isoweekday() for day in days])[best.day],
            "daypart": np.array(dayparts, dtype=object)[best.daypart],
            "offer_id": [choice.offer_id for choice in carried],
            "expected_conversion": best.expected,
            "segment": customers["segment"].to_numpy(),
            "model_version": str(inputs.scores["model_version"].iloc[0]) if len(inputs.scores) else None,
        }
    )
    frame["reason"] = _reasons(frame, category, allowed, shop, preferences)
    for columns, kept in (
        (["channel", "contact_date", "day_of_week", "daypart"], is_contact),
        (["campaign_id", "offer_id", "expected_conversion"], is_planned),
    ):
        frame[columns] = frame[columns].where(kept[:, None])
    return frame[list(PLAN_COLUMNS)].astype(PLAN_COLUMNS)


def _reasons(
    frame: pd.DataFrame, category: list[str | None], allowed: npt.NDArray[np.bool_], shop: Shop, preferences: _Preferences
) -> list[str]:
    rules = shop.contact_rules
    borrowed = [name for name, used in (("day", preferences.day), ("daypart", preferences.daypart)) if used is not None]
    source = f"; {' and '.join(borrowed)} as the customer's own purchases" if borrowed else ""
    held = f"in the {rules.holdout_share:.0%} holdout, which is never contacted, to measure what contacts bring"
    texts = []
    columns = ["decision", "channel", "contact_date", "daypart", "expected_conversion", "segment", "offer_id"]
    for row, top, may in zip(frame[columns].itertuples(index=False), category, allowed.any(axis=1), strict=True):
        decision, channel, contact_date, daypart, expected, segment, offer_id = row
        if decision == LEFT_OUT:
            texts.append(
                f"contacted less than {rules.minimum_gap_days} days before every day of this plan"
                if may
                else "no consent for any channel"
            )
        elif decision == HOLDOUT:
            texts.append(held)
        else:
            likely = f"; likely to buy {top} next" if top else ""
            carries = f", offer {offer_id}" if top and isinstance(offer_id, str) else ""
            texts.append(
                f"{channel} on {contact_date:%A} {daypart}: {expected:.1%} expected to convert, segment {segment}"
                f"{source}{likely}{carries}"
            )
    return texts
