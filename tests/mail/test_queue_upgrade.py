"""An upgrade with a queue: what an earlier program left is kept, and is sent once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.engine import URL

from customer360.mail.journal import Journal, journal_folder
from customer360.mail.queue import open_queue
from customer360.mail.queue.tables import (
    ACCEPTED,
    FAILED,
    LEFT_OUT,
    METADATA,
    QUEUED,
    SCHEMA_VERSION,
    SENDING,
    UNKNOWN,
    QueueError,
    identity,
    queue_engine,
)
from customer360.mail.smtp import Relay
from customer360.services.mailer.worker import Worker
from customer360.settings import Place
from tests.mail.test_mail_worker import Canary
from tests.support.ports import free_port
from tests.support.postgres import PASSWORD, postgres_server
from tests.support.smtp_receiver import smtp_receiver


def key(name: str) -> str:
    return name.replace("-", "").ljust(32, "0")


VERSION_1 = (Path(__file__).parent / "queue_schema_1.sql").read_text(encoding="utf-8")
FOR_POSTGRES = {"DATETIME": "TIMESTAMP", "number INTEGER NOT NULL": "number BIGSERIAL NOT NULL"}
# What became of each message before the upgrade, and after it: of those that were being sent, the log of their sender tells.
MESSAGES = {
    "waits": (QUEUED, ACCEPTED),
    "leased": (SENDING, ACCEPTED),  # its sender died before the last byte
    "in-doubt": (SENDING, UNKNOWN),
    "answered": (SENDING, ACCEPTED),
    "accepted": (ACCEPTED, ACCEPTED),
    "failed": (FAILED, FAILED),
    "left-out": (LEFT_OUT, LEFT_OUT),
    "unknown": (UNKNOWN, UNKNOWN),
}
SENT = ["leased", "waits"]
AT = "'2026-05-05 07:00:00.000000'"
KEPT = ("marks", "stops", "campaign_stops", "frequencies", "remembered")
ROWS = [
    f"insert into marks values ('{key('accepted')}', 'clicked', 's1', {AT}, null)",
    f"insert into stops values ('C-9', 'hash 9', 'email', '', 'unsubscribed', 'page', {AT}, null)",
    f"insert into campaign_stops values (1, 'summer', true, 'wrong price', 'anna', {AT})",
    f"insert into frequencies values ('C-8', 7, {AT})",
    f"insert into remembered values ('gone', 'accepted', {AT}, '250 Ok')",
]


def before_upgrade(url: str, place: Place) -> Engine:
    """The queue of version 1, with a message in each state and the log of a sender that died."""
    journal = Journal(journal_folder(place.mail))
    engine = create_engine(url)
    tables = VERSION_1
    for words, others in FOR_POSTGRES.items() if engine.dialect.name == "postgresql" else ():
        tables = tables.replace(words, others)
    messages = [
        f"insert into messages values ('{key(name)}', 'spring', 'v1', 'C-{number}', null, null, '', 'hash {number}', "
        f"'shop.example', 'other', {AT}, '2026-05-05', {number}, '{state}', 1, "
        f"{repr(journal.owner) if state == SENDING else 'null'}, '2099-01-01 00:00:00.000000', {AT}, {AT}, {AT}, null, false)"
        for number, (name, (state, _)) in enumerate(MESSAGES.items())
    ]
    with engine.begin() as connection:
        for statement in [*tables.strip().removesuffix(";").split(";\n"), *ROWS, *messages]:
            connection.exec_driver_sql(statement)
        known = identity(connection, journal_folder(place.mail))
        connection.exec_driver_sql(f"insert into facts values ('identity', '{known}')")
    journal.begin(key("in-doubt"), 1)
    journal.begin(key("answered"), 1)
    journal.end(key("answered"), 1, "250 2.0.0 Ok")
    journal.close()
    return engine


def shape(engine: Engine) -> dict[str, object]:
    """Columns and indexes by table."""
    found = inspect(engine)
    return {
        table: (
            {column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(table)},
            {index["name"]: (index["column_names"], index["unique"]) for index in found.get_indexes(table)},
        )
        for table in found.get_table_names()
    }


@pytest.fixture(scope="module")
def postgres() -> Iterator[URL]:
    with postgres_server() as server:
        yield URL.create("postgresql+psycopg", "shop", PASSWORD, "127.0.0.1", server.port, "postgres")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the queue lies."""
    (tmp_path / "mail").mkdir()
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/mail/mail.sqlite3"
        return
    found: str = request.getfixturevalue("postgres").render_as_string(hide_password=False)
    yield found
    engine = create_engine(found)
    METADATA.drop_all(engine)
    engine.dispose()


def test_an_upgrade_with_a_queue_loses_nothing_and_sends_nothing_twice(url: str, tmp_path: Path) -> None:
    place = Place(root=tmp_path)
    before_upgrade(url, place).dispose()
    port = free_port()
    with smtp_receiver(port) as taken:
        for _ in range(2):
            queue = open_queue(place, url)
            assert queue.is_open()
            Worker(queue, Relay("127.0.0.1", port, "none"), Canary(), connections=2).run(is_once=True)
    assert sorted(message.sender.partition("+")[2].partition("-")[0] for message in taken) == [key(name) for name in SENT]
    contacts = {name: queue.contact(key(name)) for name in MESSAGES}
    assert {name: contact and contact.state for name, contact in contacts.items()} == {
        name: after for name, (_, after) in MESSAGES.items()
    }
    assert queue.facts("schema") == {"schema": f"{SCHEMA_VERSION}"}
    assert queue.marks()["messages"].tolist() == [1] and queue.is_stopped("summer")
    with queue.engine.connect() as connection:
        kept = [connection.exec_driver_sql(f"select count(*) from {name}").scalar() for name in KEPT]
    assert kept == [1] * len(KEPT)
    queue.engine.dispose()


def test_an_upgraded_queue_is_as_a_new_one(url: str, tmp_path: Path) -> None:
    before_upgrade(url, Place(root=tmp_path)).dispose()
    upgraded = queue_engine(url)
    is_file = upgraded.dialect.name == "sqlite"
    found = shape(upgraded)
    if not is_file:
        METADATA.drop_all(upgraded)
    new = queue_engine(f"sqlite:///{tmp_path}/new.sqlite3" if is_file else url)
    assert found == shape(new)
    for engine in (upgraded, new):
        engine.dispose()


def test_an_upgrade_that_is_killed_leaves_the_queue_as_it_was_and_is_done_by_the_next_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mail/mail.sqlite3"
    earlier = before_upgrade(url, Place(root=tmp_path))
    before = shape(earlier)
    killed = "import os, sys; from customer360.mail.queue import tables; tables.keep_fact = lambda *_: os._exit(9)"
    ran = subprocess.run([sys.executable, "-c", f"{killed}; tables.queue_engine(sys.argv[1])", url], check=False)
    assert ran.returncode == 9 and shape(earlier) == before
    engine = queue_engine(url)
    assert shape(engine) != before
    for each in (engine, earlier):
        each.dispose()


def test_a_queue_of_a_later_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mail.sqlite3"
    engine = queue_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("update facts set value = '99' where name = 'schema'")
        connection.exec_driver_sql("drop table frequencies")
    with pytest.raises(QueueError, match=f"of version 99, and this program knows {SCHEMA_VERSION}"):
        queue_engine(url)
    assert "frequencies" not in inspect(engine).get_table_names()
    engine.dispose()
