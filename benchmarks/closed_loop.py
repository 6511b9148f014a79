"""Eight simulated weeks of campaigns, several seeds: what is earned by our plans, by none, by mailing everyone, by an argmax.

Every policy meets the same customers, who order the same by themselves and answer equal contacts equally, and has the same
means: a budget a week, and so many calls and SMS a day. Profit is the margin of all orders less what contacts cost.

- ``none``: nobody is contacted.
- ``everyone``: everybody with consent gets an e-mail every Tuesday morning.
- ``argmax``: of each customer the channel, day and daypart with the highest predicted response (Microsoft's Campaign
  Optimization), the best scores first until the means are used up.
- ``plan``: the product's own planning with effects, holdouts and exploration; the last two cost it something here.

The models learn from the past before the first week, and again after the fourth also from what the policy has seen since.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NoReturn

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.campaign_simulation import CampaignSimulation
from benchmarks.measuring import write_result
from customer360.campaigns.attribution import first_orders
from customer360.campaigns.definition import Campaign
from customer360.campaigns.standing import COMMITMENT_COLUMNS
from customer360.settings import REPOSITORY, Shop, load_shop
from ml.datasets.training_sets import TrainingSet
from ml.fitting import boosting_settings, training
from ml.fitting.class_model import ClassModel
from ml.planning.campaign_planning import plan_campaigns
from ml.planning.inputs import PlanningInputs
from ml.planning.predictions import Predicted
from ml.planning.reasons import CONTACT
from ml.responses.contact_rows import ResponseInputs
from ml.responses.scoring import CampaignFacts, response_predictions, rows_at
from ml.responses.training_set import build_response_training_set
from ml.responses.without_contact import build_organic_training_set, without_predictions

SEEDS = (1, 2, 3, 4, 5)
CUSTOMERS, WEEKS, LEARN_AGAIN_AFTER = 6_000, 8, 4
MARGIN = 0.05
BUDGET = 250.0  # a week
CHANNELS = {
    "email": {"cost": 0.02},
    "sms": {"cost": 0.09, "capacity_per_day": 150},
    "call": {"cost": 2.4, "capacity_per_day": 25},
}
POLICIES = ("none", "everyone", "argmax", "plan")
SEED = 360


@dataclass
class Memory:
    """What a policy knows: the shop's touches and orders so far, and its models."""

    simulation: CampaignSimulation
    shop: Shop
    touches: pd.DataFrame
    orders: pd.DataFrame
    models: tuple[ClassModel, ClassModel] | None = None

    @property
    def value(self) -> float:
        """The mean margin of an order so far."""
        return MARGIN * float(self.orders["amount"].mean())

    def inputs(self) -> ResponseInputs:
        """For the response models. All campaigns are of one kind and carry no offer."""
        ids = self.touches["campaign_id"].unique()
        customers = self.simulation.customers
        attributes = customers[["customer_id", *self.shop.attributes]].assign(
            valid_from=pd.Timestamp("1970-01-01"), valid_to=pd.Series(pd.NaT, index=customers.index, dtype="datetime64[us]")
        )
        campaigns = pd.DataFrame({"campaign_id": ids, "kind": "general", "offer_id": None}).astype({"offer_id": "object"})
        offers = pd.DataFrame({"offer_id": pd.Series(dtype="object"), "category_id": pd.Series(dtype="object")})
        return ResponseInputs(self.touches, attributes, campaigns, offers, self.orders)

    def learn(self, at: datetime) -> None:
        """Train both models on what is known at a moment (plain UTC)."""
        inputs = self.inputs()

        def fitted(training_set: TrainingSet) -> ClassModel:
            return training.train(
                training_set, seed=SEED, threads=os.cpu_count() or 1, settings=boosting_settings.CONTACTS
            ).model

        self.models = (
            fitted(build_response_training_set(inputs, self.shop, at)),
            fitted(build_organic_training_set(inputs, self.shop, at)),
        )

    def _untrained(self) -> NoReturn:
        raise RuntimeError("a policy that predicts learns first")

    def predicted(self, ids: pd.Index[str], at: datetime) -> Predicted:
        """Of these customers as known at a moment (plain UTC)."""
        response, without = self.models or self._untrained()
        rows = rows_at(ids, at, self.inputs(), self.shop)
        conversion = response_predictions(response, CampaignFacts("general", None), rows, self.shop)
        return Predicted(conversion, without_predictions(without, rows), "loop")


Policy = Callable[[Memory, date, int], pd.DataFrame]


def no_one(memory: Memory, first: date, week: int) -> pd.DataFrame:
    """Nobody."""
    return contacts_of([], memory.shop)


