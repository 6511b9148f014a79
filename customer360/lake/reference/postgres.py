"""PostgreSQL read in place by DuckDB's postgres extension: read-only, with a time limit, and no secret in any error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import duckdb

from customer360.lake.engine import connect, literal, load_extension
from customer360.settings import PostgresSource

CATALOG = "remote"
CONNECT_SECONDS = 10
# A server that lost its network sends nothing: without these limits a load would wait for hours.
KEEPALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000"}
URI = ("postgresql://", "postgres://")
OPTIONS = re.compile(r"(?:^|\s)options\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))")


class UnreadableSourceError(RuntimeError):
    """PostgreSQL could not be read: no connection, refused, timed out, or no such table.

    The message names the environment variable, never its value.
    """


@dataclass(frozen=True)
class Remote:
    """A server that is attached read-only; ``started_at`` is its clock before the first read."""

    connection: duckdb.DuckDBPyConnection
    source: PostgresSource
    secret: str = field(repr=False)
    started_at: str = ""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query in PostgreSQL's own SQL. Raises ``UnreadableSourceError``."""
        return self.run(f"select * from {self.relation(sql)}")

    def columns(self, sql: str) -> dict[str, str]:
        """Columns of a query with their DuckDB types; the query is prepared, not run. Raises ``UnreadableSourceError``."""
        return {str(name): str(kind) for name, kind, *_ in self.run(f"describe select * from {self.relation(sql)}")}

    def copy(self, sql: str, target: Path) -> None:
        """Write the rows of a query into a Parquet file as they come. Raises ``UnreadableSourceError``."""
        self.run(f"copy (select * from {self.relation(sql)}) to {literal(str(target))} (format parquet, compression zstd)")

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement of DuckDB that reads the server. Raises ``UnreadableSourceError``."""
        try:
            return self.connection.execute(statement).fetchall()
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            reason = _reason(str(error), self.secret)
        # Raised here, not above: an error that is chained to DuckDB's would carry its message, which holds the password.
        raise UnreadableSourceError(f"{self.source.title} cannot be read: {reason}")

    def relation(self, sql: str) -> str:
        """DuckDB's table function for a query in PostgreSQL's own SQL."""
        return f"postgres_query({literal(CATALOG)}, {literal(sql)})"


@contextmanager
def reading(source: PostgresSource, scratch: Path) -> Iterator[Remote]:
    """Attach the server read-only, with the source's time limit, in a DuckDB of its own that is closed at the end.

    Every statement is a transaction by itself: DuckDB ends the process when it closes one whose server has died.
    ``scratch`` keeps the extension's file and what DuckDB spills. Raises ``UnreadableSourceError``.
    """
    try:
        dsn = connection_string(source.dsn, "postgresql://reader@db.example/shop")
    except LookupError as error:
        raise UnreadableSourceError(f"{source.title} cannot be read: {error.args[0]}") from None
    secret = address(dsn, source.timeout_seconds)
    with connect(scratch) as connection:
        load_extension(connection, "postgres_scanner", scratch)
        remote = Remote(connection, source, secret)
        remote.run(f"attach {literal(secret)} as {CATALOG} (type postgres, read_only)")
        yield replace(remote, started_at=_started(remote))


def connection_string(variable: str, example: str) -> str:
    """What an environment variable holds. Raises ``LookupError`` with the remedy where it is not set."""
    dsn = os.environ.get(variable, "").strip()
    if not dsn:
        raise LookupError(
            f"the environment variable {variable} is not set. Set it for every process that runs jobs, to a connection string "
            f"such as {example}"
        )
    return dsn


def address(dsn: str, timeout_seconds: int) -> str:
    """A connection string, in either form of libpq, with the limits added: of a parameter given twice the last counts."""
    is_uri = dsn.startswith(URI)
    query = dsn.rpartition("@")[2].partition("?")[2] if is_uri else ""
    own_options = parse_qs(query).get("options", [""])[-1] if is_uri else _own_options(dsn)
    limits = {
        "statement_timeout": f"{timeout_seconds}s",
        "default_transaction_read_only": "on",
        "TimeZone": "UTC",
        "DateStyle": "ISO",
    }
    options = " ".join([*([own_options] if own_options else []), *(f"-c {name}={value}" for name, value in limits.items())])
    added = {"connect_timeout": str(CONNECT_SECONDS), "application_name": "customer360", **KEEPALIVE, "options": options}
    if is_uri:
        return f"{dsn}{'&' if query else '?'}{urlencode(added, quote_via=quote)}"
    return " ".join([dsn, *(f"{name}={_conninfo_value(value)}" for name, value in added.items())])


def _conninfo_value(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _own_options(dsn: str) -> str:
    """The last ``options`` of a key=value connection string, as libpq reads it."""
    found = [quoted if quoted else plain for quoted, plain in OPTIONS.findall(dsn)]
    return re.sub(r"\\(.)", r"\1", found[-1]) if found else ""


def _started(remote: Remote) -> str:
    """The server's time. Raises ``UnreadableSourceError`` where the limits are not in force."""
    ((started, timeout, read_only, dates),) = remote.rows(
        "select now()::text as started, current_setting('statement_timeout') as timeout, "
        "current_setting('transaction_read_only') as read_only, current_setting('DateStyle') as dates"
    )
    if timeout == "0" or read_only != "on" or not dates.startswith("ISO"):
        raise UnreadableSourceError(
            f"{remote.source.title} is not read: the session has statement_timeout {timeout}, transaction_read_only "
            f"{read_only}, DateStyle {dates}. A pooler drops what the connection string asks for; set it for the account: "
            f"alter role ... set statement_timeout = '{remote.source.timeout_seconds}s', and DateStyle = 'ISO'"
        )
    return str(started)


def _reason(message: str, secret: str) -> str:
    """PostgreSQL's message out of DuckDB's error, without the connection string.

    Of a failed connection only the message of the server or the network is returned: where libpq cannot parse the connection
    string, its message quotes the part that it cannot parse.
    """
    text = message.replace(secret, "")
    if "Unable to connect to Postgres" in text:
        return connection_reason(text)
    reasons = re.findall(r"(?:ERROR|FATAL): +([^\n]+)", text)
    return (str(reasons[-1]) if reasons else text.splitlines()[0])[:500].strip()


def connection_reason(message: str) -> str:
    """Why a connection failed, in the words of the server or the network, which hold nothing of the connection string."""
    reasons = re.findall(r"failed: ([^\n]+)", message)
    if reasons:
        return str(reasons[-1]).rpartition("failed: ")[2].strip()
    if "could not translate host name" in message or "failed to resolve host" in message:
        return "the host of the connection string is unknown"
    return "the connection string is not one that libpq takes; characters such as @ : / in a password are written %40 %3A %2F"
