"""What is counted of an audience is what is planned of it, and what is approved is what the ledger holds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from customer360.audiences.sizes import audience_size, overlap
from customer360.campaigns.approval import approve
from customer360.campaigns.conditions import text_of
from customer360.campaigns.definition import Campaign
from customer360.campaigns.drafts import write_definition
from customer360.campaigns.ledger import APPROVED, read_ledger
from customer360.decisions import DecisionRefused, Request
from customer360.snapshot import Snapshot, open_snapshot
from ml.planning.campaign_planning import CampaignPlan, plan_campaigns
from ml.planning.inputs import PlanningInputs, audiences_of, planning_inputs
from ml.planning.reasons import CONTACT, HOLDOUT, NO_CONSENT, SUPPRESSED
from tests.support.audience_shop import AS_OF, SHOP, AudienceShop, audience_shop, predict


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> AudienceShop:
    return audience_shop(tmp_path_factory.mktemp("audiences"))


@pytest.fixture(scope="module")
def snapshot(shop: AudienceShop) -> Iterator[Snapshot]:
    with open_snapshot(shop.settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def inputs(snapshot: Snapshot) -> PlanningInputs:
    return planning_inputs(snapshot, AS_OF, "a test")


def campaign_of(text: str, rng: np.random.Generator) -> Campaign:
    chosen = rng.permutation(SHOP.channels)[: rng.integers(1, 4)]
    fields = {
        "campaign_id": "spring",
        "title": "Spring",
        "audience": text,
        "value_per_conversion": 20,
        "channels": {name: {"cost": float(rng.choice([0.02, 0.4]))} for name in chosen},
        "budget": float(rng.integers(1, 40)) if rng.random() < 0.5 else None,
        "holdout_share": float(rng.choice([0, 0.2])),
    }
    return Campaign.model_validate(fields)


def planned(campaign: Campaign, snapshot: Snapshot, inputs: PlanningInputs) -> CampaignPlan:
    audiences, problems = audiences_of(snapshot, [campaign])
    assert problems == []
    (plan,) = plan_campaigns([campaign], inputs, audiences, predict, SHOP).plans
    return plan


def approve_and_compare(plan: CampaignPlan, snapshot: Snapshot) -> int:
    """Approve a plan in an empty ledger, which then holds its contacts and holdouts and nobody else; the contacts."""
    place, rows = snapshot.place, plan.rows
    shutil.rmtree(place.campaigns, ignore_errors=True)
    folder = place.plans / f"{plan.day:%Y-%m-%d}"
    write_definition(folder, plan.version, plan.campaign)
    rows.to_parquet(folder / "campaign_plan.parquet", index=False)
    chosen = rows[rows["decision"].isin([CONTACT, HOLDOUT])]
    contacts = int((chosen["decision"] == CONTACT).sum())
    request = Request("as counted", AS_OF, "anna")
    if not contacts:
        with pytest.raises(DecisionRefused, match="nothing to approve"):
            approve(snapshot.settings, "spring", plan.version, request, AS_OF, touches=snapshot.touches)
        return 0
    done = approve(snapshot.settings, "spring", plan.version, request, AS_OF, touches=snapshot.touches)
    entries = read_ledger(place, [APPROVED])
    assert set(zip(entries["customer_id"], entries["arm"], strict=True)) == set(
        zip(chosen["customer_id"], chosen["decision"], strict=True)
    )
    assert (done.contacts, done.holdouts) == (contacts, len(chosen) - contacts)
    return contacts


@pytest.mark.full
@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 1_000), marks=pytest.mark.exhaustive)], ids=["10", "the rest of 1,000"]
)
def test_the_count_that_is_shown_is_planned_and_the_set_that_is_approved_is_in_the_ledger(
    seeds: range, shop: AudienceShop, snapshot: Snapshot, inputs: PlanningInputs
) -> None:
    sizes, contacts = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        text = text_of(shop.tree(rng))
        campaign = campaign_of(text, rng)
        counted = audience_size(snapshot, text, list(campaign.channels))
        plan = planned(campaign, snapshot, inputs)
        reasons = plan.rows["reason"].value_counts()
        found = (len(plan.rows), reasons.get(SUPPRESSED, 0), reasons.get(NO_CONSENT, 0))
        assert (counted.customers, counted.suppressed, counted.without_consent) == found, text
        if len(plan.rows):
            contacts.append(approve_and_compare(plan, snapshot))
        sizes.append(counted.customers)
    assert np.mean([0 < size < 135 for size in sizes]) > 0.5  # most audiences are neither empty nor everyone
    assert np.mean(np.array(contacts) > 0) > 0.5


def test_two_audiences_overlap_in_the_customers_of_both(shop: AudienceShop, snapshot: Snapshot) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        first, second = text_of(shop.tree(rng, 1)), text_of(shop.tree(rng, 1))
        texts = (first, second, f"({first}) and ({second})")
        sizes = [audience_size(snapshot, text).customers for text in texts]
        found = overlap(snapshot, first, second)
        assert (found.first + found.both, found.second + found.both, found.both) == tuple(sizes)


def test_channels_and_values_of_an_audience_are_those_of_its_customers(snapshot: Snapshot) -> None:
    size = audience_size(snapshot, "segment in ('Loyal', 'Lost')")
    consents, barred = snapshot.consents, snapshot.suppressions
    who = snapshot.read(
        "select customer_id, expected_spend from rfm_segments join customer_value using (customer_id) "
        "where segment in ('Loyal', 'Lost')"
    )
    who = who[~who["customer_id"].isin(snapshot.known_later)].set_index("customer_id")["expected_spend"]
    assert size.customers == len(who)
    assert size.expected_spend == pytest.approx(who.sum())
    reached = set()
    for reach in size.channels:
        is_yes = (consents["channel"] == reach.channel) & consents["is_allowed"]
        allowed = set(consents.loc[is_yes, "customer_id"]) & set(who.index)
        out = set(barred.loc[barred["channel"] == reach.channel, "customer_id"]) & set(who.index)
        assert (reach.consenting, reach.suppressed, reach.reachable) == (len(allowed), len(out), len(allowed - out))
        assert reach.expected_spend == pytest.approx(who[sorted(allowed - out)].sum())
        reached |= allowed - out
    assert size.reachable == len(reached)


def test_a_stop_that_is_stated_counts_from_the_next_question_on(shop: AudienceShop) -> None:
    with open_snapshot(shop.settings) as snapshot:
        channel = SHOP.channels[0]
        before, *_ = audience_size(snapshot, "everyone", [channel]).channels
        people = snapshot.read(f"select customer_id from rfm_segments order by 1 limit {before.suppressed + 1}")
        file = snapshot.place.campaigns / "stops.parquet"
        file.parent.mkdir(exist_ok=True)
        people.assign(channel=channel, topic=None, reason="asked for it").astype({"topic": "str"}).to_parquet(file, index=False)
        try:
            after, *_ = audience_size(snapshot, "everyone", [channel]).channels
        finally:
            file.unlink()
        assert before.suppressed < after.suppressed <= before.suppressed + len(people)
        assert audience_size(snapshot, "everyone", [channel]).channels == (before,)
