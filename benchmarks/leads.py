"""The leads of Microsoft's published Campaign Optimization generator, written afresh, with their exact posterior.

There the outcome of a lead's touch in campaign 1 is drawn first (10% convert), then from tables that depend on it the lead's
credit, children, education and gender and the touch's channel, day and daypart. So the best possible prediction is known: it is
Bayes' rule over the same tables. Every lead also has two to four earlier touches of other campaigns that did not convert.

The outcome comes before the action: what the posterior gives for another action is no causal effect. The synthetic shop
(``response``) uses the same tables the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.settings import PERSONALISATION, Attribute, Shop
from customer360.simulation.arrays import Bools, Floats, Ints, categorical, generator, utc_of
from customer360.simulation.response import (
    CHANNEL_SHARES_CONVERTED,
    CHANNEL_SHARES_UNCONVERTED,
    CHANNELS,
    DAY_SHARES_CONVERTED,
    DAY_SHARES_UNCONVERTED,
    DAYPART_SHARES_CONVERTED,
    DAYPART_SHARES_UNCONVERTED,
    DAYPARTS,
    evidence_of_actions,
)
from customer360.simulation.synthetic_shop import local_day
from customer360.simulation.touches import moments_in, touch_history

CONVERTS = 0.10
JUDGED_CAMPAIGN = "k1"  # the campaign whose touches have outcomes; the latest one of every lead
EARLIER_CAMPAIGNS = ("k2", "k3", "k4", "k5")
MOST_EARLIER = 4  # touches of these, and at least 2
WEEKS = 8  # that campaign 1 lasts; the others lie in as many weeks before it

# Shares of each level among those who did not convert and those who did.
OUTCOME_ATTRIBUTES: dict[str, tuple[tuple[str, ...], Floats]] = {
    "credit_band": (("under_350", "350_700", "over_700"), np.array([[0.5, 0.2, 0.3], [0.2, 0.6, 0.2]])),
    "children": (("0", "1", "2", "3"), np.array([[0.4, 0.1, 0.3, 0.2], [0.2, 0.3, 0.1, 0.4]])),
    "education": (
        ("high_school", "vocational", "graduate", "college"),
        np.array([[0.20, 0.25, 0.30, 0.25], [0.35, 0.30, 0.20, 0.15]]),
    ),
    "gender": (("M", "F"), np.array([[0.55, 0.45], [0.45, 0.55]])),
}
# Drawn alike whatever the outcome. The response to an action depends on the first two, on the others nothing does.
RESPONSE_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "age_group": ("young", "middle", "senior"),
    "income_band": ("under_60k", "60k_120k", "over_120k"),
}
THIRDS = np.array([0.33, 0.33, 0.34])
UNINFORMATIVE_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "state": tuple(f"state_{number:02}" for number in range(1, 62)),
    "ethnicity": ("african_american", "hispanic", "latino", "white"),
    "marital_status": ("single", "married", "divorced", "widowed"),
}
VALUES = {
    **RESPONSE_ATTRIBUTES,
    **{name: values for name, (values, _) in OUTCOME_ATTRIBUTES.items()},
    **UNINFORMATIVE_ATTRIBUTES,
}
ATTRIBUTES = {name: Attribute(description=name.replace("_", " ").capitalize()) for name in VALUES}


@dataclass(frozen=True)
class Leads:
    """Leads with their touches and the truth.

    ``shop``: the one they were drawn for, with the leads' attributes as its own. ``customers`` and ``touches`` have the
    columns of the reference contracts, touches also the truth: ``day`` (0 = Monday) and ``daypart``.
    ``posterior``: P(convert | lead, channel, day, daypart), leads in the order of ``customers`` x the shop's channels x days
    (Monday first) x the shop's dayparts. ``judged``: of each lead the row in ``touches`` of campaign 1, the last of the lead.
    """

    shop: Shop
    customers: pd.DataFrame
    touches: pd.DataFrame
    posterior: Floats
    judged: Ints

    def history(self) -> pd.DataFrame:
        """The touches as the mart ``campaign_touch_history`` publishes them, row by row."""
        return touch_history(self.touches, self.shop)

    def of(self, touches: pd.DataFrame) -> Floats:
        """The posterior of the lead and action of each of these rows of ``touches``."""
        lead = touches["customer_id"].str[1:].astype(np.int64).to_numpy() - 1
        channel = touches["channel"].map(self.shop.channels.index).to_numpy()
        daypart = touches["daypart"].map(list(self.shop.dayparts).index).to_numpy()
        found: Floats = self.posterior[lead, channel, touches["day"].to_numpy(), daypart]
        return found


def draw_leads(shop: Shop, leads: int = 100_000, seed: int = 360) -> Leads:
    """Draw leads for a shop's channels, dayparts and time zone; all touches lie before the shop-local day of ``slices_start``.

    Raises ``SimulationError`` where shop.yaml has a channel or daypart without a table.
    """
    rng = generator(seed, 5)
    converts = rng.random(leads) < CONVERTS
    levels = {name: rng.choice(len(values), size=leads, p=THIRDS) for name, values in RESPONSE_ATTRIBUTES.items()}
    levels |= {name: rng.integers(0, len(values), leads) for name, values in UNINFORMATIVE_ATTRIBUTES.items()}
    for name, (_, shares) in OUTCOME_ATTRIBUTES.items():
        levels[name] = categorical(shares[converts.astype(np.int64)], rng.random(leads))
    log_odds = np.log(CONVERTS / (1 - CONVERTS)) + np.sum(
        [np.log(shares[1] / shares[0])[levels[name]] for name, (_, shares) in OUTCOME_ATTRIBUTES.items()], axis=0
    )
    evidence = evidence_of_actions(shop, levels["age_group"], levels["income_band"])
    touches = _touches(shop, levels, converts, rng)
    rows = np.flatnonzero((touches["campaign_id"] == JUDGED_CAMPAIGN).to_numpy())
    return Leads(
        shop=shop.model_copy(update={"attributes": ATTRIBUTES}),
        customers=_customers(shop, levels, leads),
        touches=touches,
        posterior=1 / (1 + np.exp(-(evidence + log_odds[:, None, None, None]))),
        judged=rows[np.argsort(touches["customer_id"].to_numpy()[rows], kind="stable")],
    )


def _customers(shop: Shop, levels: dict[str, Ints], leads: int) -> pd.DataFrame:
    frame = pd.DataFrame({"customer_id": _ids(np.arange(leads)), "time_zone": shop.time_zone})
    for channel in shop.channels:
        frame[f"consent_{channel}"] = True
    if shop.serving:
        frame[f"consent_{PERSONALISATION}"] = True
    for name, values in VALUES.items():
        frame[name] = np.array(values)[levels[name]]
    return frame


def _touches(shop: Shop, levels: dict[str, Ints], converts: Bools, rng: np.random.Generator) -> pd.DataFrame:
    earlier = rng.integers(2, MOST_EARLIER + 1, len(converts))
    lead = np.concatenate([np.arange(len(converts)), np.repeat(np.arange(len(converts)), earlier)])
    n, is_judged = len(lead), np.arange(len(lead)) < len(converts)
    is_converted = is_judged & converts[lead]
    age, income = levels["age_group"][lead], levels["income_band"][lead]
    channels = [CHANNELS.index(name) for name in shop.channels]
    parts = [DAYPARTS.index(name) for name in shop.dayparts]

    def drawn(did: Floats, did_not: Floats) -> Ints:
        return categorical(np.where(is_converted[:, None], did, did_not), rng.random(n))

    channel = drawn(CHANNEL_SHARES_CONVERTED[age][:, channels], CHANNEL_SHARES_UNCONVERTED[age][:, channels])
    day = drawn(DAY_SHARES_CONVERTED[income], DAY_SHARES_UNCONVERTED[income])
    daypart = drawn(DAYPART_SHARES_CONVERTED[age][:, parts], DAYPART_SHARES_UNCONVERTED[age][:, parts])
    week = rng.integers(0, WEEKS, n) + np.where(is_judged, 0, WEEKS)  # before the last complete week; campaign 1 is the latest
    last_monday = np.datetime64(local_day(shop), "D") - (local_day(shop).weekday() + 7)
    date = last_monday + day - week * 7
    touched_at = utc_of(moments_in(shop, date.astype("datetime64[s]"), daypart, rng.random(n)), shop.zone)
    campaign = np.where(is_judged, JUDGED_CAMPAIGN, np.array(EARLIER_CAMPAIGNS)[rng.integers(0, len(EARLIER_CAMPAIGNS), n)])
    frame = pd.DataFrame(
        {
            "campaign_id": campaign,
            "customer_id": _ids(lead),
            "touched_at": touched_at,
            "is_time_known": True,
            "channel": np.array(shop.channels)[channel],
            "is_converted": is_converted,
            "converted_at": pd.Series(touched_at + timedelta(hours=1)).where(is_converted),
            "is_control": False,
            "is_randomised": False,
            "day": day,
            "daypart": np.array(list(shop.dayparts))[daypart],
        }
    )
    frame = frame.sort_values(["touched_at", "customer_id"], kind="stable", ignore_index=True)
    frame.insert(0, "touch_id", [f"t{number:07}" for number in range(1, n + 1)])
    return frame


def _ids(leads: Ints) -> npt.NDArray[np.object_]:
    return np.array([f"c{number + 1:07}" for number in leads], dtype=object)
