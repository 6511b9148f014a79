"""Reference tables in PostgreSQL, on a real server: its queries, the results of loads, and the state after a lost server."""

from __future__ import annotations

import json
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pytest

from customer360.lake.checking.check import check
from customer360.lake.checking.report import report_lines
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.raw.quarantine import quarantined_lines
from customer360.lake.reference.customer_queries import addresses_query
from customer360.lake.reference.postgres import UnreadableSourceError
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import ReferenceLoad, history_file, reference_relation, versions_file
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.settings import Place, Settings, Shop
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server
from tests.support.random_shop import EMAIL, small_shop

DSN = "SHOP_POSTGRES_DSN"
FIRST = datetime(2026, 5, 1, tzinfo=UTC)
ATTRIBUTES = {"age": {"type": "integer"}, "born_on": {"type": "date"}}
IN_A_URI = quote(PASSWORD, safe="")
SECRETS = (PASSWORD, "c4nary", "p%40ss", "ss word")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DuckDB's extension is 40 MB: one copy for all places of these tests."""
    return tmp_path_factory.mktemp("extensions")


@pytest.fixture
def shop(server: PostgresServer, extensions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmShop:
    monkeypatch.setenv(DSN, server.dsn)
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "extensions").symlink_to(extensions)
    server.sql(
        """
        set client_min_messages = error; drop schema if exists "Crm" cascade; create schema "Crm";
        create table "Crm"."select" (
            customer_id text, consent_email boolean, age integer, "order" text default 'nobody reads it', updated_at timestamptz
        );
        """
    )
    return CrmShop(server, tmp_path)


class CrmShop:
    """A shop whose customers are in the table ``"Crm"."select"``, a name that needs quotes."""

    def __init__(self, server: PostgresServer, root: Path) -> None:
        self.server, self.place = server, Place(root=root)

    def settings(self, reference: str = "customers", attributes: Any = None, **source: Any) -> Settings:
        if "query" not in source:
            source = {"table": "Crm.select", **source}
        shop = small_shop(attributes=attributes or ATTRIBUTES, reference={reference: {"postgres": {"dsn": DSN, **source}}})
        return Settings(shop=shop, place=self.place, shop_folder=self.place.root)

    def put(self, updated_at: str, **ages: int) -> None:
        """Insert or replace customers with their age, changed at a time of 2026-05-01."""
        for customer, age in ages.items():
            self.server.sql(
                f"""
                delete from "Crm"."select" where customer_id = '{customer}';
                insert into "Crm"."select" values ('{customer}', true, {age}, 'x', '2026-05-01 {updated_at}+00')
                """
            )

    def load(self, day: int, **source: Any) -> ReferenceLoad:
        return load_reference(self.settings(**source), "customers", FIRST + timedelta(days=day))

    def ages(self) -> dict[str, int]:
        """Age by customer, of the rows in force."""
        return {customer: age for customer, age, end in self.versions("customer_id, age, valid_to") if end is None}

    def versions(self, columns: str, table: str = "customers") -> list[tuple[Any, ...]]:
        contract = reference_tables(self.settings().shop)[table]
        with duckdb.connect() as connection:
            relation = reference_relation(self.place, contract)
            return connection.execute(f"select {columns} from ({relation}) order by all").fetchall()

    def kept(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((self.place.raw / "customers").glob("*"))}


