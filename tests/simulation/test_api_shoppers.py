"""Shoppers who use the API: what they ask, what they click and by which chance, and the events that come of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from customer360.lake.landing.listing import list_slice
from customer360.services.api.collector.contract import Arrived, checked
from customer360.settings import REPOSITORY, Place, Shop, load_shop
from customer360.simulation import Simulation, SimulationError, shop_over_api
from customer360.simulation.api_shoppers import Api
from customer360.simulation.arrays import microseconds
from customer360.simulation.catalogue import CATEGORIES, OFFER_CATEGORY, OFFER_IDS
from customer360.simulation.offer_clicks import BY_AFFINITY, FATIGUE, GENERAL, OF_CATEGORY
from customer360.simulation.synthetic_shop import SyntheticShop

SIMULATION = Simulation(customers=300, seed=5, events_per_slice=900)
START = datetime(2026, 4, 30, 16, tzinfo=UTC)


class Chooser(Api):
    """Answers as the API does, with one offer and three products for everybody, and keeps what is sent."""

    def __init__(self, offer_id: str, products: tuple[str, ...] = ()) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self.offer_id, self.products = offer_id, products
        self.asked: list[str] = []
        self.events: list[dict[str, Any]] = []

    def get(self, path: str) -> Any | None:
        self.asked.append(path)
        if "/recommendations" in path:
            return {"items": [{"product_id": product} for product in self.products]}
        return {"offer_id": self.offer_id, "decision_id": f"d{len(self.asked)}"}

    def send(self, events: list[dict[str, Any]]) -> int:
        self.events += events
        return 0


@pytest.fixture(scope="module")
def shop() -> Shop:
    return load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")


def shopped(shop: Shop, root: Path, chooser: Chooser, slices: int = 1) -> list[Counter[str]]:
    """The counts of so many slices, which take no time."""
    served = shop_over_api(SIMULATION, shop, Place(root=root), chooser, clock=lambda: 0.0, sleep=lambda _: None)
    return [next(served).counts for _ in range(slices)]


def test_events_come_to_the_api_and_fit_its_contract_and_the_apps_come_as_a_file(shop: Shop, tmp_path: Path) -> None:
    chooser = Chooser("o1", ("p11", "p06", "p21"))
    (counts,) = shopped(shop, tmp_path, chooser)
    arrived = Arrived(START + timedelta(minutes=15), shop.currency)
    accepted = [checked(event, arrived) for event in chooser.events]
    assert len(accepted) == counts["sent"] > 300
    assert len({event["event_id"] for event in accepted}) == len(accepted)
    assert {event["device"] for event in accepted} == {"desktop", "mobile", "tablet"}
    assert [file.name for file in list_slice(Place(root=tmp_path).landing, START).files] == ["app-20260430T1600.jsonl.gz"]
    names = Counter(event["event_name"] for event in accepted)
    assert names["view_promotion"] == counts["offers shown"] == sum("/offer?" in path for path in chooser.asked)
    assert names["select_promotion"] == counts["offers clicked"]
    assert all(event["decision_id"].startswith("d") for event in accepted if "promotion" in event["event_name"])
    known = {path.split("/")[3] for path in chooser.asked if path.startswith("/v1/customers/")}
    assert known <= {event.get("customer_id") for event in accepted}
    assert shopped(shop, tmp_path / "again", again := Chooser("o1", chooser.products)) == [counts]
    assert again.events == chooser.events


@pytest.mark.parametrize("offer_id", ["o1", "o5"])
def test_an_offer_is_clicked_by_the_fixed_model_and_true_affinity(shop: Shop, tmp_path: Path, offer_id: str) -> None:
    """The expected number of clicks, added up by hand from the model's published constants."""
    chooser = Chooser(offer_id)
    counts = sum(shopped(shop, tmp_path, chooser, slices=4), Counter())
    synthetic = SyntheticShop.build(SIMULATION, shop)
    devices = {f"v{key:016x}": row for row, keys in enumerate(synthetic.population.visitors.tolist()) for key in keys}
    category = OFFER_CATEGORY[OFFER_IDS.index(offer_id)]
    expected, seen = [], Counter[str]()
    for event in chooser.events:
        if event["event_name"] != "view_promotion":
            continue
        at = microseconds(datetime.fromisoformat(event["event_at"])) - 500_000
        customer = devices.get(event["visitor_id"])
        if customer is None:
            liking = 1 / len(CATEGORIES)
        else:
            liking = synthetic.interest.affinity(np.array([customer]), np.array([at]))[0][0, category]
        who = event.get("customer_id", event["visitor_id"])
        expected.append((GENERAL if category < 0 else OF_CATEGORY + BY_AFFINITY * liking) * FATIGUE ** seen[who])
        seen[who] += 1
    chances = np.array(expected)
    deviation = np.sqrt((chances * (1 - chances)).sum())
    assert len(chances) == counts["offers shown"] > 500
    assert abs(counts["offers clicked"] - chances.sum()) < 3.5 * deviation


def test_a_live_shop_and_an_api_that_does_not_answer_are_errors(shop: Shop, tmp_path: Path) -> None:
    live = shop.model_copy(update={"live": True})
    with pytest.raises(SimulationError, match="replayed shop"):
        next(shop_over_api(SIMULATION, live, Place(root=tmp_path), Chooser("o1")))
    with pytest.raises(SimulationError, match="start it with make api"):
        Api("http://127.0.0.1:1", "", sleep=lambda _: None).get("/healthz")
