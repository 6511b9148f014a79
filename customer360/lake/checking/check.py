"""``customer360 check``: files and tables against the contracts, by the pipeline's own rules, before anything runs.

Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from customer360.lake.checking.layout import ClickFiles, Misplaced, TableFiles, closest, read_layout
from customer360.lake.checking.proposal import describe, differing, options_yaml, propose
from customer360.lake.checking.remedies import remedy, value_remedy
from customer360.lake.checking.report import FileReport, Problem, Report
from customer360.lake.engine import connect, literal
from customer360.lake.landing.checked_lines import checked_lines
from customer360.lake.landing.contracts import CLICK_COLUMNS, EVENT_NAMES, reference_tables
from customer360.lake.landing.listing import LandedFile
from customer360.lake.landing.reading import ContentError, is_csv
from customer360.lake.landing.source_columns import Source
from customer360.lake.raw.raw_clicks import kept_rows
from customer360.lake.reference import reference
from customer360.lake.reference.postgres import UnreadableSourceError
from customer360.lake.reference.reference import CheckedTable
from customer360.lake.reference.reference_rows import LINE_NO, BrokenReferenceError, RowProblem
from customer360.lake.reference.unknown_keys import unknown_keys
from customer360.settings import Place, Settings, SourceOptions
from customer360.text import many, printable

SHOWN_UNKNOWN = 50
MEND_ROWS = "Rows count from 1, of CSV after the header. Leave a value empty where it is unknown, unless it is required."
REPEATS = "repeats the key"
REPEATED = "Of rows with one key the first by file and row is used. Take out the others, or give them a key of their own."
REPEATED_LINE = (
    "Number line_no 1, 2, ... within each order: rows with one number are one line, and only the first counts. Rows without "
    "line_no are lines of their own; a row that another file has too counts once."
)
ACTIVE = ("clicks", "purchases")
MOSTLY_BAD = 0.5  # share of bad rows above which other options are proposed
OF_CUSTOMERS = ("suppressions", "campaign_touches", "customers")
SHOWN_IDS = 3


def check(settings: Settings, path: Path, now: datetime, most: int = 10) -> Report:
    """Judge all files below ``path``: a landing folder, a part of one, any folder with click files, or one file.

    With a landing folder, or its reference folder, go the tables that the shop has in PostgreSQL; they are read whole.
    At most ``most`` problems are kept a file. ``now`` is the wall clock, UTC.
    Raises ``FileNotFoundError`` where nothing is there.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    layout = read_layout(settings.shop, path, now)
    with TemporaryDirectory(prefix="customer360-check-") as scratch:
        aside = settings.model_copy(update={"place": Place(root=Path(scratch))})
        checker = _Checker(aside, path.resolve(), most, now)
        for place in layout.misplaced:
            checker.add_misplaced(place)
        with connect(Path(scratch)) as connection:
            for clicks in layout.clicks:
                checker.add_clicks(connection, clicks)
        for table in layout.tables:
            checker.add_table(table)
        if layout.all_tables:
            for name in settings.shop.reference:
                checker.add_source(name, now)
    report = checker.report()
    if layout.unfinished:
        report.notes.append(f"not read: {many(layout.unfinished, 'unfinished file')}, named .*, _* or *.tmp")
    if not report.files and not report.misplaced:
        nothing = Problem(None, "", "holds no files", "See docs/your-data.md for the folders and an example.")
        report.misplaced.append((str(path), nothing))
    return report


