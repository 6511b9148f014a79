"""Broken and hostile files by the hundred in one slice: each is read or set aside with a reason, and good ones proceed."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import socket
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.lake.raw.history import write_history
from customer360.lake.raw.quarantine import quarantine_counts, quarantined_lines
from customer360.lake.raw.raw_clicks import PART
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import history_file
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.settings import REPOSITORY, Settings
from customer360.text import printable
from orchestration.cli import main
from tests.safety.bad_files import (
    DAMAGE,
    HTML_NAME,
    KINDS,
    NAMES,
    SQL_NAME,
    Files,
    all_bad_files,
    as_csv,
    as_jsonl,
    as_kind,
    as_parquet,
    clicks,
    damaged,
    odd_csv,
    odd_names,
)
from tests.safety.slices import Outcome, land, rows_of, run_slice, settings_at, write_all

TINY = REPOSITORY / "tests" / "shops" / "tiny"
GOOD = {f"{stem} good{kind}": as_kind(kind, clicks(f"{stem}{kind}")) for stem in ("A", "zz") for kind in KINDS}


def texts_of(name: str, data: bytes) -> list[bytes] | None:
    """The lines, records or rows in a file, counted by other means than the product's; None where it cannot be read."""
    if "utf-16." in name or "utf-32." in name:  # written with a byte order mark
        return None
    try:
        if name.endswith(".parquet"):
            return [b""] * pq.read_metadata(io.BytesIO(data)).num_rows
        if name.endswith(".csv"):
            text = data.decode("utf-8-sig", "replace")
            records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
            return [",".join(record).encode() for record in records[1:] if record]
        plain = gzip.decompress(data) if name.endswith(".gz") else data
        plain = plain.removeprefix(codecs.BOM_UTF8)
    except (EOFError, OSError, zlib.error, csv.Error, pa.ArrowException):
        return None
    return [line for line in plain.split(b"\n") if line.strip(b" \t\r\n")]


@dataclass
class Corpus:
    """The files that were landed, by their shown names, and what became of them."""

    files: Files
    outcome: Outcome

    def by_file(self, rows: list[dict[str, Any]]) -> dict[str, list[int]]:
        """The line numbers of rows, by file."""
        found: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            found[row["source_file"]].append(row["source_line"])
        return found


@pytest.fixture(scope="module")
def corpus(new_place: Callable[[str], Settings]) -> Corpus:
    """All bad files and the good ones in one slice."""
    settings = new_place("corpus")
    files = all_bad_files() | GOOD
    land(settings, files)
    outcome = run_slice(settings)
    return Corpus({printable(name): data for name, data in files.items()}, outcome)


def test_there_are_bad_files_by_the_hundred_of_every_kind(corpus: Corpus) -> None:
    kinds = Counter(next((kind for kind in reversed(KINDS) if name.endswith(kind)), "") for name in corpus.files)
    assert len(corpus.files) > 500
    assert min(kinds.values()) >= 9
    assert all(kinds[kind] > 80 for kind in KINDS)
    assert len({row["source_file"] for row in corpus.outcome.bad}) > 300


def test_every_line_of_every_file_is_good_or_quarantined_or_a_copy(corpus: Corpus) -> None:
    good, bad = corpus.by_file(corpus.outcome.good), corpus.by_file(corpus.outcome.bad)
    good_ids = {row["event_id"].encode() for row in corpus.outcome.good}
    lines = copies = forgiven = 0
    for name, data in corpus.files.items():
        texts = texts_of(name, data)
        found = good[name] + bad[name]
        assert len(set(found)) == len(found), f"{name}: a line appears twice"
        if 0 in bad[name]:
            assert good[name] == [], f"{name} was set aside, but some of it was read"
            lines += len(found)
            continue
        if texts is None and name.endswith(".parquet"):  # DuckDB forgives more in a footer than Arrow does
            texts, forgiven = [b""] * len(found), forgiven + 1
        assert texts is not None, f"{name} cannot be read, but was not set aside"
        missing = len(texts) - len(found)
        assert missing >= 0, f"{name}: {len(texts)} lines in, {len(found)} out"
        copied = sum(any(event_id in text for event_id in good_ids) for text in texts) if missing else 0
        assert missing <= copied or name.endswith(".parquet"), f"{name}: {missing} lines vanished that are copies of nothing"
        lines, copies = lines + len(texts), copies + missing
    counts = corpus.outcome.counts
    assert astuple(counts) == (len(corpus.files), lines, sum(map(len, good.values())), sum(map(len, bad.values())), copies)
    assert counts.lines == counts.good + counts.quarantined + counts.duplicates
    assert forgiven < 5