def test_the_server_filters_by_the_cursor_and_sends_only_columns_of_the_contract(shop: CrmShop) -> None:
    shop.server.sql(
        """
        insert into "Crm"."select" (customer_id, age, updated_at)
        select 'c' || i, i % 90, timestamptz '2026-05-01 00:00+00' + i * interval '1 minute' from generate_series(1, 2000) i;
        create index on "Crm"."select" (updated_at); analyze "Crm"."select"
        """
    )
    assert shop.load(10, cursor="updated_at").rows == 2000
    shop.server.sql("""update "Crm"."select" set age = 91, updated_at = '2026-05-03' where customer_id = 'c7'""")
    before = len(shop.server.log())
    load = shop.load(11, cursor="updated_at")
    assert load.postgres is not None
    # The mark is 09:20 on the second day; c1985 is the first of the last quarter of an hour.
    assert (load.rows, load.opened, load.closed, load.postgres.rows) == (2000, 1, 1, 17)

    log = shop.server.log()[before:]
    *_, plan = log.split("plan:\n\tQuery Text: COPY")
    asked = plan.splitlines()[0]
    assert "\"updated_at\" >= '2026-05-02 09:20:00+00'::timestamptz - interval '15 minutes'" in asked
    assert 'from "Crm"."select" where' in asked
    assert "Index Cond: (\"select\".updated_at >= ('2026-05-02 09:20:00+00'::timestamp with time zone - '00:15:00'" in plan
    assert 'Output: "select".customer_id, ("select".consent_email)::text, ("select".age)::text' in plan
    assert "nobody reads it" not in plan
    assert '"order"' not in plan
    assert load.ignored_columns == ["order"]
    assert "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY" in log


@pytest.mark.parametrize("source", [{}, {"cursor": "updated_at"}], ids=["full", "cursor"])
def test_a_table_of_postgresql_gets_the_same_versions_as_the_same_rows_in_files(
    shop: CrmShop, tmp_path: Path, source: dict[str, str]
) -> None:
    plain = Settings(shop=small_shop(attributes=ATTRIBUTES), place=Place(root=tmp_path / "files"), shop_folder=tmp_path)
    landed = plain.place.landing / "reference" / "customers" / "c.csv"
    landed.parent.mkdir(parents=True)
    rows: dict[str, int] = {}
    for day, changes in enumerate(({"a": 1, "b": 1}, {"a": 2, "c": 5}, {}, {"a": 1, "b": 3})):
        rows |= changes
        shop.put(f"{10 + day}:00", **changes)
        lines = [f"{customer},true,{age}\n" for customer, age in sorted(rows.items())]
        landed.write_text("customer_id,consent_email,age\n" + "".join(lines), encoding="utf-8")
        expected = load_reference(plain, "customers", FIRST + timedelta(days=day))
        load = shop.load(day, **source)
        assert (load.rows, load.opened, load.closed) == (expected.rows, expected.opened, expected.closed)
        assert load.version == expected.version
    contract = reference_tables(plain.shop)["customers"]
    with duckdb.connect() as connection:
        relation = reference_relation(plain.place, contract)
        assert shop.versions("*") == connection.execute(f"select * from ({relation}) order by all").fetchall()


def test_with_a_cursor_equal_times_and_late_commits_are_seen_and_deletes_with_the_next_whole_load(shop: CrmShop) -> None:
    source = {"cursor": "updated_at", "full_every_days": 3, "overlap_minutes": 15}
    shop.put("12:00", a=1, b=1)
    shop.load(0, **source)
    shop.put("12:00", equal=1)
    shop.put("11:46", late=1)  # its transaction was open for 14 minutes
    shop.put("11:00", too_late=1)
    shop.server.sql("""delete from "Crm"."select" where customer_id = 'b'""")
    assert shop.load(1, **source).opened == 2
    assert set(shop.ages()) == {"a", "b", "equal", "late"}
    assert shop.load(2, **source).opened == 0
    full = shop.load(3, **source)
    assert full.postgres is not None
    assert full.postgres.is_full
    assert set(shop.ages()) == {"a", "equal", "late", "too_late"}


