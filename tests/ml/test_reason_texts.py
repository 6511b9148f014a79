"""Reasons as a marketer reads them, each text worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from published_frames import customer_frame, small_shop

from customer360.features import feature_list
from customer360.settings import Shop, slug
from ml.frames import feature_matrix
from ml.serving.reason_texts import ReasonTexts
from ml.serving.reasons import reasons
from ml.versions.model_store import LoadedModel

TITLES = {"fitness": "Fitness", "beauty": "Beauty & Care", "computers": " "}
BOUGHT = {"orders_fitness_30d": 1, "spend_fitness_30d": 84.5}


def reason_text(shop: Shop, name: str, titles: dict[str, str] | None = None, **values: object) -> str:
    """The reason by one feature of a customer with these values; all others are 0 or not known."""
    features = feature_list(shop)
    empty = {other.name: [None] if other.kind == "categorical" else [0.0] for other in features}
    matrix = feature_matrix(pd.DataFrame({**empty, **{key: [value] for key, value in values.items()}}), features, "x")
    (feature,) = [other for other in features if other.name == name]
    (text,) = ReasonTexts(features, shop, TITLES if titles is None else titles).texts(feature, matrix)
    return text


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("views_fitness_3d", {"views_fitness_3d": 4, "dwell_seconds_fitness_3d": 600}, "4 views of Fitness in 3 days"),
        ("views_fitness_3d", {"views_fitness_3d": 1}, "1 view of Fitness in 3 days"),
        ("views_fitness_30d", {"views_fitness_30d": 1234}, "1,234 views of Fitness in 30 days"),
        ("views_fitness_3d", {"views_fitness_30d": 4}, "did not look at Fitness in 3 days"),
        ("dwell_seconds_fitness_3d", {}, "did not look at Fitness in 3 days"),
        ("dwell_seconds_fitness_3d", {"views_fitness_3d": 2}, "2 views of Fitness in 3 days"),
        ("dwell_seconds_fitness_3d", {"dwell_seconds_fitness_3d": 59}, "less than a minute on Fitness in 3 days"),
        ("dwell_seconds_fitness_3d", {"dwell_seconds_fitness_3d": 80}, "1 minute on Fitness in 3 days"),
        ("dwell_seconds_fitness_3d", {"dwell_seconds_fitness_3d": 1500}, "25 minutes on Fitness in 3 days"),
        ("dwell_seconds_fitness_3d", {"dwell_seconds_fitness_3d": 46_740}, "13 hours on Fitness in 3 days"),
        ("views_30d", {"views_30d": 44}, "44 views of products in 30 days"),
        ("views_30d", {}, "did not look at any product in 30 days"),
        ("dwell_seconds_30d", {"dwell_seconds_30d": 1080}, "18 minutes on products in 30 days"),
        ("orders_fitness_30d", BOUGHT | {"orders_fitness_30d": 2}, "bought Fitness 2 times in 30 days, 84.50 EUR"),
        ("spend_fitness_30d", BOUGHT, "bought Fitness once in 30 days, 84.50 EUR"),
        ("orders_fitness_30d", {"orders_fitness_30d": 1, "spend_fitness_30d": -5}, "bought Fitness once in 30 days"),
        ("spend_fitness_30d", {}, "did not buy Fitness in 30 days"),
        ("spend_30d", {"orders_30d": 3, "spend_30d": 84.5}, "3 orders in 30 days, 84.50 EUR"),
        ("orders_30d", {}, "no order in 30 days"),
        ("monetary", {"frequency": 1, "monetary": 80}, "1 order in 365 days, 80.00 EUR"),
        ("frequency", {}, "no order in 365 days"),
        ("lifetime_share_fitness", {"lifetime_lines_fitness": 2}, "bought Fitness 2 times so far"),
        (
            "lifetime_spend_fitness",
            {"lifetime_lines_fitness": 1, "lifetime_spend_fitness": 9},
            "bought Fitness once so far, 9.00 EUR",
        ),
        ("lifetime_lines_fitness", {}, "never bought Fitness"),
        ("lifetime_spend", {"lifetime_lines": 5, "lifetime_spend": 9}, "bought 5 products so far, 9.00 EUR"),
        ("lifetime_lines", {}, "never bought anything"),
        ("returned_amount_30d", {"returned_amount_30d": 12.5}, "returned 12.50 EUR in 30 days"),
        ("returned_amount_30d", {}, "returned nothing in 30 days"),
        ("return_share", {"return_share": 0.254}, "returned 25% of purchases in 365 days"),
        ("return_share", {"return_share": np.nan}, "returned nothing in 365 days"),
        ("carts_30d", {"carts_30d": 22}, "put 22 products into the cart in 30 days"),
        ("carts_30d", {"carts_30d": 1}, "put 1 product into the cart in 30 days"),
        ("carts_30d", {}, "put nothing into the cart in 30 days"),
        ("offers_shown_3d", {"offers_shown_3d": 3}, "saw 3 offers in 3 days"),
        ("offers_shown_3d", {}, "saw no offer in 3 days"),
        ("offers_clicked_3d", {"offers_clicked_3d": 1}, "clicked 1 offer in 3 days"),
        ("recency_days", {"recency_days": 12}, "last order 12 days ago"),
        ("recency_days", {"recency_days": 1}, "last order 1 day ago"),
        ("recency_days", {"recency_days": 0}, "last order today"),
        ("recency_days", {"recency_days": np.nan}, "no order yet"),
        ("days_since_last_activity", {"days_since_last_activity": 20}, "not active for 20 days"),
        ("days_since_last_activity", {"days_since_last_activity": 6.9}, "last active 6 days ago"),
        ("days_since_last_activity", {"days_since_last_activity": 0}, "active within a day"),
        ("days_since_last_activity", {"days_since_last_activity": np.nan}, "not active yet"),
        ("last_category_id", {"last_category_id": "fitness"}, "last bought Fitness"),
        ("last_category_id", {"last_category_id": "other"}, "last bought other products"),
        ("last_category_id", {"last_category_id": "none"}, "has not bought yet"),
        ("region", {"region": "north"}, "Region: north"),
        ("region", {}, "Region: not known"),
        ("household_size", {"household_size": 3}, "People in the household: 3"),
        ("is_head_of_household", {"is_head_of_household": True}, "Head of the household: yes"),
    ],
)  # fmt: skip
def test_a_reason_is_worded_for_a_marketer(shop: Shop, name: str, values: dict[str, object], words: str) -> None:
    assert reason_text(shop, name, **values) == words


def test_names_of_categories_come_from_their_table_else_from_their_ids(shop: Shop) -> None:
    assert reason_text(shop, "views_computers_3d", views_computers_3d=2) == "2 views of Computers in 3 days"
    assert reason_text(shop, "views_fitness_3d", {"fitness": "Sport"}, views_fitness_3d=2) == "2 views of Sport in 3 days"
    assert reason_text(shop, "views_other_3d", {"other": "Misc"}, views_other_3d=2) == "2 views of other products in 3 days"
    name = f"views_{slug('table_lamps')}_3d"
    assert reason_text(small_shop(categories=["table_lamps"]), name, {}, **{name: 2}) == "2 views of Table lamps in 3 days"


def test_a_name_that_is_markup_or_too_long_stays_text_and_short(shop: Shop) -> None:
    text = reason_text(shop, "views_fitness_3d", {"fitness": "<script>@all " + "x" * 90}, views_fitness_3d=2)
    assert text.startswith("2 views of ‹script›＠all xxx")  # noqa: RUF001
    assert len(text) == len("2 views of ") + 24 + len(" in 3 days")
    assert not set("<>@") & set(text)
    assert "<" not in reason_text(shop, "region", region="<b>north</b>")
    longest = reason_text(shop, "spend_beauty_30d", orders_beauty_30d=12, spend_beauty_30d=12345.67)
    assert longest == "bought Beauty ＆ Care 12 times in 30 days, 12,345.67 EUR"  # noqa: RUF001
    assert len(longest) <= 60


def test_every_feature_has_words_without_its_name_and_the_shops_currency(shop: Shop) -> None:
    swiss = shop.model_copy(update={"currency": "CHF"})
    for feature in feature_list(shop):
        text = reason_text(swiss, feature.name, **({feature.name: 2} if feature.kind == "numeric" else {}))
        assert len(text) <= 60, text
        assert feature.name not in text
        assert "_" not in text
    assert reason_text(swiss, "spend_30d", orders_30d=1, spend_30d=2) == "1 order in 30 days, 2.00 CHF"


def test_the_three_reasons_of_a_customer_are_about_different_things(shop: Shop, champion: LoadedModel) -> None:
    found = reasons(customer_frame(shop, 200), champion, shop, TITLES)
    texts = found[["reason_1", "reason_2", "reason_3"]]
    assert texts.apply(lambda row: row.dropna().is_unique, axis=1).all()
    assert texts.stack().str.contains("Beauty ＆ Care").any()  # noqa: RUF001
    assert texts.stack().str.len().max() <= 60
    again = reasons(customer_frame(shop, 200).sample(frac=1, random_state=3), champion, shop, TITLES)
    assert again.sort_values("customer_id", ignore_index=True).equals(found)
