"""What ``customer360 start`` shows while it works: on a terminal one line that is updated, in a pipe a line at intervals.

A percentage and a time left are shown only of what is counted: dbt's models, slices, or the engine's own progress of a query.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from customer360.progress import Watch
from customer360.text import printable

LOOK_SECONDS = 1.0
PIPED_SECONDS = 15.0
LEAST_SHARE, LEAST_UNITS, LEAST_SECONDS = 0.03, 5, 3.0  # before these, an estimate of the time left is a guess


@dataclass
class Display:
    """Writes stages, finished steps and, from a thread of its own, the progress of the step at hand.

    ``seconds``: how long each stage took. ``clock``: monotonic seconds.
    """

    output: TextIO
    clock: Callable[[], float] = time.monotonic
    piped_seconds: float = PIPED_SECONDS
    seconds: dict[str, float] = field(default_factory=dict)
    _above_bar: Callable[[str], None] | None = None  # while a bar is shown, lines are written above it

    def say(self, *lines: str) -> None:
        """Write lines for people; control characters are escaped."""
        for line in (printable(line) for text in lines for line in text.split("\n")):
            if self._above_bar is None:
                self.output.write(f"{line}\n")
            else:
                self._above_bar(line)
        self.output.flush()

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Write the begin of a stage and, with its duration, its end."""
        self.say(f"-> {title}")
        began = self.clock()
        yield
        self.seconds[title] = self.clock() - began
        self.say(f"   done in {self.seconds[title]:.1f} s")

    @contextlib.contextmanager
    def following(self, watch: Watch, look: Callable[[], str]) -> Iterator[None]:
        """Show progress until the block ends. ``look`` writes the steps that have ended and returns the step at hand."""
        ended = threading.Event()
        follow = self._on_terminal if self.output.isatty() else self._in_pipe
        thread = threading.Thread(target=follow, args=(StepProgress(watch, self.clock), look, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            look()

    def _in_pipe(self, progress: StepProgress, look: Callable[[], str], ended: threading.Event) -> None:
        shown_at = self.clock()
        while not ended.wait(LOOK_SECONDS):
            progress.look(look())
            if progress.step and self.clock() - shown_at >= self.piped_seconds:
                shown_at = self.clock()
                self.say(f"   ... {progress.line()}")

    def _on_terminal(self, progress: StepProgress, look: Callable[[], str], ended: threading.Event) -> None:
        from rich.console import Console  # noqa: PLC0415  importing rich takes longer than most commands
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        columns = (BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
        console = Console(file=self.output, highlight=False)
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task("", total=None)
            self._above_bar = lambda line: console.print(line, markup=False, soft_wrap=True)
            while not ended.wait(LOOK_SECONDS):
                progress.look(look())
                share = progress.share
                bar.update(
                    task, description=printable(progress.line()), total=None if share is None else 1.0, completed=share or 0.0
                )
        self._above_bar = None


@dataclass
class StepProgress:
    """The step at hand and the share of it that is done: ``None`` where nothing counts it."""

    watch: Watch
    clock: Callable[[], float]
    step: str = ""
    share: float | None = None
    units: int | None = None
    text: str = ""
    step_began: float = 0.0
    counting_began: float = 0.0

    def look(self, step: str) -> None:
        """Read what is known now."""
        moment = self.clock()
        if step != self.step:
            self.step, self.step_began, self.share, self.watch.reported = step, moment, None, None
        reported = self.watch.reported
        share, units, text = None, None, ""
        if reported is not None and reported.total:
            units = reported.done
            share = reported.done / reported.total
            text = f"{reported.done:,} of {reported.total:,} {reported.unit}, {share:.0%}"
            if reported.detail:
                text += f", {reported.detail}"
        elif (percentage := self.watch.query_percentage()) is not None:
            share, text = percentage / 100, f"query at {percentage:.0f}%"
        if share is None or self.share is None or share < self.share:  # another count, or the next query
            self.counting_began = moment
        self.share, self.units, self.text = share, units, text

    def line(self) -> str:
        """The step, what is done of it, how long it has taken, and the time left where that can be told."""
        seconds = self.clock() - self.step_began
        parts = [self.step, self.text, _minutes(seconds), self.time_left()]
        return "  ".join(part for part in parts if part)

    def time_left(self) -> str:
        """By what is done since the counting began: all units are taken to last as long as those so far."""
        seconds = self.clock() - self.counting_began
        is_early = seconds < LEAST_SECONDS or (self.units is not None and self.units < LEAST_UNITS)
        if self.share is None or self.share < LEAST_SHARE or self.share >= 1 or is_early:
            return ""
        return f"about {_minutes(seconds * (1 - self.share) / self.share)} left"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