def test_a_line_without_a_number_that_joins_another_one_is_read_with_all_rows(shop: CrmShop) -> None:
    """By the cursor alone the second line would replace the first, and with it its revenue."""
    shop.server.sql(
        """
        create table "Crm".lines (
            order_id text, product_id text, line_no int, customer_id text, purchased_at timestamptz, amount numeric, changed int
        );
        insert into "Crm".lines values ('o', 'p', null, 'c', '2026-05-01', 10, 1), ('o', 'q', null, 'c', '2026-05-01', 5, 1)
        """
    )
    settings = shop.settings("purchases", table="Crm.lines", cursor="changed")

    def load(day: int) -> tuple[bool, int, int]:
        read = load_reference(settings, "purchases", FIRST + timedelta(days=day))
        assert read.postgres is not None
        return read.postgres.is_full, read.rows, read.closed

    assert load(0) == (True, 2, 0)
    shop.server.sql("""insert into "Crm".lines values ('o', 'p', null, 'c', '2026-05-01', 15, 2)""")
    assert load(1) == (True, 3, 0)
    assert shop.versions("amount", "purchases") == [(Decimal(5),), (Decimal(10),), (Decimal(15),)]
    shop.server.sql("""insert into "Crm".lines values ('o', 'r', null, 'c', '2026-05-01', 1, 3)""")
    shop.server.sql("""update "Crm".lines set changed = 0 where amount = 15""")
    assert load(2) == (False, 4, 0)  # of an order and product that has no other line


def test_rows_without_a_cursor_value_are_read_every_time_and_one_of_the_future_hides_nothing(shop: CrmShop) -> None:
    shop.put("12:00", a=1, b=1)
    shop.server.sql("""
        update "Crm"."select" set updated_at = null where customer_id = 'a';
        update "Crm"."select" set updated_at = '2999-01-01' where customer_id = 'b'""")
    first = shop.load(0, cursor="updated_at")
    assert first.postgres is not None
    now = datetime.fromisoformat(shop.server.sql("select now()"))
    assert abs(datetime.fromisoformat(str(first.postgres.mark)) - now) < timedelta(minutes=1)
    shop.server.sql("""
        update "Crm"."select" set age = 2 where customer_id = 'a';
        insert into "Crm"."select" values ('c', true, 3, 'x', now())""")
    shop.load(1, cursor="updated_at")
    assert shop.ages() == {"a": 2, "b": 1, "c": 3}


def test_a_whole_number_or_a_date_may_be_the_cursor(shop: CrmShop) -> None:
    for number, (kind, low, high) in enumerate(
        (("bigint", "9007199254740993", "9007199254740994"), ("date", "2026-04-01", "2026-04-09"))
    ):
        shop.server.sql(f"""
            drop table "Crm"."select"; create table "Crm"."select" (customer_id text, age int, changed {kind});
            insert into "Crm"."select" values ('a', {number}, '{low}'), ('b', {number}, '{high}')""")
        first = shop.load(2 * number, cursor="changed", query=f'select *, {number} from "Crm"."select" -- by {kind}')
        assert first.postgres is not None
        assert (first.postgres.rows, first.postgres.mark) == (2, high)
        again = shop.load(2 * number + 1, cursor="changed", query=f'select *, {number} from "Crm"."select" -- by {kind}')
        assert again.postgres is not None
        assert (again.postgres.rows, again.postgres.mark, again.postgres.is_full) == (1, high, False)


def test_a_restored_history_is_loaded_on_from_its_own_mark(shop: CrmShop, tmp_path: Path) -> None:
    shop.put("10:00", a=1)
    shop.load(0, cursor="updated_at")
    shutil.copytree(shop.place.raw / "customers", tmp_path / "backup")
    record = versions_file(shop.place, "customers").read_text(encoding="utf-8")
    assert json.loads(record)["postgres"]["mark"] == "2026-05-01 10:00:00+00"
    assert not [secret for secret in (*SECRETS, "127.0.0.1") if secret in record]
    shop.put("12:00", b=2)
    shop.put("14:00", c=3)
    expected = shop.load(1, cursor="updated_at").version

    shutil.copytree(tmp_path / "backup", shop.place.raw / "customers", dirs_exist_ok=True)
    assert shop.ages() == {"a": 1}
    again = shop.load(1, cursor="updated_at")
    assert again.postgres is not None
    assert (again.version, again.postgres.is_full) == (expected, False)

    # Only the rows are restored: the mark does not hold for them, so all are read.
    shutil.copy(tmp_path / "backup" / "history.parquet", history_file(shop.place, "customers"))
    again = shop.load(1, cursor="updated_at")
    assert again.postgres is not None
    assert (again.version, again.postgres.is_full) == (expected, True)


