"""Credit of channels for orders: ``channel_attribution``, from the published ``conversion_paths``.

Credit is a way to divide what was sold among the sessions before it. It says nothing of what would have been sold without a
channel: for that hold customers out, as campaigns do (``results``).

A channel is a source with its medium and campaign. Each model divides orders and revenue of a period exactly: shares are
added up as fractions and rounded once, by largest remainder, so that a model's rows sum to what was sold, to the cent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import numpy as np
import pandas as pd

from customer360.lake.publishing.tables import TABLES
from customer360.snapshot import Snapshot

TABLE, PATHS = "channel_attribution", "conversion_paths"
FIRST_TOUCH, LAST_TOUCH, LINEAR, POSITION, MARKOV = MODELS = ("first touch", "last touch", "linear", "position", "markov")
NO_VISIT, OTHER, NOT_SET = "(no visit)", "(other)", "(not set)"
PARTS_OF_AN_ORDER = 10_000  # orders are credited in ten-thousandths, revenue in cents
CHANNELS = 100  # of a period, those with most sessions; more would make a chain of single sessions
LAST_DAYS = 30
PATH_DAYS = 365  # path_days() of dbt_project/macros/sessions.sql
UNITS = ("orders", "cents")


@dataclass(frozen=True)
class Credit:
    """``units``: channel x ``UNITS``, whole numbers of ten-thousandths and cents. ``removal_effects``: channel to 0 to 1."""

    units: pd.DataFrame
    removal_effects: pd.Series[float]


@dataclass(frozen=True)
class Period:
    """Shop-local days, and the rows of ``conversion_paths`` that are dated in it."""

    name: str
    starts_on: pd.Timestamp
    is_complete: bool
    paths: pd.DataFrame


def periods_of(paths: pd.DataFrame, today: date) -> list[Period]:
    """Each month with a path, and the 30 days before ``today``, the shop-local day of as_of.

    A month is complete when it is over and the paths, which go back ``PATH_DAYS``, hold all of it.
    """
    now, days = pd.Timestamp(today), pd.to_datetime(paths["local_date"])
    oldest, first = now - pd.Timedelta(days=PATH_DAYS), now - pd.Timedelta(days=LAST_DAYS)
    found = [
        Period("month", month.start_time, oldest < month.start_time and month.end_time < now, chosen)
        for month, chosen in paths.groupby(days.dt.to_period("M"))
    ]
    recent = paths[(days >= first) & (days < now)]
    return [*found, Period(f"last {LAST_DAYS} whole days", first, True, recent)] if len(recent) else found


def attribution(snapshot: Snapshot) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the published table, none before the first night, and ``unequal_sums``."""
    if not snapshot.has(PATHS):
        return TABLES[TABLE].empty(), []
    paths = snapshot.read(f"from {PATHS} order by local_date, path")
    periods = periods_of(paths, snapshot.as_of.astimezone(snapshot.shop.zone).date())
    rows = attributed(periods)
    return rows, unequal_sums(periods, rows)


def attributed(periods: Sequence[Period]) -> pd.DataFrame:
    """``channel_attribution`` of these periods, in the order of their models."""
    rows = [TABLES[TABLE].empty()]
    for period in periods:
        for model, credit in credits_of(period.paths).items():
            found = credit.units.rename_axis("channel").reset_index()
            names = found["channel"].map(_names)
            columns = {
                "period": period.name,
                "starts_on": period.starts_on,
                "model": model,
                **{name: names.str[number] for number, name in enumerate(("utm_source", "utm_medium", "utm_campaign"))},
                "orders": found["orders"] / PARTS_OF_AN_ORDER,
                "revenue": found["cents"] / 100,
                "removal_effect": found["channel"].map(credit.removal_effects) if model == MARKOV else None,
                "is_complete": period.is_complete,
                "as_of": period.paths["as_of"].iloc[0],
            }
            rows.append(TABLES[TABLE].typed(columns))
    return pd.concat(rows, ignore_index=True)


