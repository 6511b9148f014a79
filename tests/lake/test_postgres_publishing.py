"""The published version in PostgreSQL: readers see whole versions, and what they made of the tables stays."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from customer360.lake.engine import connect
from customer360.lake.publishing.copies import last_copied
from customer360.lake.publishing.postgres_publishing import POSTGRES, Loaded, PostgresError, copy_to_postgres
from customer360.lake.publishing.publishing import TableSource, publish
from customer360.settings import Place, PostgresTarget
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DSN = "BI_POSTGRES_DSN"
TARGET = PostgresTarget(dsn=DSN, timeout_seconds=30)
PARTS = "select count(*) from pg_class where relnamespace = 'customer360_parts'::regnamespace and relkind = 'r'"
VERSION_OF = "select version from customer360.publication"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def remote(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the superuser; the schema that a test before has left is gone."""
    monkeypatch.setenv(DSN, server.dsn)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("drop schema if exists customer360, customer360_parts, mart cascade")
        connection.execute("drop role if exists analyst")
        yield connection


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path)


def version(place: Place, number: int, tables: dict[str, str | TableSource] | None = None, **more: Any) -> None:
    """Publish version ``number`` locally: ``traffic`` and ``orders`` hold it in each row, ``products`` never changes."""
    with connect(place.root / ".tmp") as connection:
        publish(
            place,
            connection,
            {
                "traffic": f"select {number}::bigint as n, range as x from range(3000)",
                "orders": f"select {number}::bigint as n, range as x from range(500)",
                "products": TableSource("select range as product from range(100)", content="same"),
                **(tables or {}),
            },
            NOON,
            NOON + number * timedelta(minutes=15),
            **more,
        )


def copied(place: Place, target: PostgresTarget = TARGET) -> Loaded:
    done = copy_to_postgres(place, target)
    assert done is not None
    return done


def all_of(remote: psycopg.Connection[Any], query: str) -> list[Any]:
    return remote.execute(query).fetchall()


def test_nothing_is_copied_before_the_first_version(place: Place, remote: psycopg.Connection[Any]) -> None:
    assert copy_to_postgres(place, TARGET) is None
    assert all_of(remote, "select 1 from pg_namespace where nspname like 'customer360%'") == []


def test_every_type_and_every_text_arrives_as_it_was_published(place: Place, remote: psycopg.Connection[Any]) -> None:
    long = "x" * 3_000_000
    texts = ["", "a,b", 'q"x', "l1\r\nl2\n\\.\nl3", "\\N", "NULL", "\t", "نص ελ 🛒", long, None]
    given = {
        "flags": "select true as yes, false as no, null::boolean as unknown",
        "numbers": """
            select 9223372036854775807 as b, (-32768)::smallint as s, 123456789012345.67::decimal(18,2) as money,
                0.1::double as d, 'nan'::double as not_a_number, '-inf'::double as infinite,
                18446744073709551615::ubigint as large, null::decimal(18,4) as missing, 1.5::float as f
        """,
        "times": """
            select timestamp '2026-03-29 02:30:00.123456' as at, timestamptz '2026-05-01 12:00:00+02' as zoned,
                date '2024-02-29' as day, time '23:59:59.5' as clock, null::timestamp as never
        """,
        "nested": """
            select [1, null, 3] as numbers, ['a"b', 'ü'] as words, {'k': 'v', 'n': null} as pair, []::int[] as none,
                null::varchar[] as missing, 'ab\\x00'::blob as bytes, interval 3 days as span
        """,
        "texts": f"select unnest(range({len(texts)})) as i, unnest([{', '.join(_literal(text) for text in texts)}]) as t",
        "nuls": "select 'a' || chr(0) || 'b' as t",
        "single": "select null::varchar as t from range(3)",
        "empty": "select 1::int as x where false",
        "long_names": f"select 1 as {'a' * 70}, 2 as {'a' * 69}b",
    }
    version(place, 1, dict(given), descriptions={"long_names": {"": "Names", "a" * 70: "The first"}})
    copied(place)
    assert all_of(remote, "select * from customer360.flags") == [(True, False, None)]
    (numbers,) = all_of(remote, "select * from customer360.numbers")
    assert numbers[:4] == (9223372036854775807, -32768, Decimal("123456789012345.67"), 0.1)
    assert numbers[4] != numbers[4]
    assert numbers[5:] == (float("-inf"), Decimal(2**64 - 1), None, 1.5)
    times = "select at::text, (zoned at time zone 'UTC')::text, day, clock, never from customer360.times"
    assert all_of(remote, times) == [
        ("2026-03-29 02:30:00.123456", "2026-05-01 10:00:00", date(2024, 2, 29), time_of_day(23, 59, 59, 500000), None)
    ]
    assert all_of(remote, "select * from customer360.nested") == [
        ([1, None, 3], ['a"b', "ü"], {"k": "v", "n": None}, [], None, b"ab\x00", "3 days")
    ]
    assert [text for (text,) in all_of(remote, "select t from customer360.texts order by i")] == texts
    assert all_of(remote, "select t from customer360.nuls") == [("ab",)]
    assert all_of(remote, "select count(*), count(t) from customer360.single") == [(3, 0)]
    assert all_of(remote, "select count(*) from customer360.empty") == [(0,)]
    names = all_of(remote, "select column_name from information_schema.columns where table_name = 'long_names' order by 1")
    assert len({name for (name,) in names}) == 2
    (comment,) = all_of(remote, "select col_description('customer360.long_names'::regclass, 1)")
    assert comment == (f"{'a' * 70}: The first",)
    kinds = all_of(
        remote,
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = 'customer360.numbers'::regclass and attnum > 0 and attname in ('money', 'b', 'd') order by 1",
    )
    assert kinds == [("b", "bigint"), ("d", "double precision"), ("money", "numeric(18,2)")]


