"""The slice log against a transform of duplicates and rewriting only: its end state is right after any sequence of events.

Raw slices are written as ``write_raw_slice`` leaves them, without landing files. Slices are 12 hours wide, so that the three
days in which a copy is recognised are six slices.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from customer360.lake.landing.contracts import DUPLICATE_DAYS
from customer360.lake.operations.retention import remove_old
from customer360.lake.raw.history import history_folder, history_index, write_history
from customer360.lake.raw.raw_clicks import PART, RAW_COLUMNS, copy_raw, raw_slice_folder, write_raw_slice
from customer360.lake.warehouse import slice_log
from customer360.lake.warehouse.cutoffs import set_matured_cutoffs, set_training_cutoffs
from customer360.lake.warehouse.frames import keep_daily_snapshot
from customer360.lake.warehouse.slice_log import (
    forget_transforms,
    mark_transformed,
    plan_transform,
)
from customer360.lake.warehouse.warehouse import SCHEMAS
from customer360.settings import REPOSITORY, Place, Settings
from tests.support.random_shop import small_shop, write_slice

SHOP = small_shop(720)
FIRST = datetime.fromisoformat("2026-05-01T00:00")
NOW = datetime(2026, 5, 10, tzinfo=UTC)
TYPED = ", ".join(f"cast(null as {column.type}) as {column.name}" for column in RAW_COLUMNS)
STAGED = """
    select slice, event_key from raw.clicks_pending as clicks
    where not exists (
        select 1 from ops.click_ids as ids
        where ids.event_key = clicks.event_key and ids.slice < clicks.slice and ids.slice >= clicks.slice - interval 3 days
    )
