"""What a person reads of a draft before deciding on it: what it would do and may earn, and whether its holdout is large enough.

Beside it what more of a plan's limits would bring (the prices of the linear program), and how many contacts it makes by channel
and day.
"""

from __future__ import annotations

import io
import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from customer360.lake.publishing.tables import TABLES
from customer360.settings import Shop
from ml.arrays import Floats
from ml.bootstrap import LEVEL
from ml.effects.power import detectable_effect, holdout_needed
from ml.judging.plots import INK
from ml.planning.campaign_planning import CampaignPlan
from ml.planning.predictions import INCREMENTAL
from ml.planning.reasons import CONTACT, HOLDOUT, LEFT_OUT, REASONS

RATE_DAYS = 28
MOST_SHOWN = 5
_CENT = 0.005


def base_rate(orders: pd.DataFrame, customers: int, as_of: datetime, shop: Shop) -> float | None:
    """The share of all customers who order within an attribution window, mean over the windows of the last 28 days.

    ``orders``: customer_id, ordered_at (plain UTC); ``as_of``: plain UTC. None without customers, or without an order then.
    """
    width = timedelta(days=shop.campaigns.attribution_days)
    windows = max(RATE_DAYS // shop.campaigns.attribution_days, 1)
    back = (pd.Timestamp(as_of) - orders["ordered_at"]).dt.total_seconds() / width.total_seconds()
    recent = orders.assign(window=np.floor(back))[(back >= 0) & (back < windows)]
    if not customers or recent.empty:
        return None
    buyers = recent.drop_duplicates(["customer_id", "window"])
    return len(buyers) / windows / customers


def brief(plan: CampaignPlan, rate: float | None, shop: Shop) -> dict[str, object]:
    """One row of ``campaign_briefs``.

    The interval of the profit holds the chance of who orders (each customer for themselves) and, where the model was judged,
    that all of its probabilities are off by the same share: its calibration error on the contacts that judged it. It does not
    include a change of the market after that.

    ``rate``: orders without contact; where a control group taught the model, what it says of the contacted counts instead.
    """
    rows = plan.rows
    contacts, held = rows[rows["decision"] == CONTACT], rows[rows["decision"] == HOLDOUT]
    reasons = rows.loc[rows["decision"] == LEFT_OUT, "reason"].value_counts()
    value = plan.campaign.value_per_conversion
    conversion = contacts["expected_conversion"].to_numpy(dtype=np.float64)
    gross = contacts["expected_value"].to_numpy(dtype=np.float64)
    cost = float(contacts["cost"].astype("float64").sum())
    profit = float(gross.sum()) - cost
    half = _half_width(conversion, gross, value, plan.relative_error)
    is_effect = bool((rows["value_basis"] == INCREMENTAL).all())
    before = _before(conversion, gross, value, rate, is_effect=is_effect)
    effect = float(conversion.mean()) - before if before is not None and len(contacts) else None
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
        "profit_low": profit - half,
        "profit_high": profit + half,
        "value_basis": rows["value_basis"].iloc[0] if len(rows) else None,
        "base_rate": before,
        "expected_effect": effect,
        "detectable_effect": None if before is None else detectable_effect(before, len(contacts), len(held)),
        "holdout_needed": needed,
        "is_measurable": None if needed is None else len(held) >= needed,
        "gap": plan.gap,
        "method": plan.method,
        "shadow_prices": "; ".join(shadow_prices(plan, shop)),
    }


def briefs(plans: list[CampaignPlan], rate: float | None, shop: Shop) -> pd.DataFrame:
    """``campaign_briefs``: one row a campaign, in the order of planning."""
    rows = [brief(plan, rate, shop) for plan in plans]
    return TABLES["campaign_briefs"].typed(rows)


def to_markdown(row: pd.Series[Any]) -> str:
    """A brief as a few lines of Markdown."""
    lines = [
        f"**{row['campaign_id']}**: {row['contacts']:,} of {row['audience']:,} contacted, {row['holdouts']:,} held out, "
        f"{row['left_out']:,} left out ({row['left_out_reasons'] or 'nobody'}).",
        f"Expected profit {row['expected_profit']:,.2f} (95% interval {row['profit_low']:,.2f} to "
        f"{row['profit_high']:,.2f}) for a cost of {row['cost']:,.2f}; {row['value_basis']}.",
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
    figure = Figure(
        figsize=(max(4.0, 0.9 * max(calendar.shape[1], 1) + 1.2), 0.55 * len(calendar) + 1.1), dpi=110, layout="constrained"
    )
    axes = figure.add_subplot()
    axes.set_title("Contacts by channel and day", fontsize=10, color=INK, loc="left")
    axes.set_yticks(range(len(calendar)), list(calendar.index), fontsize=8, color=INK)
    axes.set_xticks(range(calendar.shape[1]), list(calendar.columns), fontsize=8, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if calendar.size:
        most = max(int(calendar.to_numpy().max()), 1)
        axes.imshow(calendar.to_numpy(dtype=float), cmap="Blues", vmin=0, vmax=most, aspect="auto")
        for row, counts in enumerate(calendar.to_numpy(dtype=np.int64)):
            for column, count in enumerate(counts):
                axes.text(
                    column,
                    row,
                    f"{count:,}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if count > 0.6 * most else INK,
                )
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _measurable(row: pd.Series[Any]) -> str:
    if pd.isna(row["base_rate"]):
        return "How many would order without a contact is not known yet, so the size of the holdout cannot be judged."
    detectable = "no effect" if pd.isna(row["detectable_effect"]) else f"effects from {row['detectable_effect']:.2%} on"
    if pd.isna(row["holdout_needed"]):
        return f"{row['base_rate']:.2%} order anyway; the holdout finds {detectable}, and none of the size expected can be."
    enough = "large enough" if row["is_measurable"] else f"too small: {row['holdout_needed']:,} would be needed"
    return (
        f"{row['base_rate']:.2%} order anyway, {row['expected_effect']:+.2%} are expected from contacts. A holdout of "
        f"{row['holdouts']:,} finds {detectable} four times out of five: {enough}."
    )


def _before(conversion: Floats, gross: Floats, value: float, rate: float | None, *, is_effect: bool) -> float | None:
    """The mean probability of an order without the contact."""
    if is_effect and len(conversion):
        return max(float((conversion - gross / value).mean()), 0.0)
    return rate


def _half_width(conversion: Floats, gross: Floats, value: float, relative_error: float | None) -> float:
    """Half of the 95% interval of the total value."""
    without = np.clip(conversion - gross / value, 0.0, 1.0)
    chance = value**2 * float((conversion * (1 - conversion) + without * (1 - without)).sum())
    off = (relative_error or 0.0) * value * float(conversion.sum())
    return float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt(chance + off**2)
