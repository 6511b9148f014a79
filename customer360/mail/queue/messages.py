"""Messages from state to state: queued -> sending -> accepted, failed or unknown; left_out where none is to be sent.

Each change is one transaction, which looks at the state again: two senders never have one message, and ``unknown``, of which
nobody knows whether it arrived, leaves that state by a person's choice alone.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from sqlalchemy import Connection, Engine, Row, Select, and_, bindparam, delete, exists, func, or_, select, true, update

from customer360.lake.atomic import exclusive, write_text
from customer360.lake.slices import naive
from customer360.mail.journal import journal_folder
from customer360.mail.providers import DOMAINS, OTHER, lane_of, provider_of
from customer360.mail.queue.rates import Rates, blocked, defer, recovered
from customer360.mail.queue.stops import changed, stopped_campaigns
from customer360.mail.queue.tables import (
    ACCEPTED,
    FACTS,
    FINAL,
    LEFT_OUT,
    MESSAGES,
    PROVIDERS,
    QUEUED,
    REMEMBERED,
    SENDING,
    UNKNOWN,
    identity,
    insert_new,
    keep_fact,
    reading,
)

# Columns of what is queued; ``send_at`` is the shop's time, ``due_at`` the same by the wall clock (plain UTC both).
QUEUED_COLUMNS = (
    *("contact_key", "campaign_id", "plan_version", "customer_id", "address_hash", "domain"),
    *("send_at", "due_at", "contact_date"),
)
OPTIONAL = ("variant", "offer_id", "topic")
Value = TypeVar("Value")
CHUNK = 10_000  # rows of a statement; SQLite binds at most 32,766 values in one
TWICE = "its address has a message of this campaign already"
WITHDRAWN_STATES = (SENDING, ACCEPTED, UNKNOWN)


class Contact(NamedTuple):
    """A message as it stands in the queue. Times are plain UTC; ``accepted_at`` is None until it is accepted."""

    contact_key: str
    campaign_id: str
    plan_version: str
    customer_id: str
    variant: str | None
    offer_id: str | None
    topic: str
    address_hash: str
    domain: str
    provider: str
    send_at: datetime
    contact_date: date
    value: float
    state: str
    attempt: int
    reply: str | None
    accepted_at: datetime | None


class Outcome(NamedTuple):
    """What became of an attempt. ``reply``: what the transport answered, or why nothing was sent, without an address.

    ``next_attempt_at`` (plain UTC) is of messages that go back into the queue.
    """

    contact_key: str
    attempt: int
    state: str
    at: datetime
    reply: str | None = None
    next_attempt_at: datetime | None = None


_UNLIMITED = Rates()


class Messages:
    """The messages of the database behind ``engine``; ``folder`` holds the key of the addresses' hashes."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder

    def address_hash(self, address_key: str) -> str:
        """The keyed hash of an address (of ``customer360.mail.addresses.address_key``), by which messages and stops know it."""
        return hmac.digest(self._key, address_key.encode(), "sha256").hex()[:32]

    @cached_property
    def _key(self) -> bytes:
        file = self.folder / "address_key"
        with exclusive(self.folder / ".address_key.lock"):
            if not file.exists():
                write_text(file, secrets.token_hex(32) + "\n", mode=0o600)
        return bytes.fromhex(file.read_text(encoding="utf-8").strip())

    def enqueue(self, contacts: pd.DataFrame, at: datetime) -> list[str]:
        """Queue contacts (``QUEUED_COLUMNS``, ``value``) at a time (aware); returns the keys of those that are new.

        Queueing again changes nothing. A contact whose address has a message of its campaign is kept as left out.
        """
        frame = contacts.sort_values("value", ascending=False).drop_duplicates("contact_key")
        plain = frame.reindex(columns=[*QUEUED_COLUMNS, *OPTIONAL, "value"]).astype(object)
        rows: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")  # type: ignore[assignment]
        added: list[str] = []
        for start in range(0, len(rows), CHUNK):
            with self.engine.begin() as connection:
                added += _insert(connection, rows[start : start + CHUNK], naive(at))
        return added

    def known(self, contact_keys: Sequence[str]) -> set[str]:
        """Which of the contacts were queued, whatever became of them."""
        found: set[str] = set()
        for part in _parts(contact_keys):
            rows = self._read(select(MESSAGES.c.contact_key).where(MESSAGES.c.contact_key.in_(part)))
            found.update(row.contact_key for row in rows)
        return found

    def lease(self, limit: int, owner: str, now: datetime, until: datetime, rates: Rates = _UNLIMITED) -> list[Contact]:
        """Take the most valuable messages that are due and whose providers may be sent to: they are ``sending`` then.

        Leaves out stopped campaigns (see ``Stops``) and what another sender has. Times are aware.
        """
        moment = naive(now)
        with self.engine.begin() as connection:
            found = _candidates(connection, limit, moment)
            chosen = rates.take(connection, found, moment)
            keys = [row.contact_key for row in chosen]
            values = {"state": SENDING, "owner": owner, "leased_until": naive(until), "changed_at": moment}
            leased: dict[str, Contact] = {}
            for part in _parts(keys):
                taken = connection.execute(
                    update(MESSAGES)
                    .where(MESSAGES.c.contact_key.in_(part), MESSAGES.c.state == QUEUED)
                    .values(**values, attempt=MESSAGES.c.attempt + 1)
                    .returning(*_CONTACT)
                )
                leased.update({row.contact_key: _contact(row) for row in taken})
        return [leased[key] for key in keys if key in leased]

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Keep what became of attempts. One that was given up as unknown meanwhile takes its true outcome, never a retry."""
        rows = [
            {
                "key": outcome.contact_key,
                "tried": outcome.attempt,
                "state": outcome.state,
                "changed_at": naive(outcome.at),
                "reply": outcome.reply,
                "next_attempt_at": naive(outcome.next_attempt_at or outcome.at),
            }
            for outcome in outcomes
        ]
        final = [row for row in rows if row["state"] != QUEUED]
        with self.engine.begin() as connection:
            if final:
                connection.execute(_RECORD_FINAL, final)
            if len(final) < len(rows):
                connection.execute(_RECORD_QUEUED, [row for row in rows if row["state"] == QUEUED])

    def readdress(self, addresses: Mapping[str, tuple[str, str]]) -> list[str]:
        """Note that messages go to other addresses than when they were queued: (hash, domain) by contact key.

        Returns the keys of those whose address has a message of the campaign already.
        """
        taken_keys, rows = [], []
        with self.engine.begin() as connection:
            campaigns = _campaigns(connection, sorted(addresses))
            taken = _taken(connection, sorted({address_hash for address_hash, _ in addresses.values()}))
            for key, (address_hash, domain) in addresses.items():
                place = (campaigns[key], address_hash)
                if place in taken:
                    taken_keys.append(key)
                else:
                    taken.add(place)
                    rows.append({"key": key, "hash": address_hash, "at": domain, "large": provider_of(domain)})
            if rows:
                connection.execute(_READDRESS, rows)
        return taken_keys

    def withdraw(
        self, campaign_id: str, reason: str, at: datetime, customers: Collection[str] = ()
    ) -> tuple[list[str], list[str]]:
        """Take back what is queued of a campaign, or only of ``customers``.

        Returns the keys of those taken back, and of those that are being sent, were sent, or may have been.
        """
        of_these = MESSAGES.c.campaign_id == campaign_id
        taken: list[str] = []
        gone: list[str] = []
        with self.engine.begin() as connection:
            for part in _parts(sorted(customers)) if customers else [None]:
                chosen = of_these if part is None else and_(of_these, MESSAGES.c.customer_id.in_(part))
                back = (
                    update(MESSAGES)
                    .where(chosen, MESSAGES.c.state == QUEUED)
                    .values(state=LEFT_OUT, reply=reason, changed_at=naive(at))
                    .returning(MESSAGES.c.contact_key)
                )
                taken += connection.execute(back).scalars()
                gone += connection.execute(
                    select(MESSAGES.c.contact_key).where(chosen, MESSAGES.c.state.in_(WITHDRAWN_STATES))
                ).scalars()
        return taken, gone

    def give_up(self, before: datetime) -> int:
        """Call unknown what is still ``sending`` with a lease that ended before a time (aware). Returns how many."""
        ended = (MESSAGES.c.state == SENDING) & (MESSAGES.c.leased_until < naive(before))
        reply = "its sender did not come back within its lease"
        with self.engine.begin() as connection:
            return connection.execute(
                update(MESSAGES).where(ended).values(state=UNKNOWN, changed_at=naive(before), reply=reply)
            ).rowcount

    def renew(self, owner: str, until: datetime) -> None:
        """Keep what a sender has in its hands until a time (aware)."""
        with self.engine.begin() as connection:
            mine = (MESSAGES.c.state == SENDING) & (MESSAGES.c.owner == owner)
            connection.execute(update(MESSAGES).where(mine).values(leased_until=naive(until)))

    def release_unknown(self, campaign_id: str | None, at: datetime) -> int:
        """By a person's choice: have messages sent whose arrival is unknown, which some customers then get twice."""
        chosen = (MESSAGES.c.state == UNKNOWN) & (true() if campaign_id is None else MESSAGES.c.campaign_id == campaign_id)
        values = {"state": QUEUED, "next_attempt_at": naive(at), "changed_at": naive(at), "is_synced": False}
        with self.engine.begin() as connection:
            return connection.execute(update(MESSAGES).where(chosen).values(**values)).rowcount

    def sending(self, owner: str | None = None) -> list[Contact]:
        """The messages that are being sent, of all senders or of one."""
        chosen = MESSAGES.c.state == SENDING if owner is None else (MESSAGES.c.state == SENDING) & (MESSAGES.c.owner == owner)
        return [_contact(row) for row in self._read(select(*_CONTACT).where(chosen))]

    def defer(self, contact: Contact, now: datetime, reason: str) -> datetime:
        """Wait with the contact's provider, which refused a message for now (4xx). Returns until when (UTC, aware)."""
        with self.engine.begin() as connection:
            return defer(connection, lane_of(contact.provider, contact.domain), naive(now), reason).replace(tzinfo=UTC)

    def recovered(self, contacts: Iterable[Contact]) -> None:
        """The providers of these contacts took messages."""
        with self.engine.begin() as connection:
            recovered(connection, {lane_of(contact.provider, contact.domain) for contact in contacts})

    def contact(self, contact_key: str) -> Contact | None:
        """The message of a contact; None for one that was never queued."""
        found = self._read(select(*_CONTACT).where(MESSAGES.c.contact_key == contact_key))
        return _contact(found[0]) if found else None

    def unsynced(self, limit: int) -> pd.DataFrame:
        """Messages in a final state of which the ledger does not know: contact_key, state, changed_at, reply, ..."""
        columns = ("contact_key", "campaign_id", "plan_version", "customer_id", "state", "changed_at", "reply")
        asked = select(*(MESSAGES.c[name] for name in columns))
        found = self._read(asked.where(MESSAGES.c.is_synced.is_(False), MESSAGES.c.state.in_(FINAL)).limit(limit))
        return pd.DataFrame([tuple(row) for row in found], columns=list(columns))

    def synced(self, keys_and_states: Iterable[tuple[str, str]]) -> None:
        """The ledger knows of these states."""
        rows = [{"key": key, "known": state} for key, state in keys_and_states]
        if rows:
            with self.engine.begin() as connection:
                connection.execute(
                    update(MESSAGES)
                    .where(MESSAGES.c.contact_key == bindparam("key"), MESSAGES.c.state == bindparam("known"))
                    .values(is_synced=True),
                    rows,
                )

    def remember(self, outcomes: Iterable[Outcome]) -> int:
        """Keep what a log says of messages that the queue takes for unsent, or does not know; returns how many changed.

        Those it does not know are of a database that was restored: they are not sent when they are queued.
        """
        rows: list[dict[str, Any]] = [
            {
                "key": outcome.contact_key,
                "contact_key": outcome.contact_key,
                "state": outcome.state,
                "reply": outcome.reply,
                "changed_at": naive(outcome.at),
            }
            for outcome in outcomes
        ]
        changed = 0
        for part in _parts(rows):
            with self.engine.begin() as connection:
                keys = [row["key"] for row in part]
                asked = select(MESSAGES.c.contact_key, MESSAGES.c.state).where(MESSAGES.c.contact_key.in_(keys))
                states = {row.contact_key: row.state for row in connection.execute(asked)}
                forgotten = [row for row in part if row["key"] not in states]
                unsent = [row for row in part if states.get(row["key"]) in {QUEUED, SENDING, UNKNOWN} - {row["state"]}]
                if forgotten:
                    columns = [
                        {name: row[name] for name in ("contact_key", "state", "changed_at", "reply")} for row in forgotten
                    ]
                    connection.execute(insert_new(connection, REMEMBERED).on_conflict_do_nothing(), columns)
                if unsent:
                    connection.execute(_REMEMBER, [{**row, "contact_key": row["key"]} for row in unsent])
                changed += len(forgotten) + len(unsent)
        return changed

    def facts(self, prefix: str) -> dict[str, str]:
        """What the database knows of itself and of the transport's logs, by name."""
        found = self._read(select(FACTS.c.name, FACTS.c.value).where(FACTS.c.name.startswith(prefix, autoescape=True)))
        return {row.name: row.value for row in found}

    def keep_fact(self, name: str, value: str) -> None:
        """Keep one."""
        with self.engine.begin() as connection:
            keep_fact(connection, name, value)

    def forget_fact(self, name: str) -> None:
        """Forget one."""
        with self.engine.begin() as connection:
            connection.execute(delete(FACTS).where(FACTS.c.name == name))

    def is_open(self) -> bool:
        """Whether messages may be sent: the database is where it was made, and no copy and not restored. See ``reconcile``."""
        with self.engine.begin() as connection:
            transport = journal_folder(self.folder)
            transport.mkdir(parents=True, exist_ok=True)
            known = connection.execute(select(FACTS.c.value).where(FACTS.c.name == "identity")).scalar()
            if known is None and connection.execute(select(~exists(select(MESSAGES.c.contact_key)))).scalar_one():
                known = identity(connection, transport)
                keep_fact(connection, "identity", known)
            return known == identity(connection, transport)

    def open(self) -> None:
        """Let messages be sent from here: it was compared with what was sent."""
        with self.engine.begin() as connection:
            keep_fact(connection, "identity", identity(connection, journal_folder(self.folder)))

    def counts(self, campaign_id: str | None = None, since: datetime | None = None) -> pd.DataFrame:
        """Messages (``messages``) by campaign_id, plan_version, provider and state.

        Of one campaign where one is named, and of those whose state is from after ``since`` (aware) where that is given.
        """
        names = ["campaign_id", "plan_version", "provider", "state"]
        keys = [MESSAGES.c[name] for name in names]
        asked = select(*keys, func.count()).where(*changed(campaign_id, since)).group_by(*keys).order_by(*keys)
        return pd.DataFrame([tuple(row) for row in self._read(asked)], columns=[*names, "messages"])

    def next_due(self) -> datetime | None:
        """When (UTC, aware) the first queued message is due."""
        (row,) = self._read(select(func.min(MESSAGES.c.next_attempt_at)).where(MESSAGES.c.state == QUEUED))
        return row[0].replace(tzinfo=UTC) if row[0] else None

    def _read(self, asked: Select[Any]) -> Sequence[Row[Any]]:
        with reading(self.engine) as connection:
            return connection.execute(asked).all()


