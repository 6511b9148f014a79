"""When drift is an alarm, and since when something is different."""

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
    """Something was different from ``since`` on (plain UTC); found by the report of ``reported_on``, in these columns."""

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
    is_bad = history["is_learned"] & history["is_drifted"].fillna(value=False)
    drifted = history[history["report_date"].isin(dates) & is_bad]
    counts = drifted.groupby(["kind", "column"])["report_date"].nunique()
    return sorted(f"{kind}: {column}" for kind, column in counts[counts == reports].index)


def found_change(history: pd.DataFrame, changes: list[Change]) -> Change | None:
    """The change that the last report of ``history`` is the first to tell of; None where it tells of none, or of a known one.

    A known one goes on for as long as reports alarm without a break.
    """
    columns = alarming_columns(history)
    dates = sorted(history["report_date"].unique())
    if not columns or (alarming_columns(history[history["report_date"] < dates[-1]]) and changes):
        return None
    first = history.loc[history["report_date"] == dates[-IN_A_ROW], "as_of"].max()
    return Change(pd.Timestamp(first).to_pydatetime() - WINDOW, pd.Timestamp(dates[-1]).date(), tuple(columns))


def read_changes(file: Path) -> list[Change]:
    """Every change that was found, in the order in which it was."""
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