def test_another_query_or_a_new_attribute_is_read_whole(shop: CrmShop) -> None:
    shop.put("10:00", a=1)
    shop.load(0, cursor="updated_at", attributes={"born_on": ATTRIBUTES["born_on"]})
    with_age = shop.load(1, cursor="updated_at")
    query = """select * from "Crm"."select" where age < 100;"""
    filtered = shop.load(2, cursor="updated_at", query=query)
    again = shop.load(3, cursor="updated_at", query=query)
    reads = [load.postgres.is_full for load in (with_age, filtered, again) if load.postgres]
    assert reads == [True, True, False]
    assert shop.ages() == {"a": 1}


def test_values_come_over_as_postgresql_writes_them(shop: CrmShop) -> None:
    query = """
        select 12345678901234567890::numeric as order_id, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as product_id,
            'x  '::char(3) as customer_id, timestamptz '2026-05-01 02:00+02' as purchased_at, 1234567890123.45::numeric
            as amount, 0.1::double precision as quantity, '{"a": 1}'::jsonb as line_no_text, null::integer as line_no
    """
    settings = shop.settings("purchases", query=query)
    load = load_reference(settings, "purchases", FIRST)
    assert load.ignored_columns == ["line_no_text"]
    assert shop.versions("* exclude (category_id, valid_from, valid_to)", "purchases") == [
        (
            "12345678901234567890",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            None,
            "x",
            FIRST.replace(tzinfo=None),
            0.1,
            Decimal("1234567890123.45"),
        )
    ]
    born = "select 'c' as customer_id, 'yes' as consent_email, date '1996-05-01' as born_on"
    load_reference(shop.settings(query=born), "customers", FIRST)
    assert shop.versions("customer_id, consent_email, born_on") == [("c", True, date(1996, 5, 1))]


BROKEN: tuple[tuple[dict[str, str], list[str]], ...] = (
    (
        {"query": "select 'c' || i as customer_id, i / 2.0 as age from generate_series(3, 5) i"},
        ["customer_id c3, column age: 1.5", "is not a whole number", "Mend the rows in PostgreSQL"],
    ),
    ({"query": "select null as customer_id"}, ["customer_id (empty), column customer_id: is empty but required"]),
    ({"query": "select 'c' as id, 1 as age"}, ["lacks the required column customer_id; it has id, age"]),
    ({"query": "select 'c' as customer_id where false"}, ["has no rows any more"]),
    ({"cursor": "changed_at"}, ["lacks the cursor column changed_at; it has customer_id, consent_email, age, order"]),
    ({"cursor": "order"}, ["the cursor order", "is of type VARCHAR"]),
)


def test_errors_on_broken_rows_name_their_keys_and_the_last_good_version_stays_in_force(shop: CrmShop) -> None:
    shop.put("10:00", a=1, b=2)
    shop.load(0)
    before = shop.kept()
    for source, messages in BROKEN:
        with pytest.raises(BrokenReferenceError) as refused:
            shop.load(1, **source)
        for message in ["customers: ", f"in PostgreSQL ({DSN})", *messages]:
            assert message in str(refused.value)
        assert shop.kept() == before


