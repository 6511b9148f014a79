"""Reasons are kept fresh at a bounded cost, and are never about anything but the customer's top category of now."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from published_frames import customer_frame, top_categories

from customer360.lake.warehouse.frames import replace_table
from customer360.settings import Shop
from ml.serving.reason_refresh import KEPT_SCHEMA, refresh_reasons
from ml.serving.reasons import REASON_COLUMNS, reasons
from ml.serving.scoring import score
from ml.serving.serving_tables import Tables
from ml.versions.model_store import LoadedModel

HOUR = pd.Timedelta(hours=1)


def at(features: pd.DataFrame, moment: pd.Timestamp, idle_days: float = 9.0) -> pd.DataFrame:
    """The same customers at another point in time, everyone idle for so long."""
    return features.assign(as_of=moment, days_since_last_activity=idle_days)


def refresh(features: pd.DataFrame, champion: LoadedModel, shop: Shop, kept: pd.DataFrame, at_once: int) -> pd.DataFrame:
    """The reasons after a run, by customer."""
    with duckdb.connect() as connection:
        connection.register("given_features", features)
        connection.execute("create table features as from given_features; create schema own")
        replace_table(connection, "own.scores", score(features, champion))
        replace_table(connection, "own.kept", pa.Table.from_pandas(kept, KEPT_SCHEMA, preserve_index=False))
        tables = Tables("features", "own.scores", "own.kept")
        made = refresh_reasons(connection, tables, champion, shop, at_once=at_once)
        assert made <= at_once
        return connection.execute("from own.kept order by customer_id").df()


def nothing_kept() -> pd.DataFrame:
    return KEPT_SCHEMA.empty_table().to_pandas()


def explained_at(kept: pd.DataFrame, moment: pd.Timestamp) -> set[str]:
    return set(kept.loc[kept["reasons_as_of"] == moment, "customer_id"])


def test_everyone_is_explained_every_time_where_all_fit(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    found = refresh(features, champion, shop, nothing_kept(), 40)
    expected = reasons(features, champion, shop).sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(found[list(REASON_COLUMNS)], expected)
    assert list(found.columns) == KEPT_SCHEMA.names
    again = refresh(features, champion, shop, found, 40)
    pd.testing.assert_frame_equal(again, found)


def test_the_work_is_bounded_and_everyone_has_a_turn(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    moment = features["as_of"].iloc[0]
    kept = nothing_kept()
    for turn in range(1, 5):
        now = moment + turn * HOUR
        kept = refresh(at(features, now), champion, shop, kept, 10)
        assert len(explained_at(kept, now)) == 10
        assert len(kept) == turn * 10
    first = explained_at(kept, moment + HOUR)
    kept = refresh(at(features, moment + 5 * HOUR), champion, shop, kept, 10)
    assert explained_at(kept, moment + 5 * HOUR) == first


def test_who_was_active_since_comes_before_who_waits_longest(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    moment = features["as_of"].iloc[0]
    kept = refresh(at(features, moment), champion, shop, nothing_kept(), 40)
    now = moment + HOUR
    later = at(features, now)
    active = set(later["customer_id"].iloc[[3, 17, 29]])
    later.loc[later["customer_id"].isin(active), "days_since_last_activity"] = 0.01
    assert active == explained_at(refresh(later, champion, shop, kept, 3), now)


def test_reasons_of_another_category_or_model_are_dropped(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    kept = refresh(features, champion, shop, nothing_kept(), 40)
    top = np.array(top_categories(score(features, champion).to_pandas()))
    stale = kept.assign(category_id=["beauty" if category != "beauty" else "fitness" for category in top])
    for wrong in (stale, kept.assign(model_version="v0")):
        found = refresh(features, champion, shop, wrong, 5)
        assert len(found) == 5
        assert set(found["model_version"]) == {champion.version}
    gone = kept.assign(customer_id="gone")
    assert "gone" not in set(refresh(features, champion, shop, gone, 5)["customer_id"])


def test_categories_are_named_as_their_table_in_force_names_them(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    with duckdb.connect() as connection:
        connection.register("given_features", features)
        connection.execute(
            """
            create table features as from given_features; create schema own; create schema raw;
            create table raw.categories as
            select 'fitness' as category_id, 'Old name' as name, timestamp '1970-01-01' as valid_from,
                timestamp '2026-04-01' as valid_to
            union all select 'fitness', 'Sport', timestamp '2026-04-01', null
            """
        )
        replace_table(connection, "own.scores", score(features, champion))
        refresh_reasons(connection, Tables("features", "own.scores", "own.kept"), champion, shop)
        texts = {
            text for row in connection.execute("select reason_1, reason_2, reason_3 from own.kept").fetchall() for text in row
        }
    assert any("Sport" in str(text) for text in texts)
    assert any("Beauty" in str(text) for text in texts)  # no row of the table names it
    assert not any("Fitness" in str(text) or "Old name" in str(text) for text in texts)
