"""What was killed, and how long it took until it was made good."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from customer360.lake.slices import slice_key, slice_start
from tests.orchestration.place import RANGE_END, RANGE_START, TinyShop


@dataclass
class Kill:
    """One SIGKILL, or one to every process. ``runs`` died, with their ``slices``; times in seconds of the epoch."""

    boundary: str
    at: float
    is_amid: bool
    runs: frozenset[str] = frozenset()
    slices: frozenset[str] = frozenset()
    recovered_at: float | None = None
    is_disturbed: bool = False

    @property
    def seconds(self) -> float | None:
        """From the kill to the end of the run that made it good; None before, and where the run had ended well already."""
        return self.recovered_at - self.at if self.recovered_at is not None and self.recovered_at > self.at else None

    def look(self, shop: TinyShop, instance: dg.DagsterInstance) -> bool:
        """Whether it is made good: runs that succeeded since hold the slices of the dead runs, or any slice where none died.

        A run that was merely queued, or had just ended, is one of those that make good.
        """
        if self.recovered_at is not None:
            return True
        missing = set(self.slices)
        succeeded = dg.RunsFilter(job_name="slice_job", statuses=[dg.DagsterRunStatus.SUCCESS])
        records = instance.get_run_records(succeeded, limit=50)
        for record in sorted(records, key=lambda record: record.end_time or 0.0):
            if record.dagster_run.run_id in self.runs or (record.start_time or 0.0) > self.at:
                missing -= slices_of(record.dagster_run, shop)
                if not missing:
                    self.recovered_at = record.end_time
                    return True
        return False


def slices_of(run: dg.DagsterRun, shop: TinyShop) -> frozenset[str]:
    """Keys of the slices of a run."""
    first = run.tags.get(RANGE_START) or run.tags["dagster/partition"]
    last = run.tags.get(RANGE_END) or first
    width = shop.settings.shop.slice_width
    count = (slice_start(last) - slice_start(first)) // width + 1
    return frozenset(slice_key(slice_start(first) + number * width) for number in range(count))


def table(kills: Iterable[Kill], boundaries: Iterable[str]) -> str:
    """Per boundary: kills, how many were in the midst of it, and seconds to recovery: of those alone, and of those overlapped.

    A kill is alone when every earlier one was made good before it, and no later one came until it was itself.
    """
    lines = [
        "                           alone: recovery s   overlapped: recovery s",
        "boundary      kills  amid  count median longest    count median longest",
    ]
    by_boundary = {name: [kill for kill in kills if kill.boundary == name] for name in boundaries}
    for name, these in by_boundary.items():
        alone, overlapped = (_times(kill for kill in these if kill.is_disturbed is disturbed) for disturbed in (False, True))
        lines.append(f"{name:12} {len(these):6} {sum(kill.is_amid for kill in these):5}  {alone}  {overlapped}".rstrip())
    return "\n".join(lines)


def _times(kills: Iterable[Kill]) -> str:
    seconds = [kill.seconds for kill in kills if kill.seconds is not None]
    return (
        f"{len(seconds):5} {statistics.median(seconds):6.1f} {max(seconds):7.1f}  " if seconds else f"{0:5} {'-':>6} {'-':>7}  "
    )
