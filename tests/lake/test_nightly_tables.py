"""Tables of a night: written once, linked into every version until the next night, and left alone in older versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from customer360.lake.publishing.nightly_tables import NIGHTLY, keep_nightly_tables
from customer360.lake.publishing.publications import file_tables
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import current_folder, open_version
from customer360.settings import Settings

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def night(settings: Settings, number: int) -> None:
    """Keep tables whose rows say which night it is, the higher number first."""
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        for name in NIGHTLY:
            connection.execute(f"create table marts.{name} as select {number} as night, unnest([2, 1]) as number")
        keep_nightly_tables(settings.place, connection)


def files(settings: Settings, slice_no: int) -> dict[str, Path]:
    """Publish as a slice does; the version's files of the nightly tables."""
    with duckdb.connect() as connection:
        now = NOON + timedelta(minutes=15 * slice_no)
        publish(settings.place, connection, file_tables(settings.place), now, now)
    folder = current_folder(settings.place).resolve()
    return {path.parent.name: path for path in folder.glob("parquet/*/part.parquet")}


def test_a_version_before_the_first_night_has_no_nightly_tables(settings: Settings) -> None:
    assert files(settings, 0) == {}


def test_versions_share_a_nights_files_and_an_older_version_keeps_its_own(settings: Settings) -> None:
    night(settings, 1)
    first, second = files(settings, 1), files(settings, 2)
    assert set(first) == set(NIGHTLY)
    assert [path.stat().st_ino for path in first.values()] == [path.stat().st_ino for path in second.values()]
    night(settings, 2)
    third = files(settings, 3)
    for name in NIGHTLY:
        assert pq.read_table(second[name]).to_pydict() == {"night": [1, 1], "number": [1, 2]}
        assert pq.read_table(third[name]).to_pydict() == {"night": [2, 2], "number": [1, 2]}
    with open_version(settings.place) as version:
        assert version.connection.execute("select max(night) from monitoring_activity").fetchall() == [(2,)]