def unequal_sums(periods: Sequence[Period], rows: pd.DataFrame) -> list[str]:
    """Which models of which periods do not credit exactly the orders and the revenue of the paths."""
    units = {"orders": (rows["orders"] * PARTS_OF_AN_ORDER).round(), "cents": (rows["revenue"] * 100).round()}
    sums = rows.assign(**units).groupby(["period", "starts_on", "model"])[list(UNITS)].sum()
    problems = []
    for period in periods:
        sold = [period.paths["orders"].sum() * PARTS_OF_AN_ORDER, _cents(period.paths["revenue"]).sum()]
        for model in MODELS:
            credited = sums.reindex([(period.name, period.starts_on, model)]).iloc[0].tolist()
            if credited != sold:
                problems.append(f"{period.name} from {period.starts_on:%Y-%m-%d}, {model}: {credited} credited of {sold}")
    return problems


def credits_of(paths: pd.DataFrame) -> dict[str, Credit]:
    """The credit by model of rows of ``conversion_paths``, of any days."""
    sold = paths.assign(orders_of=paths["orders"], cents=_cents(paths["revenue"]), orders=paths["orders"] * PARTS_OF_AN_ORDER)
    sold = sold.groupby("path")[[*UNITS, "orders_of", "journeys_without_order"]].sum()
    seen, unseen = sold.drop(index=NO_VISIT, errors="ignore"), sold.loc[sold.index == NO_VISIT, list(UNITS)]
    if seen.empty:  # a shop without clicks
        return dict.fromkeys(MODELS, Credit(unseen, pd.Series(dtype=float)))
    touches = _touches(seen)
    units = {model: _units(_shares(touches, model)) for model in MODELS[:-1]}
    effects = removal_effects(*transitions(seen, touches))
    shares = {str(channel): Fraction(effect) for channel, effect in effects.items() if effect > 0}
    if shares:
        total = sum(shares.values())
        of_all = {unit: {name: share * int(seen[unit].sum()) / total for name, share in shares.items()} for unit in UNITS}
        units[MARKOV] = _units(of_all).reindex(effects.index, fill_value=0)
    else:  # nothing was ordered: what there is are returns
        units[MARKOV] = units[LAST_TOUCH]
    return {model: Credit(pd.concat([found, unseen]), effects) for model, found in units.items()}


