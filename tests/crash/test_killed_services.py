"""SIGKILL to all processes at once, or to sensor and daemon alone, while producers go on: nothing is lost or counts twice.

Kills of runs amid each of their stages are in ``tests/orchestration/test_killed_runs.py``; ``make crash`` mixes all of them.
"""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.crash.campaign import Campaign, campaign
from tests.orchestration.place import tiny_shop

pytestmark = pytest.mark.daemon

BOUNDARIES = ("sensor", "daemon", "whole tree")
# Which, and how often each; make crash KILLS=200 does more. Every kill costs half a minute until the services are back.
KILLS = [(BOUNDARIES[-1:], 1), pytest.param((BOUNDARIES, 4), marks=pytest.mark.exhaustive)]
AT_ONCE = 0.8  # waiting for each would cost another minute
SETTLE_SECONDS = 240.0


@pytest.fixture(scope="module", params=KILLS)
def done(request: pytest.FixtureRequest) -> Campaign:
    boundaries, kills = request.param
    shop = tiny_shop()
    shop.restore("ready")
    return campaign(
        shop,
        boundaries,
        kills=kills * len(boundaries),
        at_once=AT_ONCE,
        seed=4,
        settle_seconds=SETTLE_SECONDS,
        say=tell,
    )


def tell(text: str) -> None:
    """Shown by pytest where a test fails, with the seconds that recoveries took."""
    sys.stdout.write(f"{text}\n")


def test_each_was_killed_equally_often_and_mostly_at_work(done: Campaign) -> None:
    counts = Counter(kill.boundary for kill in done.kills)
    assert len(set(counts.values())) == 1
    assert sum(kill.is_amid for kill in done.kills) >= len(done.kills) // 2


def test_every_kill_was_made_good(done: Campaign) -> None:
    assert [kill.boundary for kill in done.kills if kill.recovered_at is None] == []


def test_what_producers_landed_is_in_the_tables_once_and_every_table_is_that_of_a_clean_run(done: Campaign) -> None:
    assert done.wrong == []
    assert done.closed >= 2  # on a busy machine kills follow one another faster than slices
    assert sum(map(len, done.tables.values())) > 1_000
