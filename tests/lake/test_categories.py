"""The top K categories: chosen once by net revenue of history and reference purchases, then frozen."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import jinja2
import pytest

from customer360.features import feature_list
from customer360.lake.raw.history import write_history
from customer360.lake.reference.categories import resolve_categories
from customer360.lake.reference.reference import load_reference
from customer360.settings import REPOSITORY, Place, Settings, TopCategories, read_resolved_categories
from tests.support.random_shop import small_shop

NOW = datetime(2026, 5, 2, tzinfo=UTC)


@pytest.fixture
def top_two(tmp_path: Path) -> Settings:
    shop = small_shop(categories=TopCategories(top=2).model_dump())
    return Settings(shop=shop, place=Place(root=tmp_path), shop_folder=tmp_path)


def rows(settings: Settings, table: str, *values: dict[str, Any]) -> None:
    path = settings.place.landing / "reference" / table / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    load_reference(settings, table, NOW)


def bought(order: str, product: str, amount: float, **columns: Any) -> dict[str, Any]:
    line = {"order_id": order, "product_id": product, "amount": amount, "customer_id": "c"}
    return {**line, "purchased_at": "2026-04-01T00:00:00Z", **columns}


def test_the_categories_with_the_most_net_revenue_are_chosen_and_frozen(top_two: Settings) -> None:
    rows(
        top_two, "products", *({"product_id": p, "category_id": c} for p, c in (("P1", "toys"), ("P2", "books"), ("P3", "art")))
    )
    rows(top_two, "purchases", bought("1", "P1", 50), bought("2", "P2", 30), bought("3", "P3", 90), bought("4", "P3", -80))
    history = top_two.place.landing / "history" / "a.jsonl"
    history.parent.mkdir(parents=True)
    event = {"event_id": "e", "event_name": "purchase", "event_at": "2026-04-01T00:00:00Z", "customer_id": "c"}
    history.write_text(json.dumps({**event, "order_id": "5", "product_id": "P9", "amount": 40, "category_id": "games"}) + "\n")
    write_history(top_two)
    assert top_two.shop.needs_categories
    assert resolve_categories(top_two) == ["games", "toys", "other"]  # 40 and 50, before books with 30 and art with 10
    assert read_resolved_categories(top_two.place) == ["games", "toys"]
    shop = small_shop(categories=TopCategories(top=2).model_dump(), resolved_categories=["games", "toys"])
    frozen = top_two.model_copy(update={"shop": shop})
    rows(top_two, "purchases", bought("1", "P2", 5000))
    assert resolve_categories(frozen) == ["games", "toys", "other"]
    assert resolve_categories(frozen, again=True) == ["books", "games", "other"]


def test_without_purchases_nothing_is_frozen(top_two: Settings) -> None:
    assert resolve_categories(top_two) == ["other"]
    assert read_resolved_categories(top_two.place) is None


def test_listed_categories_are_left_alone(settings: Settings) -> None:
    assert resolve_categories(settings, again=True) == ["books", "music", "garden & home", "other"]
    assert not settings.place.categories_file.exists()


def test_excluded_categories_and_products_are_not_chosen(tmp_path: Path) -> None:
    choice = TopCategories(top=2, exclude=["charges"], exclude_products=["MANUAL"])
    settings = Settings(shop=small_shop(categories=choice.model_dump()), place=Place(root=tmp_path), shop_folder=tmp_path)
    category = {"P1": "toys", "P2": "books", "POST": "charges", "MANUAL": "misc"}
    rows(settings, "products", *({"product_id": product, "category_id": name} for product, name in category.items()))
    rows(
        settings, "purchases", bought("1", "POST", 900), bought("2", "MANUAL", 800), bought("3", "P1", 7), bought("4", "P2", 6)
    )
    assert resolve_categories(settings) == ["books", "toys", "other"]


def test_categories_of_any_script_have_columns_of_their_own_and_no_two_have_one_column(tmp_path: Path) -> None:
    settings = Settings(
        shop=small_shop(categories=TopCategories(top=5).model_dump()), place=Place(root=tmp_path), shop_folder=tmp_path
    )
    revenue = {
        "Кухня": 90,
        "Сад": 80,
        "Other": 70,
        "Home & Garden": 60,
        "Home, Garden": 50,
        "家具": 40,
        "Küche": 30,
        "toys": 20,
    }
    rows(settings, "products", *({"product_id": f"P-{name}", "category_id": name} for name in revenue))
    rows(settings, "purchases", *(bought(name, f"P-{name}", amount) for name, amount in revenue.items()))
    chosen = resolve_categories(settings)
    assert set(chosen) == {"Кухня", "Сад", "Home & Garden", "家具", "Küche", "other"}  # of five names, without "toys"
    resolved = read_resolved_categories(settings.place)
    shop = small_shop(categories=TopCategories(top=5).model_dump(), resolved_categories=resolved)
    names = {feature.name for feature in feature_list(shop) if feature.measure == "lifetime_lines" and feature.category_id}
    assert {f"lifetime_lines_{name}" for name in ("kukhnia", "sad", "home_garden", "kuche", "other")} < names
    assert len(names) == len(chosen)


def test_listed_categories_with_one_column_name_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"the categories 'Home & Garden' and 'Home, Garden' give the same column name, home_garden"
    ):
        small_shop(categories=["Home & Garden", "Home, Garden"])
    with pytest.raises(ValueError, match=r"the categories 'Other' and 'other' give the same column name"):
        small_shop(categories=["Other"])


def test_a_line_of_an_excluded_category_or_product_belongs_to_no_category() -> None:
    text = (REPOSITORY / "dbt_project" / "macros" / "categories.sql").read_text(encoding="utf-8")
    variables = {"categories": [{"id": "toys"}], "excluded_categories": ["charges"], "excluded_products": ["M"]}
    macros: Any = jinja2.Environment().from_string(
        text, globals={"var": lambda name, default=None: variables.get(name, default)}
    )
    macros.globals["dbt"] = SimpleNamespace(string_literal=lambda text: f"'{text}'", escape_single_quotes=lambda text: text)
    expression = macros.module.shop_category("category", "product_category", "product")
    lines = "('toys', null, 'P'), (null, 'charges', 'POST'), ('charges', null, null), (null, 'toys', 'M'), (null, 'art', 'Q')"
    with duckdb.connect() as connection:
        found = connection.execute(f"select {expression} from (values {lines}) as t (category, product_category, product)")
        assert found.fetchall() == [("toys",), (None,), (None,), (None,), ("other",)]
