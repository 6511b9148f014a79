"""What Prometheus reads of a place and of Dagster's runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client.metrics_core import Metric

from customer360.lake.engine import connect
from customer360.lake.publishing.copies import Copied, remember
from customer360.lake.publishing.publishing import publish
from customer360.mail.queue import URL_VARIABLE
from customer360.services.alerts import Alert, report_failure
from customer360.services.metrics import place_metrics
from customer360.settings import REPOSITORY, Place, Settings
from orchestration.runtime.run_metrics import run_metrics
from tests.mail.mail_shop import EMAIL
from tests.support.random_shop import small_shop

SLICE_LOG = """
    select timestamp '2026-05-01 11:00:00' + to_minutes(15 * n) as slice, 'clicks' as source, 'f' as raw_fingerprint,
        true as is_transformed, 1 as files, 100 + n as lines, 90 + n as good, 7 as quarantined, 2 as duplicates, 1 as repeats,
        timestamp '2026-05-01 12:00:00' as planned_at, timestamp '2026-05-01 12:00:00' + to_seconds(10 + n) as transformed_at,
        null::timestamp as repaired_at
    from range(4) as slices(n)
"""
DRIFT = """
    select date '2026-05-01' - day as report_date, 'feature' as kind, name as column, learned as is_learned,
        drifted as is_drifted
    from (values (0, 'lasting', true, true), (1, 'lasting', true, true), (0, 'new', true, true), (1, 'new', true, false),
        (0, 'fixed', false, true), (1, 'fixed', false, true), (2, 'old', true, true)) as rows(day, name, learned, drifted)
"""


def values(metrics: list[Metric]) -> dict[str, float]:
    """By name and labels."""
    found = {}
    for metric in metrics:
        for sample in metric.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(shop=small_shop(live=True), shop_folder=REPOSITORY, place=Place(root=tmp_path))


def test_before_the_first_publication_there_are_the_state_and_the_disk(settings: Settings) -> None:
    found = values(list(place_metrics(settings, datetime(2026, 5, 1, 12, tzinfo=UTC))))
    assert found["customer360_state{state=unknown}"] == 1
    assert found["customer360_disk_free_bytes"] > 0
    assert not any("published" in name or "lines" in name for name in found)


def test_slices_lines_lag_incidents_copies_and_drift(settings: Settings) -> None:
    now = datetime(2026, 5, 1, 12, 35, tzinfo=UTC)
    place = settings.place
    with connect(place.scratch) as connection:
        published_at = datetime(2026, 5, 1, 12, 3, tzinfo=UTC)
        tables = {"slice_log": SLICE_LOG, "drift_metrics": DRIFT}
        publish(place, connection, tables, datetime(2026, 5, 1, 12, tzinfo=UTC), published_at, least=41)
    remember(place, "postgres", Copied(38, now, "customer360"))
    report_failure(place, Alert("training_job", "", "r"), [], now, lambda _: True)
    found = values(list(place_metrics(settings, now)))
    expected = {
        "customer360_state{state=critical}": 1,
        "customer360_incidents{job=training_job}": 1,
        "customer360_published_version": 41,
        "customer360_published_timestamp_seconds": published_at.timestamp(),
        "customer360_slices_behind": 2,
        "customer360_lag_seconds": 1800,
        "customer360_copy_behind_versions{copy=postgres}": 3,
        "customer360_slices_total": 4,
        "customer360_lines_total{kind=good}": 366,
        "customer360_lines_total{kind=quarantined}": 28,
        "customer360_last_slice_lines{kind=good}": 93,
        "customer360_last_slice_lines{kind=repeats}": 1,
        "customer360_last_slice_seconds": 13,
        "customer360_drifting_columns": 1,
        "customer360_drift_report_timestamp_seconds": datetime(2026, 5, 1, tzinfo=UTC).timestamp(),
    }
    assert {name: found.get(name) for name in expected} == expected


def test_a_queue_that_cannot_be_read_leaves_the_other_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is no database " * 100)
    monkeypatch.setenv(URL_VARIABLE, f"sqlite:///{broken}")
    shop = small_shop(email=EMAIL)
    settings = Settings(shop=shop, place=Place(root=tmp_path / "data"), shop_folder=tmp_path)
    found = values(list(place_metrics(settings, datetime(2026, 5, 1, 12, tzinfo=UTC))))
    assert found["customer360_mail_queue_open"] == 0
    assert found["customer360_disk_free_bytes"] > 0


def test_runs_of_the_last_day_by_job_and_status() -> None:
    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        if context.run.tags.get("fail"):
            raise RuntimeError("as asked")

    @dg.job
    def slice_job() -> None:
        work()

    with dg.DagsterInstance.ephemeral() as instance:
        slice_job.execute_in_process(instance=instance)
        slice_job.execute_in_process(instance=instance, tags={"fail": "yes"}, raise_on_error=False)
        instance.create_run_for_job(slice_job)
        now = datetime.now(UTC)
        found = values(list(run_metrics(instance, now)))
        assert found["customer360_runs_ended_last_day{job=slice_job,status=success}"] == 1
        assert found["customer360_runs_ended_last_day{job=slice_job,status=failure}"] == 1
        assert 0 <= found["customer360_last_run_seconds{job=slice_job}"] < 60
        assert abs(found["customer360_last_run_timestamp_seconds{job=slice_job}"] - now.timestamp()) < 60
        later = values(list(run_metrics(instance, now + timedelta(days=2))))
        assert not any("last_day" in name for name in later)