def apportioned(exact: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole numbers with the sum of the fractions, which must be whole, by largest remainder (Hamilton); ties by name."""
    floors = {name: value.numerator // value.denominator for name, value in exact.items()}
    missing = sum(exact.values(), Fraction(0)) - sum(floors.values())
    by_remainder = sorted(exact, key=lambda name: (floors[name] - exact[name], name))
    for name in by_remainder[: int(missing)]:
        floors[name] += 1
    return floors


def transitions(sold: pd.DataFrame, touches: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """The order-1 chain of journeys: channels; how often each follows each, begins a journey, and ends one with an order.

    ``sold``: paths with ``orders_of`` and ``journeys_without_order``, the times that each was taken; ``touches``: their steps.
    Sizes: channels x channels, channels, channels x 2 (with an order, without one).
    """
    channels = sorted(touches["channel"].unique())
    place = {channel: number for number, channel in enumerate(channels)}
    state = touches["channel"].map(place).to_numpy()
    path = touches["path_no"].to_numpy()
    ends = sold[["orders_of", "journeys_without_order"]].to_numpy(dtype=float)
    times = ends.sum(axis=1)
    is_first, is_last = touches["position"].to_numpy() == 1, touches["position"].to_numpy() == touches["length"].to_numpy()
    follows, begins, absorbed = np.zeros((len(channels),) * 2), np.zeros(len(channels)), np.zeros((len(channels), 2))
    np.add.at(begins, state[is_first], times[path[is_first]])
    np.add.at(absorbed, state[is_last], ends[path[is_last]])
    np.add.at(follows, (state[:-1][~is_last[:-1]], state[1:][~is_first[1:]]), times[path[:-1][~is_last[:-1]]])
    return channels, follows, begins, absorbed


def removal_effects(channels: Sequence[str], follows: np.ndarray, begins: np.ndarray, absorbed: np.ndarray) -> pd.Series[float]:
    """The share of orders that the chain loses without each channel, 0 to 1: who comes to it then leaves without an order.

    Anderl, Becker, von Wangenheim and Schumann (2016), Mapping the customer journey, IJRM 33(3). Exact: with the expected
    visits N = (I - Q)^-1 a journey ever comes to c with probability (b N)[c] / N[c, c], and orders from there with (N r)[c].
    """
    leaves = follows.sum(axis=1) + absorbed.sum(axis=1)
    is_taken = leaves > 0  # a channel of returns alone begins no journey and ends none
    effects = pd.Series(0.0, index=list(channels))
    if not absorbed[:, 0].sum():
        return effects
    step = follows[np.ix_(is_taken, is_taken)] / leaves[is_taken, None]
    visits = np.linalg.solve(np.eye(len(step)) - step, np.eye(len(step)))
    orders_from = visits @ (absorbed[is_taken, 0] / leaves[is_taken])
    begin = begins[is_taken] / begins.sum()
    comes_to = (begin @ visits) / np.diag(visits)
    effects[is_taken] = np.clip(comes_to * orders_from / (begin @ orders_from), 0, 1)
    return effects


def _units(exact: Mapping[str, Mapping[str, Fraction]]) -> pd.DataFrame:
    return pd.DataFrame({unit: apportioned(shares) for unit, shares in exact.items()}, columns=list(UNITS)).astype("int64")


def _shares(touches: pd.DataFrame, model: str) -> dict[str, dict[str, Fraction]]:
    """Credit by a touch's place in its path: whole sums of each denominator first, which is fast, then fractions."""
    weight, whole = _weights(touches, model)
    parts = touches[list(UNITS)].mul(weight, axis=0).groupby([touches["channel"], whole]).sum()
    found: dict[str, dict[str, Fraction]] = {unit: dict.fromkeys(touches["channel"].unique(), Fraction(0)) for unit in UNITS}
    for unit in UNITS:
        for (channel, denominator), value in zip(parts.index.tolist(), parts[unit].tolist(), strict=True):
            found[unit][channel] += Fraction(int(value), int(denominator))
    return found


def _weights(touches: pd.DataFrame, model: str) -> tuple[pd.Series[int], pd.Series[int]]:
    """Numerator and denominator of each touch's share of its path."""
    length, position = touches["length"], touches["position"]
    one = pd.Series(1, index=touches.index)
    if model == LINEAR:
        return one, length
    if model == POSITION:  # 40% to the first and to the last, 20% to those between; halves of two
        between = (length - 2).clip(lower=1)
        ends = (position == 1) | (position == length)
        return (2 * between).where(ends, one).where(length > 2, one), (5 * between).where(length > 2, length)
    is_credited = position == (one if model == FIRST_TOUCH else length)
    return is_credited.astype("int64"), one


def _touches(seen: pd.DataFrame) -> pd.DataFrame:
    """The steps of every path in order: path_no, channel, position, length, and the path's ``UNITS``."""
    steps = seen.assign(channel=seen.index.str.split(" > ", regex=False), path_no=np.arange(len(seen))).explode("channel")
    by_path = steps.groupby("path_no")["channel"]
    most = steps["channel"].value_counts().sort_index().sort_values(ascending=False, kind="stable")[:CHANNELS]
    return steps.assign(
        channel=steps["channel"].where(steps["channel"].isin(most.index), OTHER),
        position=by_path.cumcount() + 1,
        length=by_path.transform("size"),
    ).reset_index(drop=True)


def _names(channel: str) -> tuple[str, str, str]:
    if channel in {NO_VISIT, OTHER}:
        return channel, channel, channel
    source, medium, *campaign = channel.split(" / ")
    return source, medium, campaign[0] if campaign else NOT_SET


def _cents(revenue: pd.Series[float]) -> pd.Series[int]:
    return (revenue.astype(float) * 100).round().astype("int64")