@pytest.mark.parametrize(
    ("values", "customers", "column"),
    [
        ("(1001.0::float8), (1002)", ["1001", "1002"], ""),
        ("(1001.0::numeric), (12345678901234567890)", ["1001", "12345678901234567890"], ""),
        ("(1001.0::numeric(9, 1)), (1002)", ["1001", "1002"], ""),
        ("(1e15::float8), (1002)", ["1000000000000000", "1002"], ""),
        ("(1001::float8), (1001.5)", ["1001"], "customer_id"),
        ("(1001::float8), (9007199254740993)", ["1001"], "customer_id"),
        ("(1001::float4), (16777217)", ["1001"], "customer_id"),
        ("(1001::float8), ('NaN')", ["1001"], "customer_id"),
        ("('1001'::text), ('1002.0')", ["1001"], "customer_id"),
        ("('1001'::text), ('-')", ["1001"], "customer_id"),
    ],
)
def test_ids_of_every_type_of_postgresql_have_one_form(shop: CrmShop, values: str, customers: list[str], column: str) -> None:
    load = shop.load(0, query=f"select * from (values {values}) as ids (customer_id)")
    assert [customer for (customer,) in shop.versions("customer_id")] == customers
    assert [entry.column for entry in quarantined_lines(shop.place)] == ([column] if column else [])
    assert load.set_aside == bool(column)


def test_special_values_and_two_rows_of_a_key_cost_their_rows_alone(shop: CrmShop) -> None:
    query = """
        select * from (values
            ('a', 1.5::float8, timestamp '2026-05-01'), ('b', 'NaN', '2026-05-01'), ('c', '-Infinity', '2026-05-01'),
            ('d', 5.55e-17, '-infinity'), ('e', 5.55e-17, '2026-05-01'), ('f', 2, '2026-05-01'), ('f', 2, '2026-05-01'),
            ('g', 3, '2026-05-01'), ('h', 3, '2026-05-01')
        ) as lines (order_id, amount, purchased_at)
    """
    lines = f"select *, 'p' as product_id, 1 as line_no, 'x' as customer_id from ({query}) as lines"
    assert load_reference(shop.settings("purchases", query=lines), "purchases", FIRST).set_aside == 4
    assert shop.versions("order_id, amount", "purchases") == [
        *(("a", Decimal("1.50")), ("e", Decimal(0)), ("f", Decimal(2)), ("g", Decimal(3)), ("h", Decimal(3))),
    ]
    found = {(entry.column, entry.reason) for entry in quarantined_lines(shop.place)}
    assert {column for column, _ in found} == {"amount", "purchased_at", "order_id"}
    assert ("purchased_at", "-infinity is not a timestamp (ISO 8601, UTC)") in found


def test_a_changed_row_that_breaks_the_contract_takes_its_earlier_consent_with_it(shop: CrmShop) -> None:
    query = 'select customer_id, consent_email, age_text as age, updated_at from "Crm"."select"'
    shop.server.sql('alter table "Crm"."select" add age_text text')
    shop.put("10:00", a=1, b=2, c=3)
    assert shop.load(0, query=query, cursor="updated_at").rows == 3
    shop.server.sql("""update "Crm"."select" set consent_email = false, age_text = 'old', updated_at = '2026-05-01 11:00+00'
        where customer_id = 'a'""")
    load = shop.load(1, query=query, cursor="updated_at")
    assert load.postgres is not None
    assert (load.postgres.is_full, load.rows, load.closed, load.set_aside) == (False, 2, 1, 1)
    shop.put("12:00", b=2)  # the broken row is not read again, and stays listed
    assert shop.load(2, query=query, cursor="updated_at", overlap_minutes=0).set_aside == 1


def test_a_record_of_an_earlier_release_is_read_and_its_ids_are_read_anew(shop: CrmShop) -> None:
    shop.put("10:00", a=1)
    shop.load(0, cursor="updated_at")
    file = versions_file(shop.place, "customers")
    record = json.loads(file.read_text(encoding="utf-8"))
    read = record["postgres"]
    record["postgres"] = {"is_whole": read.pop("is_full"), "whole_at": read.pop("full_at"), **read, "source": "0" * 16}
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    again = shop.load(1, cursor="updated_at")
    assert again.postgres is not None
    assert (again.postgres.is_full, again.opened, again.closed) == (True, 0, 0)


