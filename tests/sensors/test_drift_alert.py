"""The sensor that asks for a training, on real reports and a model store."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from customer360.settings import REPOSITORY, Settings
from ml.monitoring.report import METRIC_COLUMNS
from orchestration.resources import Platform
from sensors.drift_alert import REASON_TAG, drift_alert

FIRST = date(2026, 5, 1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The synthetic shop with a champion that is named v1."""
    place = Settings.load(REPOSITORY / "shops" / "synthetic", tmp_path)
    (place.place.models / "affinity" / "v1").mkdir(parents=True)
    (place.place.models / "affinity" / "champion").write_text("v1\n", encoding="utf-8")
    return place


def report(settings: Settings, number: int, is_drifted: bool, version: str = "v1") -> None:
    """The report of a day, with one column."""
    day = FIRST + timedelta(days=number)
    row = {
        "report_date": pd.Timestamp(day),
        "as_of": pd.Timestamp(day),
        "kind": "3 days",
        "column": "price_level",
        "method": "difference",
        "value": 0.2,
        "threshold": 0.1,
        "threshold_basis": "36 normal windows",
        "is_learned": True,
        "is_drifted": is_drifted,
        "rows_current": 1,
        "rows_reference": 1,
        "model_version": version,
    }
    folder = settings.place.reports / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([row]).astype(METRIC_COLUMNS).to_parquet(folder / f"{day:%Y-%m-%d}.parquet")


def tick(settings: Settings, cursor: str | None) -> tuple[list[dg.RunRequest], str, str]:
    """One look: the requests, the reason that the UI shows, and the cursor after it."""
    platform = Platform(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root))
    context = dg.build_sensor_context(cursor=cursor)
    result = drift_alert(context, platform=platform)
    assert isinstance(result, dg.SensorResult)
    requests = list(result.run_requests or [])
    skipped = result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason
    return requests, skipped or requests[0].tags[REASON_TAG], str(result.cursor)


def test_lasting_drift_asks_for_one_training_and_again_only_after_a_horizon(settings: Settings) -> None:
    cursor: str | None = None
    asked = {}
    for number in range(17):
        report(settings, number, is_drifted=number > 0)
        for _ in range(3):  # the daemon looks more often than reports come
            requests, reason, cursor = tick(settings, cursor)
            for request in requests:
                asked[number] = request.run_key
                assert reason.endswith("beyond their thresholds 2 times in a row: 3 days: price_level")
            assert json.loads(cursor)["reason"] == reason
    assert asked == {2: "drift:2026-05-03", 9: "drift:2026-05-10", 16: "drift:2026-05-17"}


def test_it_says_in_the_ui_why_it_does_not_ask(settings: Settings) -> None:
    requests, reason, cursor = tick(settings, None)
    assert (requests, reason) == ([], "there is no drift report yet; daily_job makes one")
    report(settings, 0, is_drifted=True)
    assert tick(settings, cursor)[1] == "the report of 2026-05-01: no column beyond its threshold 2 times in a row"
    report(settings, 1, is_drifted=True)
    (settings.place.models / "affinity" / "champion").write_text("v2\n", encoding="utf-8")
    assert tick(settings, cursor)[1] == "the report of 2026-05-02 is about v1; v2 serves since, and has none yet"


def test_a_tick_reads_the_two_newest_reports_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = pd.read_parquet
    monkeypatch.setattr(pd, "read_parquet", lambda path: (read.append(path.stem), original(path))[1])
    for number in range(30):
        report(settings, number, is_drifted=number > 27)
    assert tick(settings, None)[0]
    assert read == ["2026-05-30", "2026-05-29"]


def test_reports_of_an_older_release_are_passed_over(settings: Settings) -> None:
    report(settings, 0, is_drifted=True)
    report(settings, 1, is_drifted=True)
    for path in (settings.place.reports / "drift").glob("*.parquet"):
        pd.read_parquet(path).drop(columns=["kind", "is_learned"]).to_parquet(path)
    assert tick(settings, None)[1] == "there is no drift report yet; daily_job makes one"
