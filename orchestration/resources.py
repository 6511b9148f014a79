"""The resource of all assets: the shop's settings, its clock and its warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb

from customer360.lake.disk import explaining_full_disk
from customer360.lake.operations.clock import shop_now
from customer360.lake.redaction import redacted_errors
from customer360.lake.warehouse.warehouse import count_rows, open_warehouse, warehouse_lock
from customer360.settings import Settings
from customer360.snapshot import Snapshot, open_snapshot

# The build of a training set holds the lock outside the warehouse's pool: 3 seconds for 6,000 customers, minutes for a million.
WAIT_SECONDS = 300.0
REMEDY = "run the step's query on a copy of the warehouse to see it"


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg]  # dagster's generic parameter is the resource itself
    """A shop and the place of its data. Settings are read at each call: a run may have resolved the "top K" categories."""

    shop_folder: str
    data_dir: str

    @classmethod
    def from_environment(cls) -> Platform:
        """The shop of ``SHOP`` with the data of ``DATA_DIR``."""
        settings = Settings.from_environment()
        return cls(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root))

    def settings(self) -> Settings:
        """Settings as they are now."""
        return Settings.load(Path(self.shop_folder), Path(self.data_dir))

    def now(self) -> datetime:
        """Wall clock, UTC."""
        return datetime.now(UTC)

    def shop_now(self) -> datetime:
        """The shop's clock, UTC: the wall clock, or a replay's own time."""
        return shop_now(self.settings(), self.now())

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """What is published now, opened once for the step. Raises ``Failure`` before the first publication."""
        with ExitStack() as stack:
            try:
                snapshot = stack.enter_context(open_snapshot(self.settings()))
            except FileNotFoundError as error:
                message = "nothing is published yet: run history_job or a slice first"
                raise dg.Failure(message, allow_retries=False) from error
            yield snapshot

    @contextmanager
    def lock(self, holder: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Hold the warehouse for several steps; ``holder`` is shown to whoever waits."""
        place = self.settings().place
        with explaining_full_disk(place.root), warehouse_lock(place, holder, wait_seconds):
            yield

    @contextmanager
    def warehouse(self, holder: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold and open the warehouse."""
        with self.lock(holder), self.opened() as connection:
            yield connection

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the warehouse; the lock is already held."""
        with open_warehouse(self.settings().place) as connection, redacted_errors(REMEDY):
            yield connection

    def count_rows(self, tables: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Rows of warehouse tables by (schema, name); the lock is already held."""
        with self.opened() as connection:
            return count_rows(connection, tables)
