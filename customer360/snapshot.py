"""What one run, request or command reads: one published version, and the ledger, consents and suppressions as they are now.

It is opened once, by the asset, the service or the command, and passed down, or frames of it are. Nothing below asks for the
current version again, so that a version which is published meanwhile is no part of what is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from zoneinfo import available_timezones

import duckdb
import pandas as pd

from customer360.campaigns.ledger import APPROVED, SALT, SENT, SUPPRESSED, read_ledger
from customer360.campaigns.standing import standing
from customer360.lake.engine import quoted, registered
from customer360.lake.publishing.version import PublishedVersion, current_folder, open_version
from customer360.lake.reference.customer_queries import (
    attribute_versions_query,
    consents_query,
    known_later_query,
    suppressions_query,
)
from customer360.lake.slices import naive
from customer360.settings import Place, Settings, Shop

TOUCHES, ORDERS, TIME_ZONES = "campaign_touch_history", "customer_orders", "customer_time_zones"
TOUCHES_QUERY = f"from {TOUCHES} order by touch_id"


@dataclass
class Snapshot:
    """Each frame is read when it is first asked for, and once. Timestamps in frames are plain UTC.

    ``as_of``: the end of the version's last slice, UTC (aware).

    Frames are shared by all who read them: change a copy. Who decides under the ledger's lock reads the ledger there again.
    """

    settings: Settings
    version: PublishedVersion
    as_of: datetime

    @property
    def place(self) -> Place:
        """Where the shop's data lie."""
        return self.settings.place

    @property
    def shop(self) -> Shop:
        """The shop as shop.yaml describes it."""
        return self.settings.shop

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A connection on which unqualified names are the version's tables, read-only."""
        return self.version.connection

    def has(self, table: str) -> bool:
        """Whether the version has this table."""
        return table in self.version.publication.rows

    def read(
        self, query: str, values: Sequence[Any] | Mapping[str, Any] | None = None, *, of: Collection[str] = ()
    ) -> pd.DataFrame:
        """The rows of a query on the version's tables, read each time; none where a table of ``of`` is not published."""
        if not all(map(self.has, of)):
            return pd.DataFrame()
        return self.connection.execute(query, values).df()

    def rows_of(self, table: str, customer_ids: pd.Series[str]) -> pd.DataFrame:
        """The rows of a table that are of these customers, read each time."""
        chosen = pd.DataFrame({"customer_id": customer_ids.dropna().unique()})
        with registered(self.connection, "chosen_customers", chosen):
            return self.read(f"from {quoted(table)} semi join chosen_customers using (customer_id)")

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """Approved, sent and suppressed entries of the campaign ledger, and its salt (``read_ledger``)."""
        return read_ledger(self.place, [APPROVED, SENT, SUPPRESSED, SALT])

    @cached_property
    def approved(self) -> pd.DataFrame:
        """The approved contacts and holdouts of the ledger with what became of each (``standing``)."""
        return standing(self.ledger)

    @cached_property
    def touches(self) -> pd.DataFrame:
        """``campaign_touch_history``, in the order of touch_id."""
        return self.read(TOUCHES_QUERY)

    @cached_property
    def orders(self) -> pd.DataFrame:
        """customer_id, ordered_at, amount, lines of ``customer_orders``, of each customer in the order of time."""
        return self.read(f"select customer_id, ordered_at, amount, lines from {ORDERS} order by customer_id, ordered_at")

    @cached_property
    def orders_known_until(self) -> pd.Timestamp | None:
        """Until when ``customer_orders`` knows of orders: they are made at night, not with each slice. None without any."""
        (known_until,) = self.connection.execute(f"select max(as_of) from {ORDERS}").fetchone() or (None,)
        return None if known_until is None else pd.Timestamp(known_until)

    @cached_property
    def offers(self) -> pd.DataFrame:
        """The reference table ``offers``, in the order of offer_id."""
        return self.read("from offers order by offer_id")

    @property
    def outcomes_known_at(self) -> datetime:
        """Until when it is known what contacts led to (plain UTC): as the orders, where there are any."""
        known_until = self.orders_known_until if self.has(ORDERS) else None
        return naive(self.as_of) if known_until is None else min(naive(self.as_of), known_until.to_pydatetime())

    @cached_property
    def consents(self) -> pd.DataFrame:
        """customer_id, channel, is_allowed: one row a customer and channel, as last loaded."""
        return self.read(consents_query(self.place, self.shop))

    @cached_property
    def suppressions(self) -> pd.DataFrame:
        """customer_id, channel, reason: one row a suppressed customer and channel, as last loaded."""
        return self.read(suppressions_query(self.place, self.shop))

    @cached_property
    def known_later(self) -> pd.Series[str]:
        """customer_id of customers whose known_since lies after the snapshot's time: they are in no audience of it."""
        return self.read(known_later_query(self.place, self.shop, self.as_of))["customer_id"]

    @cached_property
    def attribute_versions(self) -> pd.DataFrame:
        """Every version of customers' attributes: customer_id, valid_from, valid_to (null while in force), attributes."""
        return self.read(attribute_versions_query(self.place, self.shop))

    @cached_property
    def time_zones(self) -> pd.DataFrame:
        """customer_id, time_zone: a name that Python knows, null where nothing is known; see ``unknown_zones``."""
        found = self._published_zones
        return found.assign(time_zone=found["time_zone"].mask(self._is_unknown_zone, self.shop.time_zone))

    @property
    def unknown_zones(self) -> int:
        """Customers who have the shop's time zone in place of one that Python does not know: today's loads refuse those."""
        return int(self._is_unknown_zone.sum())

    @cached_property
    def _published_zones(self) -> pd.DataFrame:
        return self.read(f"select customer_id, time_zone from {TIME_ZONES} order by customer_id")

    @cached_property
    def _is_unknown_zone(self) -> pd.Series[bool]:
        zones = self._published_zones["time_zone"]
        return zones.notna() & ~zones.isin(available_timezones())


def published_touches(settings: Settings) -> pd.DataFrame:
    """``campaign_touch_history`` of the version that is published now; without rows where nothing or no touch is published."""
    columns = ["customer_id", "campaign_id", "channel", "touched_at", "local_date"]
    if current_folder(settings.place).exists():
        with open_version(settings.place) as version:
            if TOUCHES in version.publication.rows:
                return version.connection.execute(TOUCHES_QUERY).df()
    return pd.DataFrame(columns=columns)


@contextmanager
def open_snapshot(settings: Settings) -> Iterator[Snapshot]:
    """The version that is published at this moment, to read from until the block ends.

    Raises ``FileNotFoundError`` before the first publication of a slice.
    """
    with open_version(settings.place) as version:
        as_of = version.publication.as_of
        if as_of is None:
            raise FileNotFoundError(f"no slice is published below {settings.place.published} yet; run history_job or a slice")
        yield Snapshot(settings, version, as_of.replace(tzinfo=UTC))
