"""Double opt-in: who asks for mail on a public page gets one mail, and none other until its link was confirmed.

The form cannot be used to bomb others: one confirmation mail an address in ``PERIOD``, ``MOST_PER_CLIENT`` and ``MOST_OVERALL``
questions an hour, and the same answer whether an address is known, was asked before, or takes no mail. The proof of an opt-in
is its row: when and where it was asked and confirmed, and which text the customer saw. The address stands in it sealed, with
a key in ``DATA_DIR/mail``, until it is confirmed and taken over by the shop, or given up.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd
from cryptography.fernet import Fernet
from sqlalchemy import delete, func, insert, or_, select, update

from customer360.lake.atomic import replacing
from customer360.lake.slices import naive
from customer360.mail.addresses import address_key, checked_address
from customer360.mail.answers import BY_MACHINE
from customer360.mail.queue import MailQueue
from customer360.mail.queue.tables import MARKS, MESSAGES, OPT_INS, STOPS, reading
from customer360.secret_files import made_secrets
from customer360.settings import MAIL_CHANNEL, Place

PERIOD = timedelta(hours=24)  # in which an address gets at most one confirmation mail
VALID = timedelta(days=7)  # for which the link of one can be confirmed
HOUR = timedelta(hours=1)
MOST_PER_CLIENT, MOST_OVERALL = 5, 500  # questions in an hour
ASKED, LIMITED = "asked", "limited"
EXPORTED = "opt_ins.parquet"


@dataclass(frozen=True)
class Question:
    """Who asks for mail: a checked address, the customer where the shop vouches for one, and what they saw where.

    ``client``: the network address that the question came from; only its keyed hash is kept.
    """

    address: str
    client: str
    customer_id: str = ""
    language: str = "en"
    page: str = ""
    text_version: str = ""


class OptIn(NamedTuple):
    """A question whose confirmation mail is to be sent; the address is open."""

    opt_in_id: str
    address: str
    customer_id: str
    language: str


class Consents:
    """The opt-ins in the queue's database."""

    def __init__(self, queue: MailQueue, place: Place) -> None:
        self._queue, self._place = queue, place
        key = hashlib.sha256(made_secrets(place.mail / "opt_in_key")[0].encode()).digest()
        self._sealer = Fernet(base64.urlsafe_b64encode(key))

    def ask(self, question: Question, at: datetime) -> bool:
        """Keep a question; returns whether a confirmation mail follows. Who asked is not to learn that."""
        address = checked_address(question.address)
        address_hash = self._queue.address_hash(address_key(address))
        client_hash = self._queue.address_hash(f"client {question.client}")
        now, opted = naive(at), OPT_INS.c
        row = {
            "opt_in_id": secrets.token_hex(16),
            "address_hash": address_hash,
            "customer_id": question.customer_id,
            "sealed": self._sealer.encrypt(address.encode()).decode(),
            "language": question.language,
            "page": question.page,
            "text_version": question.text_version,
            "asked_at": now,
            "client_hash": client_hash,
        }
        count = select(func.count()).select_from(OPT_INS)
        with self._queue.engine.begin() as connection:
            recent = opted.asked_at > now - HOUR
            by_client = connection.execute(count.where(recent, opted.client_hash == client_hash)).scalar_one()
            if by_client >= MOST_PER_CLIENT:
                return False
            overall = connection.execute(count.where(recent, opted.state == ASKED)).scalar_one()
            of_address = count.where(opted.asked_at > now - PERIOD, opted.address_hash == address_hash, opted.state == ASKED)
            is_known = connection.execute(of_address).scalar_one() > 0
            gone = select(STOPS.c.address_hash).where(
                STOPS.c.address_hash == address_hash, STOPS.c.customer_id == "", STOPS.c.lifted_at.is_(None)
            )
            is_gone = connection.execute(gone).first() is not None  # its mail came back
            is_asked = overall < MOST_OVERALL and not is_known and not is_gone
            state = ASKED if is_asked else LIMITED
            connection.execute(insert(OPT_INS).values(**{**row, "sealed": row["sealed"] if is_asked else ""}, state=state))
        return is_asked

    def claim(self, at: datetime, most: int = 100) -> list[OptIn]:
        """Confirmation mails to send now. Each is given out once: after a crash one is rather not sent than sent twice."""
        opted = OPT_INS.c
        waiting = (opted.state == ASKED, opted.mailed_at.is_(None), opted.asked_at > naive(at - PERIOD))
        with self._queue.engine.begin() as connection:
            rows = connection.execute(select(OPT_INS).where(*waiting).order_by(opted.asked_at).limit(most)).all()
            if rows:
                chosen = opted.opt_in_id.in_([row.opt_in_id for row in rows])
                connection.execute(update(OPT_INS).where(chosen).values(mailed_at=naive(at)))
        return [OptIn(row.opt_in_id, self._open(row.sealed), row.customer_id, row.language) for row in rows]

    def unclaim(self, opt_in_id: str) -> None:
        """Give a mail back that was certainly not sent."""
        with self._queue.engine.begin() as connection:
            connection.execute(update(OPT_INS).where(OPT_INS.c.opt_in_id == opt_in_id).values(mailed_at=None))

    def confirm(self, opt_in_id: str, client: str, at: datetime) -> str | None:
        """Confirm a question; returns its customer, empty where none is known, and None where it cannot be confirmed any more.

        Confirming again changes nothing. From now on the customer's own stops of e-mail are over, and those of the address.
        """
        opted, now = OPT_INS.c, naive(at)
        with self._queue.engine.begin() as connection:
            row = connection.execute(select(OPT_INS).where(opted.opt_in_id == opt_in_id, opted.state == ASKED)).first()
            if row is None or row.mailed_at is None or (row.confirmed_at is None and row.asked_at < now - VALID):
                return None
            if row.confirmed_at is not None:
                return str(row.customer_id)
            client_hash = self._queue.address_hash(f"client {client}")
            confirmed = {"confirmed_at": now, "confirmed_client_hash": client_hash}
            connection.execute(update(OPT_INS).where(opted.opt_in_id == opt_in_id).values(**confirmed))
        if row.customer_id:
            self._queue.lift(row.customer_id, MAIL_CHANNEL, None, at)
        return str(row.customer_id)

    def proofs(self) -> pd.DataFrame:
        """The confirmed opt-ins: address, customer_id, asked_at, confirmed_at, page, text_version, language. Personal."""
        with reading(self._queue.engine) as connection:
            rows = connection.execute(select(OPT_INS).where(OPT_INS.c.confirmed_at.is_not(None)).order_by(OPT_INS.c.asked_at))
            names = ("customer_id", "asked_at", "confirmed_at", "page", "text_version", "language")
            found: list[dict[str, Any]] = [
                {"address": self._open(row.sealed), **{name: getattr(row, name) for name in names}} for row in rows
            ]
        return pd.DataFrame(found, columns=["address", *names])

    def forget(self, at: datetime) -> int:
        """Remove the questions that nobody confirmed in time, with their addresses; returns how many."""
        given_up = (OPT_INS.c.confirmed_at.is_(None), OPT_INS.c.asked_at < naive(at) - VALID)
        with self._queue.engine.begin() as connection:
            return connection.execute(delete(OPT_INS).where(*given_up)).rowcount

    def export(self, at: datetime, months: int | None) -> int:
        """Write which customers opted in to ``DATA_DIR/campaigns/opt_ins.parquet``: customer_id, channel, confirmed_at (UTC).

        One is over where the customer did nothing with a mail (a click, or an opening by a person) for ``months`` of 30 days.
        Returns how many count.
        """
        opted = OPT_INS.c
        active = (
            select(MESSAGES.c.customer_id, func.max(MARKS.c.at).label("at"))
            .join(MARKS, MARKS.c.contact_key == MESSAGES.c.contact_key)
            .where(
                MARKS.c.kind.in_(("clicked", "opened")), or_(MARKS.c.detail.is_(None), ~MARKS.c.detail.startswith(BY_MACHINE))
            )
            .group_by(MESSAGES.c.customer_id)
            .subquery()
        )
        asked = (
            select(
                opted.customer_id, func.max(opted.confirmed_at).label("confirmed_at"), func.max(active.c.at).label("active_at")
            )
            .outerjoin(active, active.c.customer_id == opted.customer_id)
            .where(opted.confirmed_at.is_not(None), opted.customer_id != "")
            .group_by(opted.customer_id)
        )
        oldest = naive(at) - timedelta(days=30 * months) if months else None
        with reading(self._queue.engine) as connection:
            kept = [
                (row.customer_id, MAIL_CHANNEL, row.confirmed_at)
                for row in connection.execute(asked)
                if oldest is None or max(moment for moment in (row.confirmed_at, row.active_at) if moment) > oldest
            ]
        frame = pd.DataFrame(kept, columns=["customer_id", "channel", "confirmed_at"])
        typed = frame.astype({"customer_id": "str", "channel": "str", "confirmed_at": "datetime64[us]"})
        with replacing(self._place.campaigns / EXPORTED) as temporary:
            typed.to_parquet(temporary, index=False, compression="zstd")
        return len(typed)

    def exported_at(self) -> datetime:
        """When ``export`` wrote last (UTC); long ago where it never did."""
        try:
            return datetime.fromtimestamp((self._place.campaigns / EXPORTED).stat().st_mtime, UTC)
        except FileNotFoundError:
            return datetime.fromtimestamp(0, UTC)

    def _open(self, sealed: str) -> str:
        return self._sealer.decrypt(sealed.encode()).decode() if sealed else ""