_CONTACT = [MESSAGES.c[name] for name in Contact._fields[:-1]] + [MESSAGES.c.changed_at]
_OF_ATTEMPT = (MESSAGES.c.contact_key == bindparam("key")) & (MESSAGES.c.attempt == bindparam("tried"))
_RECORD_FINAL = update(MESSAGES).where(_OF_ATTEMPT, or_(MESSAGES.c.state == SENDING, MESSAGES.c.state == UNKNOWN))
_RECORD_FINAL = _RECORD_FINAL.values(
    state=bindparam("state"), changed_at=bindparam("changed_at"), reply=bindparam("reply"), owner=None, is_synced=False
)
_RECORD_QUEUED = update(MESSAGES).where(_OF_ATTEMPT, MESSAGES.c.state == SENDING)
_RECORD_QUEUED = _RECORD_QUEUED.values(
    state=QUEUED,
    changed_at=bindparam("changed_at"),
    reply=bindparam("reply"),
    next_attempt_at=bindparam("next_attempt_at"),
    owner=None,
)


_READDRESS = update(MESSAGES).where(MESSAGES.c.contact_key == bindparam("key"))
_READDRESS = _READDRESS.values(address_hash=bindparam("hash"), domain=bindparam("at"), provider=bindparam("large"))
_REMEMBER = update(MESSAGES).where(MESSAGES.c.contact_key == bindparam("key"))
_REMEMBER = _REMEMBER.values(
    state=bindparam("state"), changed_at=bindparam("changed_at"), reply=bindparam("reply"), owner=None, is_synced=False
)


