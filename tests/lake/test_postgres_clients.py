"""Clients of BI tools read the published PostgreSQL schema: each over one open connection, before and after a new version."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyodbc
import pytest
import sqlalchemy as sa

from customer360.lake.engine import connect
from customer360.lake.publishing.postgres_publishing import copy_to_postgres
from customer360.lake.publishing.publishing import publish
from customer360.settings import Place, PostgresTarget
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DRIVER = "PostgreSQL Unicode"
JDBC = Path("/usr/share/java/postgresql.jar")
TABLE = """
    select 'C' || {number} as customer_id, 1234.50::decimal(18,2) as monetary, timestamp '2026-05-01 12:00:00.25' as as_of,
        date '2026-05-02' as next_contact_on, null::bigint as orders, true as is_label, 'Zoë "Z" 🛒' as name,
        0.1::double as share
"""
TEXTS = {"customer_value": {"": "What a person wants to read", "monetary": "Revenue net of returns"}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    with postgres_server() as running:
        monkeypatch.setenv("BI_POSTGRES_DSN", running.dsn)
        publish_version(tmp_path, 1)
        yield running


def publish_version(folder: Path, number: int) -> None:
    place = Place(root=folder)
    with connect(folder / ".tmp") as connection:
        tables = {"customer_value": TABLE.format(number=number)}
        publish(place, connection, tables, NOON, NOON + number * timedelta(minutes=15), descriptions=TEXTS)
    assert copy_to_postgres(place, PostgresTarget(dsn="BI_POSTGRES_DSN")) is not None


def test_psql(server: PostgresServer, tmp_path: Path) -> None:
    assert server.sql(r"\dt customer360.*").splitlines() == [
        "customer360|customer_value|table|shop",
        "customer360|publication|table|shop",
    ]
    described = server.sql(r"\d+ customer360.customer_value")
    assert "monetary|numeric(18,2)" in described
    assert "Revenue net of returns" in described
    publish_version(tmp_path, 2)
    row = server.sql("set timezone = 'UTC'; select * from customer360.customer_value")
    assert row == 'C2|1234.50|2026-05-01 12:00:00.25|2026-05-02||t|Zoë "Z" 🛒|0.1'


def test_sqlalchemy(server: PostgresServer, tmp_path: Path) -> None:
    url = sa.URL.create("postgresql+psycopg", "shop", PASSWORD, "127.0.0.1", server.port, "postgres")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        assert inspector.get_table_names("customer360") == ["customer_value", "publication"]
        assert inspector.get_table_comment("customer_value", "customer360") == {"text": "What a person wants to read"}
        profiles = sa.Table("customer_value", sa.MetaData(schema="customer360"), autoload_with=connection)
        assert profiles.c.monetary.comment == "Revenue net of returns"
        assert isinstance(profiles.c.monetary.type, sa.Numeric)
        assert connection.execute(sa.select(profiles.c.customer_id)).scalars().all() == ["C1"]
        publish_version(tmp_path, 2)
        (row,) = connection.execute(sa.select(profiles)).all()
    assert row.as_of.replace(tzinfo=UTC) == NOON + timedelta(milliseconds=250)
    assert (row.customer_id, row.monetary, row.orders, row.is_label) == ("C2", Decimal("1234.50"), None, True)
    assert (row.next_contact_on, row.name, row.share) == (date(2026, 5, 2), 'Zoë "Z" 🛒', 0.1)
    engine.dispose()


@pytest.mark.skipif(DRIVER not in pyodbc.drivers(), reason="no ODBC driver of PostgreSQL: apt-get install odbc-postgresql")
def test_odbc(server: PostgresServer, tmp_path: Path) -> None:
    password = "{" + PASSWORD.replace("}", "}}") + "}"
    address = f"Driver={{{DRIVER}}};Server=127.0.0.1;Port={server.port};Database=postgres;Uid=shop;Pwd={password};BoolsAsChar=0"
    with pyodbc.connect(address, autocommit=True) as connection:
        cursor = connection.cursor()
        assert [row.table_name for row in cursor.tables(schema="customer360")] == ["customer_value", "publication"]
        kinds = {row.column_name: row.type_name for row in cursor.columns("customer_value", schema="customer360")}
        assert (kinds["monetary"], kinds["as_of"], kinds["orders"]) == ("numeric", "timestamp", "int8")
        assert cursor.execute("select customer_id from customer360.customer_value").fetchval() == "C1"
        publish_version(tmp_path, 2)
        row = cursor.execute("select * from customer360.customer_value where monetary > ?", Decimal("1234.49")).fetchone()
    assert row.as_of.replace(tzinfo=UTC) == NOON + timedelta(milliseconds=250)
    assert (row.customer_id, row.monetary, row.orders, row.is_label) == ("C2", Decimal("1234.50"), None, True)
    assert (row.next_contact_on, row.name, row.share) == (date(2026, 5, 2), 'Zoë "Z" 🛒', 0.1)


READER = """
import java.sql.*;

public class Reader {
    public static void main(String[] given) throws Exception {
        try (Connection connection = DriverManager.getConnection(given[0], "shop", System.getenv("READER_PASSWORD"))) {
            ResultSet tables = connection.getMetaData().getTables(null, "customer360", "%", new String[] {"TABLE"});
            while (tables.next()) System.out.println(tables.getString("TABLE_NAME") + ": " + tables.getString("REMARKS"));
            PreparedStatement query = connection.prepareStatement("select * from customer360.customer_value");
            for (int version = 1; version <= 2; version++) {
                ResultSet row = query.executeQuery();
                row.next();
                System.out.println(String.join("|", row.getString("customer_id"), row.getBigDecimal("monetary").toString(),
                    row.getTimestamp("as_of").toLocalDateTime().toString(), row.getDate("next_contact_on").toString(),
                    String.valueOf(row.getObject("orders")), String.valueOf(row.getBoolean("is_label")),
                    String.valueOf(row.getDouble("share")), String.valueOf(row.getString("name").codePoints().count())));
                if (version == 1) System.in.read();
            }
        }
    }
}
"""


@pytest.mark.skipif(not shutil.which("java"), reason="no Java: apt-get install default-jdk-headless")
@pytest.mark.skipif(not JDBC.exists(), reason="no JDBC driver of PostgreSQL: apt-get install libpostgresql-jdbc-java")
def test_jdbc(server: PostgresServer, tmp_path: Path) -> None:
    program = tmp_path / "Reader.java"
    program.write_text(READER, encoding="utf-8")
    command = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(JDBC), str(program)]
    command.append(f"jdbc:postgresql://127.0.0.1:{server.port}/postgres")
    with subprocess.Popen(
        command, env={"READER_PASSWORD": PASSWORD}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        lines = [reader.stdout.readline().strip() for _ in range(3)]
        publish_version(tmp_path, 2)
        after, _ = reader.communicate("\n", timeout=30)
    assert lines[0] == "customer_value: What a person wants to read"
    assert lines[1].startswith("publication: The version")
    row = "1234.50|2026-05-01T12:00:00.250|2026-05-02|null|true|0.1|9"
    assert lines[2] == f"C1|{row}"
    assert after.strip() == f"C2|{row}"