"""


def at(slice_no: int) -> datetime:
    """Start of a slice by its number."""
    return FIRST + slice_no * SHOP.slice_width


@dataclass
class Log:
    """A warehouse in memory whose one table is ``kept``: slice and key of every event that counts."""

    root: Path
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    raw: dict[int, Collection[int]] = field(default_factory=dict)
    ticks: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        for schema in SCHEMAS:
            self.connection.execute(f"create schema {schema}")
        self.connection.execute("create table kept (slice timestamp, event_key bigint)")

    @property
    def settings(self) -> Settings:
        return Settings(shop=SHOP, place=Place(root=self.root), shop_folder=self.root)

    def write(self, slice_no: int, keys: Collection[int], landed: str | None = None) -> None:
        """A raw slice with these event keys, made from landing files whose fingerprint is ``landed``."""
        fingerprint = landed or hashlib.sha256(repr(sorted(keys)).encode()).hexdigest()
        target = raw_slice_folder(self.settings.place.raw, at(slice_no).replace(tzinfo=UTC)) / PART
        target.parent.mkdir(parents=True, exist_ok=True)
        found = ", ".join(f"(timestamp '{at(slice_no)}', {key}::bigint)" for key in sorted(keys)) or "(null, null)"
        rows = (
            f"select {TYPED} where false union all by name from (values {found}) t (slice, event_key) where slice is not null"
        )
        good = len(keys)
        counts = {"files": 1, "lines": good, "good": good, "quarantined": 0, "duplicates": 0}
        copy_raw(self.connection, rows, target, {"fingerprint": fingerprint, **counts})
        os.utime(target, ns=(0, next(self.ticks)))
        self.raw[slice_no] = set(keys)

    def plan(self) -> list[datetime]:
        """Plan alone; returns what is pending."""
        return plan_transform(self.connection, self.settings, NOW).pending

    def stage(self) -> None:
        """The first half of a transform."""
        self.connection.execute(f"create or replace table staging.stg_clicks as {STAGED}")

    def rewrite(self) -> None:
        """The second half."""
        self.connection.execute("delete from kept where slice in (select slice from ops.pending_slices)")
        self.connection.execute("insert into kept select slice, event_key from staging.stg_clicks")

    def run(self) -> list[datetime]:
        """A whole run; returns what it rewrote."""
        pending = self.plan()
        self.stage()
        self.rewrite()
        mark_transformed(self.connection, NOW)
        return pending

    def kept(self) -> list[tuple[datetime, int]]:
        return self.connection.execute("from kept order by all").fetchall()

    def expected(self) -> list[tuple[datetime, int]]:
        """An occurrence is dropped if any occurrence of its key lies in the six slices before, dropped itself or not."""
        return sorted(
            (at(number), key)
            for number, keys in self.raw.items()
            for key in keys
            if not any(key in self.raw.get(earlier, ()) for earlier in range(number - 6, number))
        )

    def log(self, columns: str) -> list[tuple[object, ...]]:
        return self.connection.execute(f"select {columns} from ops.slice_log order by slice").fetchall()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


KEYS = st.frozensets(st.integers(0, 3), max_size=3)
WRITES = st.tuples(st.just("write"), st.integers(0, 8), KEYS, st.booleans())
STEPS = st.sampled_from(["run", "run", "plan", "stage", "rewrite", "forget", "code"]).map(lambda step: (step,))


@pytest.mark.full
@settings(max_examples=25)
@given(st.lists(WRITES | STEPS, max_size=14))
# A slice is repaired, the run dies half-way, and the repair is taken back.
@example([("write", 0, {1}, False), ("run",), ("write", 0, {2}, False), ("rewrite",), ("write", 0, {1}, False)])
# The same files give other rows: one of them had been set aside.
@example([("write", 0, {1}, True), ("run",), ("write", 0, {1, 2}, True)])
# A run of new code dies half-way, and the old code comes back.
@example([("write", 0, {1}, False), ("run",), ("code",), ("rewrite",), ("code",)])
# A middle occurrence goes: the last one is no copy any more, the first still is none.
@example([("write", n, {1}, False) for n in (0, 5, 8)] + [("run",), ("write", 5, set(), False)])
def test_any_way_through_writes_runs_and_crashes_ends_with_what_raw_holds(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        log = Log(Path(folder))
        code = 0
        monkeypatch.setattr(slice_log, "code_fingerprint", lambda _: f"code {code}")
        log.plan()
        for step, *arguments in steps:
            if step == "write":
                number, keys, same_files = arguments
                log.write(number, keys, "the same files" if same_files else None)
            elif step == "code":
                code = 1 - code
            elif step == "forget":
                forget_transforms(log.connection)
            elif step == "run":
                log.run()
            else:  # a run that dies after this step
                log.plan()
                if step in ("stage", "rewrite"):
                    log.stage()
                if step == "rewrite":
                    log.rewrite()
        log.run()
        assert log.kept() == log.expected()
        assert log.run() == []
        assert log.log("slice, good, repeats") == [
            (at(number), len(keys), len(keys) - sum(start == at(number) for start, _ in log.expected()))
            for number, keys in sorted(log.raw.items())
        ]
        assert log.connection.execute("from ops.click_ids order by all").fetchall() == sorted(
            (at(number), key) for number, keys in log.raw.items() for key in keys
        )


def test_only_slices_whose_outcome_can_change_are_rewritten(log: Log) -> None:
    for number, keys in enumerate([{1}, {2}, {1}, {1}, {3}, {4}, {5}, {1}, {1}]):
        log.write(number, keys)
    assert len(log.run()) == 9
    log.write(0, {2})  # 1 goes, 2 comes: slices 1, 2 and 3 share one of them within three days; 7 and 8 lie beyond
    assert log.run() == [at(0), at(1), at(2), at(3)]


def test_the_same_raw_file_is_not_transformed_twice(log: Log) -> None:
    log.write(0, {1})
    assert log.run() == [at(0)]
    assert log.run() == []


def test_a_slice_that_was_written_again_is_transformed_again_but_is_no_repair(log: Log) -> None:
    log.write(0, {1}, "files")
    log.run()
    log.write(0, {1}, "files")
    plan = plan_transform(log.connection, log.settings, NOW)
    assert (plan.pending, plan.repaired) == ([at(0)], [])
    assert log.log("repaired_at") == [(None,)]


def test_a_repair_is_recorded_with_its_time(log: Log) -> None:
    log.write(0, {1})
    log.write(1, {2})
    log.run()
    log.write(0, {1, 3})
    plan = plan_transform(log.connection, log.settings, NOW)
    assert (plan.pending, plan.repaired, plan.last_slice) == ([at(0)], [at(0)], at(1))
    assert log.log("slice, repaired_at") == [(at(0), NOW.replace(tzinfo=None)), (at(1), None)]


def test_a_plan_that_fails_changes_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(0, {1})
    log.run()
    log.write(0, {2})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(slice_log, "_set_clock", fail)
        with pytest.raises(OSError, match="disk full"):
            log.plan()
    assert log.connection.execute("select event_key from ops.click_ids").fetchall() == [(1,)]
    assert log.run() == [at(0)]
    assert log.kept() == [(at(0), 2)]


def test_raw_that_retention_removed_leaves_its_rows_alone(log: Log) -> None:
    log.write(0, {1})
    log.write(8, {2})
    log.run()
    remove_old(log.settings, NOW, (at(1) + timedelta(days=400)).replace(tzinfo=UTC))
    forget_transforms(log.connection)
    assert log.run() == [at(8)]
    assert log.kept() == [(at(0), 1), (at(8), 2)]
    log.write(0, {3})  # run again by hand from files that were kept elsewhere
    assert log.run() == [at(0)]
    assert log.kept() == [(at(0), 3), (at(8), 2)]


def test_the_clock_is_the_end_of_the_last_slice(log: Log) -> None:
    log.write(3, {1})
    log.write(1, {1})
    log.run()
    assert log.connection.execute("from ops.clock").fetchall() == [(at(3), at(4))]


def test_old_event_times_of_rewritten_slices_are_remembered_until_they_are_done(log: Log) -> None:
    log.write(0, {1})
    log.run()
    log.connection.execute("create table intermediate.int_activity_by_slice (slice timestamp, event_slice timestamp)")
    log.connection.execute("insert into intermediate.int_activity_by_slice values (?, ?)", [at(0), at(-5)])
    log.write(0, set())
    log.plan()
    log.connection.execute("delete from intermediate.int_activity_by_slice")  # dbt died after it had rewritten this table
    log.plan()
    touched = "select distinct event_slice from ops.touched_event_slices"
    assert log.connection.execute(touched).fetchall() == [(at(-5),)]
    log.run()
    assert log.connection.execute(touched).fetchall() == []


def test_the_orders_of_a_rewritten_slice_are_touched_until_the_transform_is_done(log: Log) -> None:
    """Slice 0 has the first event of a line of O1; 2 has its repeat, and a line of O2."""
    log.write(0, {1})
    log.write(2, {2})
    log.run()
    log.connection.execute("create table intermediate.int_purchases_by_slice (slice timestamp, order_id varchar)")
    log.connection.executemany(
        "insert into intermediate.int_purchases_by_slice values (?, ?)", [[at(0), "O1"], [at(2), "O1"], [at(2), "O2"]]
    )
    log.write(0, set())
    log.plan()
    assert log.connection.execute("from ops.touched_orders").fetchall() == [("O1",)]
    mark_transformed(log.connection, NOW)
    assert log.connection.execute("from ops.touched_orders").fetchall() == []


def test_new_code_touches_the_event_slices_of_archived_slices_too(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(0, {1})
    log.write(8, {2})
    log.run()
    log.connection.execute("create table intermediate.int_activity_by_slice (slice timestamp, event_slice timestamp)")
    rows = [[at(0), at(-1)], [at(8), at(7)]]
    log.connection.executemany("insert into intermediate.int_activity_by_slice values (?, ?)", rows)
    remove_old(log.settings, NOW, (at(1) + timedelta(days=400)).replace(tzinfo=UTC))
    monkeypatch.setattr(slice_log, "code_fingerprint", lambda _: "new code")
    assert log.plan() == [at(8)]
    touched = "select distinct event_slice from ops.touched_event_slices order by 1"
    assert log.connection.execute(touched).fetchall() == [(at(-1),), (at(7),)]


def test_cutoffs_are_weekly_and_leave_room_for_the_label_and_the_history(log: Log) -> None:
    shop = SHOP.model_copy(update={"training": SHOP.training.model_copy(update={"cutoffs": 5, "min_history_days": 14})})
    log.plan()
    assert set_training_cutoffs(log.connection, log.settings) == []
    for number in (0, 80):  # 40 days
        log.write(number, {1})
    log.plan()
    settings_ = log.settings.model_copy(update={"shop": shop})
    newest = at(81) - timedelta(days=9)
    cutoffs = [newest, newest - timedelta(days=7), newest - timedelta(days=14)]  # a week earlier has 10.5 days before it
    assert set_training_cutoffs(log.connection, settings_) == cutoffs
    weighted = [(number, moment, 1.0) for number, moment in enumerate(cutoffs, 1)]
    assert log.connection.execute("from ops.training_cutoffs order by all").fetchall() == weighted


def test_the_cutoffs_of_a_warehouse_without_weights_are_made_anew(log: Log) -> None:
    log.write(0, {1})
    log.write(80, {1})
    log.plan()
    log.connection.execute("create or replace table ops.training_cutoffs (cutoff_no integer, as_of timestamp)")
    cutoffs = set_training_cutoffs(log.connection, log.settings)
    assert log.connection.execute("select count(*), min(weight) from ops.training_cutoffs").fetchall() == [(len(cutoffs), 1.0)]


def test_scores_have_matured_for_a_week_once_their_labels_are_complete(log: Log) -> None:
    """As of 20 May 12:00, with 7 days of horizon and 2 for what is late: scores after 4 May 12:00 up to 11 May 12:00."""
    log.plan()
    assert set_matured_cutoffs(log.connection, log.settings) == []  # no slice yet
    log.write(38, {1})
    log.plan()
    assert log.connection.execute("select as_of from ops.clock").fetchall() == [(datetime.fromisoformat("2026-05-20T12:00"),)]
    assert set_matured_cutoffs(log.connection, log.settings) == []  # no scores yet
    kept = [f"2026-05-{day:02}T{hour}" for day in range(2, 16) for hour in ("12:00", "23:30")]  # 23:30 is tomorrow in Amsterdam
    for moment in [*kept, "2026-05-11T12:15", "2026-05-04T11:45"]:
        log.connection.execute(f"create or replace temp table scores as select timestamp '{moment}' as as_of")
        keep_daily_snapshot(log.settings.place, SHOP, log.connection, "scores")
    # 3 May 23:30 is the first of 4 May, 4 May 23:30 of 5 May, and so on: the last that is complete is 10 May 23:30.
    expected = [datetime.fromisoformat(f"2026-05-{day:02}T23:30") for day in range(10, 3, -1)]
    assert set_matured_cutoffs(log.connection, log.settings) == expected
    assert log.connection.execute("from ops.matured_cutoffs order by all").fetchall() == list(enumerate(expected, 1))


@pytest.mark.parametrize(("late_minutes", "is_matured"), [(-7 * 24 * 60, False), (0, True), (15, False)])
def test_the_week_in_which_scores_have_matured_includes_its_end_only(log: Log, late_minutes: int, is_matured: bool) -> None:
    log.write(38, {1})
    log.plan()
    moment = datetime.fromisoformat("2026-05-11T12:00") + timedelta(minutes=late_minutes)
    log.connection.execute("create or replace temp table scores as select ?::timestamp as as_of", [moment])
    keep_daily_snapshot(log.settings.place, SHOP, log.connection, "scores")
    assert set_matured_cutoffs(log.connection, log.settings) == ([moment] if is_matured else [])


# ---- history beside arrival slices -----------------------------------------------------------------------------------


def history(log: Log, name: str, *events: tuple[int, int]) -> None:
    """A file of the history: (slice number, id) of each event."""
    lines = [
        {"event_id": str(key), "event_name": "page_view", "event_at": at(number).isoformat(), "visitor_id": "v"}
        for number, key in events
    ]
    path = log.settings.place.landing / "history" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def kept_ids(log: Log) -> list[tuple[datetime, str]]:
    rows = log.connection.execute(
        "select slice, ids.id from kept inner join (select id::varchar as id, md5_number_lower(id::varchar) >> 1 as event_key "
        "from range(10) t (id)) as ids using (event_key) order by all"
    )
    return rows.fetchall()


def test_history_that_is_taken_away_leaves_the_warehouse(log: Log) -> None:
    history(log, "a.jsonl", (-2, 1), (-9, 2))
    history(log, "b.jsonl", (-2, 3), (-20, 4))
    write_history(log.settings)
    log.run()
    assert kept_ids(log) == [(at(-20), "4"), (at(-9), "2"), (at(-2), "1"), (at(-2), "3")]
    (log.settings.place.landing / "history" / "b.jsonl").unlink()
    write_history(log.settings)
    assert log.run() == [at(-20), at(-2)]
    assert kept_ids(log) == [(at(-9), "2"), (at(-2), "1")]
    assert log.run() == []


def test_history_that_comes_after_the_slices_makes_their_copies_copies(log: Log) -> None:
    write_slice(
        log.settings.place.landing,
        at(0),
        [{"event_id": "1", "event_name": "x", "event_at": at(0).isoformat(), "visitor_id": "v"}],
    )
    write_raw_slice(log.settings, at(0).replace(tzinfo=UTC))
    log.run()
    assert kept_ids(log) == [(at(0), "1")]
    history(log, "a.jsonl", (-2, 1), (-20, 2))
    write_history(log.settings)
    assert log.run() == [at(-20), at(-2), at(0)]
    assert kept_ids(log) == [(at(-20), "2"), (at(-2), "1")]


def test_the_same_history_again_changes_nothing(log: Log) -> None:
    history(log, "a.jsonl", (-2, 1), (-20, 2))
    first = write_history(log.settings)
    log.run()
    assert write_history(log.settings) == first
    assert log.run() == []


def test_a_slice_with_a_folder_of_its_own_is_not_the_historys(log: Log) -> None:
    log.write(-2, {7})  # from before slices_start was moved forward
    history(log, "a.jsonl", (-2, 1), (-1, 2))  # of one day
    write_history(log.settings)
    for _ in range(2):
        log.run()
        assert log.log("slice, source") == [(at(-2), "clicks"), (at(-1), "click_history")]
        assert [row[0] for row in log.kept()] == [at(-2), at(-1)]


def test_history_that_retention_removed_leaves_its_rows_alone(log: Log) -> None:
    history(log, "a.jsonl", (-900, 1), (-2, 2))
    write_history(log.settings)
    log.run()
    remove_old(log.settings, NOW, NOW)
    assert not list(history_folder(log.settings.place.raw).glob("day_key=2025-02*"))
    forget_transforms(log.connection)
    assert log.run() == [at(-2)]
    assert kept_ids(log) == [(at(-900), "1"), (at(-2), "2")]


def test_a_history_load_that_died_before_its_index_is_as_if_it_had_not_begun(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    history(log, "a.jsonl", (-2, 1))
    write_history(log.settings)
    log.run()
    history(log, "b.jsonl", (-2, 2), (-20, 3))
    index = history_index(log.settings.place.raw).read_bytes()
    write_history(log.settings)
    history_index(log.settings.place.raw).write_bytes(index)
    assert log.run() == []
    write_history(log.settings)
    assert log.run() == [at(-20), at(-2)]
    assert kept_ids(log) == [(at(-20), "3"), (at(-2), "1"), (at(-2), "2")]


# ---- the code's fingerprint ------------------------------------------------------------------------------------------


def test_the_fingerprint_of_the_code_follows_slice_width_models_and_macros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(minutes: int = 720) -> str:
        shop = SHOP.model_copy(update={"slice_minutes": minutes})
        return slice_log.code_fingerprint(Settings(shop=shop, place=Place(root=tmp_path), shop_folder=tmp_path))

    project = tmp_path / "dbt_project"
    for folder in ("models/staging", "models/intermediate/by_slice", "models/marts/by_event_slice", "macros"):
        (project / folder).mkdir(parents=True)
    for path in ("models/staging/stg_clicks.sql", "models/intermediate/by_slice/int_activity_by_slice.sql", "macros/time.sql"):
        (project / path).write_bytes((REPOSITORY / "dbt_project" / path).read_bytes())
    monkeypatch.setattr(slice_log, "REPOSITORY", tmp_path)
    seen = {fingerprint(), fingerprint(60)}
    for path in sorted(project.rglob("*.sql")):
        path.write_text(path.read_text() + "\n-- changed")
        seen.add(fingerprint())
    assert len(seen) == 5
    (project / "models" / "marts.sql").write_text("select 1")  # a table of the current state is rebuilt each run anyway
    assert fingerprint() in seen


def test_dbt_and_the_slice_log_agree_on_how_long_copies_are_recognised() -> None:
    sql = (REPOSITORY / "dbt_project" / "models" / "staging" / "stg_repeated_clicks.sql").read_text()
    assert f"interval '{DUPLICATE_DAYS}' day" in sql