@dataclass
class _Checker:
    """Collects the findings; names are shown relative to ``base``."""

    settings: Settings
    base: Path
    most: int
    now: datetime
    files: list[FileReport] = field(default_factory=list)
    misplaced: list[tuple[str, Problem]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    proposed: dict[str, SourceOptions] = field(default_factory=dict)
    extra: Counter[str] = field(default_factory=Counter)
    unknown_events: Counter[str] = field(default_factory=Counter)
    customers: dict[str, set[str]] = field(default_factory=dict)  # ids by where they occur: a table, or clicks
    ids: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)  # table -> column -> id -> rows

    def report(self) -> Report:
        notes = [
            *self.notes,
            *_unknown_notes(self.extra, self.unknown_events),
            *_unmatched_notes(self.customers),
            *self._unlisted(),
        ]
        return Report(self.files, self.misplaced, notes, options_yaml(self.proposed) if self.proposed else "")

    def _unlisted(self) -> Iterator[str]:
        """Keys that point nowhere, but for those that ``_unmatched_notes`` compares with clicks too."""
        compared = [(table, "customer_id") for table in OF_CUSTOMERS]
        for keys in unknown_keys(self.ids):
            if (keys.table, keys.column) not in compared:
                yield str(keys)

    def add_misplaced(self, place: Misplaced) -> None:
        self.misplaced.append((self._shown(place.path), Problem(None, "", place.reason, place.remedy)))

    def add_clicks(self, connection: duckdb.DuckDBPyConnection, group: ClickFiles) -> None:
        """The files of one slice, of the history, or of a plain folder."""
        if not group.files:
            return
        source = Source.of(self.settings.shop, group.kind)
        with checked_lines(connection, group.files, group.bounds, source, isolate=True):
            self._count_lines(connection, group)
            self._count_unknown(connection)
            ids = connection.execute(
                "select distinct customer_id from checked where reason is null and customer_id is not null"
            )
            self.customers.setdefault("clicks", set()).update(customer for (customer,) in ids.fetchall())
        for file, report in zip(group.files, self.files[-len(group.files) :], strict=True):
            self._propose(group.kind, file, report)

    def _count_lines(self, connection: duckdb.DuckDBPyConnection, group: ClickFiles) -> None:
        shop = self.settings.shop
        problems: dict[int, list[Problem]] = {}
        for number, line, column, reason in _first_problems(connection, self.most):
            problems.setdefault(number, []).append(Problem(line or None, column, reason, remedy(shop, column, reason)))
        for number, lines, good, bad, is_broken, kept in _line_counts(connection, group):
            self.files.append(
                FileReport(
                    self._shown(group.files[number].path),
                    group.kind,
                    lines=lines,
                    good=kept,
                    bad=bad,
                    duplicates=good - kept,
                    problems=tuple(problems.get(number, ())),
                    is_broken=is_broken,
                )
            )

    def add_table(self, group: TableFiles) -> None:
        """Judge each file alone, to list all broken files, then all files together, to find keys that two files share."""
        source = self.settings.shop.reference.get(group.table)
        if source is not None and group.files:
            remedy = f"Take the files away, or take {group.table} out of `reference` in shop.yaml."
            reason = f"is not read: {group.table} is {source.postgres.title}"
            self.add_misplaced(Misplaced(group.files[0].path.parent, reason, remedy))
            return
        reports = [self._table_file(group.table, file) for file in group.files]
        for file, report in zip(group.files, reports, strict=True):
            self._propose(group.table, file, report)
        self.files += reports
        if len(reports) > 1 and not any(report.is_broken for report in reports):
            together = reference.check_files(self.settings, group.table, group.files, self.most, self.now)
            repeats = together.set_aside - sum(report.bad for report in reports)
            if repeats:
                found = [problem for problem in together.problems if problem.fault.startswith(REPEATS)]
                name = f"{group.table}, all files together"
                problems = tuple(_problem(problem, with_file=True) for problem in found)
                self.files.append(FileReport(name, group.table, bad=repeats, problems=problems, is_sum=True))

    def add_source(self, table: str, now: datetime) -> None:
        """A table of PostgreSQL, as a load would read it."""
        source = self.settings.shop.reference[table].postgres
        name = f"{table}: {source.title}"
        try:
            checked = reference.check_postgres(self.settings, table, source, now, self.most)
        except (BrokenReferenceError, UnreadableSourceError) as error:
            found = Problem(None, "", str(error).removeprefix(f"{table}: "), "")
            self.files.append(FileReport(name, table, problems=(found,), is_broken=True, is_remote=True))
            return
        self.files.append(self._checked_table(name, table, checked, is_remote=True))

    def _table_file(self, table: str, file: LandedFile) -> FileReport:
        name = self._shown(file.path)
        try:
            checked = reference.check_files(self.settings, table, (file,), self.most, self.now)
        except BrokenReferenceError as error:
            cause = str(error).removeprefix(f"{table}: ").replace(str(file.path), "the file")
            problems = tuple(_problem(problem) for problem in error.problems[: self.most]) or (Problem(None, "", cause, ""),)
            return FileReport(name, table, problems=problems, is_broken=True)
        return self._checked_table(name, table, checked)

    def _propose(self, name: str, file: LandedFile, report: FileReport) -> None:
        """Note what is odd in a CSV file, and where most of it cannot be read by the shop's options, propose others."""
        if not is_csv(file):
            return
        options = self.settings.shop.sources.get(name, SourceOptions())
        zone = options.time_zone or self.settings.shop.time_zone
        try:
            proposal = propose(file, name, zone)
        except ContentError:  # the report names it
            return
        shown = self._shown(file.path)
        is_mostly_bad = report.is_broken or report.bad > MOSTLY_BAD * report.lines
        is_unread = is_mostly_bad and (
            differing(proposal.options, options) or bool(proposal.dates and proposal.dates.alternatives)
        )
        if is_unread and differing(proposal.options, options):
            self.notes.append(f"{shown}: {describe(proposal.options)}; the options below read it")
            self.proposed.setdefault(name, proposal.options)
        self.notes += [f"{shown}: {note}" for note in (proposal.notes if options == SourceOptions() or is_unread else ())]
        self.notes += [f"{shown}: {question}" for question in (proposal.questions if is_unread else ())]
        dates = proposal.dates
        if dates and dates.has_clock and not dates.has_offset and options.time_zone is None:
            taken = f"the options take {zone}, the shop's" if is_unread else "they are read as UTC"
            self.notes.append(
                f"{shown}: its times name no time zone; {taken}. Set `time_zone: {zone}` in `sources: {name}` where they are "
                "local, else `time_zone: UTC`"
            )

    def _checked_table(self, name: str, table: str, checked: CheckedTable, is_remote: bool = False) -> FileReport:
        self._note_unread(name, table, checked.ignored)
        self.notes += [f"{name}: {remark}" for remark in checked.remarks]
        self.customers.setdefault(table, set()).update(checked.ids.get("customer_id", ()))
        for column, rows in checked.ids.items():
            self.ids.setdefault(table, {}).setdefault(column, Counter()).update(rows)
        problems = tuple(_problem(problem) for problem in checked.problems)
        lines = checked.rows + checked.set_aside
        return FileReport(name, table, lines, checked.rows, checked.set_aside, problems=problems, is_remote=is_remote)

    def _note_unread(self, name: str, table: str, columns: list[str]) -> None:
        known = [column.name for column in reference_tables(self.settings.shop)[table].columns]
        for column in columns:
            self.notes.append(f"{name}: column {column}{closest(column, known)} is not in the contract; nobody reads it")

    def _count_unknown(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Count the columns and event names outside the contract."""
        keys = "select unnest(json_keys(extra)) as name from checked where extra is not null"
        self.extra.update(dict(connection.execute(f"select name, count(*) from ({keys}) group by name").fetchall()))
        known = ", ".join(literal(name) for name in EVENT_NAMES)
        events = f"select event_name as name from checked where reason is null and event_name not in ({known})"
        self.unknown_events.update(dict(connection.execute(f"select name, count(*) from ({events}) group by name").fetchall()))

    def _shown(self, path: Path) -> str:
        return printable(path.relative_to(self.base).as_posix() if path != self.base else path.name)


def _problem(found: RowProblem, with_file: bool = False) -> Problem:
    file = f"{found.file}: " if with_file else ""
    key = "" if found.row else f"{found.key}: "
    return Problem(found.row or None, found.column, f"{file}{key}{found.reason}", _remedy(found))


def _remedy(found: RowProblem) -> str:
    if found.fault.startswith(REPEATS):
        return REPEATED_LINE if LINE_NO in found.fault else REPEATED
    return value_remedy(found.reason) or MEND_ROWS


def _unmatched_notes(customers: Mapping[str, set[str]]) -> Iterator[str]:
    """Note the customers of a table that occur in no other data: their ids may be written in another form."""
    for table in OF_CUSTOMERS:
        other_tables = ACTIVE if table == "customers" else (*ACTIVE, "customers")
        known = set().union(*(customers.get(name, set()) for name in other_tables))
        unmatched = sorted(customers.get(table, set()) - known)
        if known and unmatched:
            folded = {_folded(customer): customer for customer in sorted(known)}
            shown = [
                f"{customer} ({folded[_folded(customer)]} is one)" if _folded(customer) in folded else customer
                for customer in unmatched[:SHOWN_IDS]
            ]
            finding = "occur in no click and no purchase" if table == "customers" else "match no customer"
            yield (
                f"{table}: {len(unmatched):,} of {many(len(customers[table]), 'customer')} {finding}, "
                f"such as {', '.join(map(printable, shown))}; letter case and leading zeros of ids are significant"
            )


def _folded(customer: str) -> str:
    """An id without letter case and leading zeros, which a spreadsheet takes away."""
    return customer.casefold().lstrip("0") or "0"


def _line_counts(connection: duckdb.DuckDBPyConnection, group: ClickFiles) -> list[tuple[int, int, int, int, bool, int]]:
    """By file: number, lines, lines that break no rule, lines that do, whether it was set aside whole, lines that are kept."""
    kept = kept_rows(group.slice_expression, group.copies_within)
    return connection.execute(
        f"""
        select files.file_no, count(line) filter (line > 0), count(*) filter (reason is null and line > 0),
            count(*) filter (reason is not null and line > 0), coalesce(bool_or(line = 0), false),
            coalesce(any_value(kept.rows), 0)
        from files
        left join checked using (file_no)
        left join (select source_file, count(*) as rows from ({kept}) group by all) as kept on kept.source_file = files.name
        group by files.file_no order by files.file_no
        """
    ).fetchall()


def _first_problems(connection: duckdb.DuckDBPyConnection, most: int) -> list[tuple[int, int, str, str]]:
    """The first bad lines of each file: file number, line, column, reason. Of a file that was set aside, only that."""
    return connection.execute(
        """
        select file_no, line, column_name, reason from checked
        where reason is not null and (line = 0 or file_no not in (select file_no from checked where line = 0))
        qualify row_number() over (partition by file_no order by line) <= ?
        order by file_no, line
        """,
        [most],
    ).fetchall()


def _unknown_notes(extra: Counter[str], events: Counter[str]) -> Iterator[str]:
    known = [column.name for column in CLICK_COLUMNS]
    for name, lines in sorted(extra.most_common(SHOWN_UNKNOWN)):
        yield f"clicks: column {name}{closest(name, known)} is not in the contract; {many(lines, 'line')} with it in extra"
    for name, lines in sorted(events.most_common(SHOWN_UNKNOWN)):
        yield f"clicks: event {name}{closest(name, EVENT_NAMES)} is kept and ignored in {many(lines, 'line')}"
    for kind, found in (("column", extra), ("event name", events)):
        if len(found) > SHOWN_UNKNOWN:
            yield f"clicks: {many(len(found) - SHOWN_UNKNOWN, f'more {kind}')} outside the contract, each in fewer lines"
