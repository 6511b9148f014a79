"""The engines that `make bench NAME=reference` times write the same profiles, and the right ones."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.reference import etl_duckdb, etl_pandas
from benchmarks.reference.columns import COLUMNS, SLICES

ENGINES = {"duckdb": etl_duckdb.write_profiles, "pandas": etl_pandas.write_profiles}
CUSTOMERS = """\
1,"29","M","Greater_than_100K","F","1","5"
2,"47","F","50K_100K","T","3","10"
3,"46","M","10K_50K","T","2","43"
4,"33","F","10K_50K","F","4","7"
"""
PURCHASES = """\
2017-03-07 06:00:00,2,T1,10.5
2017-03-07 06:00:00,2,T3,4.5
2017-02-26 06:00:00,2,T1,20
2017-02-26 05:59:59,2,T1,40
2017-01-07 06:00:00,3,T2,80
2017-01-07 05:59:59,3,T2,160
2017-03-08 06:00:00,3,T2,320
2017-03-05 06:00:00,4,T2,1.1
"""
BROWSING = """\
userDatetime,customerID,category_T1,category_T2,category_T3
2017-03-05 06:00:00,1,100.1,1,2
2017-03-05 05:59:59,1,200.2,1,2
2017-02-06 06:00:00,1,400.4,1,2
2017-02-06 05:59:59,1,800.8,1,2
2017-03-08 06:00:00,1,1600.6,1,2
2017-03-07 06:00:00,2,0.5,0,0
2017-03-07 06:00:00,2,0.5,0,0
"""
# Counts and spend of 30, 10 and 3 days, then recency (empty without a purchase), frequency, spend of 60 days, label.
PROFILES = """\
1,29,M,Greater_than_100K,F,1,5, 700.7,3,6, 0,0,0, 300.3,2,4, 0,0,0, 100.1,1,2, 0,0,0, ,0, 0,0,0, 0
2,47,F,50K_100K,T,3,10, 1,0,0, 70.5,0,4.5, 1,0,0, 30.5,0,4.5, 1,0,0, 10.5,0,4.5, 1,4, 70.5,0,4.5, 1
3,46,M,10K_50K,T,2,43, 0,0,0, 0,0,0, 0,0,0, 0,0,0, 0,0,0, 0,0,0, 60,1, 0,80,0, 0
4,33,F,10K_50K,F,4,7, 0,0,0, 0,1.1,0, 0,0,0, 0,1.1,0, 0,0,0, 0,1.1,0, 3,1, 0,1.1,0, 2
"""
EXPECTED = pd.read_csv(StringIO(PROFILES), names=COLUMNS, skipinitialspace=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "customer.csv").write_text(CUSTOMERS)
    (tmp_path / "purchase.csv").write_text(PURCHASES)
    for number in SLICES:
        (tmp_path / f"browsing_{number}.csv").write_text(BROWSING)
    return tmp_path


@pytest.mark.parametrize("engine", ENGINES)
def test_windows_end_at_their_edges_and_purchases_count_without_browsing(folder: Path, engine: str) -> None:
    ENGINES[engine](folder, 1, folder / "written.csv")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "written.csv"), EXPECTED, check_exact=True, check_dtype=False)


@pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="the extra `spark` or Java is not installed; `make bench NAME=reference` compares Spark at full size",
)
def test_the_views_on_spark_say_the_same(folder: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.reference.etl_spark", str(folder), "lean"]
    subprocess.run(command, check=True, capture_output=True)
    written = pd.read_csv(folder / "spark_lean_2.csv").sort_values("customerID").reset_index(drop=True)
    pd.testing.assert_frame_equal(written, EXPECTED, check_exact=True, check_dtype=False)
