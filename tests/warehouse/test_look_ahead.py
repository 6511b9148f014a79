"""Leaks of every kind, planted into the SQL of the training set, are found and named; the SQL as it is has none."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from customer360.features import feature_list
from customer360.lake.warehouse.altered_future import UntimedRelationError
from customer360.lake.warehouse.sampled_copy import copy_sample
from customer360.settings import Attribute, Shop
from ml.datasets.look_ahead import LookAhead, look_ahead
from tests.support.lab import Lab
from tests.support.random_shop import random_shop, small_shop

HORIZON = timedelta(days=7)
MOMENT = r"cast\('(2026[^']*)' as timestamp\)"
Mutation = Callable[[str], str]


@dataclass
class TrainingSql:
    """The compiled SQL of a shop's training set, and a copy of the relations that it reads."""

    sql: str
    relations: list[tuple[str, str]]
    sampled: Path
    features: list[str]

    def judge(self, mutate: Mutation = lambda sql: sql) -> LookAhead:
        sql = mutate(self.sql)
        return look_ahead(
            self.sampled, sql, database="warehouse", relations=self.relations, features=self.features, horizon=HORIZON
        )

    def leaking(self, mutate: Mutation) -> set[str]:
        """Names of the features that change."""
        assert mutate(self.sql) != self.sql, "nothing was planted"
        found = self.judge(mutate)
        assert all(feature.customers > 0 for feature in found.changed)
        return {feature.feature for feature in found.changed}


@pytest.fixture(scope="module")
def training(new_lab: Callable[[Shop], Lab], tmp_path_factory: pytest.TempPathFactory) -> TrainingSql:
    """Two cut-offs of a random shop: late events, returns, visitors of two customers, reference purchases."""
    age = Attribute(type="integer").model_dump()
    shop = random_shop(7, 100, small_shop(30, attributes={"age": age}, training={"cutoffs": 2}))
    lab = new_lab(shop.shop)
    shop.reference["customers"] = [{**row, "age": 20 + number} for number, row in enumerate(shop.reference["customers"])]
    shop.write(lab.landing)
    lab.load_references()
    lab.run(shop.slices)
    lab.training_features([shop.slices[70], shop.slices[40]])
    (compiled,) = (lab.dbt.folder / "target").glob("compiled/*/models/marts/training_features.sql")
    sql = compiled.read_text(encoding="utf-8")
    relations = sorted(set(re.findall(r'"warehouse"\."(\w+)"\."(\w+)"', sql)))
    sampled = tmp_path_factory.mktemp("sampled") / "sampled.duckdb"
    with lab.opened() as connection:
        assert copy_sample(connection, relations, 1_000, sampled) > 5
    return TrainingSql(sql, relations, sampled, [feature.name for feature in feature_list(shop.shop)])


def test_features_as_they_are_see_nothing_of_the_future(training: TrainingSql) -> None:
    found = training.judge()
    assert found.changed == ()
    assert len(found.cutoffs) == 2
    assert found.added > 1_000
    assert found.labels > 0, "an alteration without effect proves nothing"
    assert "no feature uses data that became known after a cut-off" in found.verdict


def shift(sql: str, pattern: str, replacement: str) -> str:
    """Every match changed at every cut-off."""
    return re.sub(pattern.replace("MOMENT", MOMENT), replacement, sql, flags=re.DOTALL)


def test_purchases_after_the_cutoff_are_found(training: TrainingSql) -> None:
    """A window that reaches past the cut-off: reference purchases are loaded at once, and only their time tells."""
    seen = training.leaking(
        lambda sql: shift(sql, r"purchased_at < MOMENT", r"purchased_at < cast('\1' as timestamp) + interval '7' day")
    )
    assert {"frequency", "monetary", "orders_3d", "spend_30d"} <= seen
    assert "views_3d" not in seen


@pytest.mark.parametrize(
    ("relation", "expected", "spared"),
    [
        ("int_activity_by_slice", {"views_3d", "dwell_seconds_30d", "carts_10d"}, {"orders_3d", "offers_shown_3d"}),
        ("int_purchases_by_slice", {"orders_3d", "frequency"}, {"views_3d"}),
        pytest.param(
            *("int_offer_activity_by_slice", {"offers_shown_3d", "offers_clicked_30d"}, {"views_3d", "orders_3d"}),
            marks=pytest.mark.exhaustive,
        ),
        pytest.param("int_visitor_links_by_slice", {"views_3d", "orders_30d"}, {"age"}, marks=pytest.mark.exhaustive),
    ],
)
def test_events_that_arrive_after_the_cutoff_are_found(
    training: TrainingSql, relation: str, expected: set[str], spared: set[str]
) -> None:
    """Late events: they happened before the cut-off, and were not known at it. One slice too many is enough."""
    seen = training.leaking(
        lambda sql: shift(sql, rf'("{relation}"(?:(?!"warehouse").)*?\bslice) < MOMENT', r"\1 <= cast('\2' as timestamp)")
    )
    assert expected <= seen
    assert not seen & spared


def test_customers_who_were_not_known_yet_are_found(training: TrainingSql) -> None:
    seen = training.leaking(
        lambda sql: shift(sql, r"(last_event_at is not null\s+and slice) < MOMENT\s+union", r"\1 is not null union")
    )
    assert seen == {"customer_id"}


def test_a_profile_of_now_instead_of_then_is_found(training: TrainingSql) -> None:
    """The oldest of leaks: attributes as they are when the training set is made."""
    seen = training.leaking(
        lambda sql: shift(
            sql, r'("stg_customers"\s+where) valid_from <= MOMENT\s+and \(valid_to[^)]*\)[^)]*\)', r"\1 valid_to is null"
        )
    )
    assert "age" in seen


def test_a_version_that_comes_to_force_later_is_found(training: TrainingSql) -> None:
    seen = training.leaking(
        lambda sql: shift(
            sql, r'("stg_products"\s+where valid_from) <= MOMENT', r"\1 <= cast('\2' as timestamp) + interval '1' hour"
        )
    )
    assert any(name.startswith("views_music") for name in seen)


def test_a_label_in_a_feature_is_found_and_alone(training: TrainingSql) -> None:
    seen = training.leaking(
        lambda sql: shift(
            sql, r"features\.frequency,", "case when labels.label is null then 0 else features.frequency end as frequency,"
        )
    )
    assert seen == {"frequency"}


def test_a_leak_at_the_oldest_cutoff_alone_is_found(training: TrainingSql) -> None:
    oldest = min(re.findall(rf"slice < {MOMENT}", training.sql))
    found = training.judge(lambda sql: sql.replace(f"slice < cast('{oldest}' as timestamp)", "slice < timestamp '2027-01-01'"))
    assert {feature.cutoff for feature in found.changed} >= {datetime.fromisoformat(oldest)}
    assert "features use data that became known after a cut-off: " in found.verdict


def test_a_relation_without_time_cannot_be_read(training: TrainingSql, tmp_path: Path) -> None:
    """What is popular by now, say: the check asks for a relation that says what was known when."""
    copy = tmp_path / "sampled.duckdb"
    copy.write_bytes(training.sampled.read_bytes())
    with duckdb.connect(str(copy)) as connection:
        connection.execute("create schema if not exists marts; create table marts.popular as select 'P1' as product_id")
    wider = TrainingSql(training.sql, [*training.relations, ("marts", "popular")], copy, training.features)
    with pytest.raises(UntimedRelationError, match=r"marts\.popular"):
        wider.judge()
