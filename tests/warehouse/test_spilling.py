"""Models that need more memory than they may use spill to disk, and those after them still run."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from customer360.settings import REPOSITORY

# 100 MB do not hold it sorted.
LARGE = "select i, md5(cast(i as varchar)) as text from range(2000000) as numbers (i) order by 2"


def test_a_model_after_one_that_spilled_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: spilling\nprofile: customer360\nmodel-paths: [models]\n")
    (project / "models" / "large.sql").write_text("{{ config(materialized='table') }} " + LARGE)
    (project / "models" / "after.sql").write_text(
        "{{ config(materialized='table') }} select count(*) as n from {{ ref('large') }}"
    )
    monkeypatch.setenv("CUSTOMER360_WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
    monkeypatch.setenv("CUSTOMER360_MEMORY_LIMIT", "100MB")
    folders = ["--project-dir", str(project), "--profiles-dir", str(REPOSITORY / "dbt_project")]
    outputs = ["--target-path", str(tmp_path / "target"), "--log-path", str(tmp_path / "logs"), "--quiet"]
    try:
        outcome = dbtRunner().invoke(["run", *folders, *outputs])
    finally:
        DuckDBConnectionManager.close_all_connections()
    assert outcome.success, outcome.result
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        assert connection.execute("from after").fetchone() == (2_000_000,)
