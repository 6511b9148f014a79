"""How a text file is written: encoding, delimiter, titles, and the form of numbers and dates, as far as its values tell.

Nothing is guessed: where values allow two readings, both are named with what speaks for each.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path

from customer360.lake.landing.listing import LandedFile
from customer360.lake.landing.reading import csv_dialect, open_bytes, open_text, refuse_blank, refuse_content, text_lines
from customer360.settings import WHITESPACE, SourceOptions

SAMPLE_BYTES = 4 * 1024 * 1024
SAMPLE_LINES = 200
DELIMITERS = (",", ";", "\t", "|", WHITESPACE)
WESTERN = "áéíóúàèìòùäöüßñçåøæœêâîôûëïãõÁÉÍÓÚÀÈÄÖÜÑÇÅØÆÊÂÎÔÛËÏÃÕ€£©®°²³½¼·„•…™«»¿¡" + "\u2013\u2014\u2018\u2019\u201c\u201d"
CENTRAL = "áéíóúäöüßôâîęąćłńśźżĘĄĆŁŃŚŹŻčďěňřšťůžýČĎĚŇŘŠŤŮŽÝőűŐŰăşţĂŞŢ€„•…™«»" + "\u2013\u2014\u2018\u2019\u201c\u201d"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёєіїґ"
ALPHABETS = {  # the first of equal scores is proposed
    "windows-1252": WESTERN,
    "windows-1250": CENTRAL,
    "windows-1251": CYRILLIC,
    "koi8-r": CYRILLIC,
    "mac-roman": WESTERN,
    "cp850": WESTERN,
}
MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NUMBER = re.compile(r"[-+(]?\s*\D{0,4}\s*[-+]?\d[\d.,'\u2019\u00a0\u202f ]*(e[+-]?\d+)?\s*\D{0,4}\s*[-)]?", re.IGNORECASE)
NUMBER_FORMS: tuple[tuple[str, str | None], ...] = (
    (".", None), (",", None), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"),
)  # fmt: skip
DATE = re.compile(
    r"(?P<a>\d{1,4})(?P<mark>[./ -])(?P<b>\d{1,2}|[A-Za-z]{3,9})(?P=mark)(?P<c>\d{2,4})"
    r"(?:(?P<gap>[ T]|, )(?P<clock>\d{1,2}:\d\d)(?P<seconds>:\d\d)?(?P<fraction>\.\d+)?(?P<half> ?[AaPp][Mm])?)?"
)
COMPACT_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
ISO_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?", re.IGNORECASE
)
OFFSET = re.compile(r".*:\d\d([.,]\d+)? ?(Z|[+-]\d\d(:?\d\d)?)", re.IGNORECASE)
FLOAT_ID = re.compile(r"\d+\.0+")
EXPONENT = re.compile(r"\d(\.\d+)?e\+?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """How a CSV file is written: options, the header's names, and notes about what was seen (titles, totals)."""

    options: SourceOptions
    names: list[str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Dates:
    """The formats that read all values (none for ISO 8601), whether a value has a clock time and an offset.

    Where days and months cannot be told apart, ``alternatives`` holds the other reading and ``evidence`` what was seen.
    """

    formats: list[str]
    has_clock: bool = False
    has_offset: bool = False
    alternatives: list[str] = field(default_factory=list)
    evidence: str = ""


def detect_encoding(path: Path) -> str:
    """The encoding of a text file: by its byte order mark, UTF-8 where all bytes are, else the one that fits its letters."""
    start, others = b"", b""
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8 = True
    with open_bytes(path) as stream:
        while chunk := stream.read(SAMPLE_BYTES):
            start = start or chunk
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
                lines = [line for line in chunk.split(b"\n") if any(byte > 127 for byte in line)]
                others += b"\n".join(lines[:SAMPLE_LINES])
                break
    marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
    if marked or start[:4000].count(0) > len(start[:4000]) // 4:
        return marked or ("utf-16-le" if start[1:2] == b"\0" else "utf-16-be")
    return "utf-8" if is_utf8 else max(ALPHABETS, key=lambda name: _fit(others, name))


def _fit(text: bytes, encoding: str) -> float:
    letters = [letter for letter in text.decode(encoding, "replace") if letter > "\x7f"]
    alphabet = ALPHABETS[encoding]
    return sum(1.0 if letter in alphabet else 0.9 * (letter.lower() in alphabet) for letter in letters) / max(len(letters), 1)


def detect_form(file: LandedFile) -> Form:
    """How a CSV file is written. Raises ``ContentError`` where it is no text or empty."""
    with open_bytes(file.path) as stream:
        start = stream.read(4096)
    encoding = detect_encoding(file.path)
    refuse_content(start, encoding)
    refuse_blank(start)
    base = SourceOptions(encoding=encoding)
    with open_text(file, base) as text:
        lines = list(islice(text, SAMPLE_LINES))
    found = [(_consistency(lines, base.model_copy(update={"delimiter": mark})), mark) for mark in DELIMITERS]
    (score, _width), delimiter = max(found, key=lambda item: (item[0], -DELIMITERS.index(item[1])))
    options = base.model_copy(update={"delimiter": delimiter if score else ","})
    return _with_header(lines, options)


def _consistency(lines: list[str], options: SourceOptions) -> tuple[float, int]:
    """The share of rows with the most frequent number of fields, and that number; 0 where that is one field."""
    widths = Counter(len(record) for _, record in _records(lines, options) if record)
    if not widths:
        return 0, 1
    width, rows = max(widths.items(), key=lambda item: (item[1] if item[0] > 1 else 0, item[0]))
    blanks = 0.5 if options.delimiter == WHITESPACE else 1.0  # sentences have as many words by chance
    return (blanks * round(rows / widths.total(), 2) if width > 1 else 0, width)


def _records(lines: Iterable[str], options: SourceOptions) -> Iterator[tuple[int, list[str]]]:
    """Records with the number of the line that each begins on, from 0; the last one may be cut."""
    reader = csv.reader(text_lines(lines, options), **{**csv_dialect(options), "strict": False})
    before = 0
    try:
        for record in reader:
            yield before, record
            before = reader.line_num
    except csv.Error:
        return


def _with_header(lines: list[str], options: SourceOptions) -> Form:
    records = [(number, record) for number, record in _records(lines, options) if record]
    width = Counter(len(record) for _, record in records).most_common(1)[0][0]
    # A header may lack the empty field that a delimiter at the end of each row makes.
    least = width - 1 if all(not record[-1] for _, record in records if len(record) == width) else width
    named = ((number, record) for number, record in records if len(record) >= least and sum(map(bool, record)) > width / 2)
    skipped, names = next(named, records[0])
    notes = [f"{skipped} line{'s' * (skipped > 1)} above the header"] if skipped else []
    if any(NUMBER.fullmatch(name.strip()) or DATE.fullmatch(name.strip()) for name in names if name.strip()):
        header = [f"column{number}" for number in range(1, width + 1)]
        return Form(options.model_copy(update={"skip_lines": skipped, "header": header}), header, [*notes, "no header"])
    names = [name.strip().removeprefix("\ufeff") or f"unnamed {number}" for number, name in enumerate(names, 1)]
    return Form(options.model_copy(update={"skip_lines": skipped}), names, notes)


def detect_numbers(values: Iterable[str]) -> tuple[tuple[str, str | None], list[str]]:
    """Decimal sign and thousands separator that read most ``values``, the simplest of equal ones; and the values left over."""
    distinct = {value for value in values if value.strip()}
    unread = {form: [value for value in distinct if not _is_number(value, form)] for form in NUMBER_FORMS}
    best = min(NUMBER_FORMS, key=lambda form: len(unread[form]))
    return best, sorted(unread[best])


def _is_number(value: str, form: tuple[str, str | None]) -> bool:
    if not NUMBER.fullmatch(value.strip()):
        return False
    decimal, thousands = form
    plain = value.replace("\u2019", "'").replace("\u00a0", " ").replace("\u202f", " ")
    bare = re.sub(r"[^\d.,' ]", "", plain).strip()
    groups = rf"\d{{1,3}}(?:[{thousands}]\d{{2,3}})*[{thousands}]\d{{3}}|" if thousands else ""
    return bool(re.fullmatch(rf"(?:{groups}\d+)(?:[{decimal}]\d*)?|[{decimal}]\d+", bare))


def is_number_ambiguous(values: Iterable[str]) -> bool:
    """True where every value with a separator has one, and three digits behind it: 1,234 may be thousands or decimals."""
    separated = [value for value in values if re.search(r"[.,]", value)]
    return bool(separated) and all(re.fullmatch(r"[^\d]*\d{1,3}[.,]\d{3}[^\d]*", value) for value in separated)


def detect_dates(values: Sequence[str]) -> Dates | None:
    """How all ``values`` are written as times, None where they are none."""
    values = [value.strip() for value in values if value.strip()]
    if not values:
        return None
    if all(ISO_TIME.fullmatch(value) for value in values):
        return Dates([], any(":" in value for value in values), all(OFFSET.fullmatch(value) for value in values))
    if all(COMPACT_DATE.fullmatch(value) for value in values):
        return Dates(["%Y%m%d"])
    found = [DATE.fullmatch(value) for value in values]
    matches = [match for match in found if match]
    order = _order(matches) if len(matches) == len(values) else None
    if order is None:
        return None
    formats = sorted({_format(match, order) for match in matches}, key=len, reverse=True)
    dates = Dates(formats, any(match["clock"] for match in matches))
    firsts, seconds = _parts(matches)
    if order in {"dmy", "mdy"} and max(firsts) <= 12 and max(seconds) <= 12:
        other = "mdy" if order == "dmy" else "dmy"
        alternatives = sorted({_format(match, other) for match in matches}, key=len, reverse=True)
        return replace(dates, alternatives=alternatives, evidence=_evidence(values, formats, alternatives, matches))
    return dates


def _parts(matches: list[re.Match[str]]) -> tuple[list[int], list[int]]:
    digits = [match for match in matches if match["b"].isdigit()]
    return [int(match["a"]) for match in digits] or [0], [int(match["b"]) for match in digits] or [0]


def _order(matches: list[re.Match[str]]) -> str | None:
    """``ymd``, ``dmy``, ``mdy``, ``dby`` (a month's name); None where the values have no common one."""
    years_first = {len(match["a"]) == 4 for match in matches}
    if len(years_first) > 1 or {match["b"].isdigit() for match in matches} == {True, False}:
        return None
    firsts, seconds = _parts(matches)
    if years_first == {True}:
        return "ymd" if max(seconds) <= 12 else "ydm"
    if not matches[0]["b"].isdigit():
        return "dby"
    if max(firsts) > 12:
        return "dmy" if max(seconds) <= 12 and max(firsts) <= 31 else None
    return "mdy" if max(seconds) > 12 or matches[0]["mark"] == "/" else "dmy"


def _format(match: re.Match[str], order: str) -> str:
    year = "%Y" if len(match["a" if order.startswith("y") else "c"]) == 4 else "%y"
    month = "%m" if match["b"].isdigit() else "%b" if len(match["b"]) == 3 else "%B"
    parts = {"y": year, "m": "%m", "d": "%d", "b": month}
    date = match["mark"].join(parts[letter] for letter in order)
    if not match["clock"]:
        return date
    seconds = ":%S" if match["seconds"] else ""
    fraction = ".%f" if match["fraction"] else ""
    half = match["half"]
    hour = "%I" if half else "%H"
    return f"{date}{match['gap']}{hour}:%M{seconds}{fraction}{(' ' if half.startswith(' ') else '') + '%p' if half else ''}"


def _evidence(values: list[str], formats: list[str], alternatives: list[str], matches: list[re.Match[str]]) -> str:
    """What speaks for each reading: in how many pairs of neighbours time goes on, and the span that it gives."""
    found = []
    for candidates in (formats, alternatives):
        times = [time for value in values if (time := _parsed(value, candidates))]
        forward = sum(before <= after for before, after in pairwise(times)) / max(len(times) - 1, 1)
        found.append(f"{candidates[0]} gives {min(times):%Y-%m-%d} to {max(times):%Y-%m-%d}, in order in {forward:.0%} of rows")
    return f"no day is above 12 in {len(matches):,} values, such as {values[0]}; {'; '.join(found)}"


def _parsed(value: str, formats: list[str]) -> datetime | None:
    for form in formats:
        try:
            return datetime.strptime(value, form)  # noqa: DTZ007  # local times are compared with each other only
        except ValueError:
            continue
    return None