LOST: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "wrong password": (
        {},
        {DSN: "host=127.0.0.1 port={port} user=shop password=c4nary dbname=postgres"},
        "authentication failed",
    ),
    "password that libpq reads as a host": (
        {},
        {DSN: "postgresql://shop:p%40c4nary@ss word@127.0.0.1:{port}/postgres"},
        "cannot be",
    ),
    "no connection string": ({}, {DSN: "password=c4nary whatever"}, "is not one that libpq takes"),
    "no such database": ({}, {DSN: "postgresql://shop:{password}@127.0.0.1:{port}/shop"}, 'database "shop" does not exist'),
    "variable not set": ({}, {DSN: ""}, f"the environment variable {DSN} is not set"),
    "no such table": ({"table": "Crm.gone"}, {}, 'relation "Crm.gone" does not exist'),
    "a table that is no name": ({"table": 'a"; drop schema "Crm" cascade; --'}, {}, "does not exist"),
    "too slow": ({"query": "select 'a' as customer_id, pg_sleep(9)", "timeout_seconds": 1}, {}, "due to statement timeout"),
    "query that writes": ({"query": "select 'a' as customer_id, nextval('\"Crm\".s')"}, {}, "in a read-only transaction"),
    "two statements": (
        {"query": 'select 1) as x; delete from "Crm"."select"; select (1'},
        {},
        "cannot insert multiple commands",
    ),
}


