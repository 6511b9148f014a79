"""When drift is an alarm, when the change began, and whether to ask for a training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd

IN_A_ROW = 2
CHANGES = "changes.jsonl"
WINDOW = timedelta(days=1)


@dataclass(frozen=True)
class Change:
    """Columns drifted from the moment ``since`` on (plain UTC), by the report of ``reported_on`` (shop-local)."""

    since: datetime
    reported_on: date
    columns: tuple[str, ...]


def alarming_columns(history: pd.DataFrame, reports: int = IN_A_ROW) -> list[str]:
    """Columns of ``drift_metrics`` that exceeded a learned threshold in each of the last ``reports`` reports, as kind: column.

    One report alone is no alarm, and a fixed threshold never raises one: noise differs by column.
    """
    dates = sorted(history["report_date"].unique())[-reports:]
    if len(dates) < reports:
        return []
    is_alarming = history["is_learned"] & history["is_drifted"].fillna(value=False)
    drifted = history[history["report_date"].isin(dates) & is_alarming]
    counts = drifted.groupby(["kind", "column"])["report_date"].nunique()
    return sorted(f"{kind}: {column}" for kind, column in counts[counts == reports].index)


def found_change(history: pd.DataFrame, changes: list[Change]) -> Change | None:
    """The change that the last report of ``history`` is the first to show; None where it shows none, or a known one.

    A known one goes on for as long as reports alarm without a break.
    """
    columns = alarming_columns(history)
    dates = sorted(history["report_date"].unique())
    if not columns or (alarming_columns(history[history["report_date"] < dates[-1]]) and changes):
        return None
    first = history.loc[history["report_date"] == dates[-IN_A_ROW], "as_of"].max()
    return Change(pd.Timestamp(first).to_pydatetime() - WINDOW, pd.Timestamp(dates[-1]).date(), tuple(columns))


def read_changes(file: Path) -> list[Change]:
    """Every change that was found, the oldest first."""
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [
        Change(datetime.fromisoformat(line["since"]), date.fromisoformat(line["reported_on"]), tuple(line["columns"]))
        for line in lines
    ]


def append_change(file: Path, change: Change) -> None:
    """Add a change to the file."""
    line = {**asdict(change), "since": change.since.isoformat(), "reported_on": change.reported_on.isoformat()}
    with file.open("a", encoding="utf-8") as target:
        target.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class TrainingRequest:
    """Whether a training is asked for, the report that is the cause, and why, or why not."""

    is_asked: bool
    report_date: date | None
    reason: str


def training_request(
    history: pd.DataFrame, champion: str | None, last_asked: date | None, cool_down: timedelta
) -> TrainingRequest:
    """Ask for a training when columns alarm in the newest reports, which are the rows of ``history`` (``drift_metrics``).

    ``champion``: the version that serves; ``last_asked``: the report for which a training was asked last. Between two requests
    lie ``cool_down``, so at most one a day: a model that the gate refuses needs new labels before the next can be better.
    """
    if history.empty:
        return TrainingRequest(False, None, "there is no drift report yet; daily_job makes one")
    latest = pd.Timestamp(history["report_date"].max()).date()
    version = str(history.loc[history["report_date"] == history["report_date"].max(), "model_version"].iloc[-1])
    columns = alarming_columns(history[history["model_version"] == version])
    if champion is None:
        return TrainingRequest(False, latest, "there is no champion; run training_job")
    if version != champion:
        reason = f"the report of {latest} is about {version}; {champion} serves since, and has none yet"
        return TrainingRequest(False, latest, reason)
    if not columns:
        reason = f"the report of {latest}: no column beyond its threshold {IN_A_ROW} times in a row"
        return TrainingRequest(False, latest, reason)
    shown = ", ".join(columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
    if last_asked is not None and latest < last_asked + max(cool_down, timedelta(days=1)):
        return TrainingRequest(
            False,
            latest,
            f"the report of {latest}: {shown}; but a training was asked for on {last_asked}, and the next is not before "
            f"{last_asked + max(cool_down, timedelta(days=1))}",
        )
    return TrainingRequest(True, latest, f"the report of {latest}: beyond their thresholds {IN_A_ROW} times in a row: {shown}")