def _literal(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def test_only_changed_files_are_loaded_and_grants_comments_policies_and_views_stay(
    place: Place, remote: psycopg.Connection[Any]
) -> None:
    texts = {"traffic": {"": "Visits", "n": "The number", "x": "A row"}}
    version(place, 1, descriptions=texts)
    first = copied(place)
    assert (first.version, first.tables, first.files, first.rows) == (1, 4, 4, 3601)
    assert copied(place).files == 0  # a second call changes nothing
    remote.execute("create role analyst login")
    remote.execute("grant usage on schema customer360 to analyst; grant select on customer360.traffic to analyst")
    remote.execute(
        "grant select (x) on customer360.orders to analyst; alter table customer360.orders enable row level security"
    )
    remote.execute("create policy few on customer360.orders for select to analyst using (x < 10)")
    remote.execute("create schema mart; create view mart.sums as select n, sum(x) as total from customer360.traffic group by n")
    remote.execute("create materialized view mart.kept as select * from customer360.orders")

    version(place, 2, descriptions=texts | {"orders": {"": "Orders", "x": "Row of an order"}})
    second = copied(place)
    assert (second.version, second.tables, second.files, second.rows) == (2, 3, 3, 3501)  # products: as it was
    assert all_of(remote, "select * from mart.sums") == [(2, sum(range(3000)))]
    assert all_of(remote, "select distinct n from mart.kept") == [(1,)]
    remote.execute("refresh materialized view mart.kept")
    assert all_of(remote, "select distinct n from mart.kept") == [(2,)]
    comments = "select obj_description('customer360.traffic'::regclass), col_description('customer360.orders'::regclass, 2)"
    assert all_of(remote, comments) == [("Visits", "Row of an order")]
    remote.execute("set role analyst")
    assert all_of(remote, "select count(*), min(n) from customer360.traffic") == [(3000, 2)]
    assert all_of(remote, "select count(x), max(x) from customer360.orders") == [(10, 9)]
    for hidden in ("n from customer360.orders", "* from mart.sums", "* from customer360.products"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            remote.execute(f"select {hidden}")
    remote.execute("reset role")
    assert all_of(remote, PARTS) == [(4,)]
    remembered = last_copied(place, POSTGRES)
    assert remembered is not None
    assert (remembered.version, remembered.url) == (2, "customer360")


def test_of_a_table_of_several_files_only_the_new_file_is_loaded(place: Place, remote: psycopg.Connection[Any]) -> None:
    def days(*numbers: int) -> TableSource:
        files = {}
        for number in numbers:
            file = place.root / "days" / f"{number}.parquet"
            file.parent.mkdir(exist_ok=True)
            if not file.exists():
                late = ", 'new' as added" if number > 2 else ""
                rows = f"select {number} as day, range as x{late} from range(1000)"
                with connect(place.root / ".tmp") as connection:
                    connection.execute(f"copy ({rows}) to '{file}' (format parquet)")
            files[file.name] = file
        return TableSource(files=files)

    version(place, 1, {"scores_daily": days(1, 2)})
    copied(place)
    version(place, 2, {"scores_daily": days(2, 3)})  # one day has gone, one has come, with a column more
    assert copied(place).rows == 1000 + 1000 + 3501  # another column: both files
    assert all_of(remote, "select day, count(*), min(added) from customer360.scores_daily group by day order by day") == [
        (2, 1000, None),
        (3, 1000, "new"),
    ]
    version(place, 3, {"scores_daily": days(2, 3, 4)})
    assert copied(place).rows == 1000 + 3501


def test_a_column_that_a_view_needs_is_not_dropped_and_the_error_names_the_view(
    place: Place, remote: psycopg.Connection[Any]
) -> None:
    version(place, 1, {"extra": "select 1 as kept, 2 as dropped, 3 as other"})
    copied(place)
    remote.execute("create schema mart; create view mart.of_dropped as select dropped from customer360.extra")
    remote.execute("create view mart.of_kept as select kept from customer360.extra")
    changed = {"extra": "select 10 as kept, 'text' as other, true as added"}
    version(place, 2, dict(changed))
    with pytest.raises(PostgresError, match=r"extra has other columns now.*view mart\.of_dropped depends on column dropped"):
        copied(place)
    assert all_of(remote, VERSION_OF) == [(1,)]
    assert all_of(remote, "select distinct n from customer360.traffic") == [(1,)]
    remote.execute("drop view mart.of_dropped")
    copied(place)
    assert all_of(remote, "select kept, other, added from customer360.extra") == [(10, "text", True)]
    assert all_of(remote, "select * from mart.of_kept") == [(10,)]

    version(place, 3, dict(changed) | {"extra": "select 'now a text' as kept"})
    with pytest.raises(PostgresError, match=r"extra has other columns now.*view mart\.of_kept"):
        copied(place)
    version(place, 4, {}, dropped=["extra"])
    with pytest.raises(PostgresError, match=r"extra is no longer published.*view mart\.of_kept depends on table"):
        copied(place)
    remote.execute("drop view mart.of_kept")
    copied(place)
    assert all_of(remote, "select to_regclass('customer360.extra')") == [(None,)]
    assert all_of(remote, VERSION_OF) == [(4,)]


def test_a_table_of_somebody_else_is_not_touched(place: Place, remote: psycopg.Connection[Any]) -> None:
    remote.execute("create schema customer360; create table customer360.traffic as select 7 as own")
    version(place, 1)
    with pytest.raises(PostgresError, match="traffic is there already and was not published"):
        copied(place)
    assert all_of(remote, "select * from customer360.traffic") == [(7,)]


def test_readers_under_continuous_publishing_see_whole_versions(
    place: Place, remote: psycopg.Connection[Any], server: PostgresServer
) -> None:
    """Also one whose snapshot is older than the load, and one that reads a table after the other in a transaction."""
    version(place, 1)
    copied(place)
    stop, seen, wrong = threading.Event(), set[int](), list[Any]()

    def read(isolation: IsolationLevel, *, unchanged_first: bool) -> None:
        with psycopg.connect(server.dsn) as reader:
            reader.isolation_level = isolation
            while not stop.is_set():
                with reader.transaction():
                    if unchanged_first:  # the snapshot is taken here
                        reader.execute("select count(*) from customer360.products").fetchone()
                        time.sleep(random.uniform(0, 0.05))
                    one = reader.execute("select min(n), max(n), count(*) from customer360.traffic").fetchone()
                    time.sleep(random.uniform(0, 0.02))
                    two = reader.execute("select min(n), max(n), count(*) from customer360.orders").fetchone()
                    (number,) = reader.execute(VERSION_OF).fetchone() or (0,)
                seen.add(number)
                if (one, two) != ((number, number, 3000), (number, number, 500)):
                    wrong.append((isolation, one, two, number))

    readers = [
        threading.Thread(target=read, args=(isolation,), kwargs={"unchanged_first": unchanged_first})
        for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ)
        for unchanged_first in (False, True)
    ]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 9):
            version(place, number)
            copied(place)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(seen) > 3


