"""``make demo``: a shop's history and live slices through the real jobs, then a short report of the results."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from customer360.adapters.source import SourceError, require_files
from customer360.settings import REPOSITORY, Settings, SettingsError

SINGLE_SLICES = 4
HOLDS_DATA = ("landing", "raw", "warehouse.duckdb", "models", "plans", "published")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def say(text: str = "") -> None:
    """Print a line to the terminal, also while stdout is redirected."""
    sys.__stdout__.write(text + "\n")  # type: ignore[union-attr]  # a console program has a standard output
    sys.__stdout__.flush()  # type: ignore[union-attr]  # likewise


class Stages:
    """Prints the stages and keeps the duration of each, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Print the begin of a stage and, with its duration, its end."""
        say(f"-> {name}")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        say(f"   done in {self.seconds[name]:.1f} s")


def main() -> None:
    """Run the demo for the shop of this environment. Ends with exit code 1 and a clear line when a stage fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, help="folder of the shop's published files, where it needs some")
    options = parser.parse_args()
    stages = Stages()
    try:
        settings = Settings.from_environment()
        write_landing = _landing_writer(settings, options.source)
        _require_empty(settings)
        say(f"{settings.shop.title}: data in {settings.place.root}")
        with stages.stage("making the shop's files"):
            written = write_landing()
            say("   " + ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in written.items()))
    except (SettingsError, SourceError) as error:
        sys.exit(str(error))
    with stages.stage("starting Dagster and reading the dbt project"):
        runner = Runner(settings)
    with stages.stage("loading the history and transforming it"):
        runner.run("history_job", partition=runner.history_key)
    with stages.stage("training the models"):
        runner.run("training_job")
    for keys in runner.live_slices():
        with stages.stage(f"slice {keys[0]}" if len(keys) == 1 else f"slices {keys[0]} to {keys[-1]}, in one run"):
            runner.run_slices(keys)
    with stages.stage("planning campaigns and looking for drift"):
        runner.run("daily_job", partition=runner.today())
    from orchestration.demo_report import report

    say(report(Settings.from_environment(), stages.seconds))


def _require_empty(settings: Settings) -> None:
    """Empty the place of an earlier demo. Raises ``SettingsError`` where the place holds data that no demo made."""
    root = settings.place.root
    marker = root / "demo"
    if marker.exists():
        shutil.rmtree(root)
    elif any((root / name).exists() for name in HOLDS_DATA):
        raise SettingsError(f"{root} holds data that no demo made; name another place with DATA_DIR=...")
    root.mkdir(parents=True, exist_ok=True)
    marker.write_text(settings.shop.name + "\n", encoding="utf-8")


def _landing_writer(settings: Settings, source: Path | None) -> Callable[[], Mapping[str, int]]:
    """The function that fills landing: the shop's adapter, with the folder of its ``SOURCE_FILES`` where it has any."""
    shop = settings.shop
    if shop.adapter is None:
        raise SettingsError(f"{settings.shop_folder}/shop.yaml names no adapter, so there is nothing that could fill landing/")
    if shop.landing_url:
        raise SettingsError(f"{settings.shop_folder}/shop.yaml has landing in {shop.landing_url}; a demo lands in a folder")
    adapter = importlib.import_module(f"customer360.adapters.{shop.adapter}")
    needed = getattr(adapter, "SOURCE_FILES", ())
    if not needed:
        if source is not None:
            raise SettingsError(f"SHOP={shop.name} brings its own data and reads nothing from {source}; leave FROM away")
        return partial(adapter.write_landing, shop, settings.place)
    if source is None:
        raise SettingsError(
            f"SHOP={shop.name} is made of published files: make demo SHOP={shop.name} FROM=<the folder of {', '.join(needed)}>"
        )
    require_files(source, needed)
    return partial(adapter.write_landing, shop, settings.place, source)


class Runner:
    """Runs the product's jobs in this process, against the same Dagster home that ``make ui`` serves."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        home = Path(os.environ.setdefault("DAGSTER_HOME", str(settings.place.root / "dagster")))
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", home / "dagster.yaml")
        self.log = settings.place.root / "demo.log"
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with self._quietly():
            import dagster as dg

            from orchestration.definitions import defs
            from orchestration.partitions import HISTORY_KEY, day_key

            self.instance = dg.DagsterInstance.get()
        self.defs, self.history_key, self._day_key = defs, HISTORY_KEY, day_key

    def run(self, job: str, partition: str | None = None, tags: Mapping[str, str] | None = None) -> None:
        """Run a job to its end, showing its steps. Ends the program when it fails, with the error and where the log is."""
        run_id = _new_run_id()
        with self._quietly(), self._showing_steps(run_id):
            result = self.defs.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                partition_key=partition,
                run_id=run_id,
                tags=dict(tags or {}),
                run_config=QUIET,
                raise_on_error=False,
            )
        if not result.success:
            failures = [str(event.message) for event in result.all_events if event.is_step_failure or event.is_run_failure]
            sys.exit(f"{job} failed: {' '.join(failures)[:2000]}\nThe log is {self.log}; `make ui` shows the run.")

    def run_slices(self, keys: list[str]) -> None:
        """Run one slice, or a range of slices in one run, as the sensor requests them."""
        if len(keys) == 1:
            self.run("slice_job", partition=keys[0])
        else:
            first_and_last = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
            self.run("slice_job", tags=first_and_last)

    def live_slices(self) -> list[list[str]]:
        """Closed slices to run: the last four one by one, those before them in ranges of at most a day."""
        from customer360.lake.operations.clock import last_closed_slice
        from customer360.lake.operations.slice_requests import MAX_RANGE
        from customer360.lake.slices import slice_key

        shop = self.settings.shop
        last = last_closed_slice(self.settings, datetime.now(UTC))
        start, keys = shop.slices_start, []
        while last is not None and start <= last:
            keys.append(slice_key(start))
            start += shop.slice_width
        early, single = keys[:-SINGLE_SLICES], keys[-SINGLE_SLICES:]
        return [early[n : n + MAX_RANGE] for n in range(0, len(early), MAX_RANGE)] + [[key] for key in single]

    def today(self) -> str:
        """The shop-local day of what is published."""
        from customer360.lake.publishing.version import current_publication

        publication = current_publication(self.settings.place)
        if publication is None or publication.as_of is None:
            sys.exit("nothing was published")
        return str(self._day_key(self.settings.shop, publication.as_of))

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Redirect stdout and stderr to the log."""
        with self.log.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield

    @contextlib.contextmanager
    def _showing_steps(self, run_id: str) -> Iterator[None]:
        """Print each step when it begins."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(run_id, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, run_id: str, ended: threading.Event) -> None:
        import dagster as dg

        shown = 0
        while not ended.wait(0.5):
            started = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
            for entry in started[shown:]:
                say(f"   {entry.step_key}")
            shown = len(started)


def _new_run_id() -> str:
    import uuid

    return str(uuid.uuid4())


if __name__ == "__main__":
    main()
