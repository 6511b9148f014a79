"""The published logic on the published offers, products, list and threshold. Expected values are worked out by hand."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from customer360.offers.customer import Customer
from customer360.offers.decisions import affinities, published_choice
from customer360.offers.offers import Book, Offer, offer_of, open_book
from customer360.settings import OfferRules
from tests.support.reference_data import reference_data

NEW_YEAR, AFTER = date(2016, 12, 20), date(2018, 4, 2)  # all six offers run; the last day of five of them is 2018-04-01
CONDITIONS = {"specificProducts": "specific_products", "topUsers": "top_users", "distance": "distance", "date": "date_range"}
PARAMETERS = {"topUsers": "users={}", "distance": "over={}", "date": "first={}; last={}", "specificProducts": ""}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def folder() -> Path:
    return reference_data("personalized_offers")


def published_offers(folder: Path) -> list[Offer]:
    priority = json.loads((folder / "offer_priority.json").read_text(encoding="utf-8"))["offerList"]
    rows = []
    for offer in lines(folder / "offers.jsonl"):
        values = [text.replace("/", "-") for text in offer["functionParameters"]]
        row = {
            "offer_id": offer["id"],
            "name": offer["offerName"],
            "product_ids": "|".join(offer["offerProducts"]),
            "condition": CONDITIONS[offer["condition"]],
            "parameters": PARAMETERS[offer["condition"]].format(*values),
            "priority": priority.index(offer["id"]) + 1,
            "starts_on": date.fromisoformat(offer["dateStart"].replace("/", "-")),
            "ends_on": date.fromisoformat(offer["dateEnd"].replace("/", "-")),
        }
        names = ("product_id", "category_id", "is_default", "most_shown_24h", "most_shown_30d", "stock", "campaign_id")
        rows.append(offer_of(dict.fromkeys(names) | row, {}))
    return rows


@pytest.fixture(scope="module")
def vectors(folder: Path) -> dict[str, dict[str, float]]:
    return {product["id"]: product["categories"] for product in lines(folder / "products.jsonl")}


@pytest.fixture
def book(folder: Path, vectors: dict[str, dict[str, float]]) -> Book:
    threshold = json.loads((folder / "offer_threshold.json").read_text(encoding="utf-8"))
    rules = OfferRules()
    assert (rules.top_products, rules.threshold) == (threshold["N"], threshold["E"]) == (3, 0.8)
    return open_book(NEW_YEAR, rules, published_offers(folder), vectors)


def on(book: Book, day: date) -> Book:
    return open_book(day, book.rules, book.listed, book.products)


def shown(book: Book, **customer: Any) -> str:
    choice = published_choice(book, Customer("c1", **customer))
    assert choice is not None
    return choice.offer.offer_id


def test_affinity_is_the_mean_of_probability_times_cosine_over_the_offers_products_among_the_top_three(book: Book) -> None:
    customer = Customer(
        "c1",
        # Length 10: cosine .6 with fitness (11 to 15), .8 with beauty (21 to 25), 0 with the others.
        tastes={"Fitness": 6, "Beauty": 8},
        products=(("22", 0.9), ("13", 0.5), ("11", 0.3), ("3", 0.2), ("12", 0.1)),
    )
    found = affinities(book, customer)
    # Offers 3 and 4 are for 11 to 15, of which 13 and 11 are among the top 3: (.5 x .6 + .3 x .6) / 2 = .24.
    # Offer 5 is for 21 to 25: .9 x .8 = .72. Offer 6 is for product 3, which comes fourth.
    assert {name: round(affinity, 12) for name, (affinity, _) in found.items()} == {"3": 0.24, "4": 0.24, "5": 0.72}
    assert found["4"][1] == ["13", "11"]


def test_the_best_offer_is_shown_above_the_threshold_and_not_at_it(book: Book) -> None:
    beauty = {"tastes": {"Beauty": 1}}
    assert shown(book, products=(("22", 0.81),), **beauty) == "5"
    assert shown(book, products=(("22", 0.8),), **beauty) == "3"
    # .95 alone would do; with a second product of the offer the mean is (.95 + .6) / 2 = .775.
    assert shown(book, products=(("22", 0.95), ("21", 0.6)), **beauty) == "3"


def test_of_two_offers_with_the_same_affinity_the_first_of_the_list_is_shown(book: Book) -> None:
    assert shown(book, tastes={"Fitness": 1}, products=(("12", 0.9),)) == "4"  # 3 and 4 are for the same products


def test_the_best_offer_counts_only_inside_its_dates(book: Book) -> None:
    lens = {"tastes": {"Photography": 1}, "products": (("3", 0.9),)}
    assert shown(on(book, date(2018, 4, 1)), **lens) == "6"
    assert shown(on(book, AFTER), **lens) == "3"


@pytest.mark.parametrize(
    ("customer", "expected"),
    [
        ({"activity_rank": 5, "attributes": {"distance_to_store": 500.0}}, "1"),  # the first that holds, not the last
        ({"activity_rank": 6, "attributes": {"distance_to_store": 500.0}}, "2"),
        ({"activity_rank": 6, "attributes": {"distance_to_store": 100.0}}, "3"),
        ({}, "3"),
    ],
)
def test_else_the_first_condition_of_the_list_that_holds_decides_and_the_last_is_the_default(
    book: Book, customer: dict[str, Any], expected: str
) -> None:
    assert shown(book, **customer) == expected


def test_the_default_is_shown_whatever_its_dates_and_an_offer_of_the_list_is_not(book: Book) -> None:
    assert shown(on(book, date(2017, 6, 1)), activity_rank=1) == "1"
    assert shown(on(book, date(2017, 6, 1))) == "3"  # its last day is 2017-01-07
    assert shown(on(book, AFTER), activity_rank=1) == "3"


def test_offers_of_products_alone_are_never_shown_from_the_list(book: Book) -> None:
    assert shown(book, tastes={"Beauty": 1}, products=(("22", 0.1),)) == "3"


def test_a_visitor_without_tastes_gets_the_list(book: Book) -> None:
    assert shown(book, products=(("22", 0.99),)) == "3"


def test_without_offers_there_is_no_choice() -> None:
    assert published_choice(open_book(NEW_YEAR, OfferRules(), [], {}), Customer("c1")) is None
