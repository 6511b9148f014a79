"""Decisions and events that answer them, from landing through dbt to what offers brought and the policy that serves next."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets.predictions.offer_results import VALUES_KEY, offer_result_assets
from assets.raw.offer_decisions import RAW, offer_decision_assets
from customer360.lake.publishing.publications import publish_warehouse
from customer360.lake.slices import slice_folder
from customer360.lake.warehouse.warehouse import warehouse_lock
from customer360.offers.conditions import parse_condition
from customer360.offers.customer import Customer
from customer360.offers.decisions import Policy, PriorityList, decide, draw_key
from customer360.offers.log import LoggedDecision, encode, logged
from customer360.offers.offers import Offer, open_book
from customer360.offers.policy import policy_of, read_state
from customer360.settings import REPOSITORY, OfferRules, load_shop
from customer360.snapshot import open_snapshot
from orchestration.resources import Platform
from tests.support.lab import Dbt, Lab

SYNTHETIC = REPOSITORY / "shops" / "synthetic"
START, WIDTH = datetime(2026, 5, 4, 12, tzinfo=UTC), timedelta(minutes=15)
SLICES = 4
RATES = {"Loyal": {"a": 0.04, "b": 0.20, "c": 0.04}, "New": {"a": 0.08, "b": 0.02, "c": 0.02}}  # the list shows "a" to all
CUSTOMERS, PRICE = 1_500, 20
MODELS = ("run", "--select", "+int_offer_activity_by_slice", "+int_purchases_by_slice")
DIRECT = 0.7  # of the events name their decision; the others name the offer alone


class Shop:
    """Customers who are offered something in every slice, click by RATES, and buy every fourth time."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.random, self.truth = lab, np.random.default_rng(3), list[tuple[LoggedDecision, bool, bool]]()
        offers = [Offer(n, n, parse_condition("always", None, has_products=False), priority=p) for p, n in enumerate("abc")]
        self.book = open_book(date(2026, 5, 4), OfferRules(exploration_share=0.3), offers, {})

    def slice(self, number: int, policy: Policy) -> float:
        """One slice: every customer is offered something. Returns the share that clicked."""
        start, clicked = START + number * WIDTH, []
        lines: list[bytes] = []
        events: list[str] = []
        for place in range(CUSTOMERS):
            customer = Customer(f"C{place}", segment=("Loyal", "New")[place % 2])
            at = start + timedelta(seconds=float(self.random.uniform(0, 600)))
            # One hour a slice, so that each slice draws anew.
            decision = decide(self.book, customer, policy, draw_key("secret"), start + number * timedelta(hours=1))
            assert decision is not None
            record = logged(decision, customer, at=at, customer_id=customer.customer_id, decision_id=f"d{number}-{place}")
            is_clicked = bool(self.random.random() < RATES[str(customer.segment)][record.offer_id])
            is_bought = is_clicked and bool(self.random.random() < 0.25)
            lines.append(encode(record))
            events += self._events(record, at, is_clicked, is_bought)
            clicked.append(is_clicked)
            self.truth.append((record, is_clicked, is_bought))
        self._write("offer_decisions", start, "api.jsonl", [line.decode() for line in lines])
        self._write("clicks", start, "web.jsonl", events)
        return float(np.mean(clicked))

    def _events(self, record: LoggedDecision, at: datetime, is_clicked: bool, is_bought: bool) -> list[str]:
        named = {"decision_id": record.decision_id} if self.random.random() < DIRECT else {}
        base = {"customer_id": record.customer_id, "offer_id": record.offer_id, **named}
        found: list[dict[str, object]] = [{"event_name": "view_promotion"}]
        found += [{"event_name": "select_promotion"}] * is_clicked
        found += [
            {"event_name": "purchase", "order_id": f"o-{record.decision_id}", "product_id": "p1", "line_no": 1, "amount": PRICE}
        ] * is_bought
        for number, event in enumerate(found):
            at_event = (at + number * timedelta(seconds=30)).isoformat()
            event |= {"event_id": f"{record.decision_id}-{number}", "event_at": at_event, **base}
        return [json.dumps(event) for event in found]

    def _write(self, source: str, start: datetime, name: str, lines: list[str]) -> None:
        folder = slice_folder(self.lab.landing / source, start)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def process(self, numbers: range) -> dict[str, Any]:
        """What the slices' runs and the day's make of it; returns the metadata of the judgement."""
        settings, starts = self.lab.settings, [START + number * WIDTH for number in numbers]
        with warehouse_lock(settings.place, "test"):
            self.lab.write_raw(start.replace(tzinfo=None) for start in starts)
            self.lab.plan()
            self.lab.transform(*MODELS)
            self.lab.mark()
        raw = self.run(offer_decision_assets(self.lab.shop))[RAW]
        assert (raw["good"], raw["quarantined"], raw["slices"]) == (len(starts) * CUSTOMERS, 0, len(starts))
        with warehouse_lock(settings.place, "test"), self.lab.opened() as connection:
            publish_warehouse(connection, settings, starts[-1] + WIDTH, {})
        return self.run(offer_result_assets(self.lab.shop))[VALUES_KEY]

    def run(self, assets: list[dg.AssetsDefinition]) -> dict[dg.AssetKey, dict[str, Any]]:
        """Materialise the assets; returns their metadata."""
        platform = Platform(shop_folder=str(SYNTHETIC), data_dir=str(self.lab.root))
        events = dg.materialize(assets, resources={"platform": platform}).get_asset_materialization_events()
        return {e.asset_key: {name: v.value for name, v in e.materialization.metadata.items()} for e in events if e.asset_key}

    def published(self, table: str) -> pd.DataFrame:
        """The rows that are published."""
        with open_snapshot(self.lab.settings) as snapshot:
            return snapshot.read(f"from {table}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    synthetic = load_shop(SYNTHETIC / "shop.yaml")
    root: Path = tmp_path_factory.mktemp("place")
    lab = Lab(synthetic, root, Dbt(tmp_path_factory))
    lab.load_references()
    return Shop(lab)


def test_what_was_offered_comes_back_as_what_it_brought_and_the_better_policy_serves(shop: Shop) -> None:
    rates = [shop.slice(number, PriorityList()) for number in range(SLICES)]
    metadata = shop.process(range(SLICES))

    # Every decision is counted once, with exactly what became of it.
    expected = pd.DataFrame(
        [
            (r.offer_id, r.policy_version, r.segment, r.basis, 1, int(clicked), int(bought), PRICE * bought)
            for r, clicked, bought in shop.truth
        ],
        columns=["offer_id", "policy_version", "segment", "basis", "decisions", "clicked", "bought", "revenue"],
    )
    keys = list(expected.columns[:4])
    results = shop.published("offer_results")
    found = results.set_index(keys).sort_index()[["decisions", "clicked", "bought", "revenue"]].astype(float)
    pd.testing.assert_frame_equal(found, expected.groupby(keys).sum().astype(float), check_names=False)
    assert results["shown"].sum() == SLICES * CUSTOMERS

    # The values hold the truth, and Thompson sampling has won: the best offers bring .14 and the list .06.
    values = shop.published("offer_policy_values").set_index(["policy", "estimator"])
    uniform = float(np.mean([rate for offers in RATES.values() for rate in offers.values()]))
    for policy, truth in {"priority_list": 0.06, "uniform": uniform, "served": 0.7 * 0.06 + 0.3 * uniform}.items():
        for estimator in ("ips", "snips", "doubly_robust"):
            row = values.loc[policy, estimator]
            assert row["value_low"] <= truth <= row["value_high"], (policy, estimator)
    assert values.loc["thompson", "doubly_robust"]["gain_low"] > 0
    state = read_state(shop.lab.settings.place)
    assert state is not None
    assert state.thompson_serves
    assert metadata["verdict"] == state.verdict
    assert state.verdict.startswith("better: +0.")
    assert "data:image/png" in metadata["plot_values"]

    # It serves the next slices: better, with its own version and probabilities, and they are judged in turn.
    policy = policy_of(state, OfferRules())
    assert metadata["serves"] == f"thompson-{policy.version}"
    before, after = float(np.mean(rates)), float(np.mean([shop.slice(number, policy) for number in (SLICES, SLICES + 1)]))
    assert after > 1.2 * before
    shop.process(range(SLICES, SLICES + 2))
    results = shop.published("offer_results")
    served = results[results["policy_version"].str.startswith(f"thompson-{policy.version}")]
    assert served["decisions"].sum() == 2 * CUSTOMERS
    assert set(served["basis"]) == {"thompson", "exploration"}
    assert set(shop.published("offer_policy_values")["decisions"]) == {(SLICES + 2) * CUSTOMERS}


def test_a_shop_that_is_not_served_pays_for_none_of_it(shop: Shop) -> None:
    alone = shop.lab.shop.model_copy(update={"serving": False})
    assert offer_decision_assets(alone) == offer_result_assets(alone) == []
