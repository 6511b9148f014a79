"""What offers brought: counts with intervals by offer, policy version, segment and day, and what each policy is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.offers.conditions import SEPARATOR
from customer360.offers.policy import SEED, PolicyState
from customer360.offers.thompson import NAME
from customer360.snapshot import Snapshot
from ml.effects.lift import effective_size, rate_difference, wilson
from ml.effects.off_policy import FEWEST, Value, as_rate
from ml.effects.offer_policies import LIST, Judged, judge, learned, serves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS, VALUES = "offer_results", "offer_policy_values"
EXPLORATION, UNKNOWN = "exploration", "unknown"
COUNTS = f"""
    with customers as (
        select offer_id, policy_version, coalesce(segment, '{UNKNOWN}') as segment, basis, decision_date,
            coalesce(customer_id, visitor_id) as customer, count(*) as decisions,
            count(*) filter (where is_shown) as shown, count(*) filter (where is_clicked) as clicked,
            count(*) filter (where is_bought) as bought, sum(orders) as orders, sum(revenue) as revenue
        from offer_decisions group by all
    )
    select offer_id, policy_version, segment, basis, decision_date, sum(decisions) as decisions, sum(shown) as shown,
        sum(clicked) as clicked, sum(bought) as bought, sum(orders) as orders, sum(revenue) as revenue,
        count(*) as customers, sum(clicked * clicked) as squares, sum(clicked * decisions) as products,
        sum(decisions * decisions) as size_squares
    from customers group by all order by all
"""
LOG = """
    select coalesce(customer_id, visitor_id) as customer, coalesce(segment, '') as segment,
        coalesce(category_id, '') as category_id, candidates, propensities, list_offer_id, offer_id, propensity,
        cast(is_clicked as double) as reward
    from offer_decisions where list_offer_id is not null order by decided_at, decision_id
"""


@dataclass(frozen=True)
class Learned:
    """The rows of ``offer_results`` and ``offer_policy_values``, and the state of the policy that follows from them."""

    results: pd.DataFrame
    values: pd.DataFrame
    state: PolicyState


def offer_results(snapshot: Snapshot, before: PolicyState | None, now: datetime) -> Learned:
    """What the published decisions say. ``before``: the state of the policy until now; ``now``: aware, of the new state."""
    has_log = snapshot.has("offer_decisions")
    results = with_rates(snapshot.read(COUNTS)) if has_log else TABLES[RESULTS].empty()
    log = log_frame(snapshot.read(LOG)) if has_log else pd.DataFrame()
    if len(log) < FEWEST:
        verdict = f"not judged: {len(log):,} decisions were drawn and logged, {FEWEST} are needed"
        return Learned(results, TABLES[VALUES].empty(), _state(log, now, verdict, is_serving=False))
    found = judge(log, SEED)
    is_serving = serves(before is not None and before.thompson_serves, found.verdict)
    state = _state(log, now, found.verdict.words, is_serving)
    rows = _value_rows(found, is_serving, log, snapshot.as_of)
    return Learned(results, TABLES[VALUES].typed(rows), state)


def log_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``LOG`` as ``offer_policies`` takes them: lists as tuples."""
    candidates = {text: tuple(text.split(SEPARATOR)) for text in rows["candidates"].unique()}
    chances = {text: tuple(map(float, text.split(SEPARATOR))) for text in rows["propensities"].unique()}
    return rows.assign(candidates=rows["candidates"].map(candidates), propensities=rows["propensities"].map(chances))


