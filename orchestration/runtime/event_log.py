"""Dagster's event log in SQLite with connections that stay open: named in dagster.yaml, used by every process of the instance.

Dagster's own class opens the file anew for each event and closes it again, and the last one to close a database in WAL mode
moves the whole log into it, with two flushes to disk. A slice has about 150 events.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

OPEN_AT_MOST = 8  # a run writes two databases: its own, and the index of all; the web server reads those of many runs


class OpenEventLog(SqliteEventLogStorage):
    """The same files as Dagster's own event log, at the same place: either class reads what the other wrote.

    After a power failure the last events may be gone, as ``synchronous = normal`` permits; the files stay whole.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open: OrderedDict[str, db.Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """None: the place is Dagster's own default."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> OpenEventLog:
        """The event log of the instance in ``DAGSTER_HOME``."""
        del config_value
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.Connection]:
        if shard not in self._initialized_dbs:
            with super()._connect(shard):
                pass
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> db.Engine:
        """The one connection to a database, opened when it is first needed. Called with the lock held."""
        engine = self._open.pop(shard, None)
        if engine is None:
            engine = db.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=db.pool.StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            db.event.listen(engine, "connect", _do_not_flush_each_commit)
        self._open[shard] = engine
        while len(self._open) > OPEN_AT_MOST:
            self._open.popitem(last=False)[1].dispose()
        return engine

    def dispose(self) -> None:
        """Close what is open."""
        with self._db_lock:
            while self._open:
                self._open.popitem()[1].dispose()
        super().dispose()


def _do_not_flush_each_commit(connection: Any, _: Any) -> None:
    connection.execute("pragma synchronous = normal")