def test_a_file_is_set_aside_whole_only_when_it_cannot_be_read(corpus: Corpus) -> None:
    set_aside = {row["source_file"]: row["reason"] for row in corpus.outcome.bad if row["source_line"] == 0}
    for name, reason in set_aside.items():
        is_unreadable = texts_of(name, corpus.files[name]) is None
        assert is_unreadable or reason.startswith(
            (
                "file is of no known type",
                "file has a name",
                "file not readable as Parquet",
                "file cannot be read by the contract: column",
                "file has the column ",
                "file is compressed (",
                "file is a page or a workbook in HTML or XML",
                "file is an Excel workbook",
                "file is a Parquet file",
                "file is a PDF",
                "file is a text document (RTF)",
                "file is an SQLite database",
            )
        ), name
    of_another_format = {name for name, reason in set_aside.items() if reason.startswith(("file is a", "file is compressed"))}
    assert {name for name in of_another_format if not name.startswith(("w ", "g "))} == set()  # the corpus has them there
    assert {name for name in set_aside if name.endswith((".jsonl", ".csv"))} - of_another_format <= {
        name for name in corpus.files if name.startswith("caf\\udce9") or name.endswith(".csv") or texts_of(name, b"") is None
    }
    assert len([name for name, reason in set_aside.items() if "by its byte order mark" in reason]) == 6


def test_every_quarantined_line_has_a_reason_a_file_and_its_text(corpus: Corpus) -> None:
    for row in corpus.outcome.bad:
        assert row["reason"].strip(), row
        assert row["source_file"] in corpus.files
        assert len(row["reason"]) < 700
        assert row["raw_text"] or row["source_line"] == 0 or row["reason"].startswith("file "), row


def test_good_files_are_read_whole_whatever_lies_beside_them(corpus: Corpus, new_place: Callable[[str], Settings]) -> None:
    alone = new_place("alone")
    land(alone, GOOD)
    expected = run_slice(alone)
    assert astuple(expected.counts) == (len(GOOD), 12 * len(GOOD), 12 * len(GOOD), 0, 0)
    found = [row for row in corpus.outcome.good if row["source_file"] in GOOD]
    key = lambda row: (row["source_file"], row["source_line"])  # noqa: E731
    assert sorted(found, key=key) == sorted(expected.good, key=key)
    assert {row["source_file"] for row in corpus.outcome.bad}.isdisjoint(GOOD)


def test_lines_that_nothing_happened_to_are_read_beside_those_that_are_broken(corpus: Corpus) -> None:
    """Whichever bytes of a file are damaged, a line that still stands there as it was comes out."""
    ids = {row["event_id"] for row in corpus.outcome.good}
    untouched = 0
    for name, data in corpus.files.items():
        if name.startswith("d") and name.endswith(".jsonl"):
            lines = data.split(b"\n")
            intact = [line for line in clicks(f"{name.split()[0]}.jsonl") if as_jsonl([line]).strip() in lines]
            assert {line["event_id"] for line in intact} <= ids, name
            untouched += len(intact)
    assert untouched > 250


def test_bad_history_is_accounted_for_like_a_slice_and_again_the_same(new_place: Callable[[str], Settings]) -> None:
    settings = new_place("history")
    for number, stem in enumerate(name for name in NAMES if name != ".."):
        folder = settings.place.landing / "history" / stem
        folder.mkdir(parents=True)
        lines = [{**line, "event_at": f"2026-04-{number % 28 + 1:02}T12:00:00Z"} for line in clicks(f"h{number}", 3)]
        write_all(folder, {f"{stem}{kind}"[-200:]: as_kind(kind, lines) for kind in KINDS})
    write_all(
        settings.place.landing / "history",
        odd_csv() | {name: data for name, data in damaged(7, 1).items() if not name.endswith(".parquet")},
    )
    first = write_history(settings)
    good = [row for path in sorted((settings.place.raw / "click_history").glob("*/*.parquet")) for row in rows_of(path)]
    bad = rows_of(settings.place.quarantine / "click_history" / PART)
    counts = first.counts
    assert (len(good), len(bad)) == (counts.good, counts.quarantined)
    assert counts.lines == counts.good + counts.quarantined + counts.duplicates
    read = {row["source_file"] for row in good}
    assert {f"{SQL_NAME}/{SQL_NAME}.csv", f"{HTML_NAME}/{HTML_NAME}.csv", r"new\nline/new\nline.csv", "**/**.csv"} <= read
    assert write_history(settings) == first