def _contact(row: Row[Any]) -> Contact:
    contact = Contact._make(row)
    return contact if contact.state == ACCEPTED else contact._replace(accepted_at=None)


def _candidates(connection: Connection, limit: int, now: datetime) -> list[Row[Any]]:
    """The most valuable messages that are due, of lanes and campaigns that may be sent to."""
    closed, stopped = blocked(connection, now), stopped_campaigns(connection)
    if "" in stopped:
        return []
    columns = [MESSAGES.c[name] for name in ("contact_key", "provider", "domain", "value")]
    is_due = [MESSAGES.c.state == QUEUED, MESSAGES.c.next_attempt_at <= now, MESSAGES.c.campaign_id.not_in(sorted(stopped))]
    is_closed = exists().where(PROVIDERS.c.provider == MESSAGES.c.domain, PROVIDERS.c.blocked_until > now)
    found: list[Row[Any]] = []
    for provider in (*DOMAINS, OTHER):
        if provider not in closed:
            chosen = select(*columns).where(MESSAGES.c.provider == provider, *is_due)
            chosen = chosen.where(~is_closed) if provider == OTHER else chosen
            ordered = chosen.order_by(MESSAGES.c.value.desc(), MESSAGES.c.contact_key).limit(limit)
            found += connection.execute(ordered.with_for_update(skip_locked=True)).all()
    return sorted(found, key=lambda row: (-row.value, row.contact_key))[:limit]


