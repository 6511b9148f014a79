"""The sensor on a real landing folder, with the steps of Dagster's daemon and of the runs."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import JobFailureData, RunFailureReason

from customer360.lake.engine import connect
from customer360.lake.landing.listing import list_slice, slice_folders
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.publishing.publishing import publish
from customer360.lake.slices import naive, slice_folder, slice_key, slice_start
from customer360.settings import REPOSITORY, Settings
from orchestration.resources import Platform
from sensors.click_slices import RANGE_END, RANGE_START, RUN_KEY, click_slices
from sensors.run_failure import PARTITION

SYNTHETIC = REPOSITORY / "shops" / "synthetic" / "shop.yaml"
START = datetime(2026, 4, 30, 16, tzinfo=UTC)
SLICE = timedelta(minutes=15)
CRASHES = ("nothing saved", "cursor saved, no run launched", "one run launched, cursor not saved", "launched, cursor not saved")


class PlatformAt(Platform):
    """A platform whose clock stands where the test put it."""

    moment: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.moment)


@dataclass
class Bench:
    """A landing folder, the sensor's cursor, a Dagster instance with its runs, and the published log of what is done."""

    folder: Path
    instance: dg.DagsterInstance
    live: bool = False
    now: datetime = START
    cursor: str | None = None
    done: dict[str, str] = field(default_factory=dict)
    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: dict[str, tuple[dg.DagsterRun, dg.RunRequest]] = field(default_factory=dict)
    skip_reason: str | None = None

    def __post_init__(self) -> None:
        shop = {**yaml.safe_load(SYNTHETIC.read_text(encoding="utf-8")), "live": self.live}
        (self.folder / "shop").mkdir()
        (self.folder / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")

    @cached_property
    def settings(self) -> Settings:
        return Settings.load(self.folder / "shop", self.folder / "data")

    def at(self, number: int) -> datetime:
        """Start of a slice; the shop's first has number 0."""
        return START + number * SLICE

    def key(self, number: int) -> str:
        return slice_key(self.at(number))

    def land(self, number: int, name: str = "web-1.jsonl", text: str = "{}\n") -> Path:
        """Write a file as producers do: under another name, then renamed."""
        folder = slice_folder(self.settings.place.landing / "clicks", self.at(number))
        folder.mkdir(parents=True, exist_ok=True)
        hidden = folder / f".{name}"
        hidden.write_text(text, encoding="utf-8")
        return hidden.replace(folder / name)

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def platform(self) -> PlatformAt:
        """What the sensors are given as their platform, with the bench's clock."""
        return PlatformAt(
            shop_folder=str(self.folder / "shop"), data_dir=str(self.folder / "data"), moment=self.now.isoformat()
        )

    def tick(self, crash: str | None = None) -> list[dg.RunRequest]:
        """Evaluate the sensor and do what the daemon does then, up to a crash. Returns the requests that became runs."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = click_slices(context, platform=self.platform())
        assert isinstance(result, dg.SensorResult)
        self.skip_reason = str(result.skip_reason)
        requests = list(result.run_requests or [])
        if crash == "nothing saved":
            return []
        if crash == "cursor saved, no run launched":
            self.cursor = result.cursor
            return []
        stop = 1 if crash == "one run launched, cursor not saved" else len(requests)
        launched = [request for request in requests[:stop] if self._launch(request)]
        if crash is None:
            self.cursor = result.cursor
        return launched

    def _launch(self, request: dg.RunRequest) -> bool:
        """A run for this request, unless its run key has been used."""
        run_key = request.run_key
        assert run_key is not None
        if self.instance.get_runs(dg.RunsFilter(tags={RUN_KEY: run_key}), limit=1):
            return False
        run = dg.DagsterRun(
            job_name="slice_job",
            run_id=str(uuid.uuid4()),
            status=dg.DagsterRunStatus.STARTED,
            tags={**request.tags, RUN_KEY: run_key} | ({PARTITION: request.partition_key} if request.partition_key else {}),
        )
        self.instance.add_run(run)
        self.runs[run_key] = (run, request)
        return True

    def slices(self, request: dg.RunRequest) -> list[str]:
        """Keys that a request asks for."""
        if request.partition_key is not None:
            return [request.partition_key]
        first, last = slice_start(request.tags[RANGE_START]), slice_start(request.tags[RANGE_END])
        return [slice_key(first + n * SLICE) for n in range((last - first) // SLICE + 1)]

    def read(self, request: dg.RunRequest) -> dict[str, str]:
        """What a run of this request sees in landing now."""
        landing = self.settings.place.landing
        return {key: list_slice(landing, slice_start(key)).fingerprint for key in self.slices(request)}

    def succeed(self, request: dg.RunRequest, seen: dict[str, str] | None = None) -> None:
        """The run ends well: the slices are published as they were ``seen`` (by default as they are now)."""
        seen = self.read(request) if seen is None else seen
        self.done.update(seen)
        self.made.update(seen.items())
        with connect(self.folder) as connection:
            connection.execute(
                "create table log as select unnest(?::timestamp[]) as slice, 'clicks' as source, "
                "unnest(?::varchar[]) as raw_fingerprint, true as is_transformed",
                [[naive(slice_start(key)) for key in self.done], list(self.done.values())],
            )
            publish(self.settings.place, connection, {"slice_log": "from log"}, None, self.now)
        self._end(request, dg.DagsterEventType.RUN_SUCCESS)

    def fail(self, request: dg.RunRequest) -> None:
        """The run says itself that a step failed."""
        reason = JobFailureData(error=None, failure_reason=RunFailureReason.STEP_FAILURE)
        self._end(request, dg.DagsterEventType.RUN_FAILURE, reason)

    def kill(self, request: dg.RunRequest) -> None:
        """The run's process is gone, and run monitoring has found out."""
        run, _ = self.runs.pop(str(request.run_key))
        self.instance.report_run_failed(run, "process 1 of the run is gone")

    def _end(self, request: dg.RunRequest, how: dg.DagsterEventType, data: JobFailureData | None = None) -> None:
        run, _ = self.runs.pop(str(request.run_key))
        event = dg.DagsterEvent(event_type_value=how.value, job_name="slice_job", message="ended", event_specific_data=data)
        self.instance.report_dagster_event(event, run.run_id)

    def under_way(self) -> list[dg.RunRequest]:
        return [request for _, request in self.runs.values()]

    def closed(self) -> list[datetime]:
        """Every slice from the first with a folder to the last closed one, by the definition."""
        starts = [start for start, _ in slice_folders(self.settings.place.landing) if start >= START]
        last = last_closed_slice(self.settings, self.now)
        if not starts or last is None:
            return []
        return [starts[0] + n * SLICE for n in range((last - starts[0]) // SLICE + 1)]

    def settle(self) -> None:
        """Tick and let every run succeed until nothing is asked for any more."""
        for _ in range(60):
            for request in self.under_way():
                self.succeed(request)
            if not self.tick() and not self.runs and "under way" not in str(self.skip_reason):
                return
            self.wait(minutes=6)
        pytest.fail(f"never comes to rest: {self.skip_reason}")

    def is_whole(self) -> bool:
        """Every closed slice is done with the files that it has now."""
        landing = self.settings.place.landing
        return all(self.done.get(slice_key(start)) == list_slice(landing, start).fingerprint for start in self.closed())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def replay(tmp_path: Path, instance: dg.DagsterInstance) -> Bench:
    """A replayed shop: a slice is closed when a later one has files."""
    return Bench(tmp_path, instance)


@pytest.fixture
def live(tmp_path: Path, instance: dg.DagsterInstance) -> Bench:
    """A live shop: a slice is closed at its end plus two minutes."""
    return Bench(tmp_path, instance, live=True)


def age_folder(bench: Bench, number: int, by: timedelta) -> None:
    """Let a slice folder look as if it had last changed that long ago."""
    folder = slice_folder(bench.settings.place.landing / "clicks", bench.at(number))
    moment = folder.stat().st_mtime - by.total_seconds()
    os.utime(folder, (moment, moment))


def names(requests: list[dg.RunRequest]) -> list[Any]:
    """Requests as slice keys, or (first, last) of a range."""
    return [request.partition_key or (request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]


__all__ = ["CRASHES", "SLICE", "START", "Bench", "PlatformAt", "age_folder", "names"]
