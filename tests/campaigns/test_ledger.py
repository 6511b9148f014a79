"""The ledger only grows, and whatever is recorded twice is there once."""

import hashlib
import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import customer360.campaigns.ledger as ledger_module
from customer360.campaigns.ledger import (
    LEDGER,
    LedgerError,
    append,
    entry_id,
    holdout_salt,
    ledger_folder,
    ledger_parts,
    read_ledger,
)
from customer360.settings import Place

NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path)


def approvals(*customers: str, version: str = "spring-1") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event": "approved",
            "event_at": pd.Timestamp("2026-05-04 08:00"),
            "campaign_id": "spring",
            "plan_version": version,
            "customer_id": list(customers),
            "arm": "contact",
            "channel": "email",
            "contact_date": pd.Timestamp("2026-05-05"),
            "send_at": pd.Timestamp("2026-05-05 07:00"),
            "is_exploration": False,
            "expected_conversion": 0.25,
            "cost": 0.1,
        }
    )


def conversion(order: str, amount: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event": ["converted"],
            "event_at": pd.Timestamp("2026-05-06 10:00"),
            "campaign_id": "spring",
            "plan_version": "spring-1",
            "customer_id": "C1",
            "order_id": order,
            "amount": amount,
        }
    )


def digests(place: Place) -> dict[str, str]:
    return {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in ledger_parts(place)}


def test_an_entry_comes_back_as_it_was_recorded(place: Place) -> None:
    append(place, approvals("C1"), NOW, "anna")
    (row,) = read_ledger(place).to_dict("records")
    assert list(row) == list(LEDGER.frame_types)
    assert row["recorded_at"] == pd.Timestamp("2026-05-04 08:00") and row["recorded_by"] == "anna"
    assert row["contact_date"] == pd.Timestamp("2026-05-05") and row["send_at"] == pd.Timestamp("2026-05-05 07:00")
    assert row["expected_conversion"] == 0.25 and not row["is_exploration"]
    assert row["entry_id"] == hashlib.sha256(b'["approved", "spring", "spring-1", "C1"]').hexdigest()[:32]
    assert pd.isna(row["order_id"]) and pd.isna(row["amount"]) and pd.isna(row["detail"])


def test_the_same_fact_is_recorded_once_whoever_repeats_it(place: Place) -> None:
    append(place, approvals("C1", "C2", "C1"), NOW, "anna")
    before = digests(place)
    assert append(place, approvals("C2", "C1"), NOW + timedelta(days=1), "bert").empty
    assert digests(place) == before
    assert list(read_ledger(place)["customer_id"]) == ["C1", "C2"]
    assert set(read_ledger(place)["recorded_by"]) == {"anna"}


def test_parts_that_are_written_never_change(place: Place) -> None:
    seen: dict[str, str] = {}
    for day, rows in enumerate([approvals("C1"), approvals("C1", "C2"), conversion("O1", 5), conversion("O1", 7)]):
        append(place, rows, NOW + timedelta(days=day), "run")
        now = digests(place)
        assert seen.items() <= now.items()
        seen = now
    assert list(seen) == ["00000001.parquet", "00000002.parquet", "00000003.parquet"]
    assert list(read_ledger(place, ["converted"])["amount"]) == [5.0]  # an order converts once, as it was known first


def test_another_plan_version_is_another_fact(place: Place) -> None:
    append(place, approvals("C1"), NOW, "anna")
    assert len(append(place, approvals("C1", version="spring-2"), NOW, "anna")) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (approvals("C1").drop(columns="customer_id"), "approved needs customer_id"),
        (approvals("C1").assign(event="aproved"), "no event aproved"),
        (approvals("C1").assign(colour="red"), "no column colour"),
        (approvals("C1").drop(columns="event_at"), "needs its event_at"),
        (conversion("O1", 5).assign(order_id=None), "converted needs order_id"),
    ],
)
def test_what_is_no_entry_is_refused_and_nothing_is_written(place: Place, rows: pd.DataFrame, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        append(place, rows, NOW, "anna")
    assert not ledger_parts(place)


def test_an_empty_ledger_has_its_columns(place: Place) -> None:
    frame = read_ledger(place)
    assert frame.empty and list(frame.columns) == list(LEDGER.frame_types)
    assert str(frame["send_at"].dtype) == "datetime64[us]" and str(frame["cost"].dtype) == "Float64"
    assert append(place, approvals(), NOW, "anna").empty


def test_the_first_salt_is_kept_whatever_shop_yaml_says_later(place: Place) -> None:
    assert holdout_salt(place, "first", NOW, "run 1") == "first"
    assert holdout_salt(place, "second", NOW, "run 2") == "first"
    assert list(read_ledger(place, ["salt"])["detail"]) == ["first"]


def test_a_crash_while_a_part_is_written_leaves_the_ledger_as_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    append(place, approvals("C1"), NOW, "anna")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("customer360.lake.atomic.fsync_path", killed)
        with pytest.raises(KeyboardInterrupt):
            append(place, approvals("C2", "C3"), NOW, "anna")
    (ledger_folder(place) / ".tmp-dead.parquet").write_bytes(b"half a part")
    assert list(read_ledger(place)["customer_id"]) == ["C1"]
    assert len(append(place, approvals("C2", "C3"), NOW, "anna")) == 2
    assert list(read_ledger(place)["customer_id"]) == ["C1", "C2", "C3"]


def _append_many(root: Path, start: int) -> None:
    for number in range(start, start + 10):
        append(Place(root=root), approvals(f"C{number}"), NOW, f"process {start}")


@pytest.mark.full
def test_processes_that_append_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(tmp_path, start)) for start in (0, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = read_ledger(Place(root=tmp_path))
    assert sorted(found["customer_id"], key=lambda name: int(name[1:])) == [f"C{number}" for number in range(15)]
    assert len(ledger_parts(Place(root=tmp_path))) == 15


def test_entry_ids_cannot_be_forged_by_separators() -> None:
    assert entry_id("sent", ["a", "b,c"]) != entry_id("sent", ["a,b", "c"])
    assert ledger_module.FACTS["sent"] == ("campaign_id", "plan_version", "customer_id")


@pytest.mark.parametrize("customer", ["C1", 'a "b" \\c', "Zoë\u2028\n\x00", "</script>"])
def test_an_entry_id_is_the_hash_of_the_event_and_its_key_as_json(customer: str) -> None:
    text = json.dumps(["sent", "spring", "spring-1", customer], ensure_ascii=False)
    assert entry_id("sent", ("spring", "spring-1", customer)) == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_parts_of_before_there_were_variants_are_read_and_added_to(place: Place) -> None:
    append(place, approvals("C1"), NOW, "anna")
    (part,) = ledger_parts(place)
    pd.read_parquet(part).drop(columns="variant").to_parquet(part, index=False)
    assert append(place, approvals("C1"), NOW, "anna").empty
    assert read_ledger(place)["variant"].isna().all()
    append(place, approvals("C2").assign(variant="B"), NOW, "anna")
    assert read_ledger(place).set_index("customer_id")["variant"].fillna("none").to_dict() == {"C1": "none", "C2": "B"}
