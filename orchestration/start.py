"""``customer360 start``: from a shop's files to a first plan, by the jobs that the daemon runs later.

Stages: check, load (history_job), train (training_job), the waiting slices (slice_job), the nightly tables where slices brought
lines (warehouse_job), scores where no slice made them, plan (daily_job). A shop without a past, whose files are all of slices,
is loaded by slice_job and warehouse_job. A stage that succeeded with the inputs that it has now is not run again; one that was
interrupted is run again, and its job goes on from what the warehouse holds. A file, table or model that fails is named, and the
others go on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from customer360.errors import OperatorError
from customer360.lake.checking.check import check
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.landing.location import find_landing
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.operations.slice_health import done_slices
from customer360.lake.operations.slice_requests import Cursor, Inputs, Request, decide
from customer360.lake.operations.status import read_holders
from customer360.lake.publishing.version import current_publication, open_version
from customer360.lake.slices import slice_key, slice_start
from customer360.lake.warehouse.slice_log import code_fingerprint
from customer360.settings import Settings
from customer360.text import many
from orchestration.job_runs import JobRun, JobRunner, Stage
from orchestration.progress_display import Display
from orchestration.runtime.services import alone
from orchestration.start_report import Outcome, report_lines

LOG = "start.log"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
ISOLATE_TAG = "customer360/isolate"
SERVED = (
    *("predictions/customer_scores", "predictions/customer_value", "publishing/customer_profiles", "publishing/published"),
)
LOAD, TRAIN, SLICES, NIGHT, SCORES, PLAN = "load", "train", "slices", "night", "scores", "plan"


class CannotStartError(OperatorError, RuntimeError):
    """Nothing was changed: the message says what is in the way and what to do."""


@dataclass
class Start:
    """A start of a place. ``now``: wall clock, UTC. ``single_slices``: the last waiting slices that get a run each."""

    settings: Settings
    runner: JobRunner
    display: Display
    now: datetime
    single_slices: int = 0
    outcome: Outcome = field(default_factory=Outcome)

    def run(self, has_check: bool = True) -> Outcome:
        """Run every stage that is due. Where the files cannot be loaded at all, none follows."""
        self.runner.end_dead_runs()
        loaded = landed_version(self.settings)
        if self._load(loaded, has_check):
            self._train(loaded)
            self._run_slices(loaded)
            self._renew_nightly_tables(loaded)
            self._score(loaded)
            self._plan(loaded)
        return self.outcome

    @property
    def champions(self) -> str:
        """The versions that serve, by model."""
        files = sorted(self.settings.place.models.glob("*/champion"))
        return " ".join(f"{file.parent.name}={file.read_text(encoding='utf-8').strip()}" for file in files)

    @property
    def history_key(self) -> str:
        """The partition that stands for the history."""
        return slice_key(self.settings.shop.slices_start - self.settings.shop.slice_width)

    def _load(self, loaded: str, has_check: bool) -> bool:
        stage, publication = Stage(LOAD, loaded), current_publication(self.settings.place)
        if publication is not None and publication.as_of is not None and self.runner.is_done(stage):
            self.display.say("load   is done with these files")
            return True
        if has_check and not self.settings.shop.landing_url:
            self._check()
        if not has_past(self.settings) and (publication is not None or waiting_slices(self.settings, self.now)):
            return self._load_without_past(loaded)
        with self.display.stage("loading landing/history and landing/reference, and transforming them"):
            run = self.runner.run("history_job", stage, partition=self.history_key)
            if not run.has_succeeded:
                run = self._load_the_others(run, loaded)
            self._note_failures(run, "failed, so nothing could be loaded")
        self.outcome.ran.append(LOAD)
        return run.has_succeeded

    def _load_without_past(self, loaded: str) -> bool:
        """Run the waiting slices, then load the reference tables with all models."""
        self._note("nothing is from before slices_start: models are learned once there are days enough, as said below")
        self._run_slices(loaded)
        return self._renew_nightly_tables(loaded)

    def _load_the_others(self, failed: JobRun, loaded: str) -> JobRun:
        """Load without the tables that failed: they stay as they were, and the other tables are good."""
        names = [step.removeprefix("raw__") for step in failed.failures]
        if not set(names) <= reference_tables(self.settings.shop).keys():
            return failed
        self._note_failures(failed, "was not loaded, and the others were; correct its files and start again")
        without = {self.runner.dg.AssetKey(["raw", name]) for name in names}
        job = self.runner.defs.resolve_job_def("history_job")
        assets = [key for key in job.asset_layer.executable_asset_keys if key not in without]
        stage = Stage(LOAD, f"{loaded} in part")  # the next start tries the tables again
        return self.runner.run("history_job", stage, partition=self.history_key, assets=assets)

    def _check(self) -> None:
        with self.display.stage("checking the files"):
            report = check(self.settings, self.settings.place.landing, self.now, 3)
            lines, bad = sum(file.lines for file in report.files), sum(file.bad for file in report.files)
            self.display.say(f"   {many(len(report.files), 'file')}, {many(lines, 'line')}")
            if not report.is_clean:
                broken = sum(file.is_broken for file in report.files) + len(report.misplaced)
                self._note(
                    f"{many(bad, 'line')} would be set aside and {many(broken, 'file')} cannot be used: "
                    f"customer360 check {self.settings.place.landing} names each with its remedy"
                )

    def _train(self, loaded: str) -> None:
        stage = Stage(TRAIN, loaded)
        if self.runner.is_done(stage):
            self.display.say("train  is done with these files")
            return
        with self.display.stage("training the models"):
            run = self.runner.run("training_job", stage)
            self._note_failures(run, "failed; the other models are as they should be")
        self.outcome.ran.append(TRAIN)

    def _run_slices(self, loaded: str) -> None:
        requests = waiting_slices(self.settings, self.now)
        while requests:
            for keys in self._batches(requests):
                title = f"slice {keys[0]}" if len(keys) == 1 else f"slices {keys[0]} to {keys[-1]}, in one run"
                with self.display.stage(title):
                    run = self._run_batch(keys, loaded)
                    self._note_failures(run, "failed again, so this slice and those after it wait")
                if not run.has_succeeded:
                    return
                self.outcome.ran.append(SLICES)
            # A request that is made again is one whose files somebody goes on writing: it would be run for ever.
            before, requests = requests, waiting_slices(self.settings, self.now)
            requests = [request for request in requests if request not in before]

    def _run_batch(self, keys: Sequence[str], loaded: str) -> JobRun:
        """Run slices; where a file fails, once more with that file set aside, as the daemon does at its last attempt."""
        stage = Stage(SLICES, f"{loaded} {self.champions}")
        partition = keys[0] if len(keys) == 1 else None
        tags = {} if partition else {RANGE_START: keys[0], RANGE_END: keys[-1]}
        run = self.runner.run("slice_job", stage, partition=partition, tags=tags)
        if not run.has_succeeded:
            reasons = "; ".join(run.failures.values())
            self._note(f"slice {keys[0]} failed, and was run again without the file that fails: {reasons}")
            run = self.runner.run("slice_job", stage, partition=partition, tags={**tags, ISOLATE_TAG: "true"})
        return run

    def _batches(self, requests: Sequence[Request]) -> list[list[str]]:
        """The keys of each run; the last ``single_slices`` one by one."""
        width = self.settings.shop.slice_width
        *others, last = [
            [slice_key(slice_start(request.first) + number * width) for number in range(request.slices)] for request in requests
        ]
        early = last[: max(0, len(last) - self.single_slices)]
        return [keys for keys in [*others, early] if keys] + [[key] for key in last[len(early) :]]

    def _renew_nightly_tables(self, loaded: str) -> bool:
        """Bring orders, revenue by day and what else is made nightly up to the slices: plans work from them."""
        from orchestration.partitions import newest_slice  # noqa: PLC0415  as in _plan

        publication = current_publication(self.settings.place)
        if publication is None or publication.as_of is None:
            return False
        with open_version(self.settings.place) as version:
            (slices,) = version.connection.execute(
                "select string_agg(slice || raw_fingerprint, ' ' order by slice) from slice_log "
                "where source = 'clicks' and lines > 0"
            ).fetchone() or (None,)
        stage = Stage(NIGHT, f"{loaded} {slices}")
        if slices is None or self.runner.is_done(stage):
            return True
        with self.display.stage("bringing the nightly tables up to the slices"):
            run = self.runner.run("warehouse_job", stage, partition=newest_slice(publication.as_of))
            self._note_failures(run, "failed, so the tables that are made nightly are as before")
        self.outcome.ran.append(NIGHT)
        return run.has_succeeded

    def _score(self, loaded: str) -> None:
        """Score with the champions where no slice has done so since they were trained."""
        inputs = f"{loaded} {self.champions}"
        if not self.champions or any(self.runner.is_done(Stage(name, inputs)) for name in (SLICES, SCORES)):
            return
        assets = [self.runner.dg.AssetKey(key.split("/")) for key in SERVED]
        with self.display.stage("scoring the customers"):
            run = self.runner.run("history_job", Stage(SCORES, inputs), partition=self.history_key, assets=assets)
            self._note_failures(run, "failed, so the scores are as before")
        self.outcome.ran.append(SCORES)

    def _plan(self, loaded: str) -> None:
        from orchestration.partitions import DAYS, day_key  # noqa: PLC0415  it reads the environment when it is loaded

        shop, publication = self.settings.shop, current_publication(self.settings.place)
        if publication is None or publication.as_of is None:
            return
        day = day_key(shop, publication.as_of)
        if not DAYS.has_partition_key(day):
            self._note(
                f"no plan: what is published ends on {day}, and plans begin with the first closed slice; slices_start in "
                f"shop.yaml is {shop.slices_start:%Y-%m-%d %H:%M} UTC"
            )
            return
        folders = (self.settings.campaign_folder, self.settings.made_campaign_folder)
        campaigns = [file.read_text(encoding="utf-8") for folder in folders for file in sorted(folder.glob("*.yaml"))]
        stage = Stage(PLAN, f"{loaded} {publication.as_of} {self.champions} {campaigns}")
        if self.runner.is_done(stage):
            self.display.say(f"plan   is done for {day}")
            return
        with self.display.stage("planning campaigns and looking for drift"):
            run = self.runner.run("daily_job", stage, partition=day)
            self._note_failures(run, "failed; what else is planned and reported is not touched by that")
        self.outcome.ran.append(PLAN)

    def _note(self, text: str) -> None:
        self.outcome.notes.append(text)
        self.display.say(f"   {text}")

    def _note_failures(self, run: JobRun, consequence: str) -> None:
        for step, reason in run.failures.items():
            self.outcome.failures.append(f"{step.replace('__', '/')} {consequence}: {reason}")
            self.display.say(f"   {self.outcome.failures[-1]}")


def start_place(settings: Settings, display: Display, now: datetime, *, has_check: bool = True, single_slices: int = 0) -> int:
    """Start a place, with its progress and report on ``display``. Returns 0 when all is done, 1 where a stage failed.

    SHOP and DATA_DIR of the environment name the same place. Raises ``CannotStartError`` before anything is changed.
    """
    require_files(settings)
    root = settings.place.root
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(root.absolute() / "dagster")))
    with alone(home, "customer360 start"):
        display.say(f"{settings.shop.title}: data in {root}, debug output in {root / LOG}")
        with display.stage("starting Dagster and reading the dbt project"):
            runner = JobRunner(settings, root / LOG, display)
        start = Start(settings, runner, display, now, single_slices)
        try:
            outcome = start.run(has_check)
        except KeyboardInterrupt:
            display.say("interrupted: customer360 start goes on from here")
            raise
        if not outcome.ran and not outcome.failures:
            display.say("Everything was done before: no file and no setting has changed since.")
        display.say(*report_lines(settings, runner, outcome))
    return 1 if outcome.failures else 0


def require_files(settings: Settings) -> None:
    """Raise ``CannotStartError`` where there is nothing to load, or somebody else holds the warehouse."""
    holder, _ = read_holders(settings.place)
    if holder is not None:
        raise CannotStartError(f"{settings.place.warehouse} is held by {holder.description}: start again when it has ended")
    landing = find_landing(settings)
    has_clicks = any(listing.files for _, listing in landing.slices())
    if has_clicks or settings.shop.reference or any(files for _, files in landed_files(settings)):
        return
    raise CannotStartError(
        f"there is nothing to load in {landing.title}. Put files there:\n"
        "  reference/purchases/   order lines that are no clicks (.csv, .jsonl or .parquet)\n"
        "  reference/products/    product_id and category_id, so that purchases have categories\n"
        "  reference/customers/   customer_id, consents and attributes; without it nobody may be contacted\n"
        "  history/               clicks from before slices_start\n"
        "  clicks/YYYY/MM/DD/HHMM/ clicks by arrival slice\n"
        "`customer360 init NAME FILES...` makes shop.yaml from your files and puts them there; see docs/first-day.md."
    )


def has_past(settings: Settings) -> bool:
    """Whether there may be clicks or purchases from before the first slice."""
    landed = dict(landed_files(settings))
    return "purchases" in settings.shop.reference or bool(landed["history"] or landed["reference/purchases"])


def landed_files(settings: Settings) -> list[tuple[str, str]]:
    """Folder and fingerprint of the history and of each reference table that comes as files; empty where there are none."""
    landing, shop = find_landing(settings), settings.shop
    found = []
    for folder in ("history", *(f"reference/{name}" for name in reference_tables(shop) if name not in shop.reference)):
        with landing.open_folder(folder) as listing:
            found.append((folder, listing.fingerprint if listing.files else ""))
    return found


def landed_version(settings: Settings) -> str:
    """Version of ``landed_files``, of shop.yaml, and of the code that makes slices."""
    text = (settings.shop_folder / "shop.yaml").read_text(encoding="utf-8")
    return hashlib.sha256(f"{landed_files(settings)} {text} {code_fingerprint(settings)}".encode()).hexdigest()


def waiting_slices(settings: Settings, now: datetime) -> list[Request]:
    """The requests that the daemon would make with an empty cursor: closed slices that are not published as they are now."""
    last = last_closed_slice(settings, now)
    landing = find_landing(settings)
    look = landing.look(None, "", last)
    return decide(
        Cursor(scanned=look.scanned),
        Inputs(
            folders=lambda: look.folders(now),
            fingerprint=cache(look.fingerprint),
            done=cache(lambda: done_slices(settings)),
            run_state=lambda _: None,
            last_closed=look.until,
            slices_start=settings.shop.slices_start,
            width=settings.shop.slice_width,
            now=now,
            has_history=current_publication(settings.place) is not None,
        ),
    ).requests
