"""A campaign of kills against a served shop while producers go on, and the verdict on what it left."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from customer360.lake.publishing.version import current_publication
from customer360.settings import REPOSITORY
from tests.crash.daemon_log import DaemonLog
from tests.crash.killer import Killer
from tests.crash.processes import Served, kill_all
from tests.crash.producer import Account, Producer
from tests.crash.recovery import Kill
from tests.crash.verdict import EVENTS, account_differences, clean_tables, table_differences, unpublished
from tests.orchestration.place import Tables, TinyShop, wait_until
from tests.orchestration.reader import Reader

# These run by the wall clock and change tables that no slice does: the plan of a day, and the champion.
NOT_BY_SLICES = ("daily_schedule", "training_schedule")
SLICES_DONE = "select count(*) from slice_log where source = 'clicks' and is_transformed"


@dataclass
class Campaign:
    """What happened: kills, what was landed and closed, versions that a reader saw, tables at the end, differences in words."""

    kills: list[Kill]
    account: Account
    closed: int
    versions: int
    tables: Tables
    wrong: list[str]


def campaign(
    shop: TinyShop,
    boundaries: Sequence[str],
    *,
    kills: int,
    at_once: float,
    seed: int,
    settle_seconds: float,
    say: Callable[[str], None],
) -> Campaign:
    """``kills`` at these boundaries in turn on a prepared place, then the comparison with a clean run of the same files.

    A share of ``at_once`` of the kills does not wait until the one before is made good.
    """
    _stop_schedules(shop)
    events_before = shop.published(EVENTS)[0][0]
    served = Served(shop)
    producer = Producer(shop, seed, lambda: int(shop.published(SLICES_DONE)[0][0]))
    reader = Reader(shop.data, every=0.5)
    instance = shop.instance()
    served.start()
    try:
        producer.start()
        reader.start()
        killer = Killer(shop, instance, served, DaemonLog(served.log), random.Random(seed), at_once)
        for number, boundary in enumerate(killer.in_turn(boundaries, kills), 1):
            struck = killer.strike(boundary)
            killer.recover(struck)
            say(f"kill {number} of {kills}: {_told(struck, shop, producer)}")
            if producer.error is not None:
                raise producer.error
        closed = producer.finish()
        say(f"no more kills; waiting until all {closed} closed slices are published")
        for struck in killer.kills:
            killer.wait_for(struck)

        def is_settled() -> bool:
            served.watch()
            return not unpublished(shop, closed)

        wait_until(is_settled, settle_seconds, "every closed slice is published as it is landed", every=1)
    finally:
        producer.stopped.set()
        reader.stopped.set()
        reader.join(timeout=60)
        ended_well = served.stop()
        kill_all(shop)
        instance.dispose()
    say("settled; the same files in a clean run")
    wrong = [*account_differences(shop, producer.account, events_before)]
    wrong += [f"a reader saw: {what}" for what in reader.wrong]
    wrong += [f"nobody had killed it, but {what}" for what in served.ended_by_themselves()]
    if not ended_well:
        wrong.append("the services did not end in good order")
    tables = shop.tables()
    wrong += table_differences(tables, clean_tables(shop, closed))
    return Campaign(killer.kills, producer.account, closed, len(reader.versions), tables, wrong)


def _stop_schedules(shop: TinyShop) -> None:
    """Stop what runs by the wall clock."""
    dagster = Path(sys.executable).with_name("dagster")
    for name in NOT_BY_SLICES:
        command = [str(dagster), "schedule", "stop", name, "-w", "workspace.yaml"]
        subprocess.run(command, cwd=REPOSITORY, env=shop.environment, check=True, capture_output=True)


def _told(struck: Kill, shop: TinyShop, producer: Producer) -> str:
    version = current_publication(shop.settings.place)
    recovered = f"recovered after {struck.seconds:.1f} s" if struck.seconds else "the run had ended"
    if struck.recovered_at is None:
        recovered = "the next one follows at once"
    return (
        f"{struck.boundary}{'' if struck.is_amid else ' (between two)'}, {recovered}; {producer.landed} slices landed, "
        f"version {version.version if version else 0}"
    )
