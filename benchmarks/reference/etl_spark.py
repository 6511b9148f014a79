"""The ETL on PySpark in local mode: ``python -m benchmarks.reference.etl_spark <folder> [lean]``.

Without ``lean`` it runs the published views with Spark's default settings; no view is cached. With ``lean`` the two views that
others read are cached in memory, and Spark shuffles into two partitions a processor instead of 200.

The published solution reads its reference tables from a database over JDBC; here they are files, which is faster.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.reference.columns import BROWSING, CUSTOMER, PURCHASE, each_slice
from benchmarks.reference.spark_views import LABELLED, views

KEPT = ("merge_temp", "customer_profile")


def main() -> None:
    """Write both slices of the folder, then stop Spark and wait for it, so that its processor seconds count as ours."""
    folder, lean = Path(sys.argv[1]), sys.argv[2:] == ["lean"]
    settings: dict[str, bool | float | int | str | None] = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder / "spark"),
        "spark.sql.warehouse.dir": str(folder / "spark" / "warehouse"),
    }
    if lean:
        settings["spark.sql.shuffle.partitions"] = str(2 * (os.cpu_count() or 1))
    spark = SparkSession.builder.master("local[*]").config(map=settings).getOrCreate()
    context: Any = spark.sparkContext
    java = context._gateway.proc  # no public name for it
    each_slice("spark_lean" if lean else "spark", partial(write_profiles, spark, KEPT if lean else ()))
    spark.stop()
    java.stdin.close()
    java.wait()


def write_profiles(spark: SparkSession, kept: Collection[str], folder: Path, number: int, target: Path) -> None:
    """Write the profiles of a slice with the tables of ``kept`` in memory until then; see ``columns``."""
    _read(spark, folder, number)
    for name, query in views():
        view = spark.sql(query)
        (view.cache() if name in kept else view).createOrReplaceTempView(name)
    written = target.with_suffix(".parts")
    spark.table(LABELLED).coalesce(1).write.option("header", "true").mode("overwrite").csv(str(written))
    (part,) = written.glob("part-*.csv")
    shutil.move(part, target)
    spark.catalog.clearCache()


def _read(spark: SparkSession, folder: Path, number: int) -> None:
    for file, columns in (("customer", CUSTOMER), ("purchase", PURCHASE), (f"browsing_{number}", BROWSING)):
        schema = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        table = spark.read.csv(str(folder / f"{file}.csv"), schema=schema, header=columns is BROWSING)
        table.createOrReplaceTempView(file.partition("_")[0])


if __name__ == "__main__":
    main()
