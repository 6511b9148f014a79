"""What a person reads of a draft before deciding on it: what it would do and may earn, and whether its holdout is large enough.

Beside it what more of a plan's limits would bring (the prices of the linear program), and how many contacts it makes by channel
and day.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from customer360.lake.publishing.tables import TABLES
from customer360.settings import Shop
from ml.arrays import Floats
from ml.bootstrap import LEVEL
from ml.effects.power import detectable_effect, holdout_needed
from ml.judging.plots import INK, count_grid, picture
from ml.planning.base_rates import RATE_DAYS, BaseRate
from ml.planning.campaign_planning import CampaignPlan
from ml.planning.predictions import INCREMENTAL, Predicted
from ml.planning.reasons import CONTACT, HOLDOUT, LEFT_OUT, REASONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SHOWN = 5
WITHOUT_EVIDENCE = "--without-evidence"
RESPONSES = "predicted response"  # value_basis of drafts that 0.1.0 planned
_CENT = 0.005


def brief(plan: CampaignPlan, rate: BaseRate | None, shop: Shop) -> dict[str, object]:
    """One row of ``campaign_briefs``.

    The interval of the profit holds the chance of who orders (each customer for themselves), the doubt about the mean effect
    (the prior's width where nothing was measured) and, where the model was judged, that all of its probabilities are off by the
    same share: its calibration error on the contacts that judged it. It does not include a change of the market after that.
    Without contacts there is none.

    ``rate``: share of all customers who order within a window, None where no order is known; then a plan that rests on the
    prior says of nobody what they would order anyway.
    """
    rows = plan.rows
    contacts, held = rows[rows["decision"] == CONTACT], rows[rows["decision"] == HOLDOUT]
    reasons = rows.loc[rows["decision"] == LEFT_OUT, "reason"].value_counts()
    value = plan.campaign.value_per_conversion
    conversion = contacts["expected_conversion"].to_numpy(dtype=np.float64)
    gross = contacts["expected_value"].to_numpy(dtype=np.float64)
    cost = float(contacts["cost"].astype("float64").sum())
    profit = float(gross.sum()) - cost
    half = _half_width(conversion, gross, value, plan.predicted) if len(contacts) else None
    is_known = rate is not None or plan.predicted.basis == INCREMENTAL
    effect = float(gross.mean() / value) if is_known and len(contacts) else None
    known = rate.share if rate else None
    before = known if effect is None else max(float((conversion - gross / value).mean()), 0.0)
    needed = holdout_needed(before, effect, len(contacts)) if before is not None and effect is not None else None
    return {
        "campaign_id": plan.campaign.campaign_id,
        "plan_version": plan.version,
        "plan_date": pd.Timestamp(plan.day),
        "title": plan.campaign.title,
        "audience": len(rows),
        "contacts": len(contacts),
        "holdouts": len(held),
        "explorers": int(contacts["is_exploration"].sum()),
        "left_out": int(reasons.sum()),
        "left_out_reasons": ", ".join(f"{name} {reasons[name]:,}" for name in REASONS if name in reasons.index),
        "cost": cost,
        "budget_left": None if math.isinf(plan.limits.budget) else plan.limits.budget - plan.limits.spent,
        "expected_conversions": float(conversion.sum()),
        "expected_value": float(gross.sum()),
        "expected_profit": profit,
        "profit_low": None if half is None else profit - half,
        "profit_high": None if half is None else profit + half,
        "value_basis": plan.predicted.basis if len(rows) else None,
        "base_rate": before,
        "base_rate_buyers": rate.buyers if rate else None,
        "base_rate_customers": rate.customers if rate else None,
        "expected_effect": effect,
        "detectable_effect": None if before is None else detectable_effect(before, len(contacts), len(held)),
        "holdout_needed": needed,
        "is_measurable": None if effect is None else needed is not None and len(held) >= needed,
        "gap": plan.gap,
        "method": plan.method,
        "shadow_prices": "; ".join(shadow_prices(plan, shop)),
    }


def briefs(plans: list[CampaignPlan], rate: BaseRate | None, shop: Shop) -> pd.DataFrame:
    """``campaign_briefs``: one row a campaign, in the order of planning."""
    rows = [brief(plan, rate, shop) for plan in plans]
    return TABLES["campaign_briefs"].typed(rows)


def brief_lines(row: pd.Series[Any]) -> list[str]:
    """What a draft may earn and measure, as plain sentences without its counts."""
    return to_markdown(row).replace("**", "").split("\n\n")[1:]


def to_markdown(row: pd.Series[Any]) -> str:
    """A brief as a few lines of Markdown."""
    is_measured = row["value_basis"] == INCREMENTAL
    if not row["contacts"] and row["value_basis"] != RESPONSES:
        return "\n\n".join([_counted(row), _nobody(row), _sentence(str(row["shadow_prices"]))])
    profit = (
        f"profit {row['expected_profit']:,.2f} (95% interval {row['profit_low']:,.2f} to {row['profit_high']:,.2f}) for a cost "
        f"of {row['cost']:,.2f}"
    )
    lines = [
        _counted(row),
        f"Expected {profit}; {row['value_basis']}." if is_measured else _supposed(row, profit),
        _measurable(row),
        f"Within {max(row['gap'], 0.0001):.2%} of the best plan there can be. {_sentence(str(row['shadow_prices']))}",
    ]
    return "\n\n".join(lines)


def shadow_prices(plan: CampaignPlan, shop: Shop) -> list[str]:
    """One sentence for each limit that binds, the most valuable capacities first; one that says so where none does.

    Each holds for one more, beside everything else as it is. Values are net of what the contact costs.
    """
    limits, sentences = plan.limits, []
    if limits.budget_price > _CENT and not math.isinf(limits.budget):
        sentences.append(f"one more {shop.currency} of budget brings {limits.budget_price:,.2f} {shop.currency}")
    ahead = shop.campaigns.days_ahead
    order = np.argsort(-limits.price, kind="stable")
    priced = [place for place in order if limits.price[place] > _CENT]
    for place in priced[:MOST_SHOWN]:
        channel, day = divmod(int(place), ahead)
        date = plan.day + timedelta(days=day + 1)
        sentences.append(
            f"one more {shop.channels[channel]} on {date:%A %d %B} brings {limits.price[place]:,.2f} {shop.currency}"
        )
    if len(priced) > MOST_SHOWN:
        sentences.append(f"{len(priced) - MOST_SHOWN} more channel days are full")
    return sentences or ["no limit binds: more budget or capacity would bring nothing"]


def contact_calendar(plan: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """Contacts of ``campaign_plan`` by channel (index, in the order of shop.yaml) and contact_date (columns)."""
    contacts = plan[plan["decision"] == CONTACT]
    counts = contacts.groupby(["channel", "contact_date"]).size().unstack(fill_value=0)
    table = counts.reindex(shop.channels, fill_value=0).sort_index(axis=1)
    table.columns = [f"{day:%a %d %b}" for day in table.columns]
    return table.rename_axis(index="channel", columns=None)


def heat_map(calendar: pd.DataFrame) -> bytes:
    """The calendar as a PNG heat map: darker cells have more contacts, and each cell shows its number."""
    shades = calendar.to_numpy(dtype=np.float64) / max(calendar.to_numpy().max(initial=1), 1)

    def draw(axes: Axes) -> None:
        axes.set_title("Contacts by channel and day", fontsize=10, color=INK, loc="left")
        count_grid(axes, calendar, shades)

    return picture(draw, (max(4.0, 0.9 * max(calendar.shape[1], 1) + 1.2), 0.55 * len(calendar) + 1.1))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _counted(row: pd.Series[Any]) -> str:
    reasons = f" ({row['left_out_reasons']})" if row["left_out"] else ""
    return (
        f"**{row['campaign_id']}**: {row['contacts']:,} of {row['audience']:,} contacted, {row['holdouts']:,} held out, "
        f"{row['left_out']:,} left out{reasons}."
    )


def _nobody(row: pd.Series[Any]) -> str:
    """Why a plan without contacts has none, and what to do."""
    if not row["audience"]:
        return "Nobody is in its audience, so there is nothing to expect or to measure. Widen the campaign's audience."
    if row["holdouts"]:
        share = "its holdout_share"
        if row["value_basis"] != INCREMENTAL:
            share = f"largest_holdout_share of prior_effect in shop.yaml (or {share}, where that is larger)"
        return (
            f"All {row['holdouts']:,} who would be contacted were drawn for the holdout, so it brings nothing and measures "
            f"nothing. Widen the campaign's audience, or lower {share}."
        )
    basis = "" if row["value_basis"] == INCREMENTAL else f" Values: {row['value_basis']}."
    return f"Nobody can be contacted, or is worth a contact; the reasons are above.{basis}"


def _supposed(row: pd.Series[Any], profit: str) -> str:
    """What a plan may bring of which the effect was not measured."""
    if row["value_basis"] == RESPONSES:
        return "An earlier version planned this draft and took all orders for effects of the contacts. Plan the day again."
    return (
        f"What a contact adds is unknown ({row['value_basis']}). If it is as documented campaigns suggest, {profit}: the "
        f"interval holds that doubt. {row['explorers']:,} contacts are drawn at random to learn from. To approve this draft "
        f"takes {WITHOUT_EVIDENCE}."
    )


def _measurable(row: pd.Series[Any]) -> str:
    if pd.isna(row["base_rate"]):
        return "How many would order without a contact is not known yet, so the size of the holdout cannot be judged."
    by_prior = "" if row["value_basis"] == INCREMENTAL else " (supposed, not measured)"
    counts = row.reindex(["base_rate_buyers", "base_rate_customers"])  # briefs that 0.1.0 made have none
    within = f"in the attribution windows that fit into {RATE_DAYS} days"
    who = "" if counts.isna().any() else f" ({counts.iloc[0]:,} of {counts.iloc[1]:,} customers did {within})"
    expected = f"{row['base_rate']:.2%} order anyway{who}, {row['expected_effect']:+.2%} are expected from contacts{by_prior}"
    detectable = "no effect" if pd.isna(row["detectable_effect"]) else f"effects from {row['detectable_effect']:.2%} on"
    if pd.isna(row["holdout_needed"]):
        return (
            f"{expected}. A holdout of {row['holdouts']:,} finds {detectable}; no holdout is large enough for so small a one."
        )
    enough = "large enough" if row["is_measurable"] else f"too small: {row['holdout_needed']:,} would be needed"
    return f"{expected}. A holdout of {row['holdouts']:,} finds {detectable} four times out of five: {enough}."


def _half_width(conversion: Floats, gross: Floats, value: float, predicted: Predicted) -> float:
    """Half of the 95% interval of the total value."""
    without = np.clip(conversion - gross / value, 0.0, 1.0)
    chance = value**2 * float((conversion * (1 - conversion) + without * (1 - without)).sum())
    errors = ((predicted.relative_error or 0.0) * predicted.effect_share, predicted.effect_error)
    off = math.hypot(*errors) * value * float(conversion.sum())
    return float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(chance + off**2)
