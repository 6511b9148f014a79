from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from customer360.offers.conditions import CONDITIONS, Condition, ConditionError, offer_faults, parse_condition
from customer360.offers.customer import Customer
from tests.support.random_shop import small_shop

TODAY = date(2026, 5, 4)
SHOP = small_shop(attributes={"distance_to_store": {"type": "double"}, "city": {"type": "text"}})
ROW: dict[str, Any] = dict.fromkeys(
    ("category_id", "product_id", "product_ids", "condition", "parameters", "is_default", "starts_on", "ends_on")
)


def row(offer_id: str = "o1", **values: Any) -> dict[str, Any]:
    limits = dict.fromkeys(("stock", "most_shown_24h", "most_shown_30d"))
    return {**ROW, **limits, "offer_id": offer_id, **values}


def held(name: str, parameters: str | None, **customer: Any) -> bool:
    return parse_condition(name, parameters, has_products=True).holds(Customer("c1", **customer), TODAY)


@pytest.mark.parametrize(
    ("name", "parameters", "customer", "expected"),
    [
        ("always", None, {}, True),
        ("top_users", "users=2", {"activity_rank": 2}, True),
        ("top_users", "users=2", {"activity_rank": 3}, False),
        ("top_users", "users=2", {}, False),
        ("top_users", None, {"activity_rank": 1000}, True),
        ("distance", "over=100", {"attributes": {"distance_to_store": 100.5}}, True),
        ("distance", "over=100", {"attributes": {"distance_to_store": 100.0}}, False),
        ("distance", "over=100", {}, False),
        ("distance", "over=5; attribute=km", {"attributes": {"km": 6}}, True),
        ("date_range", "first=2026-05-04; last=2026-05-04", {}, True),
        ("date_range", "last=2026-05-03", {}, False),
        ("date_range", "first=2026-05-05", {}, False),
        ("date", None, {}, True),
        ("segment", "segments=At Risk | Champions", {"segment": "Champions"}, True),
        ("segment", "segments=At Risk|Champions", {"segment": "Loyal"}, False),
        ("segment", "segments=At Risk", {}, False),
        ("specific_products", "", {}, True),
    ],
)
def test_a_condition_holds_by_its_parameters(
    name: str, parameters: str | None, customer: dict[str, Any], expected: bool
) -> None:
    assert held(name, parameters, **customer) is expected


def test_without_a_name_an_offer_is_for_its_products_or_for_everybody() -> None:
    assert not parse_condition(None, None, has_products=True).is_general
    assert parse_condition(None, None, has_products=False) == CONDITIONS["always"]()


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_that_holds_says_why(name: str) -> None:
    parameters = {"segment": "segments=Champions", "top_users": "users=10"}.get(name)
    customer = Customer("c1", segment="Champions", activity_rank=3, attributes={"distance_to_store": 180.0})
    condition = parse_condition(name, parameters, has_products=True)
    assert condition.holds(customer, TODAY)
    words = condition.words(customer)
    expected = {"segment": "Champions", "top_users": "3", "distance": "over 100 away"}.get(name, "it")
    assert expected in words
    assert "180" not in words  # a personal attribute


@pytest.mark.parametrize(
    ("name", "parameters", "column", "message"),
    [
        ("top_user", None, "condition", "did you mean top_users?"),
        ("lottery", None, "condition", "There are always, specific_products, top_users, distance, date_range, date, segment"),
        ("top_users", "users=many", "parameters", "users must be a valid integer"),
        ("top_users", "users=0", "parameters", "users must be greater than or equal to 1"),
        ("top_users", "miles=3", "parameters", "there is no parameter 'miles' (its parameters: users)"),
        ("top_users", "1000", "parameters", "is not written as name=value"),
        ("top_users", "users=1; users=2", "parameters", "each once"),
        ("distance", "over=nan", "parameters", "over must be a finite number"),
        ("date_range", "first=2026-05-05; last=2026-05-04", "parameters", "last lies before first"),
        ("date_range", "first=05/04/2026", "parameters", "first must be a valid date"),
        ("segment", None, "parameters", "segments is missing"),
        ("always", "users=3", "parameters", "(its parameters: none)"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_would_be(
    name: str, parameters: str | None, column: str, message: str
) -> None:
    with pytest.raises(ConditionError) as error:
        parse_condition(name, parameters, has_products=True)
    assert error.value.column == column
    assert message in str(error.value)


def test_conditions_are_judged_against_the_shop() -> None:
    rows = [
        row("o1", condition="distance"),
        row("o2", condition="distance", parameters="attribute=city"),
        row("o3", condition="segment", parameters="segments=Champion"),
        row("o4", condition="segment", parameters="segments=Champions|Prospect"),
        row("o5", condition="specific_products"),
        row("o6", product_ids="p1|p2"),
        row("o7", is_default=True),
        row("o8", is_default=True),
        row("o9", starts_on=date(2026, 5, 2), ends_on=date(2026, 5, 1)),
        row("o10", stock=-1),
    ]
    found = {rows[position]["offer_id"]: fault for position, fault in offer_faults(rows, SHOP)}
    assert {offer: column for offer, (column, _) in found.items()} == {
        "o2": "parameters",
        "o3": "parameters",
        "o5": "condition",
        "o8": "is_default",
        "o9": "ends_on",
        "o10": "stock",
    }
    assert "city is no attribute of type double or integer in shop.yaml" in found["o2"][1]
    assert "whose segments are Champions, " in found["o3"][1]
    assert "o7 is the default too" in found["o8"][1]


def test_a_condition_is_listed_under_one_class_and_has_words() -> None:
    assert all(issubclass(kind, Condition) and kind.__doc__ for kind in CONDITIONS.values())