def everyone(memory: Memory, first: date, week: int) -> pd.DataFrame:
    """An e-mail on Tuesday morning to all who allow it, as far as the budget goes."""
    customers = memory.simulation.customers
    allowed = customers.loc[customers["consent_email"], "customer_id"]
    most = int(BUDGET / CHANNELS["email"]["cost"])
    return contacts_of(
        [(customer, week, "email", first + timedelta(days=1), "morning") for customer in allowed[:most]], memory.shop
    )


def argmax(memory: Memory, first: date, week: int) -> pd.DataFrame:
    """Each customer's best allowed combination by predicted response; the best scores first until budget or capacity end."""
    shop, customers = memory.shop, memory.simulation.customers
    ids = pd.Index(customers["customer_id"], dtype="str")
    conversion = memory.predicted(ids, as_of(first, shop)).conversion
    allowed = customers[[f"consent_{channel}" for channel in shop.channels]].to_numpy(dtype=bool)
    scores = np.where(allowed[:, :, None, None], conversion, -1.0).reshape(len(ids), -1)
    best = scores.argmax(axis=1)
    channel, day, daypart = np.unravel_index(best, conversion.shape[1:])
    left: dict[tuple[str, int], int] = {}
    budget, chosen = BUDGET, []
    for row in np.argsort(-scores.max(axis=1), kind="stable"):
        name = shop.channels[channel[row]]
        terms = CHANNELS[name]
        place = (name, int(day[row]))
        if not allowed[row].any() or terms["cost"] > budget or left.get(place, 0) >= terms.get("capacity_per_day", np.inf):
            continue
        left[place] = left.get(place, 0) + 1
        budget -= terms["cost"]
        chosen.append((ids[row], week, name, first + timedelta(days=int(day[row])), list(shop.dayparts)[daypart[row]]))
    return contacts_of(chosen, shop)


def plan(memory: Memory, first: date, week: int) -> pd.DataFrame:
    """The product's plan of the week. Whom it holds out becomes the control group that it learns from."""
    shop, customers = memory.shop, memory.simulation.customers
    campaign = Campaign.model_validate(
        {
            "campaign_id": f"week{week}",
            "title": "A week",
            "audience": "everyone",
            "value_per_conversion": memory.value,
            "budget": BUDGET,
            "channels": CHANNELS,
            "send_windows": [{"from": 6, "to": 24}],
        }
    )
    consents = [
        customers[["customer_id"]].assign(channel=channel, is_allowed=customers[f"consent_{channel}"])
        for channel in shop.channels
    ]
    inputs = PlanningInputs(
        customers=customers[["customer_id"]].assign(segment="Loyal", time_zone=shop.time_zone),
        consents=pd.concat(consents, ignore_index=True),
        suppressions=pd.DataFrame({"customer_id": pd.Series(dtype="str"), "channel": pd.Series(dtype="str")}),
        commitments=pd.DataFrame(columns=list(COMMITMENT_COLUMNS)).astype(COMMITMENT_COLUMNS),
        salt="loop",
        as_of=datetime.combine(first - timedelta(days=1), datetime.min.time(), shop.zone).replace(hour=4),
    )
    made = plan_campaigns(
        [campaign],
        inputs,
        {campaign.campaign_id: pd.Index(customers["customer_id"], dtype="str")},
        lambda _, ids: memory.predicted(ids, as_of(first, shop)),
        shop,
    )
    rows = made.rows[made.rows["decision"] != "left out"]
    is_contact = rows["decision"] == CONTACT
    return pd.DataFrame(
        {
            "customer_id": rows["customer_id"],
            "campaign_id": rows["campaign_id"],
            "channel": rows["channel"],
            "sent_at": rows["send_at"],
            "day": rows["contact_date"].dt.date,
            "cost": rows["cost"].astype("float64"),
            "is_control": ~is_contact,
            "is_randomised": rows["is_exploration"] & is_contact,
        }
    ).reset_index(drop=True)


def as_of(first: date, shop: Shop) -> datetime:
    """The morning before a week, plain UTC: when it is planned."""
    local = datetime.combine(first - timedelta(days=1), datetime.min.time(), shop.zone).replace(hour=4)
    return (local - local.utcoffset()).replace(tzinfo=None)  # type: ignore[operator]  # a zone has an offset


def contacts_of(chosen: list[tuple[str, int, str, date, str]], shop: Shop) -> pd.DataFrame:
    """Contacts by customer, week, channel, day and daypart, sent as the daypart begins."""
    rows = []
    for customer, week, channel, day, daypart in chosen:
        at = datetime.combine(day, datetime.min.time(), shop.zone).replace(hour=shop.dayparts[daypart].start)
        rows.append((customer, f"week{week}", channel, pd.Timestamp(at).tz_convert("UTC").tz_localize(None), day))
    frame = pd.DataFrame(rows, columns=["customer_id", "campaign_id", "channel", "sent_at", "day"])
    costs = frame["channel"].map({name: terms["cost"] for name, terms in CHANNELS.items()}).astype("float64")
    return frame.assign(cost=costs, is_control=False, is_randomised=False)


