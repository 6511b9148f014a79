"""Candidates, training set and affinity of products, on small tables whose values are worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import exp

import duckdb
import numpy as np
import pandas as pd
import pytest

from customer360.settings import Shop
from ml.datasets.targets import BOUGHT, PRODUCT, target_of
from ml.datasets.training_sets import TrainingSetError
from ml.fitting.training import train, train_earlier
from ml.judging.evaluation import evaluate
from ml.recommendations.affinity import product_affinity
from ml.recommendations.baskets import RULES, backtest, judged_moments
from ml.recommendations.candidates import FEATURES, bought_within, candidate_rows, know_until
from ml.recommendations.training_set import build_product_training_set, read_candidates

NOW = datetime.fromisoformat("2026-05-31 12:00:00")


def day(days_ago: float) -> datetime:
    return NOW - timedelta(days=days_ago)


def interactions(rows: list[tuple[str | None, str, str, str, float]], late: float = 0) -> pd.DataFrame:
    """(customer, session, product, kind, days ago); ``late``: how many days after it happened each row was known."""
    return pd.DataFrame(
        [
            {
                "customer_id": customer,
                "visitor_id": None if customer else "V1",
                "session_id": session,
                "product_id": product,
                "kind": kind,
                "happened_at": day(ago),
                "known_at": day(ago - late),
                "quantity": 1.0,
            }
            for customer, session, product, kind, ago in rows
        ]
    )


def opened(events: pd.DataFrame, products: pd.DataFrame, related: pd.DataFrame | None = None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    empty = pd.DataFrame({"product_id": ["none"], "related_product_id": ["none"], "relation": ["also_bought"], "score": [0.1]})
    for name, frame in {
        "interactions": events,
        "products": products,
        "related_products": empty if related is None else related,
        "categories": pd.DataFrame({"category_id": ["food"], "name": ["Food"]}),
    }.items():
        connection.register("frame", frame)
        connection.execute(f"create table {name} as select * from frame")
        connection.unregister("frame")
    return connection


PRODUCTS = pd.DataFrame({"product_id": ["A", "B", "C"], "name": ["Apple", "Bread", "Cake"], "category_id": ["food"] * 3})
FEW = interactions(
    [
        ("C1", "O1", "A", "purchase", 20),
        ("C1", "O2", "A", "purchase", 10),
        ("C1", "O2", "B", "purchase", 10),
        ("C2", "O3", "C", "purchase", 5),
        ("C2", "S1", "B", "view", 1),
    ]
)


@pytest.fixture
def rows() -> Iterator[pd.DataFrame]:
    with opened(FEW, PRODUCTS) as connection:
        yield candidate_rows(connection, know_until(connection, NOW)).set_index(["customer_id", "product_id"])


def test_features_are_those_worked_out_by_hand(rows: pd.DataFrame) -> None:
    apple = rows.loc[("C1", "A")]
    assert (apple["orders"], apple["products_per_order"], apple["days_since_order"]) == (2, 1.5, 10)
    assert (apple["purchases"], apple["purchase_interval_days"], apple["due"]) == (2, 10, 1)
    assert apple["purchase_share"] == 1
    assert rows.loc[("C1", "B"), "purchase_share"] == pytest.approx(1 / 1.97)
    assert apple["purchases_60d"] == pytest.approx(exp(-20 / 60) + exp(-10 / 60))
    weights = {"A": exp(-1) + exp(-0.5), "B": exp(-0.5) + 0.01 * exp(-1 / 20), "C": exp(-0.25)}
    assert rows.loc["C2"]["popularity"].to_dict() == pytest.approx(
        {name: weight / sum(weights.values()) for name, weight in weights.items()}
    )
    assert rows.loc[("C2", "B"), "views_3d"] == pytest.approx(exp(-1 / 3))
    assert np.isnan(rows.loc[("C2", "A"), "days_since_purchase"])
    assert (apple["repeat_share"], rows.loc[("C1", "C"), "repeat_share"]) == (1, 0)


def test_what_happened_or_became_known_after_the_moment_is_not_there() -> None:
    later = interactions([("C1", "O9", "C", "purchase", -1), ("C3", "O8", "C", "purchase", -2)])
    linked_later = interactions([("C1", "S2", "C", "view", 2)], late=3)
    with opened(pd.concat([FEW, later, linked_later]), PRODUCTS) as connection, opened(FEW, PRODUCTS) as plain:
        known, known_plain = know_until(connection, NOW), know_until(plain, NOW)
        assert known.customers == known_plain.customers == 2
        pd.testing.assert_frame_equal(candidate_rows(connection, known), candidate_rows(plain, known_plain))


def test_batches_hold_every_customer_once(rows: pd.DataFrame) -> None:
    with opened(FEW, PRODUCTS) as connection:
        known = know_until(connection, NOW)
        batches = pd.concat([candidate_rows(connection, known, batch, 3) for batch in range(3)])
    pd.testing.assert_frame_equal(
        batches.set_index(["customer_id", "product_id"]).sort_index().astype(rows.dtypes), rows, check_index_type=False
    )


def shop_of_habits(customers: int = 240, weeks: int = 12) -> pd.DataFrame:
    """Each customer buys a product of its own every week, and one of three popular ones at random."""
    generator = np.random.default_rng(360)
    found = []
    for number in range(customers):
        for week in range(weeks):
            ago = 7 * week + 0.1 + 6 * generator.random()
            order = f"O{number}-{week}"
            if generator.random() < 0.8:
                found.append((f"C{number:03}", order, f"own-{number % 40:02}", "purchase", ago))
            found.append((f"C{number:03}", order, f"top-{generator.integers(3)}", "purchase", ago))
    return interactions(found)


def habits() -> duckdb.DuckDBPyConnection:
    events = shop_of_habits()
    names = sorted(events["product_id"].unique())
    products = pd.DataFrame(
        {
            "product_id": names,
            "name": names,
            "category_id": "food",
            "is_for_sale": [False if name == "own-07" else None for name in names],
            "stock": [0.0 if name == "own-08" else None for name in names],
        }
    ).astype({"is_for_sale": "boolean"})
    return opened(events, products)


@pytest.mark.full
def test_habits_are_learned_judged_and_recommended_with_their_reasons(shop: Shop) -> None:
    target = target_of(PRODUCT, shop)
    with habits() as connection:
        training_set = build_product_training_set(read_candidates(connection, shop, NOW), target)
        trained = train(training_set, seed=1, threads=1)
        found = evaluate(training_set, trained, earlier=train_earlier(training_set, trained, seed=1, threads=1))
        assert found.choice is not None
        scores = found.scores.set_index("contender")["log_loss"]
        assert scores["own frequency and popularity"] < scores["recent popularity"] < scores["prior"]
        model, judged_at = trained.contenders[found.serves], training_set.validation_cutoff
        frames = list(product_affinity(connection, NOW, model, "v1", target.horizon_days))
        earlier = pd.concat(product_affinity(connection, judged_at, model, "v1", target.horizon_days))
        bought = bought_within(connection, judged_at, target.horizon_days).assign(is_bought=1.0)
        moments = judged_moments(shop, NOW, judged_at)
        ordered = backtest(connection, model, moments, target.horizon_days)
        popular = trained.contenders["recent popularity"]
        without = backtest(connection, popular, moments, target.horizon_days)
        by_rule = pd.concat(
            product_affinity(connection, NOW, model, "v1", target.horizon_days, order=RULES["recent popularity"])
        )
    assert ordered is not None
    assert without is not None
    assert moments == [judged_at]
    table = ordered.comparison.table
    recalls = table[table["history"] == "all"].set_index("method")["recall_10"]
    # four products a week of 43 are bought by anybody's habit: the three popular ones, and the own one
    assert recalls["recent popularity"] < recalls[ordered.comparison.best]
    assert recalls["recent popularity"] < recalls["TIFU-KNN"] > 0.95
    assert set(recalls.index) == {"model", *RULES}
    # a model that knows popularity alone orders no products: the best rule does, and says so
    assert without.serves == without.comparison.best != "recent popularity"
    assert without.serves in without.reason
    assert by_rule.loc[by_rule["rank"] == 1, "product_id"].str.startswith("top").all()
    outcome = earlier.merge(bought, on=["customer_id", "product_id"], how="left").fillna({"is_bought": 0.0})
    for is_own in (True, False):
        of = outcome[outcome["product_id"].str.startswith("own") == is_own]
        assert of["probability"].mean() == pytest.approx(of["is_bought"].mean(), abs=0.06)
    affinity = pd.concat(frames)
    assert affinity["customer_id"].nunique() == 240
    assert not affinity.duplicated(["customer_id", "product_id"]).any()
    ranks = affinity.groupby("customer_id")["rank"]
    assert (ranks.min() == 1).all() and (ranks.max() <= 20).all()
    assert affinity.sort_values(["customer_id", "rank"]).groupby("customer_id")["probability"].is_monotonic_decreasing.all()
    assert not affinity["product_id"].isin(["own-07", "own-08"]).any()
    own = affinity[
        affinity["product_id"] == "own-" + affinity["customer_id"].str[1:].astype(int).mod(40).astype(str).str.zfill(2)
    ]
    events = shop_of_habits()
    last = events[events["product_id"].str.startswith("own")].groupby("customer_id")["happened_at"].max()
    lacks = set(last.index) - set(own["customer_id"]) - {f"C{number:03}" for number in range(240) if number % 40 in (7, 8)}
    assert (last[sorted(lacks)] > day(1.5)).all()  # who bought it yesterday is not shown it: most wait over 8 days
    assert len(lacks) < 24
    assert own["reason"].str.fullmatch(r"you buy this every (\d+ days|[2-9] weeks)").all()
    assert set(affinity["model_version"]) == {"v1"}


def test_a_shop_without_enough_weeks_says_what_is_missing(shop: Shop) -> None:
    with opened(FEW, PRODUCTS) as connection:
        candidates = read_candidates(connection, shop, NOW)
    with pytest.raises(TrainingSetError, match="weekly cut-off"):
        build_product_training_set(candidates, target_of(PRODUCT, shop))


def test_a_product_of_a_category_that_nobody_buys_twice_is_not_recommended_again(shop: Shop) -> None:
    once = interactions([(f"C{number}", f"O{number}", "C", "purchase", 3) for number in range(30)])
    milk = interactions(
        [(f"C{number}", f"M{number}-{week}", "A", "purchase", 7 * week + 3) for number in range(30) for week in range(6)]
    )
    products = PRODUCTS.assign(category_id=["food", "food", "cakes"])
    related = pd.DataFrame({"product_id": ["A"], "related_product_id": ["B"], "relation": ["also_bought"], "score": [0.4]})
    new = interactions([("C99", "O99", "B", "purchase", 40)])
    with opened(pd.concat([once, milk, new]), products, related) as connection, habits() as other:
        training_set = build_product_training_set(read_candidates(other, shop, NOW), target_of(PRODUCT, shop))
        model = train(training_set, seed=1, threads=1).contenders["recent popularity"]
        affinity = pd.concat(product_affinity(connection, NOW, model, "v1", 7))
    of_first = affinity[affinity["customer_id"] == "C0"].set_index("product_id")
    assert "C" not in of_first.index  # a cake was bought, and nobody bought a second one
    assert of_first.loc["A", "reason"] == "you buy this every 7 days"
    assert of_first.loc["B", "reason"] == "bought together with Apple"
    assert "C" in set(affinity.loc[affinity["customer_id"] == "C99", "product_id"])  # who has none may get it


def test_every_feature_has_a_column_and_the_label_is_named(rows: pd.DataFrame, shop: Shop) -> None:
    assert {feature.name for feature in FEATURES} <= set(rows.columns)
    assert target_of(PRODUCT, shop).positives == (BOUGHT,)
