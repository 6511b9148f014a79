from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.monitoring.alarms import Change, alarming_columns, append_change, found_change, read_changes, training_request
from ml.monitoring.daily import reported_limits
from ml.monitoring.report import METRIC_COLUMNS, empty_metrics
from ml.monitoring.thresholds import MIN_NORMAL, UNLEARNED, learned_limit

FIRST = date(2026, 5, 1)
WEEK = timedelta(days=7)


def history(*reports: dict[str, bool | None], version: str = "v1", learned: bool = True) -> pd.DataFrame:
    """``drift_metrics`` of one report a day from the first of May on, at four in the morning: column to whether it drifted."""
    rows = []
    for number, report in enumerate(reports):
        day = FIRST + timedelta(days=number)
        for column, is_drifted in report.items():
            rows.append(
                {
                    "report_date": pd.Timestamp(day),
                    "as_of": pd.Timestamp(day) + pd.Timedelta(hours=4),
                    "kind": "24 hours",
                    "column": column,
                    "method": "wasserstein",
                    "value": 0.2 if is_drifted else 0.01,
                    "threshold": 0.1,
                    "threshold_basis": "36 normal windows",
                    "is_learned": learned,
                    "is_drifted": is_drifted,
                    "rows_current": 1,
                    "rows_reference": 1,
                    "model_version": version,
                }
            )
    return pd.DataFrame(rows).astype(METRIC_COLUMNS)


def test_only_two_reports_in_a_row_alarm() -> None:
    two = history({"a": True, "b": True}, {"a": True, "b": False, "c": True, "d": None})
    assert alarming_columns(two) == ["24 hours: a"]
    assert alarming_columns(two[two["report_date"] == pd.Timestamp("2026-05-02")]) == []
    assert alarming_columns(history({"a": True}, {"a": False}, {"a": True})) == []
    assert alarming_columns(empty_metrics()) == []


def test_a_fixed_threshold_raises_no_alarm() -> None:
    assert alarming_columns(history({"a": True}, {"a": True}, learned=False)) == []


def test_a_change_begins_a_day_before_the_first_of_the_reports_that_alarm_and_is_found_once(tmp_path: Path) -> None:
    calm = [{"a": False, "b": False}] * 3
    assert found_change(history(*calm), []) is None
    assert found_change(history(*calm, {"a": True}), []) is None
    change = found_change(history(*calm, {"a": True}, {"a": True}), [])
    assert change == Change(datetime(2026, 5, 3, 4), date(2026, 5, 5), ("24 hours: a",))  # noqa: DTZ001 (plain UTC)
    file = tmp_path / "changes.jsonl"
    assert read_changes(file) == []
    append_change(file, change)
    assert read_changes(file) == [change]
    assert found_change(history(*calm, {"a": True}, {"a": True}, {"a": True}), [change]) is None
    later = history(*calm, {"a": True}, {"a": True}, {"a": False, "b": True}, {"b": True})
    again = found_change(later, [change])
    assert again is not None
    assert again.columns == ("24 hours: b",)


def test_a_training_is_asked_for_once_a_report_and_then_not_before_the_cool_down_is_over() -> None:
    alarm = [{"a": True}] * 12
    first = training_request(history(*alarm[:2]), "v1", None, WEEK)
    assert (first.is_asked, first.report_date) == (True, date(2026, 5, 2))
    assert first.reason == "the report of 2026-05-02: beyond their thresholds 2 times in a row: 24 hours: a"
    asked = [
        number for number in range(2, 12) if training_request(history(*alarm[:number]), "v1", date(2026, 5, 2), WEEK).is_asked
    ]
    assert asked == [9, 10, 11]  # the reports of the ninth of May and after
    waiting = training_request(history(*alarm[:8]), "v1", date(2026, 5, 2), WEEK)
    assert waiting.reason == (
        "the report of 2026-05-08: 24 hours: a; but a training was asked for on 2026-05-02, and the next is not before "
        "2026-05-09"
    )


def test_without_cool_down_there_is_still_at_most_one_request_a_day() -> None:
    alarm = history({"a": True}, {"a": True})
    assert not training_request(alarm, "v1", date(2026, 5, 2), timedelta(0)).is_asked
    assert training_request(alarm, "v1", date(2026, 5, 1), timedelta(0)).is_asked


@pytest.mark.parametrize(
    ("reports", "champion", "words"),
    [
        (empty_metrics(), "v1", "there is no drift report yet"),
        (history({"a": True}, {"a": True}), None, "there is no champion"),
        (history({"a": True}, {"a": True}), "v2", "is about v1; v2 serves since, and has none yet"),
        (history({"a": True}, {"a": False}), "v1", "no column beyond its threshold 2 times in a row"),
    ],
)
def test_it_says_why_it_does_not_ask(reports: pd.DataFrame, champion: str | None, words: str) -> None:
    found = training_request(reports, champion, None, WEEK)
    assert not found.is_asked
    assert words in found.reason


def test_two_reports_of_different_champions_are_not_two_in_a_row() -> None:
    mixed = pd.concat(
        [history({"a": True}), history({"a": True}, {"a": True}, version="v2").query("report_date > '2026-05-01'")]
    )
    assert not training_request(mixed, "v2", None, WEEK).is_asked


def test_a_threshold_lies_eight_deviations_above_normal_and_needs_thirty_windows() -> None:
    normal = np.array([0.02, 0.06] * 15)  # mean .04, deviation .02
    limit = learned_limit("24 hours", normal, "windows")
    assert limit.threshold == pytest.approx(0.04 + 8 * 0.02)
    agreeing = learned_limit("24 hours", np.full(30, 0.05), "windows")
    assert agreeing.threshold == pytest.approx(0.05 + 8 * 0.01)
    assert (limit.basis, limit.is_learned) == ("30 normal windows", True)
    assert learned_limit("24 hours", normal[1:], "windows") == UNLEARNED
    assert learned_limit("24 hours", np.append(normal[1:], np.nan), "windows") == UNLEARNED
    still = learned_limit("24 hours", np.full(40, 1e-12), "windows")  # a column that never moves
    assert still.threshold == 0.02
    assert learned_limit("feature", np.full(40, 0.001), "reports").threshold == 0.1


def test_thresholds_of_features_come_from_the_models_own_earlier_reports_that_were_normal() -> None:
    days = [{"a": False}] * MIN_NORMAL
    reports = history(*days).assign(kind="feature")
    assert reported_limits(reports, "v2") == {}
    assert reported_limits(history(*days[1:], {"a": True}).assign(kind="feature"), "v1") == {}
    (limit,) = reported_limits(reports, "v1").values()
    assert (limit.threshold, limit.basis) == (0.1, "30 normal reports")
    assert reported_limits(history(*days), "v1") == {}  # windows have references of their own
