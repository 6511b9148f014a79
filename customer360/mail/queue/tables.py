"""The queue's tables, and its database: SQLite in WAL mode, each commit on disk, or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from customer360.errors import OperatorError

QUEUED, SENDING, ACCEPTED, FAILED, UNKNOWN, LEFT_OUT = "queued", "sending", "accepted", "failed", "unknown", "left_out"
FINAL = (ACCEPTED, FAILED, UNKNOWN, LEFT_OUT)
WAIT_SECONDS = 60  # for the lock of another process

METADATA = MetaData()

# One row per contact. Times are plain UTC: ``send_at`` by the shop's clock, which a replay has of its own, the others by the
# wall's; ``contact_date`` is the day where the customer is. ``provider`` is the mailbox provider whose rate counts,
# ``address_hash`` the keyed hash of the address; no address stands here. ``is_synced``: the ledger knows of the state.
MESSAGES = Table(
    "messages",
    METADATA,
    Column("contact_key", String(32), primary_key=True),
    Column("campaign_id", String, nullable=False),
    Column("plan_version", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("variant", String),
    Column("offer_id", String),
    Column("topic", String, nullable=False),
    Column("address_hash", String(32), nullable=False),
    Column("domain", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("send_at", DateTime, nullable=False),
    Column("contact_date", Date, nullable=False),
    Column("value", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("owner", String),
    Column("leased_until", DateTime),
    Column("next_attempt_at", DateTime, nullable=False),
    Column("queued_at", DateTime, nullable=False),
    Column("changed_at", DateTime, nullable=False),
    Column("reply", String),
    Column("is_synced", Boolean, nullable=False, default=False),
)
_is_queued = MESSAGES.c.state == QUEUED
_is_unsynced = MESSAGES.c.is_synced.is_(False) & MESSAGES.c.state.in_(FINAL)
_holds_address = MESSAGES.c.state.in_((QUEUED, SENDING, ACCEPTED, UNKNOWN))
_is_sending = MESSAGES.c.state == SENDING
Index(
    "messages_by_value",
    *(MESSAGES.c.provider, MESSAGES.c.value.desc(), MESSAGES.c.contact_key, MESSAGES.c.next_attempt_at),
    sqlite_where=_is_queued,
    postgresql_where=_is_queued,
)
Index("messages_of_owners", MESSAGES.c.owner, sqlite_where=_is_sending, postgresql_where=_is_sending)
Index("messages_unsynced", MESSAGES.c.is_synced, sqlite_where=_is_unsynced, postgresql_where=_is_unsynced)
# An address gets a campaign once, whoever owns it.
Index(
    "messages_once_per_address",
    MESSAGES.c.campaign_id,
    MESSAGES.c.address_hash,
    unique=True,
    sqlite_where=_holds_address,
    postgresql_where=_holds_address,
)
Index("messages_of_customers", MESSAGES.c.customer_id)
Index("messages_of_addresses", MESSAGES.c.address_hash)
_messages_of_days = Index("messages_of_days", MESSAGES.c.contact_date)

# What followed a message, dated: bounced_hard, bounced_soft, complained, unsubscribed, opened, clicked, delivered.
MARKS = Table(
    "marks",
    METADATA,
    Column("contact_key", String(32), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("source_id", String, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("detail", String),
)
Index("marks_by_time", MARKS.c.at)

# Who is to get no message: a customer, an address, or both; of one topic, or of the whole channel where the topic is empty.
STOPS = Table(
    "stops",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("address_hash", String(32), primary_key=True),
    Column("channel", String, primary_key=True),
    Column("topic", String, primary_key=True),
    Column("reason", String, nullable=False),
    Column("source", String, nullable=False),
    Column("at", DateTime, nullable=False),
    Column("lifted_at", DateTime),
)
Index("stops_of_addresses", STOPS.c.address_hash)

# Each time that a campaign was stopped or resumed (all of them, where campaign_id is empty); the last row counts.
CAMPAIGN_STOPS = Table(
    "campaign_stops",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("campaign_id", String, nullable=False),
    Column("is_stopped", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("by", String, nullable=False),
    Column("at", DateTime, nullable=False),
)

# How many days a customer wants between two e-mails; times are plain UTC.
FREQUENCY = Table(
    "frequencies",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("days", Integer, nullable=False),
    Column("at", DateTime, nullable=False),
)

# One row per question of the double opt-in. Times are plain UTC. ``client_hash``: of who asked or confirmed; ``sealed``:
# the address, encrypted.
OPT_INS = Table(
    "opt_ins",
    METADATA,
    Column("opt_in_id", String(32), primary_key=True),
    Column("address_hash", String(32), nullable=False),
    Column("customer_id", String, nullable=False),
    Column("sealed", String, nullable=False),
    Column("language", String, nullable=False),
    Column("page", String, nullable=False),
    Column("text_version", String, nullable=False),
    Column("state", String, nullable=False),
    Column("asked_at", DateTime, nullable=False),
    Column("client_hash", String(32), nullable=False),
    Column("mailed_at", DateTime),
    Column("confirmed_at", DateTime),
    Column("confirmed_client_hash", String(32)),
)
Index("opt_ins_by_time", OPT_INS.c.asked_at)
Index("opt_ins_of_addresses", OPT_INS.c.address_hash)

# Contacts that the log of a transport knows and the messages do not: a database that was restored has forgotten them.
REMEMBERED = Table(
    "remembered",
    METADATA,
    Column("contact_key", String(32), primary_key=True),
    Column("state", String, nullable=False),
    Column("changed_at", DateTime, nullable=False),
    Column("reply", String),
)

# How fast a provider is sent to, and until when it is not.
PROVIDERS = Table(
    "providers",
    METADATA,
    Column("provider", String, primary_key=True),
    Column("first_day", String, nullable=False),
    Column("day", String, nullable=False),
    Column("sent_today", Integer, nullable=False),
    Column("tokens", Float, nullable=False),
    Column("tokens_at", DateTime, nullable=False),
    Column("blocked_until", DateTime),
    Column("deferrals", Integer, nullable=False),
    Column("reason", String),
)

# What the database knows of itself and of the logs of the transport, by name.
FACTS = Table("facts", METADATA, Column("name", String, primary_key=True), Column("value", String, nullable=False))

# What brings a database of version 1, 2 and so on to the next one, beside tables that it lacks. A step runs within the
# transaction that marks the version, and must leave ``messages`` the table that it is: see ``identity``.
_UPGRADES: tuple[Callable[[Connection], None], ...] = (lambda database: _messages_of_days.create(database, checkfirst=True),)
SCHEMA, SCHEMA_VERSION = "schema", len(_UPGRADES) + 1


class QueueError(OperatorError):
    """The queue's database cannot be used. The message names it, without its password, and the remedy."""


