"""Does what the reports say ask for a new training? Only what to ask; the gate decides what serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from ml.monitoring.alarms import IN_A_ROW, alarming_columns


@dataclass(frozen=True)
class Verdict:
    """Whether to ask for a training, the report that says so, and the reason in words, of asking or of not asking."""

    is_asked: bool
    report_date: date | None
    reason: str


def verdict(history: pd.DataFrame, champion: str | None, last_asked: date | None, cool_down: timedelta) -> Verdict:
    """What ``drift_metrics`` says today.

    ``champion``: the version that serves; ``last_asked``: the report for which a training was asked last. Between two requests
    lie ``cool_down``, so at most one a day: a model that the gate refuses needs new labels before the next can be better.
    """
    if history.empty:
        return Verdict(False, None, "there is no drift report yet; daily_job makes one")
    latest = pd.Timestamp(history["report_date"].max()).date()
    version = str(history.loc[history["report_date"] == history["report_date"].max(), "model_version"].iloc[-1])
    columns = alarming_columns(history[history["model_version"] == version])
    if champion is None:
        return Verdict(False, latest, "there is no champion; run training_job")
    if version != champion:
        return Verdict(False, latest, f"the report of {latest} is about {version}; {champion} serves since, and has none yet")
    if not columns:
        return Verdict(False, latest, f"the report of {latest}: no column beyond its threshold {IN_A_ROW} times in a row")
    shown = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
    if last_asked is not None and latest < last_asked + max(cool_down, timedelta(days=1)):
        return Verdict(
            False,
            latest,
            f"the report of {latest}: {shown}; but a training was asked for on {last_asked}, and the next is not before "
            f"{last_asked + max(cool_down, timedelta(days=1))}",
        )
    return Verdict(True, latest, f"the report of {latest}: beyond their thresholds {IN_A_ROW} times in a row: {shown}")
