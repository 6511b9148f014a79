"""What followed a message (marks), who is to get none any more (stops), and which campaigns are stopped."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Engine, exists, func, insert, select, update

from customer360.decisions import Request
from customer360.lake.atomic import replacing
from customer360.lake.slices import naive
from customer360.mail.queue.tables import CAMPAIGN_STOPS, FACTS, MARKS, MESSAGES, STOPS, insert_new, keep_fact, reading
from customer360.settings import MAIL_CHANNEL, Place

if TYPE_CHECKING:
    from customer360.mail.queue import MailQueue

VERSION = "stops"
BOUNCED_SOFT, DELIVERED = "bounced_soft", "delivered"
EXPORT_TYPES = {"customer_id": "str", "channel": "str", "topic": "str", "reason": "str", "stopped_at": "datetime64[us]"}
CHUNK = 10_000


class Stops:
    """Marks and stops of the database behind ``engine``."""

    engine: Engine

    def mark(self, contact_key: str, kind: str, at: datetime, detail: str | None, source_id: str) -> bool:
        """Note once what followed a message; ``source_id`` tells reports of one kind apart. Returns whether it is new."""
        row = {"contact_key": contact_key, "kind": kind, "at": naive(at), "detail": detail, "source_id": source_id}
        with self.engine.begin() as connection:
            return bool(connection.execute(insert_new(connection, MARKS).values(row).on_conflict_do_nothing()).rowcount)

    def stop(  # noqa: PLR0917
        self,
        customer_id: str | None,
        address_hash: str | None,
        channel: str,
        topic: str | None,
        reason: str,
        source: str,
        at: datetime,
    ) -> None:
        """Send nothing from now on to a customer, or an address, or both: of one topic, or of the channel.

        Stopping again changes nothing. A stop of an address alone ends for a customer who gives another one.
        """
        if not (customer_id or address_hash):
            raise ValueError("a stop names a customer or an address")
        key = {"customer_id": customer_id or "", "address_hash": address_hash or "", "channel": channel, "topic": topic or ""}
        values = {"reason": reason, "source": source, "at": naive(at), "lifted_at": None}
        with self.engine.begin() as connection:
            new = insert_new(connection, STOPS).values(**key, **values)
            connection.execute(
                new.on_conflict_do_update(index_elements=list(key), set_=values, where=STOPS.c.lifted_at.is_not(None))
            )
            keep_fact(connection, VERSION, uuid.uuid4().hex)

    def stops_version(self) -> str:
        """Another text after each new stop, of whatever kind."""
        with reading(self.engine) as connection:
            return str(connection.execute(select(FACTS.c.value).where(FACTS.c.name == VERSION)).scalar())

    def lift(self, customer_id: str, channel: str, topic: str | None, at: datetime) -> int:
        """End the stops of a customer, who asked for messages again. Returns how many."""
        chosen = (STOPS.c.customer_id == customer_id) & (STOPS.c.channel == channel) & (STOPS.c.topic == (topic or ""))
        with self.engine.begin() as connection:
            ended = update(STOPS).where(chosen, STOPS.c.lifted_at.is_(None)).values(lifted_at=naive(at))
            return connection.execute(ended).rowcount

    def stopped(self, contacts: pd.DataFrame, channel: str = MAIL_CHANNEL) -> pd.Series[str]:
        """Why each of ``contacts`` (customer_id, address_hash, topic) is stopped; empty where it is not."""
        reasons = pd.Series(None, index=contacts.index, dtype="str")
        for key in ("customer_id", "address_hash"):
            column, values = STOPS.c[key], contacts[key].tolist()
            found: dict[tuple[str, str], str] = {}
            for start in range(0, len(values), CHUNK):
                chosen = (STOPS.c.channel == channel) & STOPS.c.lifted_at.is_(None) & column.in_(values[start : start + CHUNK])
                with reading(self.engine) as connection:
                    asked = select(column, STOPS.c.topic, STOPS.c.reason).where(chosen, column != "")
                    found |= {(str(value), str(topic)): str(reason) for value, topic, reason in connection.execute(asked)}
            if found:
                pairs = zip(values, contacts["topic"].fillna(""), strict=True)
                stopped = [found.get((value, ""), found.get((value, topic))) for value, topic in pairs]
                reasons = reasons.fillna(pd.Series(stopped, index=contacts.index, dtype="str"))
        return reasons

    def soft_bounces_in_a_row(self, address_hash: str) -> int:
        """Messages to an address, the newest first, that bounced softly, up to one that did not or was delivered.

        The newest ones that did not bounce yet are left aside: their answers may still come.
        """
        has = {
            kind: exists().where(MARKS.c.contact_key == MESSAGES.c.contact_key, MARKS.c.kind == kind)
            for kind in (BOUNCED_SOFT, DELIVERED)
        }
        asked = select(has[BOUNCED_SOFT], has[DELIVERED]).where(MESSAGES.c.address_hash == address_hash)
        count = 0
        with reading(self.engine) as connection:
            for has_bounced, is_delivered in connection.execute(
                asked.order_by(MESSAGES.c.send_at.desc(), MESSAGES.c.contact_key.desc())
            ):
                if not has_bounced and count:
                    break
                count += bool(has_bounced)
                if is_delivered:
                    break
        return count

    def marks(self, campaign_id: str | None = None, since: datetime | None = None) -> pd.DataFrame:
        """Messages with a mark (``messages``) by campaign_id, provider and kind; of which messages, as in ``counts``."""
        keys = [MESSAGES.c.campaign_id, MESSAGES.c.provider, MARKS.c.kind]
        asked = select(*keys, func.count(MARKS.c.contact_key.distinct())).join(
            MARKS, MARKS.c.contact_key == MESSAGES.c.contact_key
        )
        with reading(self.engine) as connection:
            rows = [tuple(row) for row in connection.execute(asked.where(*changed(campaign_id, since)).group_by(*keys))]
        return pd.DataFrame(rows, columns=["campaign_id", "provider", "kind", "messages"])

    def stop_campaign(self, campaign_id: str | None, request: Request) -> None:
        """Send nothing of a campaign (None: of any) from now on; what is on its way arrives."""
        self._decide(campaign_id, request, is_stopped=True)

    def resume_campaign(self, campaign_id: str | None, request: Request) -> None:
        """Send a stopped campaign again."""
        self._decide(campaign_id, request, is_stopped=False)

    def campaign_stops(self) -> pd.DataFrame:
        """Each time that a campaign was stopped or resumed: campaign_id (empty: all), is_stopped, reason, by, at."""
        columns = [CAMPAIGN_STOPS.c[name] for name in ("campaign_id", "is_stopped", "reason", "by", "at")]
        with reading(self.engine) as connection:
            rows = [tuple(row) for row in connection.execute(select(*columns).order_by(CAMPAIGN_STOPS.c.number))]
        return pd.DataFrame(rows, columns=[column.name for column in columns])

    def is_stopped(self, campaign_id: str) -> bool:
        """Whether a campaign, or all, are stopped."""
        with reading(self.engine) as connection:
            return not stopped_campaigns(connection).isdisjoint({"", campaign_id})

    def _decide(self, campaign_id: str | None, request: Request, *, is_stopped: bool) -> None:
        values = {"campaign_id": campaign_id or "", "is_stopped": is_stopped, "reason": request.reason_line, "by": request.by}
        with self.engine.begin() as connection:
            connection.execute(insert(CAMPAIGN_STOPS).values(**values, at=naive(request.at)))
            keep_fact(connection, VERSION, uuid.uuid4().hex)


def changed(campaign_id: str | None, since: datetime | None) -> list[ColumnElement[bool]]:
    """Conditions on messages: of this campaign, in their state since after this time (aware); those that are not None."""
    of_campaign = [] if campaign_id is None else [MESSAGES.c.campaign_id == campaign_id]
    return of_campaign + ([] if since is None else [MESSAGES.c.changed_at > naive(since)])


def stopped_campaigns(connection: Connection) -> set[str]:
    """The campaigns that are stopped now; an empty one stands for all."""
    newest = select(func.max(CAMPAIGN_STOPS.c.number)).group_by(CAMPAIGN_STOPS.c.campaign_id)
    asked = select(CAMPAIGN_STOPS.c.campaign_id).where(CAMPAIGN_STOPS.c.number.in_(newest), CAMPAIGN_STOPS.c.is_stopped)
    return set(connection.execute(asked).scalars())


def export_stops(place: Place, queue: MailQueue) -> int:
    """Write the stops of customers as ``DATA_DIR/campaigns/stops.parquet``, for the next plan; returns how many.

    A null topic stops the channel. A stop of an address alone is one of the customers to whom messages went there.
    """
    of_customers = select(STOPS.c.customer_id, *_EXPORTED).where(STOPS.c.lifted_at.is_(None), STOPS.c.customer_id != "")
    of_addresses = (
        select(MESSAGES.c.customer_id, *_EXPORTED)
        .join(STOPS, STOPS.c.address_hash == MESSAGES.c.address_hash)
        .where(STOPS.c.lifted_at.is_(None), STOPS.c.customer_id == "")
    )
    with reading(queue.engine) as connection:
        rows = [tuple(row) for row in connection.execute(of_customers.union(of_addresses))]
    frame = pd.DataFrame(rows, columns=list(EXPORT_TYPES))
    frame["topic"] = frame["topic"].where(frame["topic"] != "", None)
    kept = frame.astype(EXPORT_TYPES).sort_values("stopped_at").drop_duplicates(["customer_id", "channel", "topic"])
    with replacing(place.campaigns / "stops.parquet") as temporary:
        kept.to_parquet(temporary, index=False, compression="zstd")
    return len(kept)


_EXPORTED = (STOPS.c.channel, STOPS.c.topic, STOPS.c.reason, STOPS.c.at.label("stopped_at"))