def queue_engine(url: str) -> Engine:
    """The database of this URL (``sqlite:///...`` or ``postgresql://...``), its tables made or brought to ``SCHEMA_VERSION``.

    Raises ``QueueError`` where it cannot be opened, or is of a later version than this program.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise QueueError("the queue's URL is none: write postgresql://user:password@host/database") from None
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    is_file = parsed.drivername == "sqlite"
    if is_file and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"connect_args": {"timeout": WAIT_SECONDS}} if is_file else {"pool_pre_ping": True}
    engine = create_engine(parsed, hide_parameters=True, **options)
    if is_file:
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            _lock_schema(connection)
            _upgrade(connection)
    except DatabaseError as error:
        raise QueueError(
            f"the mail queue {parsed.render_as_string()} cannot be opened ({type(error.orig).__name__})"
        ) from error
    if is_file and parsed.database:
        Path(parsed.database).chmod(0o600)
    return engine


def insert_new(connection: Connection, table: Table) -> Any:
    """An insert that leaves rows alone whose key is known; ``on_conflict_do_update`` replaces them."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def keep_fact(connection: Connection, name: str, value: str) -> None:
    """Keep what the database knows of itself under a name."""
    new = insert_new(connection, FACTS).values(name=name, value=value)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def identity(connection: Connection, transport: Path) -> str:
    """What a copy of the database, or one that was made anew from a dump, has otherwise."""
    if connection.dialect.name == "postgresql":
        asked = "select concat_ws('/', oid, 'messages'::regclass::oid) from pg_database where datname = current_database()"
        database = str(connection.execute(text(asked)).scalar_one())
    else:
        database = str(Path(str(connection.engine.url.database)).stat().st_ino)
    return f"{database}/{transport.stat().st_ino}"


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """A connection that only reads: it takes no lock for writing."""
    return engine.connect().execution_options(is_reading=True)


def _durable(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # _begin begins transactions
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32768", "temp_store = MEMORY"):
        connection.execute(f"pragma {pragma}")


def _begin(connection: Connection) -> None:
    """Take SQLite's lock for writing at once: one that is asked for after a read is refused where another wrote meanwhile."""
    is_reading = connection.get_execution_options().get("is_reading", False)
    connection.exec_driver_sql("begin" if is_reading else "begin immediate")


def _upgrade(connection: Connection) -> None:
    """Bring the tables to ``SCHEMA_VERSION``: all of it or, where this dies, nothing. Before versions were kept it was 1."""
    known = inspect(connection).get_table_names()
    mark = connection.execute(select(FACTS.c.value).where(FACTS.c.name == SCHEMA)).scalar() if FACTS.name in known else None
    version = int(mark or 1) if MESSAGES.name in known else SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        raise QueueError(
            f"the mail queue {connection.engine.url.render_as_string()} is of version {version}, and this program knows "
            f"{SCHEMA_VERSION}: a later one made or upgraded it. Run that one; docs/runbook.md says how to go back"
        )
    METADATA.create_all(connection)
    for upgrade in _UPGRADES[version - 1 :]:
        upgrade(connection)
    if mark != f"{SCHEMA_VERSION}":
        keep_fact(connection, SCHEMA, f"{SCHEMA_VERSION}")


def _lock_schema(connection: Connection) -> None:
    """Two processes that start at once must not both make the tables."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(36017)"))
