"""A run is killed with SIGKILL at any moment of any stage: the next one succeeds, and nothing shows that it happened.

In each round one slice is killed during raw; its retry during dbt; the retry's retry during scoring; a re-execution from there
during publishing. So each kill is followed by a run that gets beyond the stage, and the last one succeeds.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from customer360.lake.publishing.publications import publish_files
from customer360.lake.warehouse.warehouse import is_locked
from tests.crash.verdict import clean_tables, table_differences
from tests.orchestration.place import Run, TinyShop, wait_until
from tests.orchestration.reader import Reader
from tests.orchestration.slices import SERVED, land_all

ROUNDS = [1, pytest.param(5, marks=pytest.mark.exhaustive)]
STEPS = {
    "raw": "raw__clicks",
    "dbt": "warehouse_models",
    "scoring": "predictions__customer_scores",
    "publishing": "publishing__published",
}
LONGEST_SECONDS = {
    "raw": 0.1,
    "dbt": 1.5,
    "scoring": 0.2,
    "publishing": 0.15,
}  # of a fast machine: a slow one is killed earlier


def began(run: Run, step: str) -> bool:
    """Whether a step has begun, by the run's own log."""
    return run.log.exists() and f'Started execution of step "{step}"' in run.log.read_text(encoding="utf-8", errors="replace")


def ended(run: Run, step: str) -> bool:
    return f'Finished execution of step "{step}"' in run.log.read_text(encoding="utf-8", errors="replace")


def kill(shop: TinyShop, run: Run, stage: str, chance: random.Random) -> bool:
    """Kill the run's process at some moment of the stage. True when it was in the midst of it."""
    step = STEPS[stage]
    wait_until(lambda: began(run, step), 120, f"{stage} begins")
    time.sleep(chance.uniform(0, LONGEST_SECONDS[stage]))
    is_amid = not ended(run, step)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() in (-signal.SIGKILL, 0)
    wait_until(lambda: not is_locked(shop.settings.place), 60, "the lock is free")
    with shop.instance() as instance:
        record = instance.get_run_by_id(run.run_id)
        assert record is not None
        if not record.is_finished:
            instance.report_run_failed(record)
    return is_amid


@dataclass
class Rounds:
    """What happened to the slices."""

    shop: TinyShop
    reader: Reader
    number: int
    amid: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    passed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))


@pytest.fixture(scope="module", params=ROUNDS)
def rounds(shop: TinyShop, request: pytest.FixtureRequest) -> Iterator[Rounds]:
    """Slices that are each killed in all four stages and then finished."""
    chance = random.Random(5)
    shop.restore("ready")
    land_all(shop, request.param)
    publish_files(shop.settings.place, datetime.now(UTC))  # the views of a copied place name the files of the first
    reader = Reader(shop.data)
    reader.start()
    result = Rounds(shop, reader, request.param)
    for number in range(result.number):
        for stage in ("raw", "dbt", "scoring"):
            run = shop.run("slice_job", shop.key(number))
            result.amid[stage] += kill(shop, run, stage, chance)
            for earlier in list(STEPS)[: list(STEPS).index(stage)]:
                result.passed[earlier] += ended(run, STEPS[earlier])
        run = shop.run("slice_job", shop.key(number), assets=SERVED)
        result.amid["publishing"] += kill(shop, run, "publishing", chance)
        result.passed["scoring"] += ended(run, STEPS["scoring"])
        last = shop.run("slice_job", shop.key(number)).succeed()
        result.passed["publishing"] += ended(last, STEPS["publishing"])
    reader.stopped.set()
    reader.join(timeout=60)
    yield result


def test_runs_were_killed_amid_every_stage(rounds: Rounds) -> None:
    """Of each stage at least half of the kills; of a single round, half of all: publishing may be over before the kill."""
    few = {stage for stage, times in rounds.amid.items() if times < 0.5 * rounds.number}
    assert len(few) <= (2 if rounds.number == 1 else 0), few


def test_the_next_run_gets_beyond_the_stage_in_which_one_was_killed(rounds: Rounds) -> None:
    assert all(times >= rounds.number for times in rounds.passed.values())


def test_readers_always_saw_one_whole_version(rounds: Rounds) -> None:
    assert rounds.reader.wrong == []
    assert len(rounds.reader.versions) >= rounds.number


def test_killed_runs_leave_the_tables_of_a_clean_one(rounds: Rounds) -> None:
    assert list(table_differences(rounds.shop.tables(), clean_tables(rounds.shop, rounds.number))) == []


def test_killed_runs_leave_no_half_files_that_count(rounds: Rounds) -> None:
    versions = rounds.shop.data / "published" / "versions"
    current = (rounds.shop.data / "published" / "current").resolve()
    assert current.parent == versions.resolve()
    assert not current.name.startswith(".")