CHOICES: dict[str, Policy] = {"none": no_one, "everyone": everyone, "argmax": argmax, "plan": plan}


def eight_weeks(
    policy: str, simulation: CampaignSimulation, shop: Shop, past: tuple[pd.DataFrame, pd.DataFrame]
) -> dict[str, float]:
    """Profit of all orders in the weeks, and of those that contacts of the last days still add; what was spent; contacts."""
    memory = Memory(simulation, shop, *past)
    monday = simulation.first_day + timedelta(days=(-simulation.first_day.weekday()) % 7)
    for number in range((monday - simulation.first_day).days):  # days before the first Monday, the same for all
        memory.orders = pd.concat(
            [memory.orders, simulation.orders(simulation.first_day + timedelta(days=number))], ignore_index=True
        )
    revenue = cost = contacted = 0.0
    for week in range(WEEKS):
        first = monday + timedelta(weeks=week)
        if policy in ("argmax", "plan") and week in (0, LEARN_AGAIN_AFTER):
            memory.learn(as_of(first, shop))
        contacts = CHOICES[policy](memory, first, week)
        sent = contacts[~contacts["is_control"]]
        made = [
            simulation.orders(first + timedelta(days=day), sent[sent["day"] == first + timedelta(days=day)]) for day in range(7)
        ]
        orders = pd.concat(made, ignore_index=True)
        revenue, cost, contacted = revenue + orders["amount"].sum(), cost + sent["cost"].sum(), contacted + len(sent)
        memory.orders = pd.concat([memory.orders, orders], ignore_index=True)
        memory.touches = pd.concat([memory.touches, touches_of(contacts, memory)], ignore_index=True)
    return {"profit": MARGIN * revenue - cost, "cost": cost, "contacts": contacted}


def touches_of(contacts: pd.DataFrame, memory: Memory) -> pd.DataFrame:
    """What was done in a week, as ``campaign_touch_history`` has it: converted by any order within the window."""
    if contacts.empty:
        return memory.touches.head(0)
    rows = contacts.reset_index(drop=True).assign(at=contacts["sent_at"].astype("datetime64[us]").to_numpy())
    window = timedelta(days=memory.shop.campaigns.attribution_days)
    converted_at = first_orders(rows["customer_id"], rows["at"], memory.orders, window)
    local = rows["at"].dt.tz_localize("UTC").dt.tz_convert(memory.shop.zone)
    frame = pd.DataFrame(
        {
            "touch_id": rows["campaign_id"] + "-" + rows["customer_id"],
            "campaign_id": rows["campaign_id"],
            "customer_id": rows["customer_id"],
            "touched_at": rows["at"],
            "is_time_known": True,
            "channel": rows["channel"],
            "local_date": local.dt.tz_localize(None).dt.normalize(),
            "day_of_week": local.dt.dayofweek + 1,
            "local_hour": local.dt.hour,
            "is_converted": converted_at.notna(),
            "converted_at": converted_at,
            "is_control": rows["is_control"],
            "is_randomised": rows["is_randomised"],
        }
    )
    return frame[[name for name in memory.touches.columns if name in frame.columns]]


def main() -> None:
    """Every policy on every seed; the figures are means, with 95% intervals over the seeds of them and of the differences."""
    seeds = SEEDS[: int(sys.argv[1])] if len(sys.argv) > 1 else SEEDS
    shop = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")
    profits: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    figures: dict[str, float] = {"seeds": len(seeds), "customers": CUSTOMERS, "weeks": WEEKS}
    for seed in seeds:
        simulation = CampaignSimulation.build(shop, CUSTOMERS, seed)
        past = simulation.past()
        for policy in POLICIES:
            made = eight_weeks(policy, simulation, shop, past)
            profits[policy].append(made["profit"])
            print(f"seed {seed} {policy}: " + ", ".join(f"{name} {value:,.0f}" for name, value in made.items()), flush=True)
            figures[f"contacts_{policy}"] = figures.get(f"contacts_{policy}", 0.0) + made["contacts"] / len(seeds)
            figures[f"cost_{policy}"] = figures.get(f"cost_{policy}", 0.0) + made["cost"] / len(seeds)
    for policy, found in profits.items():
        figures |= interval(f"profit_{policy}", np.array(found))
    for policy in ("none", "everyone", "argmax"):
        figures |= interval(f"plan_over_{policy}", np.array(profits["plan"]) - np.array(profits[policy]))
    write_result("closed_loop", figures)


def interval(name: str, values: np.ndarray) -> dict[str, float]:
    """The mean with Student's 95% interval over the seeds."""
    mean = float(values.mean())
    if len(values) < 2:
        return {name: mean}
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


if __name__ == "__main__":
    main()
