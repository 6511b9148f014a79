"""SIGKILL at a random moment of one boundary after the other."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dagster as dg

from tests.crash.daemon_log import DaemonLog
from tests.crash.processes import Served, belongs_to, kill, kill_all
from tests.crash.recovery import Kill, slices_of
from tests.orchestration.place import TinyShop, wait_until

STEPS = {
    "run: raw": "raw__clicks",
    "run: dbt": "warehouse_models",
    "run: scoring": "predictions__customer_scores",
    "run: publish": "publishing__published",
}
BOUNDARIES = ("sensor", *STEPS, "daemon", "whole tree")
LONGEST = {"raw__clicks": 0.5, "warehouse_models": 5.0, "predictions__customer_scores": 0.5, "publishing__published": 1.0}
LOOK_SECONDS = 0.6
LOOKS = 5  # that a kill waits for
SENSOR_INTERVAL = 5.0
BEGIN_SECONDS = 300.0
RECOVERY_SECONDS = 900.0
MAX_ATTEMPT = 2  # a slice that fails four times waits an hour: the third and fourth attempt are left in peace


@dataclass
class Killer:
    """Kills, and notes when what was killed is made good."""

    shop: TinyShop
    instance: dg.DagsterInstance  # opened once: that takes as long as a short step
    served: Served
    log: DaemonLog
    chance: random.Random
    at_once: float  # so often the next kill does not wait until this one is made good
    kills: list[Kill] = field(default_factory=list)

    def in_turn(self, boundaries: Sequence[str], count: int) -> list[str]:
        """``count`` of these boundaries in random order, each as often as the others but for one."""
        rounds: list[str] = []
        while len(rounds) < count:
            rounds += self.chance.sample(boundaries, len(boundaries))
        return rounds[:count]

    def strike(self, boundary: str) -> Kill:
        """Wait for the boundary and for a random moment in it, and kill."""
        how: dict[str, Callable[[], Kill]] = {"sensor": self._sensor, "daemon": self._daemon, "whole tree": self._tree}
        struck = how[boundary]() if boundary in how else self._run(boundary)
        self.kills.append(struck)
        for earlier in self.kills[:-1]:
            if not earlier.look(self.shop, self.instance):
                earlier.is_disturbed = struck.is_disturbed = True
        return struck

    def recover(self, struck: Kill) -> None:
        """Wait until it is made good; sometimes the next kill comes earlier."""
        if self.chance.random() >= self.at_once:
            self.wait_for(struck)

    def wait_for(self, struck: Kill) -> None:
        wait_until(lambda: self._is_good(struck), RECOVERY_SECONDS, f"{struck.boundary} recovers", every=1)

    def _is_good(self, struck: Kill) -> bool:
        self.served.watch()
        return struck.look(self.shop, self.instance)

    def _run(self, boundary: str) -> Kill:
        """The process of a run, in the midst of a step."""
        name = STEPS[boundary]
        while True:
            step = self.log.next_step(name, BEGIN_SECONDS)
            run = self._working().get(step.run_id)
            if run is not None and attempt(run) <= MAX_ATTEMPT:
                break
        moment = self.log.running[step] + self.chance.uniform(0, self.log.lasted.get(name, LONGEST[name]))
        time.sleep(max(0.0, moment - time.monotonic()))
        is_alive = belongs_to(step.pid, self.shop) and kill(step.pid)
        at = time.time()
        self.log.read()
        is_amid = is_alive and step in self.log.running
        self.log.forget(step.pid)
        return Kill(boundary, at, is_amid, frozenset({run.run_id}), slices_of(run, self.shop))

    def _sensor(self) -> Kill:
        """The code server, while it evaluates the sensor."""
        is_amid = self._after_a_look(LOOK_SECONDS, self._is_looking)
        self._kill(self.served.code_servers)
        return Kill("sensor", time.time(), is_amid)

    def _kill(self, processes: Callable[[], list[int]]) -> None:
        """Kill the process of a service, as soon as there is one."""
        for pid in wait_until(processes, BEGIN_SECONDS, "the service is there", 0.1):
            kill(pid)

    def _is_looking(self) -> bool:
        self.log.read()
        return self.log.is_looking

    def _daemon(self) -> Kill:
        """The daemon alone: every other time while the sensor's requests become runs, else at any moment."""
        self._any_moment()
        is_amid = self._is_looking() or bool(self._working())
        self._kill(self.served.daemons)
        at = time.time()
        self.log.is_looking = False
        return Kill("daemon", at, is_amid)

    def _tree(self) -> Kill:
        """The daemon, its code server, the template and every run at once."""
        self._any_moment()
        wait_until(
            lambda: all(attempt(run) <= MAX_ATTEMPT for run in self._working().values()), BEGIN_SECONDS, "young runs", 0.5
        )
        working = self._working()
        is_amid = self._is_looking() or bool(working)
        at = time.time()
        kill_all(self.shop)
        self.log.forget()
        self.log.is_looking = False
        self.served.restart()
        slices = frozenset[str]().union(*(slices_of(run, self.shop) for run in working.values()))
        return Kill("whole tree", at, is_amid, frozenset(working), slices)

    def _any_moment(self) -> None:
        if self.chance.random() < 0.5:
            self._after_a_look(2 * LOOK_SECONDS, lambda: self._is_looking() or bool(self._working()))
        else:
            time.sleep(self.chance.uniform(0, SENSOR_INTERVAL))

    def _after_a_look(self, longest: float, is_amid: Callable[[], bool]) -> bool:
        """Wait up to ``longest`` seconds from when a look begins, and after further ones until ``is_amid``; the last answer."""
        for _ in range(LOOKS):
            self.log.next_look(BEGIN_SECONDS)
            time.sleep(self.chance.uniform(0, longest))
            if is_amid():
                return True
        return False

    def _working(self) -> dict[str, dg.DagsterRun]:
        runs = self.instance.get_runs(dg.RunsFilter(job_name="slice_job"), limit=50)
        return {run.run_id: run for run in runs if not run.is_finished}


def attempt(run: dg.DagsterRun) -> int:
    """Which attempt at its slices a run is, from 1."""
    return int(run.tags["customer360/attempt"])
