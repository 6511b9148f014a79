"""Watches the clicks in landing and asks for the slices that are closed and not done."""

from dataclasses import replace
from functools import cache

import dagster as dg

from assets.raw.clicks import ISOLATE_TAG
from customer360.lake.landing.location import find_landing
from customer360.lake.operations.clock import last_closed_slice
from customer360.lake.operations.slice_health import done_slices
from customer360.lake.operations.slice_requests import Cursor, Inputs, Request, RunState, decide
from customer360.lake.publishing.version import current_publication
from customer360.settings import Shop
from orchestration.partitions import END, SHOP
from orchestration.resources import Platform

# The daemon looks round every 5 seconds: with 5 or 15 here, every other time would come too early and be missed.
FOLDER_SECONDS, STORE_SECONDS = 4, 14  # a look at a store takes 3 requests, which are paid for, and .26 CPU s
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
RUN_KEY = "dagster/run_key"
ATTEMPT = "customer360/attempt"
FAILURE_REASON = "dagster/failure_reason"  # noted by the run itself; a killed process notes nothing
WORKING = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.MANAGED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
}


def interval_seconds(shop: Shop) -> int:
    """How long after one look the next may begin."""
    return STORE_SECONDS if shop.landing_url else FOLDER_SECONDS


@dg.sensor(
    job_name="slice_job",
    minimum_interval_seconds=interval_seconds(SHOP),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Lists the clicks in landing (a folder, or an object store) and requests every closed slice whose files are new or "
        "changed: the next slice, a repair of an old one, or after an outage up to a day of slices in one run. A failed slice "
        "is asked for again after 15 seconds, 1 and 5 minutes, at once where its process was killed; the last time, a file "
        "that fails is set aside."
    ),
)
def click_slices(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult:
    """Request what is due; the cursor keeps folder times and unfinished slices, never partition keys.

    Raises ``StoreError`` where landing is in a store that does not answer: the tick fails with its words, and the cursor stays.
    """
    settings = platform.settings()
    now = platform.now()
    cursor = Cursor.loads(context.cursor)
    last_closed = last_closed_slice(settings, now)
    if END is not None and last_closed is not None and last_closed >= END:
        return dg.SensorResult(
            skip_reason=f"the data have passed the end of the partitions, {END:%Y-%m-%d %H:%M}: the code server is replaced",
            cursor=context.cursor,
        )
    look = find_landing(settings).look(cursor.high, cursor.scanned, last_closed)
    decision = decide(
        replace(cursor, scanned=look.scanned),
        Inputs(
            folders=lambda: look.folders(now),
            fingerprint=cache(look.fingerprint),
            done=cache(lambda: done_slices(settings)),
            run_state=lambda run_key: run_state(context.instance, run_key),
            last_closed=look.until,
            slices_start=settings.shop.slices_start,
            width=settings.shop.slice_width,
            now=now,
            has_history=current_publication(settings.place) is not None,
        ),
    )
    requests = [run_request(request) for request in decision.requests]
    for note in decision.notes:
        context.log.warning(note)
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=decision.cursor.dumps())
    waiting = f"; {len(decision.cursor.pending)} slices are under way or waiting" if decision.cursor.pending else ""
    skipped = f"no closed slice has new files{waiting}. " + "; ".join(decision.notes[:5])
    return dg.SensorResult(skip_reason=skipped.strip(), cursor=decision.cursor.dumps())


def run_state(instance: dg.DagsterInstance, run_key: str) -> RunState | None:
    """What became of the run with this key; None when there is none."""
    runs = instance.get_runs(dg.RunsFilter(tags={RUN_KEY: run_key}), limit=1)
    if not runs:
        return None
    (run,) = runs
    if run.status in WORKING:
        return RunState.WORKING
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return RunState.SUCCEEDED
    return RunState.KILLED if run.status is dg.DagsterRunStatus.FAILURE and FAILURE_REASON not in run.tags else RunState.FAILED


def run_request(request: Request) -> dg.RunRequest:
    """A run of one slice, or of a range of slices in one run."""
    tags = {"customer360/slices": str(request.slices), ATTEMPT: str(request.attempt)}
    if request.isolate:
        tags[ISOLATE_TAG] = "true"
    if request.slices == 1:
        return dg.RunRequest(run_key=request.run_key, partition_key=request.first, tags=tags)
    return dg.RunRequest(run_key=request.run_key, tags={**tags, RANGE_START: request.first, RANGE_END: request.last})
