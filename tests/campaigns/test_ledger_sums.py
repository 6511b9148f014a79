"""Sums of the ledger: those of all its entries, whichever parts were counted before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from customer360.campaigns.ledger import append, read_ledger
from customer360.campaigns.ledger_sums import ledger_counts, running_campaigns
from customer360.campaigns.standing import due_contacts, standing
from customer360.settings import Place

AS_OF = datetime(2026, 5, 20, 10, tzinfo=UTC)
OLD, RECENT, AHEAD = timedelta(days=-9), timedelta(days=-2), timedelta(days=1)


def entries(event: str, version: str, customers: dict[str, timedelta], arm: str = "contact", detail: str = "") -> pd.DataFrame:
    """An entry a customer, whose time lies so far from ``AS_OF``."""
    at = [pd.Timestamp((AS_OF + ahead).replace(tzinfo=None)) for ahead in customers.values()]
    rows = pd.DataFrame({"customer_id": [*customers], "send_at": at, "event_at": at})
    campaign = version.split("-", maxsplit=1)[0]
    rows = rows.assign(contact_date=rows["send_at"].dt.normalize(), campaign_id=campaign, plan_version=version)
    return rows.assign(event=event, arm=arm, detail=detail or None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path)


def write(place: Place) -> None:
    """``spring`` has all kinds of contacts, ``old`` is over, and ``gone`` was withdrawn before its time."""
    contacts = {"C1": OLD, "C2": RECENT, "C3": RECENT, "C4": AHEAD, "C5": OLD}
    sent = {"C1": OLD, "C2": RECENT}
    parts = [
        [
            entries("approved", "spring-1", contacts, detail="a reason"),
            entries("approved", "spring-1", {"H1": RECENT}, "holdout"),
        ],
        [entries("sent", "spring-1", sent), entries("suppressed", "spring-1", {"C3": RECENT}, detail="no consent for email")],
        [entries("approved", "old-1", {"C1": OLD}), entries("sent", "old-1", {"C1": OLD})],
        [entries("approved", "gone-1", {"C6": AHEAD, "C7": AHEAD}, detail="a reason")],
        [entries("suppressed", "gone-1", {"C6": AHEAD, "C7": AHEAD}, detail="withdrawn: a mistake")],
    ]
    for number, part in enumerate(parts):
        append(place, pd.concat(part), AS_OF + timedelta(minutes=number), "anna")


def by_standing(place: Place) -> list[dict[str, object]]:
    """The same of all entries by ``standing``."""
    rows = standing(read_ledger(place))
    since = pd.Timestamp((AS_OF - timedelta(days=7)).replace(tzinfo=None))
    rows = rows[(rows["is_open"] | (rows["send_at"] >= since)) & ~rows["is_withdrawn"] & (rows["arm"] == "contact")]
    due = set(due_contacts(rows, AS_OF).index)
    return [
        {
            "campaign_id": campaign,
            "plan_version": version,
            "contacts": len(ours),
            "sent": int(ours["is_sent"].sum()),
            "open": int(ours["is_open"].sum()),
            "due": len(due & set(ours.index)),
            "until": ours["contact_date"].max(),
        }
        for (campaign, version), ours in rows.groupby(["campaign_id", "plan_version"])
    ]


def test_what_runs_is_what_the_entries_of_each_contact_say(place: Place) -> None:
    write(place)
    running = running_campaigns(place, AS_OF).to_dict("records")
    assert running == by_standing(place)
    assert [(each["plan_version"], each["contacts"], each["open"], each["due"]) for each in running] == [("spring-1", 4, 2, 1)]


def test_a_new_part_is_seen_at_once(place: Place) -> None:
    write(place)
    before = running_campaigns(place, AS_OF)["open"].tolist()
    append(place, entries("sent", "spring-1", {"C5": OLD}), AS_OF + timedelta(hours=1), "anna")
    assert (before, running_campaigns(place, AS_OF)["open"].tolist()) == ([2], [1])
    assert running_campaigns(place, AS_OF).to_dict("records") == by_standing(place)


def test_counts_that_grow_part_by_part_are_those_of_one_count(place: Place) -> None:
    ledger_counts(place)
    write(place)
    first = ledger_counts(place)
    append(place, entries("sent", "spring-1", {"C5": OLD}), AS_OF + timedelta(hours=1), "anna")
    grown = ledger_counts(place)
    assert (first["entries"].sum(), grown["entries"].sum()) == (len(read_ledger(place)) - 1, len(read_ledger(place)))
    expected = read_ledger(place).groupby(["plan_version", "event", "arm"]).size().to_dict()
    assert grown.groupby(["plan_version", "event", "arm"])["entries"].sum().to_dict() == expected


def test_another_ledger_in_the_same_folder_is_counted_anew(place: Place) -> None:
    write(place)
    assert len(ledger_counts(place))
    for part in (place.campaigns / "ledger").glob("*.parquet"):
        part.unlink()
    assert ledger_counts(place).empty
    append(place, entries("approved", "spring-2", {"C1": AHEAD}), AS_OF, "anna")
    assert ledger_counts(place)["plan_version"].tolist() == ["spring-2"]
