"""Dagster's runs for Prometheus: what is under way, how runs of the last day ended, and how long the last of each job took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
from prometheus_client.metrics_core import Metric

from customer360.services.metrics import gauge, gauges

UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
DAY = timedelta(days=1)
MOST_RUNS = 5000


def run_metrics(instance: dg.DagsterInstance, now: datetime) -> Iterator[Metric]:
    """All metrics of runs at ``now`` (wall clock, UTC)."""
    current = Counter(
        (run.job_name, run.status.value.lower()) for run in instance.get_runs(dg.RunsFilter(statuses=[*UNDER_WAY]))
    )
    labels = ("job", "status")
    yield gauges("runs", "Runs that wait or are at work", labels, current.items())
    ended = instance.get_run_records(dg.RunsFilter(statuses=[*ENDED], updated_after=now - DAY), limit=MOST_RUNS)
    counts = Counter((record.dagster_run.job_name, record.dagster_run.status.value.lower()) for record in ended)
    yield gauges("runs_ended_last_day", "Runs that ended in the last 24 hours", labels, counts.items())
    seconds: dict[tuple[str, ...], float] = {}
    moments: dict[tuple[str, ...], float] = {}
    for record in sorted((record for record in ended if record.end_time), key=lambda record: record.end_time or 0):
        key = (record.dagster_run.job_name,)
        seconds[key] = (record.end_time or 0) - (record.start_time or record.end_time or 0)
        moments[key] = record.end_time or 0
    yield gauges("last_run_seconds", "Of the last run that ended, within 24 hours", ("job",), seconds.items())
    yield gauges("last_run_timestamp_seconds", "When it ended", ("job",), moments.items())
    daemons = [status for status in instance.get_daemon_statuses().values() if status.required]
    yield gauge("daemons_unhealthy", "Daemons of Dagster that give no sign of life", sum(not d.healthy for d in daemons))
