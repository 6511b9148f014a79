"""Serving many customers: scores are complete at once, and reasons of other customers stay from run to run."""

from __future__ import annotations

from pathlib import Path

import duckdb
from published_frames import customer_frame

from customer360.settings import Shop
from ml.serving.customer_value import Serving
from ml.serving.reason_refresh import AT_ONCE
from ml.serving.serving import count_complete, serve
from ml.serving.serving_tables import Tables
from ml.versions.model_store import LoadedModel

CUSTOMERS = 25_000  # times five classes: more rows at a time than DuckDB keeps in one row group


def test_each_run_adds_the_reasons_of_others_and_sees_its_own_scores(shop: Shop, champion: LoadedModel, tmp_path: Path) -> None:
    features, tables = customer_frame(shop, CUSTOMERS), Tables()
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.register("given_features", features)
        connection.execute(
            "create schema marts; create schema predictions; create table marts.customer_features as from given_features"
        )
        for run in (1, 2, 3):
            assert serve(connection, Serving(affinity=champion), shop, tables).scores == CUSTOMERS * 5
            assert count_complete(connection, 5, tables) == (CUSTOMERS, CUSTOMERS)
            assert connection.execute("select count(*) from predictions.customer_reasons").fetchone() == (AT_ONCE * run,)
