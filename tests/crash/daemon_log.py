"""What goes on at this moment, by what the daemon and its runs print: steps of runs, and looks of the sensor."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.orchestration.place import wait_until

STEP = re.compile(
    r" - slice_job - (?P<run_id>[0-9a-f-]{36}) - (?P<pid>\d+) - (?P<step>\w+) - STEP_(?P<what>START|SUCCESS|FAILURE) "
)
LASTED = re.compile(r"Finished execution of step .* in (?P<number>[\d.]+)(?P<unit>ms|s)\.")
LOOK_BEGINS = "Checking for new runs for sensor: click_slices"
LOOK_ENDS = re.compile(r"(Sensor|returned for|launch of run \S+ for|error for sensor) click_slices")


@dataclass(frozen=True)
class Step:
    """A step of a run that has begun; ``pid`` is the run's process."""

    run_id: str
    pid: int
    name: str


@dataclass
class DaemonLog:
    """Follows the log.

    ``running`` holds the steps under way with the monotonic time at which they were seen to begin, ``lasted`` the seconds that
    the last one of a name took.
    """

    path: Path
    running: dict[Step, float] = field(default_factory=dict)
    lasted: dict[str, float] = field(default_factory=dict)
    looks_begun: int = 0
    is_looking: bool = False
    _offset: int = 0
    _rest: bytes = b""

    def read(self) -> None:
        """Take in what was printed since the last time."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace"))

    def _take(self, line: str) -> None:
        if match := STEP.search(line):
            step = Step(match["run_id"], int(match["pid"]), match["step"])
            if match["what"] == "START":
                self.running[step] = time.monotonic()
            else:
                self.running.pop(step, None)
                if lasted := LASTED.search(line):
                    self.lasted[step.name] = float(lasted["number"]) / (1000 if lasted["unit"] == "ms" else 1)
        elif LOOK_BEGINS in line:
            self.looks_begun, self.is_looking = self.looks_begun + 1, True
        elif LOOK_ENDS.search(line):
            self.is_looking = False

    def forget(self, pid: int | None = None) -> None:
        """Steps of a process that was killed never end; of all processes without ``pid``."""
        self.running = {step: at for step, at in self.running.items() if pid is not None and step.pid != pid}

    def next_step(self, name: str, seconds: float) -> Step:
        """Wait for the next step of this name to begin."""
        self.read()
        before = set(self.running)

        def begun() -> Step | None:
            self.read()
            return next((step for step in self.running if step.name == name and step not in before), None)

        found: Step = wait_until(begun, seconds, f"a step {name} begins")
        return found

    def next_look(self, seconds: float) -> None:
        """Wait for the sensor to begin its next look."""
        self.read()
        before = self.looks_begun

        def begun() -> bool:
            self.read()
            return self.looks_begun > before

        wait_until(begun, seconds, "the sensor looks")
