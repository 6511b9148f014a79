"""The report of a check: counts, problems, and text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from customer360.text import many

WIDTH = 100
CLEAN_SHOWN = 30
CLICK_KINDS = {"clicks", "history"}


@dataclass(frozen=True)
class Problem:
    """A problem and its remedy. ``line`` is None for a whole file, ``column`` empty for a whole line."""

    line: int | None
    column: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class FileReport:
    """One file: ``lines`` = good + bad + duplicates, the first ``problems``; ``is_broken`` where nothing of it is used.

    ``is_remote`` where it is no file but a table of PostgreSQL, ``is_sum`` where it is all files of a table together.
    """

    name: str
    kind: str
    lines: int = 0
    good: int = 0
    bad: int = 0
    duplicates: int = 0
    problems: tuple[Problem, ...] = ()
    is_broken: bool = False
    is_remote: bool = False
    is_sum: bool = False

    @property
    def is_clean(self) -> bool:
        """True where nothing is wrong."""
        return not self.problems


@dataclass
class Report:
    """All findings of a check; ``notes`` break no rule, ``proposed`` is YAML for shop.yaml."""

    files: list[FileReport] = field(default_factory=list)
    misplaced: list[tuple[str, Problem]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    proposed: str = ""

    @property
    def is_clean(self) -> bool:
        """True where nothing is wrong."""
        return not self.misplaced and all(file.is_clean for file in self.files)


def report_lines(report: Report) -> Iterator[str]:
    """The report as text, at most 100 columns wide."""
    for name, problem in report.misplaced:
        yield name
        yield from _problem_lines(problem, "line")
    shown = 0
    for file in report.files:
        shown += file.is_clean
        if not file.is_clean or shown <= CLEAN_SHOWN:
            yield f"{file.name}  {_counts(file)}"
            yield from _file_problems(file)
    if shown > CLEAN_SHOWN:
        yield f"... and {many(shown - CLEAN_SHOWN, 'more file')} without a problem"
    for note in report.notes:
        yield from _wrapped(f"note: {note}", "", "      ")
    if report.proposed:
        yield from ("", "Paste this into shop.yaml, and check again:", "", *report.proposed.rstrip().split("\n"))
    yield ""
    yield from _summary(report)


def _counts(file: FileReport) -> str:
    if file.kind not in CLICK_KINDS:
        if file.is_broken:
            return "cannot be loaded"
        bad = f"{many(file.bad, 'row')} would be set aside"
        if file.is_sum:
            return bad
        return many(file.lines, "row") + (f": {file.good:,} good, {file.bad:,} would be set aside" if file.bad else "")
    if file.is_broken:
        return "set aside whole" + (f" ({many(file.lines, 'readable line')})" if file.lines else "")
    copies = f", {many(file.duplicates, 'duplicate')}" if file.duplicates else ""
    return f"{many(file.lines, 'line')}: {file.good:,} good, {file.bad:,} bad{copies}"


def _file_problems(file: FileReport) -> Iterator[str]:
    """The problems; a remedy shared by consecutive problems is printed once, after the last of them."""
    unit = "line" if file.kind in CLICK_KINDS else "row"
    for problem, following in zip_longest(file.problems, file.problems[1:]):
        is_shared = following is not None and following.remedy == problem.remedy
        yield from _problem_lines(replace(problem, remedy="") if is_shared else problem, unit)
    if not file.is_broken and file.bad > len(file.problems):
        yield f"  ... and {many(file.bad - len(file.problems), f'more bad {unit}')}"


def _problem_lines(problem: Problem, unit: str) -> Iterator[str]:
    where = f"{unit} {problem.line}" if problem.line else ""
    where += f"{', ' if where else ''}{problem.column}" if problem.column else ""
    text = f"{where}: {problem.reason}" if where else problem.reason
    for line in text.splitlines():
        yield from _wrapped(line, "  ", "      ")
    if problem.remedy:
        yield from _wrapped(f"-> {problem.remedy}", "    ", "       ")


def _wrapped(text: str, first_indent: str, other_indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first_indent, subsequent_indent=other_indent, break_on_hyphens=False)


def _summary(report: Report) -> Iterator[str]:
    clicks = [file for file in report.files if file.kind in CLICK_KINDS]
    tables = [file for file in report.files if file.kind not in CLICK_KINDS]
    if clicks:
        lines, good = sum(file.lines for file in clicks), sum(file.good for file in clicks)
        bad, copies = sum(file.bad for file in clicks), sum(file.duplicates for file in clicks)
        broken = sum(file.is_broken for file in clicks)
        counts = f"{good:,} good, {bad:,} bad, {many(copies, 'duplicate')}"
        aside = f"; {many(broken, 'file')} set aside whole" if broken else ""
        yield f"clicks: {many(len(clicks), 'file')}, {many(lines, 'line')}: {counts}{aside}"
    if tables:
        remote, broken = sum(file.is_remote for file in tables), sum(file.is_broken for file in tables)
        bad, sums = sum(file.bad for file in tables), sum(file.is_sum for file in tables)
        yield (
            f"reference: {many(len(tables) - remote - sums, 'file')}, "
            + (f"{many(remote, 'table')} of PostgreSQL, " if remote else "")
            + many(sum(file.good for file in tables), "good row")
            + (f", {many(bad, 'bad row')}" if bad else "")
            + (f"; {many(broken, 'table' if remote else 'file')} broken" if broken else "")
        )
    if report.is_clean:
        yield "Everything keeps the contracts."
    if any(not file.is_clean for file in clicks):
        yield "Bad lines would be quarantined, and the rest used."
    if any(file.bad for file in tables):
        yield "Bad rows would be set aside, and the rest of their table used."
    if any(file.is_broken for file in tables):
        yield "A table that cannot be loaded keeps its last good version in force."
    if report.misplaced:
        yield "What lies in the wrong place would not be read."
