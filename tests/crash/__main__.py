"""``python -m tests.crash --kills 200 [--seed 1]``: exit code 1 on any difference, with the place kept."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.campaign import campaign
from tests.crash.killer import BOUNDARIES
from tests.crash.processes import kill_all
from tests.crash.recovery import table
from tests.orchestration.place import TinyShop, prepare

AT_ONCE = 0.6
SETTLE_SECONDS = 4000.0  # a slice that was killed four times is tried again after an hour


def say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stdout.flush()


def crash(shop: TinyShop, kills: int, seed: int) -> list[str]:
    """The whole crash run on a prepared place; every difference found, in words."""
    done = campaign(shop, BOUNDARIES, kills=kills, at_once=AT_ONCE, seed=seed, settle_seconds=SETTLE_SECONDS, say=say)
    sys.stdout.write(f"\n{table(done.kills, BOUNDARIES)}\n\n")
    seconds = [kill.seconds for kill in done.kills if kill.seconds is not None]
    say(
        f"{len(done.kills)} kills, {sum(kill.is_amid for kill in done.kills)} amid work, "
        f"recovery median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"
    )
    account = done.account
    say(
        f"{done.closed} slices, {account.events} events, {account.lines} lines; files "
        + ", ".join(f"{number} {kind}" for kind, number in account.files.items())
        + f"; {len(done.tables)} tables compared; a reader saw {done.versions} versions"
    )
    return done.wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="customer360-crash-"))
    say(f"{arguments.kills} kills with seed {arguments.seed} in {root}; preparing the shop")
    shop = prepare(root)
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