def with_rates(counts: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``offer_results``: rates with Wilson's interval, and the lift over exploration with Newcombe's.

    Decisions about one customer may depend on each other: intervals are those of ``effective_decisions`` independent ones. The
    lift is that of decisions of a policy over those that drew the same offer at random: of the same policy version, segment
    and day. Customers who are among both make its interval too wide, not too narrow.
    """
    keys = ["offer_id", "policy_version", "segment", "decision_date"]
    sums = counts[["clicked", "decisions", "squares", "products", "size_squares", "customers"]].astype(float)
    rate = sums["clicked"] / sums["decisions"]
    between = sums["squares"] - 2 * rate * sums["products"] + rate**2 * sums["size_squares"]
    groups = zip(sums["clicked"], sums["decisions"], between, sums["size_squares"], sums["customers"], strict=True)
    counts = counts.assign(effective_decisions=[effective_size(*group) for group in groups])
    explored = counts[counts["basis"] == EXPLORATION].set_index(keys)[["decisions", "clicked", "effective_decisions"]]
    rows = counts.join(explored.add_prefix("explored_"), on=keys)
    return TABLES[RESULTS].typed([{**row, **_rates(row)} for row in rows.to_dict("records")])


def _rates(row: Mapping[Any, Any]) -> dict[str, float]:
    rate, effective = row["clicked"] / row["decisions"], row["effective_decisions"]
    low, high = wilson(rate * effective, effective)
    rates = {"click_rate": rate, "click_rate_low": low, "click_rate_high": high}
    if row["basis"] in {EXPLORATION, "holdout", "plan"} or pd.isna(row["explored_decisions"]):
        return rates
    explored = row["explored_effective_decisions"]
    explored_rate = row["explored_clicked"] / row["explored_decisions"]
    lift = rate_difference(rate * effective, effective, explored_rate * explored, explored)
    return rates | {"lift": lift.estimate, "lift_low": lift.low, "lift_high": lift.high}


def _state(log: pd.DataFrame, now: datetime, verdict: str, is_serving: bool) -> PolicyState:
    counts = tuple(learned(log)) if len(log) else ()
    return PolicyState(made_at=now, decisions=len(log), thompson_serves=is_serving, verdict=verdict, counts=counts)


def _value_rows(found: Judged, is_serving: bool, log: pd.DataFrame, as_of: datetime) -> Iterator[dict[str, Any]]:
    serving, sizes = NAME if is_serving else LIST, log["customer"].value_counts()
    independent = len(log) / float((sizes**2).sum())  # of each decision, where those of a customer all end alike
    for policy, judged in found.values.items():
        for estimator in ("ips", "snips", "doubly_robust"):
            value: Value | None = getattr(judged, estimator)
            gain = found.gains[policy] if estimator == "doubly_robust" and policy != LIST else None
            yield {
                "policy": policy,
                "estimator": estimator,
                **(_interval("value", as_rate(value, judged.overlap.effective * independent)) if value else {}),
                **(_interval("gain", gain) if gain else {}),
                "decisions": len(log),
                "customers": log["customer"].nunique(),
                "effective_decisions": judged.overlap.effective,
                "mean_weight": judged.overlap.mean_weight,
                "largest_weight": judged.overlap.largest_weight,
                "zero_propensity_share": found.untried[policy],
                "is_trusted": judged.overlap.is_enough,
                "overlap": judged.overlap.words,
                "is_serving": policy == serving,
                "as_of": naive(as_of),
            }


def _interval(name: str, value: Value) -> dict[str, float]:
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}


def draw_values(axes: Axes, values: pd.DataFrame) -> None:
    """The value of each policy by each estimator, with its 95% interval."""
    policies = list(values["policy"].unique())
    for place, (estimator, rows) in enumerate(values.dropna(subset=["value"]).groupby("estimator", sort=False)):
        at = [policies.index(policy) + (place - 1) * 0.18 for policy in rows["policy"]]
        errors = [(rows["value"] - rows["value_low"]).clip(lower=0), (rows["value_high"] - rows["value"]).clip(lower=0)]
        axes.errorbar(at, rows["value"], yerr=errors, fmt="o", capsize=3, label=str(estimator))
    axes.set_xticks(range(len(policies)), policies, rotation=20)
    axes.set_ylabel("clicks a decision, 95% interval")
    axes.set_ylim(bottom=0)
    axes.legend()