# ---- names and places ------------------------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_set_aside_and_not_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = land(settings, {"good.jsonl": as_kind(".jsonl", clicks("g"))})
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    (folder / "nothing.csv").symlink_to("gone.csv")
    (folder / "folder.parquet").mkdir()
    (folder / "folder.parquet" / "part-0.parquet").write_bytes(as_parquet(clicks("f")))
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(folder)  # the path of a socket is at most 107 bytes long
        listening.bind("socket.jsonl")
        outcome = run_slice(settings)
    (folder / "linked.jsonl").symlink_to(folder / "good.jsonl")
    assert {(row["source_file"], row["source_line"]) for row in outcome.bad} == {
        (name, 0) for name in ("pipe.jsonl", "loop.jsonl", "nothing.csv", "folder.parquet", "socket.jsonl")
    }
    assert all("is no regular file" in row["reason"] for row in outcome.bad)
    assert {row["source_file"] for row in outcome.good} == {"good.jsonl"}
    again = run_slice(settings)
    assert (again.counts.files, again.counts.duplicates) == (7, 12)  # a link to a file is that file


@pytest.mark.parametrize(
    "name", (SQL_NAME, HTML_NAME, "back\\slash", "new\nline", "star*", "ques?tion", "[brackets]", "{a,b}", "\u00e4", "k=v")
)
def test_data_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    settings = settings_at(tmp_path / name)
    land(settings, {f"a{kind}": as_kind(kind, clicks(kind, 3)) for kind in KINDS} | {"b.jsonl": b"oops\n"})
    history = settings.place.landing / "history"
    history.mkdir()
    (history / "a.csv").write_bytes(as_csv([{**line, "event_at": "2026-04-01T12:00:00Z"} for line in clicks("h", 3)]))
    assert astuple(run_slice(settings).counts) == (5, 13, 12, 1, 0)
    assert astuple(write_history(settings).counts) == (1, 3, 3, 0, 0)
    assert write_history(settings).slices == 1
    assert [entry.file for entry in quarantined_lines(settings.place)] == ["b.jsonl"]
    assert quarantine_counts(settings.place) == [("", "not valid JSON", 1, 1)]


def test_the_commands_name_what_is_bad_and_send_nothing_of_it_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.load(TINY, tmp_path)
    land(settings, odd_names() | odd_csv())
    counts = run_slice(settings).counts

    def command(code: int, *arguments: str) -> str:
        assert main(["--shop", str(TINY), "--data-dir", str(tmp_path), *arguments]) == code
        return capsys.readouterr().out

    checked = command(1, "check", str(settings.place.landing))
    assert f"{counts.good:,} good, {counts.quarantined - checked.count('set aside whole') + 1:,} bad" in checked
    for printed in (checked, command(0, "quarantine", "list"), command(3, "status")):
        assert [letter for letter in printed if not (letter.isprintable() or letter == "\n")] == []
        assert "is not a timestamp" in printed


# ---- reference tables ------------------------------------------------------------------------------------------------


def test_a_broken_reference_file_is_refused_by_name_and_the_last_good_version_stays(settings: Settings) -> None:
    folder = settings.place.landing / "reference" / "products"
    folder.mkdir(parents=True)
    now = datetime(2026, 5, 1, tzinfo=UTC)
    products = [{"product_id": f"p{n}", "name": "caf\u00e9", "category_id": "c1", "price": n + 0.5} for n in range(9)]
    chance = Random(1)
    last: list[dict[str, Any]] = []
    refused = 0
    for damage, change in DAMAGE.items():
        for kind in KINDS:
            path = folder / f"{damage}{kind}"
            path.write_bytes(change(as_kind(kind, products), chance))
            try:
                load_reference(settings, "products", now)
            except BrokenReferenceError as error:
                refused += 1
                assert damage in str(error)
                assert rows_of(history_file(settings.place, "products")) == last
            else:
                last = rows_of(history_file(settings.place, "products"))
            path.unlink()
    assert refused > 20
