"""The campaign ledger: what was planned, approved and sent, and its outcomes. Entries are added and never changed.

Each ``append`` with a new fact writes one Parquet part by rename, under a lock; no part is written again. The ``entry_id`` of a
fact does not depend on who records it or when, so a fact that is appended twice is stored once: reruns are idempotent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from json.encoder import encode_basestring
from pathlib import Path

import pandas as pd

from customer360.lake.atomic import exclusive, replacing
from customer360.lake.engine import connect, file_list, literal
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.settings import Place

PLANNED, APPROVED, SENT, SUPPRESSED = "planned", "approved", "sent", "suppressed"
DELIVERED, OPENED, CLICKED, CONVERTED, SALT = "delivered", "opened", "clicked", "converted", "salt"
CONTACT, HOLDOUT = "contact", "holdout"
UNPROVEN = "without evidence"  # how the detail of an approval begins whose plan rests on no measured effect

LEDGER = TABLES["campaign_ledger"]

CONTACT_KEY = ["campaign_id", "plan_version", "customer_id"]
# Of a planned contact, in the plan as in the ledger.
PLAN_COLUMNS = (
    *("campaign_id", "plan_version", "model_version", "customer_id", "channel", "daypart", "contact_date", "send_at"),
    *("offer_id", "variant", "is_exploration", "expected_conversion", "expected_value", "cost"),
)
# Event -> the columns that identify the fact. An order converts one contact, so a conversion is known by its order alone.
FACTS = {
    **dict.fromkeys((PLANNED, APPROVED, SENT, SUPPRESSED, DELIVERED, OPENED, CLICKED), tuple(CONTACT_KEY)),
    CONVERTED: ("customer_id", "order_id"),
    SALT: (),
}


class LedgerError(ValueError):
    """Rows are no ledger entries. The message names the column and what it must hold."""


def append(place: Place, rows: pd.DataFrame, now: datetime, by: str) -> pd.DataFrame:
    """Add the facts among ``rows`` that the ledger does not hold; returns those, as ``read_ledger`` would.

    ``rows`` have ``event``, ``event_at`` (plain UTC), what ``FACTS`` asks for and any other ledger columns. ``now`` (aware) and
    ``by`` (a user's name, or a run) are when and by whom they are recorded. After a crash all of the rows are there, or none.

    Raises ``LedgerError`` on unknown columns and events, and on facts that lack a part of their key.
    """
    entries = _entries(rows, now, by)
    with exclusive(ledger_folder(place) / ".lock"):
        known = _known_ids(place, entries["entry_id"])
        added = entries[~entries["entry_id"].isin(known)].reset_index(drop=True)
        if len(added):
            _write_part(place, added)
    return added


def read_ledger(place: Place, events: Sequence[str] = ()) -> pd.DataFrame:
    """The entries in the order in which they were recorded, only those of ``events`` if given; typed by its declaration."""
    with connect(place.scratch) as connection:
        frame = connection.execute(ledger_query(place, events)).df()
    return LEDGER.typed(frame)


def ledger_query(place: Place, events: Sequence[str] = ()) -> str:
    """SQL of the same rows, with dates as DATE."""
    chosen = f"where event in ({', '.join(literal(event) for event in events)})" if events else ""
    return parts_query(ledger_parts(place), chosen)


def parts_query(parts: Sequence[Path], chosen: str = "") -> str:
    """SQL of the rows of some parts; ``chosen``: a where clause."""
    if not parts:
        return LEDGER.no_rows
    source = f"read_parquet({file_list(parts)}, hive_partitioning = false, union_by_name = true, filename = 'part_file'"
    rows = f"({LEDGER.no_rows}) union all by name select * from {source}, file_row_number = true)"  # parts may lack new columns
    return f"select {LEDGER.casts} from ({rows}) {chosen} order by part_file, file_row_number"


def ledger_parts(place: Place) -> list[Path]:
    """The parts, oldest first; each is as it was written."""
    return sorted(ledger_folder(place).glob("[0-9]*.parquet"))


def ledger_folder(place: Place) -> Path:
    """Where the parts lie."""
    return place.campaigns / "ledger"


def deciding(place: Place) -> AbstractContextManager[None]:
    """Hold the lock for a decision that reads the ledger and adds to it (approve, withdraw, send): one process at a time."""
    return exclusive(place.campaigns / ".deciding.lock")


def holdout_salt(place: Place, salt: str, now: datetime, by: str) -> str:
    """The salt by which customers are held out: ``salt`` at the first call, then the one that the ledger holds.

    A new salt would draw a new holdout, so a changed shop.yaml does not change it.
    """
    rows = pd.DataFrame({"event": [SALT], "event_at": [naive(now)], "detail": [salt]})
    added = append(place, rows, now, by)
    kept = added if len(added) else read_ledger(place, [SALT])
    return str(kept["detail"].iloc[0])


def known_salt(place: Place, salt: str) -> str:
    """The salt that the ledger holds, or before the first plan ``salt``, which that plan will give it."""
    if not ledger_parts(place):
        return salt
    with connect(place.scratch) as connection:
        kept = connection.execute(f"select detail from ({ledger_query(place, [SALT])})").fetchone()
    return str(kept[0]) if kept else salt


def entry_id(event: str, key: Sequence[str]) -> str:
    """128 bits of the SHA-256 of a fact: its event and its key, as a JSON list of strings."""
    return hashlib.sha256(f"[{', '.join(map(encode_basestring, (event, *key)))}]".encode()).hexdigest()[:32]


def contact_keys(rows: pd.DataFrame) -> list[str]:
    """The key of each contact in the mail queue, in links and in the outbox: the id of its entry ``sent``, once it has one."""
    return [entry_id(SENT, key) for key in rows[CONTACT_KEY].itertuples(index=False)]


def _entries(rows: pd.DataFrame, now: datetime, by: str) -> pd.DataFrame:
    """The rows with all columns, typed, each fact once."""
    if now.tzinfo is None:
        raise LedgerError(f"{now} has no time zone; pass an aware datetime")
    unknown = sorted(set(rows.columns) - set(LEDGER.frame_types))
    if unknown:
        raise LedgerError(f"the ledger has no column {unknown[0]}; it has {', '.join(LEDGER.frame_types)}")
    for column in ("event", "event_at"):
        if column not in rows.columns or rows[column].isna().any():
            raise LedgerError(f"an entry needs its {column}")
    unknown = sorted(set(rows["event"]) - set(FACTS))
    if unknown:
        raise LedgerError(f"the ledger has no event {unknown[0]}; it has {', '.join(FACTS)}")
    entries = rows.reindex(columns=list(LEDGER.frame_types)).reset_index(drop=True)
    entries["entry_id"] = pd.Series(None, index=entries.index, dtype=object)
    for event, chosen in entries.groupby("event"):
        key = list(FACTS[str(event)])
        lacking = [column for column in key if chosen[column].isna().any()]
        if lacking:
            raise LedgerError(f"{event} needs {' and '.join(lacking)} in every row: they say which fact it is")
        columns = [chosen[column].astype(str).to_numpy(dtype=object) for column in key]
        keys = zip(*columns, strict=True) if key else [()] * len(chosen)
        entries.loc[chosen.index, "entry_id"] = [entry_id(str(event), values) for values in keys]
    entries["recorded_at"] = pd.Timestamp(naive(now))
    entries["recorded_by"] = by
    return LEDGER.typed(entries.drop_duplicates("entry_id").reset_index(drop=True))


def _known_ids(place: Place, ids: pd.Series[str]) -> set[str]:
    """Which of ``ids`` the ledger holds."""
    parts = ledger_parts(place)
    if not parts:
        return set()
    with connect(place.scratch) as connection:
        connection.register("asked", pd.DataFrame({"entry_id": ids}))
        found = connection.execute(
            f"select entry_id from read_parquet({file_list(parts)}, hive_partitioning = false, union_by_name = true) "
            "semi join asked using (entry_id)"
        ).fetchall()
    return {str(found_id) for (found_id,) in found}


def _write_part(place: Place, entries: pd.DataFrame) -> None:
    """Write the next part; the lock is held, so its number is free."""
    parts = ledger_parts(place)
    number = int(parts[-1].stem) + 1 if parts else 1
    with connect(place.scratch) as connection, replacing(ledger_folder(place) / f"{number:08d}.parquet") as temporary:
        connection.register("entries", entries)
        connection.execute(
            f"copy (select {LEDGER.casts} from entries) to {literal(str(temporary))} (format parquet, compression zstd)"
        )