def test_lost_connections_at_random_moments_leave_whole_versions_and_the_next_call_continues(
    place: Place, remote: psycopg.Connection[Any]
) -> None:
    chance, lost = random.Random(7), 0
    version(place, 1)
    copied(place)
    for number in range(2, 14):
        version(place, number)
        killer = threading.Timer(chance.uniform(0, 0.12), lambda: _terminate(remote))
        killer.start()
        try:
            copied(place)
        except PostgresError as error:
            lost += 1
            assert any(words in str(error) for words in ("connection was lost", "terminating connection"))
            assert PASSWORD not in str(error)
        killer.join()
        (whole,) = all_of(
            remote,
            "select (select min(n) from customer360.traffic), (select max(n) from customer360.traffic), "
            "(select max(n) from customer360.orders), (select version from customer360.publication)",
        )
        assert len(set(whole)) == 1
    assert lost
    copied(place)
    assert all_of(remote, VERSION_OF) == [(13,)]
    assert all_of(remote, PARTS) == [(4,)]


def _terminate(remote: psycopg.Connection[Any]) -> None:
    remote.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'customer360'")


@pytest.mark.exhaustive
def test_killed_processes_leave_whole_versions(place: Place, remote: psycopg.Connection[Any]) -> None:
    script = (
        "import sys; from pathlib import Path; from customer360.settings import Place, PostgresTarget;"
        "from customer360.lake.publishing.postgres_publishing import copy_to_postgres;"
        f"print('ready', flush=True); copy_to_postgres(Place(root=Path(sys.argv[1])), PostgresTarget(dsn={DSN!r}))"
    )
    version(place, 1)
    copied(place)
    chance = random.Random(11)
    for number in range(2, 32):
        version(place, number)
        with subprocess.Popen([sys.executable, "-c", script, str(place.root)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.25))
            os.kill(child.pid, signal.SIGKILL)
        (whole,) = all_of(
            remote,
            "select (select min(n) from customer360.traffic), (select max(n) from customer360.orders), "
            "(select version from customer360.publication)",
        )
        assert len(set(whole)) == 1
    for _ in range(50):  # the server notices a client's death after a moment
        try:
            copied(place)
            break
        except PostgresError:
            time.sleep(0.2)
    assert all_of(remote, VERSION_OF) == [(31,)]


