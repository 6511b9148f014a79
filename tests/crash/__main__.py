"""``python -m tests.crash --kills 200 [--seed 1]``: exit code 1 on any difference, with the place kept."""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from customer360.lake.publishing import current_publication
from customer360.settings import REPOSITORY
from tests.crash.daemon_log import DaemonLog
from tests.crash.killer import BOUNDARIES, Killer
from tests.crash.processes import Daemon, kill_all
from tests.crash.producer import Producer
from tests.crash.recovery import table
from tests.crash.verdict import EVENTS, account_differences, clean_tables, table_differences, unpublished
from tests.orchestration.place import TinyShop, prepare, wait_until
from tests.orchestration.reader import Reader

SETTLE_SECONDS = 3600.0  # a slice that was killed four times is tried again after an hour
# These run by the wall clock and change tables that no slice does: the plan of a day, and the champion.
NOT_BY_SLICES = ("daily_schedule", "training_schedule")
SLICES_DONE = "select count(*) from slice_log where source = 'clicks' and is_transformed"


def say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stdout.flush()


def stop_schedules(shop: TinyShop) -> None:
    """Stop what runs by the wall clock."""
    dagster = Path(sys.executable).with_name("dagster")
    for name in NOT_BY_SLICES:
        command = [str(dagster), "schedule", "stop", name, "-w", "workspace.yaml"]
        subprocess.run(command, cwd=REPOSITORY, env=shop.environment, check=True, capture_output=True)


def crash(shop: TinyShop, kills: int, seed: int) -> list[str]:
    """The whole crash run on a prepared place; every difference found, in words."""
    stop_schedules(shop)
    events_before = shop.published(EVENTS)[0][0]
    daemon = Daemon(shop, shop.root / "daemon.log")
    producer = Producer(shop, seed, lambda: int(shop.published(SLICES_DONE)[0][0]))
    reader = Reader(shop.data, every=0.5)
    instance = shop.instance()
    daemon.start()
    try:
        producer.start()
        reader.start()
        killer = Killer(shop, instance, daemon, DaemonLog(daemon.log), random.Random(seed))
        for number, boundary in enumerate(killer.boundaries(kills), 1):
            struck = killer.strike(boundary)
            killer.recover(struck)
            version = current_publication(shop.settings.place)
            recovered = f"recovered after {struck.seconds:.1f} s" if struck.seconds else "the run had ended"
            if struck.recovered_at is None:
                recovered = "the next one follows at once"
            say(
                f"kill {number} of {kills}: {boundary}{'' if struck.is_amid else ' (between two)'}, "
                f"{recovered}; {producer.landed} slices landed, "
                f"version {version.version if version else 0}"
            )
            if producer.error is not None:
                raise producer.error
        closed = producer.finish()
        say(f"no more kills; waiting until all {closed} closed slices are published")
        for struck in killer.kills:
            killer.wait_for(struck)

        def is_settled() -> bool:
            daemon.watch()
            return not unpublished(shop, closed)

        wait_until(is_settled, SETTLE_SECONDS, "every closed slice is published as it is landed", every=2)
    finally:
        producer.stopped.set()
        reader.stopped.set()
        reader.join(timeout=30)
        daemon.stop()
        instance.dispose()
    say("settled; the same files in a clean run")
    account = producer.account
    wrong = [*account_differences(shop, account, events_before)]
    wrong += [f"a reader saw: {what}" for what in reader.wrong]
    found = shop.tables()
    wrong += table_differences(found, clean_tables(shop, closed))
    if daemon.ended_by_itself:
        wrong.append(f"the daemon ended {daemon.ended_by_itself} times though nobody had killed it")
    sys.stdout.write(f"\n{table(killer.kills, BOUNDARIES)}\n\n")
    seconds = [kill.seconds for kill in killer.kills if kill.seconds is not None]
    say(
        f"{len(killer.kills)} kills, {sum(kill.is_amid for kill in killer.kills)} amid work, "
        f"recovery median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"
    )
    say(
        f"{closed} slices, {account.events} events, {account.lines} lines; files "
        + ", ".join(f"{number} {kind}" for kind, number in account.files.items())
        + f"; {len(found)} tables compared; a reader saw {len(reader.versions)} versions"
    )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="customer360-crash-"))
    say(f"{arguments.kills} kills with seed {arguments.seed} in {root}; preparing the shop")
    shop = prepare(root)
    shop.close()  # from here on every process of the shop is the daemon's; the clean run starts another server
    try:
        wrong = crash(shop, arguments.kills, arguments.seed)
    except BaseException:
        say(f"broken off; the place is kept: {root}")
        raise
    finally:
        shop.close()
        kill_all(shop)
    if wrong:
        say(f"{len(wrong)} DIFFERENCES; the place is kept: {root}")
        sys.stdout.write("\n".join(wrong) + "\n")
        return 1
    say("0 lost, 0 doubled, every table equals the clean run's, readers saw whole versions only")
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
