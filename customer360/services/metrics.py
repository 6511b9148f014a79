"""The state of a place for Prometheus: slices, lag, incidents, drift, disk, copies of the version, and the mail queue.

What ``customer360 status`` shows, as numbers; nothing of it is about a customer. Reading it blocks no run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import duckdb
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy.exc import SQLAlchemyError

from customer360.lake.operations.status import State, Status, read_status
from customer360.lake.publishing.version import open_version
from customer360.mail.overview import stopped_campaigns
from customer360.mail.queue import open_queue
from customer360.mail.queue.tables import QueueError
from customer360.settings import Settings

OPEN = "0 for a queue that was copied or restored, or that cannot be read"
LINE_KINDS = ("good", "quarantined", "duplicates", "repeats")
SLICES = f"""
    select count(*), epoch(arg_max(transformed_at - planned_at, slice)),
        {", ".join(f"coalesce(sum({kind}), 0), coalesce(arg_max({kind}, slice), 0)" for kind in LINE_KINDS)}
    from slice_log where source = 'clicks'
"""
DRIFTING = """
    with newest as (select distinct report_date from drift_metrics order by report_date desc limit 2),
    lasting as (
        select kind, "column" from drift_metrics semi join newest using (report_date)
        where is_learned and is_drifted group by all having count(*) = 2
    )
    select epoch(max(report_date)), (select count(*) from lasting) from newest
"""


def place_metrics(settings: Settings, now: datetime) -> Iterator[Metric]:
    """All metrics at ``now`` (wall clock, UTC); before the first publication those of the disk and of incidents alone."""
    status = read_status(settings, now)
    yield from _state(status)
    yield from _disk(status)
    if status.publication is not None:
        yield from _published(settings, status)
        yield from _tables(settings)
    if settings.shop.email is not None:
        yield from _mail(settings)


def gauge(name: str, text: str, value: float) -> Metric:
    """A metric of one value."""
    return GaugeMetricFamily(f"customer360_{name}", text, value=value)


def gauges(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A metric with a value for each of several labels."""
    family = GaugeMetricFamily(f"customer360_{name}", text, labels=labels)
    for given, value in values:
        family.add_metric(given, value)
    return family


def _state(status: Status) -> Iterator[Metric]:
    states = {(state.value,): float(status.state == state) for state in State}
    yield gauges("state", "1 for the state that customer360 status gives", ("state",), states.items())
    found: dict[tuple[str, ...], float] = {}
    for incident in status.incidents:
        found[incident.job,] = found.get((incident.job,), 0) + 1
    yield gauges("incidents", "Failures that are not well again", ("job",), found.items())
    waiting = {("closed",): float(len(status.waiting.closed)), ("open",): float(len(status.waiting.open))}
    yield gauges("slices_waiting", "Landed slices that are not published as they are now", ("state",), waiting.items())


def _disk(status: Status) -> Iterator[Metric]:
    yield gauge("disk_free_bytes", "Free on the disk of the data folder", status.free_bytes)
    yield gauge("disk_needed_bytes", "What a run may need of it", status.needed_bytes)
    used = {(name,): float(size) for name, size in status.disk_bytes.items()}
    yield gauges("disk_used_bytes", "By entry of the data folder", ("entry",), used.items())


def _published(settings: Settings, status: Status) -> Iterator[Metric]:
    publication = status.publication
    assert publication is not None  # noqa: S101  the caller has looked
    yield gauge("published_version", "Number of the published version", publication.version)
    yield gauge("published_timestamp_seconds", "When it was published", publication.published_at.timestamp())
    if publication.as_of:
        yield gauge("as_of_timestamp_seconds", "End of its last slice", publication.as_of.timestamp())
    if status.freshness is not None:
        yield gauge("slices_behind", "Closed slices that are not published", status.freshness.missing_slices)
        lag = status.freshness.missing_slices * settings.shop.slice_width.total_seconds()
        yield gauge("lag_seconds", "From the end of the published data to that of the newest closed slice", lag)
    copies = {(name,): float(publication.version - copy.version) for name, copy in status.copies.items() if copy}
    yield gauges("copy_behind_versions", "Versions that the store or PostgreSQL lacks", ("copy",), copies.items())


def _tables(settings: Settings) -> Iterator[Metric]:
    with open_version(settings.place) as version:
        try:
            count, seconds, *lines = version.connection.execute(SLICES).fetchone() or (0,)
        except duckdb.CatalogException:  # a version of a training set alone
            return
        yield CounterMetricFamily("customer360_slices", "Slices of the published version", value=count)
        if seconds is not None:
            yield gauge("last_slice_seconds", "From the plan of the last slice to its transformed tables", seconds)
        total = CounterMetricFamily("customer360_lines", "Lines of all slices", labels=["kind"])
        last: dict[tuple[str, ...], float] = {}
        for kind, summed, newest in zip(LINE_KINDS, lines[::2], lines[1::2], strict=True):
            total.add_metric([kind], float(summed))
            last[kind,] = float(newest)
        yield total
        yield gauges("last_slice_lines", "Lines of the last slice", ("kind",), last.items())
        if "drift_metrics" in version.publication.rows:
            reported, drifting = version.connection.execute(DRIFTING).fetchone() or (None, 0)
            if reported is not None:
                yield gauge("drift_report_timestamp_seconds", "Day of the last drift report", reported)
                yield gauge("drifting_columns", "Beyond a learned threshold in the last two reports", drifting)


def _mail(settings: Settings) -> Iterator[Metric]:
    try:
        queue = open_queue(settings.place)
        states = queue.counts().groupby("state")["messages"].sum()
        is_open, stops = queue.is_open(), len(stopped_campaigns(queue))
    except (QueueError, SQLAlchemyError):  # the other metrics are there all the same
        yield gauge("mail_queue_open", OPEN, 0)
        return
    messages = {(str(state),): float(count) for state, count in states.items()}
    yield gauges("mail_messages", "Messages of the mail queue", ("state",), messages.items())
    yield gauge("mail_queue_open", OPEN, is_open)
    yield gauge("mail_stops", "Campaigns whose e-mail is stopped", stops)