def test_a_lost_source_leaves_the_last_good_version_in_force_and_says_so_without_the_password(
    shop: CrmShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.server.sql('create sequence "Crm".s')
    shop.put("10:00", a=1)
    first = shop.load(0)
    before = shop.kept()
    for case, (source, environment, message) in LOST.items():
        with monkeypatch.context() as lost_place:
            for name, value in environment.items():
                lost_place.setenv(name, value.format(port=shop.server.port, password=IN_A_URI))
            lost = shop.load(1, **source)
        assert message in lost.not_read, case
        assert lost.not_read.startswith("customers: ")
        assert f"The last good version (1 row, read at {FIRST.isoformat()}) stays in force" in lost.not_read
        assert (lost.rows, lost.version, lost.opened, lost.closed) == (1, first.version, 0, 0)
        assert shop.kept() == before
        assert not [secret for secret in SECRETS if secret in lost.not_read]
    assert shop.server.sql('select count(*) from "Crm"."select"') == "1"


def test_a_lost_source_of_a_table_that_was_never_loaded_is_an_error_without_the_password(
    shop: CrmShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in ("wrong password", "password that libpq reads as a host", "no such table"):
        source, environment, message = LOST[case]
        with monkeypatch.context() as lost_place:
            for name, value in environment.items():
                lost_place.setenv(name, value.format(port=shop.server.port))
            with pytest.raises(UnreadableSourceError, match=DSN) as refused:
                shop.load(0, **source)
        assert message in str(refused.value)
        printed = "".join(traceback.format_exception(refused.value)) + repr(refused.value.__context__)
        assert not [secret for secret in SECRETS if secret in printed]
    assert not shop.place.raw.exists()


def test_a_server_that_dies_in_mid_read_leaves_the_last_good_version_in_force_and_is_read_when_it_is_back(
    shop: CrmShop,
) -> None:
    shop.put("10:00", a=1)
    shop.load(0)
    before = shop.kept()
    slow = "select 'c' || i as customer_id from generate_series(1, 100000) i where pg_sleep(0.001) is not null"
    logged = len(shop.server.log())

    def kill_once_it_reads() -> None:
        until = time.monotonic() + 20
        while 'statement: COPY (SELECT "customer_id"' not in shop.server.log()[logged:] and time.monotonic() < until:
            time.sleep(0.02)
        shop.server.kill()

    killer = threading.Thread(target=kill_once_it_reads)
    killer.start()
    try:
        lost = shop.load(1, query=slow)
    finally:
        killer.join()
        shop.server.start()
    assert "in PostgreSQL (SHOP_POSTGRES_DSN) cannot be read: " in lost.not_read
    assert not [secret for secret in SECRETS if secret in lost.not_read]
    assert shop.kept() == before
    assert not list((shop.place.root / ".tmp").glob(".tmp-*"))
    shop.put("11:00", b=2)
    back = shop.load(2)
    assert (back.not_read, back.opened) == ("", 1)


def test_the_session_is_read_only_and_limited_also_where_the_account_has_options_of_its_own(
    shop: CrmShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = """
        select 'c' as customer_id, case when current_setting('statement_timeout') = '7s'
            and current_setting('default_transaction_read_only') = 'on' and current_setting('application_name') = 'customer360'
            and current_setting('work_mem') = '5MB' then 1 else 0 end as age
    """
    uri = f"postgresql://shop:{IN_A_URI}@127.0.0.1:{shop.server.port}/postgres"
    for number, dsn in enumerate(
        (f"{shop.server.dsn} options='-c work_mem=5MB'", f"{uri}?options=-c%20work_mem%3D5MB&sslmode=prefer")
    ):
        monkeypatch.setenv(DSN, dsn)
        load = shop.load(number, query=asked, timeout_seconds=7)
        assert (load.not_read, shop.ages()) == ("", {"c": 1})


def test_a_check_judges_the_tables_of_postgresql_and_changes_nothing(shop: CrmShop) -> None:
    settings = shop.settings(cursor="updated_at")
    landing = shop.place.landing
    (landing / "clicks").mkdir(parents=True)
    shop.put("10:00", a=1, b=2)
    good = check(settings, landing, FIRST)
    text = " ".join(" ".join(report_lines(good)).split())
    assert good.is_clean
    assert f"customers: Crm.select in PostgreSQL ({DSN}) 2 rows" in text
    assert "column order is not in the contract; nobody reads it" in text
    assert "reference: 0 files, 1 table of PostgreSQL, 2 good rows Everything keeps the contracts." in text

    folder = landing / "reference" / "customers"
    folder.mkdir(parents=True)
    (folder / "c.csv").write_text("customer_id\nc\n", encoding="utf-8")
    bad = check(shop.settings(query="select 'c' as customer_id, 'old' as age"), landing, FIRST)
    text = " ".join(" ".join(report_lines(bad)).split())
    assert "age: customer_id c: old is not a whole number" in text
    assert f"reference/customers is not read: customers is a query in PostgreSQL ({DSN})" in text
    assert check(settings, landing / "clicks", FIRST).files == []
    assert not shop.place.raw.exists()


def test_addresses_are_read_and_an_invalid_one_costs_no_row(shop: CrmShop) -> None:
    shop.server.sql(
        """
        alter table "Crm"."select" add column email text;
        insert into "Crm"."select" (customer_id, consent_email, email, updated_at) values
            ('c1', true, ' Anna@B\u00fccher.example', '2026-05-01 10:00+00'),
            ('c2', true, 'canary@nowhere', '2026-05-01 10:00+00')
        """
    )
    settings = shop.settings()
    mailing = Shop.model_validate({**settings.shop.model_dump(by_alias=True, exclude_unset=True), "email": EMAIL})
    load = load_reference(settings.model_copy(update={"shop": mailing}), "customers", FIRST + timedelta(days=10))
    assert (load.rows, load.set_aside, load.refused_addresses) == (2, 0, 1)
    assert "canary" not in str(load)
    with duckdb.connect() as connection:
        found = connection.execute(addresses_query(shop.place, mailing)).fetchall()
    assert found == [("c1", "Anna@xn--bcher-kva.example")]