def test_a_reader_who_leaves_a_transaction_open_is_named_and_not_harmed(
    place: Place, remote: psycopg.Connection[Any], server: PostgresServer
) -> None:
    version(place, 1)
    copied(place)
    version(place, 2)
    with psycopg.connect(server.dsn) as reader:
        reader.execute("select count(*) from customer360.traffic")
        reader.execute("select count(*) from customer360.products")
        target = PostgresTarget.model_construct(dsn=DSN, db_schema="customer360", timeout_seconds=2)
        with pytest.raises(
            PostgresError, match=rf"open transactions of other processes hold the tables \({reader.info.backend_pid} of shop"
        ):
            copied(place, target)
        assert all_of(remote, "select min(n) from customer360.traffic") == [(1,)]  # nobody queues behind it
        assert reader.execute("select min(n) from customer360.traffic").fetchone() == (1,)
    done = copied(place)
    assert (done.version, done.files, done.tables) == (2, 0, 3)  # all was loaded before


def test_what_goes_wrong_is_explained_without_a_secret(
    place: Place, remote: psycopg.Connection[Any], server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(place, 1)
    remote.execute("create role analyst login password 'analyst-canary-9'")

    def error_with(dsn: str) -> str:
        monkeypatch.setenv(DSN, dsn)
        with pytest.raises(PostgresError) as failed:
            copied(place)
        text = f"{failed.value} {failed.value.__cause__} {failed.value.__context__}"
        assert not any(secret in text for secret in (PASSWORD, "canary", "p%40ss"))
        return str(failed.value)

    place_of = f"host=127.0.0.1 port={server.port} dbname=postgres"
    assert f"the environment variable {DSN} is not set" in error_with("")
    assert 'password authentication failed for user "shop"' in error_with(f"{place_of} user=shop password=canary-wrong")
    assert "Connection refused" in error_with("host=127.0.0.1 port=1 user=shop password=canary")
    assert "not one that libpq takes" in error_with("host=127.0.0.1 password=canary wrong canary")
    assert "host of the connection string is unknown" in error_with("postgresql://shop:x@canary.invalid@nowhere.invalid/bi")
    assert "permission denied for database postgres" in error_with(f"{place_of} user=analyst password=analyst-canary-9")
    monkeypatch.setenv(DSN, server.dsn)
    copied(place)
    remote.execute("grant usage on schema customer360, customer360_parts to analyst")
    version(place, 2)
    assert "permission denied for schema customer360_parts" in error_with(f"{place_of} user=analyst password=analyst-canary-9")
    assert all_of(remote, VERSION_OF) == [(1,)]