def _parts(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


def _campaigns(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """The campaign of each message."""
    return {
        row.contact_key: row.campaign_id
        for part in _parts(keys)
        for row in connection.execute(
            select(MESSAGES.c.contact_key, MESSAGES.c.campaign_id).where(MESSAGES.c.contact_key.in_(part))
        )
    }


def _taken(connection: Connection, hashes: Sequence[str]) -> set[tuple[str, str]]:
    """The campaigns and addresses (of ``hashes``) that have a message, sent or to be sent."""
    states = MESSAGES.c.state.in_((QUEUED, *WITHDRAWN_STATES))
    return {
        (row.campaign_id, row.address_hash)
        for part in _parts(hashes)
        for row in connection.execute(
            select(MESSAGES.c.campaign_id, MESSAGES.c.address_hash).where(MESSAGES.c.address_hash.in_(part), states)
        )
    }


def _insert(connection: Connection, rows: list[dict[str, Any]], at: datetime) -> list[str]:
    keys, hashes = [row["contact_key"] for row in rows], [row["address_hash"] for row in rows]
    known: set[str] = set()
    taken = _taken(connection, hashes)
    for part in _parts(keys):
        known.update(connection.execute(select(MESSAGES.c.contact_key).where(MESSAGES.c.contact_key.in_(part))).scalars())
    remembered = {
        row.contact_key: row
        for part in _parts(keys)
        for row in connection.execute(select(REMEMBERED).where(REMEMBERED.c.contact_key.in_(part)))
    }
    new = [row for row in rows if row["contact_key"] not in known]
    for row in new:
        place = (row["campaign_id"], row["address_hash"])
        state, reply, changed_at = (LEFT_OUT, TWICE, at) if place in taken else (QUEUED, None, at)
        if sent := remembered.get(row["contact_key"]):
            state, reply, changed_at = sent.state, sent.reply, sent.changed_at
        taken.add(place)
        row.update(
            provider=provider_of(row["domain"]),
            topic=row["topic"] or "",
            state=state,
            reply=reply,
            attempt=0,
            next_attempt_at=row.pop("due_at"),
            queued_at=at,
            changed_at=changed_at,
            is_synced=False,
        )
    if new:
        connection.execute(insert_new(connection, MESSAGES).on_conflict_do_nothing(), new)
    return [row["contact_key"] for row in new]
