"""Value beside scores: from the same batches, without contradiction, and null where a model is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pandas as pd
import pytest
from published_frames import customer_frame, feature_frame

from customer360.settings import Shop
from ml.frames import feature_matrix
from ml.serving import serving as serving_module
from ml.serving.customer_value import VALUE_SCHEMA, Serving
from ml.serving.scoring import score
from ml.serving.serving import Served, count_consistent, serve
from ml.serving.serving_tables import Tables

TABLES = Tables("features", "own.scores", "own.kept", value="own.value")
MISSING = ["purchase_probability", "expected_spend", "churn_probability"]


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("create schema own")
        yield connection


def served(
    connection: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving, customers: int = 60
) -> tuple[Served, pd.DataFrame, pd.DataFrame]:
    """What a run made of so many customers: its sums, the features, the value."""
    features = customer_frame(shop, customers)
    connection.register("given", features)
    connection.execute("create or replace table features as from given order by random()")
    found = serve(connection, serving, shop, TABLES)
    return found, features, connection.execute("from own.value order by customer_id").df()


def test_value_is_what_the_models_say_of_each_customer(
    warehouse: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving
) -> None:
    found, features, value = served(warehouse, shop, serving)
    assert serving.affinity and serving.spend and serving.churn
    matrix = feature_matrix(features, serving.affinity.model.features, "x")
    scores = score(features, serving.affinity).to_pandas()
    none = scores[scores["category_id"] == "none"].set_index("customer_id")["probability"]
    assert value["customer_id"].tolist() == features["customer_id"].tolist()
    assert value["purchase_probability"].tolist() == (1 - none.loc[value["customer_id"]]).tolist()
    means = serving.spend.manifest.bands.means
    bands = serving.spend.model.probabilities(matrix)
    expected = value["purchase_probability"] * sum(bands[:, place] * mean for place, mean in enumerate(means))
    assert value["expected_spend"].to_numpy() == pytest.approx(expected.to_numpy())
    churn = serving.churn.model.probabilities(matrix)
    assert value["churn_probability"].tolist() == churn[:, 0].tolist()
    versions = value[["model_version", "spend_model_version", "churn_model_version"]].drop_duplicates()
    assert versions.to_numpy().tolist() == [["a1", "s1", "c1"]]
    assert value["as_of"].tolist() == features["as_of"].tolist()
    assert found.total_expected_spend == pytest.approx(value["expected_spend"].sum())
    assert found.mean_purchase_probability == pytest.approx(value["purchase_probability"].mean())
    assert (found.customers, found.scores) == (60, 300)


def test_before_any_champion_everyone_has_a_row_of_nulls(warehouse: duckdb.DuckDBPyConnection, shop: Shop) -> None:
    found, features, value = served(warehouse, shop, Serving())
    assert value["customer_id"].tolist() == features["customer_id"].tolist()
    assert value[[*MISSING, "model_version", "spend_model_version", "churn_model_version"]].isna().all(axis=None)
    described = {name: kind for name, kind, *_ in warehouse.execute("describe own.value").fetchall()}
    assert described == {
        "customer_id": "VARCHAR",
        **dict.fromkeys(MISSING, "DOUBLE"),
        **dict.fromkeys(["model_version", "spend_model_version", "churn_model_version"], "VARCHAR"),
        "as_of": "TIMESTAMP",
    }
    assert list(described) == VALUE_SCHEMA.names
    assert found == Served(0, 60, None, None)
    assert count_consistent(warehouse, TABLES) == (60, 60)


@pytest.mark.parametrize(
    ("absent", "null"),
    [
        ("affinity", ["purchase_probability", "expected_spend"]),
        ("spend", ["expected_spend"]),
        ("churn", ["churn_probability"]),
    ],
)
def test_a_missing_model_leaves_only_its_own_columns_null(
    warehouse: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving, absent: str, null: list[str]
) -> None:
    _, _, unchanged = served(warehouse, shop, serving)
    _, _, value = served(warehouse, shop, replace(serving, **{absent: None}))
    assert value[null].isna().all(axis=None)
    others = [name for name in MISSING if name not in null]
    pd.testing.assert_frame_equal(value[others], unchanged[others])
    assert count_consistent(warehouse, TABLES) == (60, 60)


@pytest.mark.full
def test_batches_change_nothing_and_each_ones_features_are_read_once(
    warehouse: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, at_once = served(warehouse, shop, serving, customers=5000)
    made: list[int] = []
    unchanged = serving_module.served_matrix
    monkeypatch.setattr(
        serving_module, "served_matrix", lambda batch, loaded: made.append(len(batch)) or unchanged(batch, loaded)
    )
    monkeypatch.setattr(serving_module, "BATCH", 1)
    found, _, value = served(warehouse, shop, serving, customers=5000)
    assert made == [2048, 2048, 904]
    pd.testing.assert_frame_equal(value, at_once)
    assert found.customers == 5000


@pytest.mark.parametrize(
    "spoil",
    [
        "update own.value set churn_probability = 1.5 where customer_id = 'c000003'",
        "update own.value set expected_spend = -0.01 where customer_id = 'c000003'",
        "update own.value set expected_spend = 'nan'::double where customer_id = 'c000003'",
        "update own.value set purchase_probability = purchase_probability / 2 where customer_id = 'c000003'",
        "update own.value set purchase_probability = null where customer_id = 'c000003'",
        "insert into own.value from own.value where customer_id = 'c000003'",
        "delete from own.value where customer_id = 'c000003'",
        "update own.scores set probability = 0.5 where customer_id = 'c000003' and category_id = 'none'",
    ],
)
def test_value_that_contradicts_itself_or_the_scores_is_not_sound(
    warehouse: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving, spoil: str
) -> None:
    served(warehouse, shop, serving)
    assert count_consistent(warehouse, TABLES) == (60, 60)
    warehouse.execute(spoil)
    assert count_consistent(warehouse, TABLES) == (60, 59)


def test_a_failure_leaves_the_value_of_before(
    warehouse: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, before = served(warehouse, shop, serving)
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("no memory")

    monkeypatch.setattr(serving_module, "customer_value", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        serve(warehouse, serving, shop, TABLES)
    assert calls
    pd.testing.assert_frame_equal(warehouse.execute("from own.value order by customer_id").df(), before)


def test_expected_spend_adds_up_to_about_what_is_spent(
    warehouse: duckdb.DuckDBPyConnection, shop: Shop, serving: Serving
) -> None:
    """Customers whose true spend was drawn with them; 2,100 rows to learn from leave the sum uncertain by some percent."""
    truth = feature_frame(shop, 4000, seed=3)
    found, features, _ = served(warehouse, shop, serving, customers=4000)
    assert truth["customer_id"].tolist() == features["customer_id"].tolist()
    assert found.total_expected_spend == pytest.approx(truth["spend"].sum(), rel=0.15)
    assert found.mean_purchase_probability == pytest.approx((truth["spend"] > 0).mean(), abs=0.03)
