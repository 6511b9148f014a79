"""Lines beyond the memory limit are moved to files meanwhile, without any effect on the result."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from customer360.lake.landing import checked_lines
from tests.safety.bad_files import as_csv, as_jsonl, as_parquet, clicks
from tests.safety.slices import Outcome, land, run_slice, settings_at

FILES = 6


def files() -> dict[str, bytes]:
    """Text and Parquet with copies within and across files, bad lines, and a file that breaks off in its middle."""
    lines = clicks("held", 600)
    landed: dict[str, bytes] = {}
    for number in range(FILES):
        rows = [*lines[number * 100 : number * 100 + 100], lines[0], lines[number * 100]]
        bad = [{**rows[0], "event_at": "never"}, {**rows[1], "dwell_seconds": -number - 1}]
        landed[f"{number}.{'parquet' if number % 3 == 2 else 'jsonl'}"] = (
            as_parquet(rows) if number % 3 == 2 else as_jsonl(rows + bad)
        )
    landed["table.csv"] = as_csv(lines[550:])
    landed["cut.jsonl.gz"] = gzip.compress(as_jsonl(clicks("cut", 90_000)))[:-20]
    return landed


def made(place: Path, monkeypatch: pytest.MonkeyPatch, row_bytes: int, share: int) -> Outcome:
    """The slice of these files with other measures of what memory holds."""
    monkeypatch.setattr(checked_lines, "ROW_BYTES", row_bytes)
    monkeypatch.setattr(checked_lines, "TEXT_SHARE", share)
    settings = settings_at(place)
    land(settings, files())
    outcome = run_slice(settings)
    return Outcome(outcome.counts, in_order(outcome.good), in_order(outcome.bad))


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=repr)


@pytest.mark.full
def test_a_slice_is_the_same_whether_its_lines_fit_into_memory_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged: list[str] = []
    original = checked_lines._Loading._empty_held

    def counted(loading: checked_lines._Loading, limit: int) -> None:
        original(loading, limit)
        staged.extend(path.name for path in loading.folder.iterdir())

    monkeypatch.setattr(checked_lines._Loading, "_empty_held", counted)
    in_memory = made(tmp_path / "in_memory", monkeypatch, checked_lines.ROW_BYTES, checked_lines.TEXT_SHARE)
    assert staged == []
    on_disk = made(tmp_path / "on_disk", monkeypatch, 2**40, 2**40)
    assert len(set(staged)) >= FILES + 1
    assert on_disk == in_memory
    counts = in_memory.counts
    assert counts.good == 600
    assert counts.lines == counts.good + counts.quarantined + counts.duplicates
    assert counts.quarantined > 8


@pytest.mark.full
def test_the_files_in_between_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, monkeypatch, 2**40, 2**40)
    assert list((tmp_path / ".tmp").iterdir()) == []
