"""Files as broken producers, disks, copies and attackers leave them: several hundred, all from one seed.

Every file begins as a good one with ids of its own, so that each output row can be traced to its file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Line = dict[str, Any]
Files = dict[str, bytes]

KINDS = (".jsonl", ".jsonl.gz", ".csv", ".parquet")
LINES = 12
DEEP = 100_000

SQL_NAME = "'; drop table x; --"
HTML_NAME = "<script>alert(1)<\u2215script>"  # a slash cannot be in a name
NAMES = (
    SQL_NAME,
    HTML_NAME,
    'double "quoted"',
    "it''s",
    "back\\slash",
    "back\\*slash",
    "new\nline",
    "carriage\rreturn",
    "tab\tbed",
    "bell\a and \x1b[31mred",
    "-rf",
    "--help",
    "a b  c",
    "semi;colon,comma",
    "$(reboot)`reboot`",
    "%s%n{0}{}%00",
    "#hash",
    "star*",
    "ques?tion",
    "[brackets]",
    "[!a-z]",
    "**",
    "{a,b}",
    "~",
    "k=v",
    "slice_key=2020-01-01-00:00",
    "\u00e4\u00f6\u20ac\u4e2d\U0001f9e8",
    "e\u0301 and \u00e9",
    "\u202egnp.live",
    "\u2028separator",
    "caf\udce9",  # the byte E9: a name in latin-1
    "x" * 230,
)

VALUES: tuple[str, ...] = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 400,
    "0." + "3" * 400,
    "9223372036854775808",
    "-0",
    "01",
    "0x10",
    "1_000",
    ".5",
    "1.",
    "true",
    "[]",
    "{}",
    "[[[1]]]",
    '{"a":{"b":{"c":null}}}',
    '""',
    '" "',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    '"a\\u0000b"',
    '"\\uffff"',
    '"\\x41"',
    '"\\u12"',
    '"\\"',
    '"open',
    '"tab\there"',
    '"\\r\\n"',
    "'single'",
    "undefined",
    "None",
    "nan",
    "// comment",
    '"<script>alert(1)</script>"',
    '"\'; drop table checked; --"',
    '"{{ 7*7 }}${7*7}%s"',
    "\"=cmd|'/C calc'!A0\"",
    '"../../../../etc/passwd"',
    '"0000-00-00T00:00:00Z"',
    '"2026-02-30T12:00:00Z"',
    '"2026-05-01T24:00:00Z"',
    '"2026-05-01T23:59:60Z"',
    '"2026-05-01T12:00:00 Mars/Olympus"',
    '"294277-01-01T00:00:00Z"',
    '"-infinity"',
    '"epoch"',
    '"now"',
    '"today"',
    '"\u202e"',
    '"' + "A" * 70_000 + '"',
    '"' + "[" * 70_000 + '"',
)

ODD_LINES: tuple[str, ...] = (
    "[1, 2]",
    '["event_id", "x"]',
    '"text"',
    "7",
    "null",
    "true",
    "{",
    "}",
    "{}",
    '{"": ""}',
    "{]",
    "{,}",
    '{"event_id": "x",}',
    "{event_id: 'x'}",
    '{"event_id": "x"} {"event_id": "y"}',
    '{"event_id": "x"}garbage',
    "\x00",
    "\x00" * 1000,
    "\x1a",
    "\ufeff",
    "\u2028",
    "\x85",
    "\x0b\x0c",
    "<html><body>502 Bad Gateway</body></html>",
    "event_id,event_name,event_at",
    "-- drop table x;",
    "[" * DEEP,
    "]" * DEEP,
    "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP,
    '{"a":' * DEEP + "1" + "}" * DEEP,
    '{"event_id": ' + "[" * 9_000 + "]" * 9_000 + "}",
    '{"event_id": "x", "a": ' + "[" * 900 + "]" * 900 + "}",
    '{"event_id": "x", "event_id": "y", "event_id": null}',
    "{" + ",".join(f'"k{number}":{number}' for number in range(3_000)) + "}",
)


def clicks(stem: str, count: int = LINES) -> list[Line]:
    """Good lines of the slice 2026-05-01-12:00, some of them accented; the ids begin with ``stem``."""
    return [
        {
            "event_id": f"{stem}-{number}",
            "event_name": "purchase" if number % 4 == 0 else "view_item",
            "event_at": f"2026-05-01T12:{number % 15:02}:{number % 60:02}Z",
            "visitor_id": f"v{number % 3}",
            "product_id": "caf\u00e9" if number % 3 == 0 else f"p{number}",
            "dwell_seconds": number / 2,
            "order_id": f"o{number}" if number % 4 == 0 else None,
            "amount": float(number) if number % 4 == 0 else None,
            "theme": "dark",
        }
        for number in range(count)
    ]


def as_jsonl(lines: list[Line]) -> bytes:
    """JSON Lines, UTF-8."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def as_csv(lines: list[Line]) -> bytes:
    """CSV with a header, UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def as_parquet(lines: list[Line] | pa.Table, **options: Any) -> bytes:
    """Parquet with typed columns."""
    sink = io.BytesIO()
    pq.write_table(lines if isinstance(lines, pa.Table) else pa.Table.from_pylist(lines), sink, **options)
    return sink.getvalue()


def as_kind(kind: str, lines: list[Line]) -> bytes:
    """The lines in one of ``KINDS``."""
    if kind == ".parquet":
        return as_parquet(lines)
    if kind == ".csv":
        return as_csv(lines)
    return gzip.compress(as_jsonl(lines), mtime=0) if kind == ".jsonl.gz" else as_jsonl(lines)


# ---- damage that any file may suffer -----------------------------------------------------------------------------------


def _flipped(data: bytes, chance: Random, bits: int) -> bytes:
    changed = bytearray(data)
    for _ in range(bits):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwritten(data: bytes, chance: Random, block: bytes) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + block + data[at + len(block) :]


def _inserted(data: bytes, chance: Random, block: bytes) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + block + data[at:]


def _without(data: bytes, chance: Random) -> bytes:
    first, last = sorted(chance.sample(range(len(data)), 2))
    return data[:first] + data[last:]


def _twice(data: bytes, chance: Random) -> bytes:
    first, last = sorted(chance.sample(range(len(data)), 2))
    return data[:last] + data[first:last] + data[last:]


DAMAGE: dict[str, Callable[[bytes, Random], bytes]] = {
    "cut": lambda data, chance: data[: chance.randrange(len(data))],
    "cut a little": lambda data, chance: data[: -chance.randint(1, 12)],
    "begun late": lambda data, chance: data[chance.randint(1, len(data) - 1) :],
    "one bit": lambda data, chance: _flipped(data, chance, 1),
    "many bits": lambda data, chance: _flipped(data, chance, chance.randint(2, 60)),
    "a block of zeros": lambda data, chance: _overwritten(data, chance, bytes(chance.randint(1, 64))),
    "a block of noise": lambda data, chance: _overwritten(data, chance, chance.randbytes(chance.randint(1, 64))),
    "noise put in": lambda data, chance: _inserted(data, chance, chance.randbytes(chance.randint(1, 16))),
    "NUL bytes put in": lambda data, chance: _inserted(data, chance, bytes(chance.randint(1, 3))),
    "line ends put in": lambda data, chance: _inserted(data, chance, chance.choice([b"\n", b"\r", b"\r\n", b"\n\n\n"])),
    "quotes put in": lambda data, chance: _inserted(data, chance, chance.choice([b'"', b"'", b'""', b'\\"', b'",'])),
    "a surrogate put in": lambda data, chance: _inserted(data, chance, b"\xed\xa0\x80"),
    "a part missing": _without,
    "a part twice": _twice,
    "whole twice": lambda data, chance: data + data,
    "garbage after it": lambda data, chance: data + chance.randbytes(chance.randint(1, 40)),
    "zeros after it": lambda data, chance: data + bytes(chance.randint(1, 4096)),
}


def damaged(seed: int, rounds: int) -> Files:
    """Every damage to every file type, ``rounds`` times."""
    chance = Random(seed)
    files: Files = {}
    for turn in range(rounds):
        for number, (damage, change) in enumerate(DAMAGE.items()):
            for kind in KINDS:
                stem = f"d{turn}-{number}"
                files[f"{stem} {damage}{kind}"] = change(as_kind(kind, clicks(f"{stem}{kind}")), chance)
    return files


# ---- what is wrong with one type only ----------------------------------------------------------------------------------


def whole_files(chance: Random) -> Files:
    """Files that are nothing of what their name says, or nothing at all."""
    page = b"<!doctype html><html><body>502 Bad Gateway</body></html>\n"
    contents = {"empty": b"", "a newline": b"\n", "blanks": b" \t\r\n \n", "a NUL": b"\0", "noise": chance.randbytes(3000)}
    contents |= {"a page": page, "a million NULs": bytes(1_000_000), "magic": b"PAR1", "magic twice": b"PAR1" * 2}
    contents |= {f"in truth {actual[1:]}": as_kind(actual, clicks(f"other{actual}")) for actual in KINDS}
    files = {f"w {name}{kind}": data for name, data in contents.items() for kind in KINDS}
    unknown = (".JSONL", ".json", ".xlsx", ".jsonl.bz2", ".csv.gz", ".parquet.gz", ".sql", ".html", "")
    return files | {f"w unknown{suffix}": as_jsonl(clicks(f"unknown{suffix}")) for suffix in unknown}


def encodings() -> Files:
    """Text in other encodings, with other line ends, with byte order marks."""
    files: Files = {}
    for kind, write in ((".jsonl", as_jsonl), (".csv", as_csv)):
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "cp500", "utf-7", "utf-8-sig"):
            text = write(clicks(f"e {encoding}{kind}")).decode()
            files[f"e {encoding}{kind}"] = text.encode(encoding)
        for name, end in {"CR": "\r", "CRLF": "\r\n", "LFCR": "\n\r", "CRCRLF": "\r\r\n"}.items():
            text = write(clicks(f"e {name}{kind}")).decode().replace("\r\n", "\n")
            files[f"e {name}{kind}"] = text.replace("\n", end).encode()
    return files | {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in files.items() if name.endswith(".jsonl")}


def odd_json(chance: Random) -> Files:
    """Odd values in odd places, and lines that are no events, each between good lines."""
    files: Files = {}
    for number, value in enumerate(VALUES):
        lines = clicks(f"v{number}", 4)
        texts = [json.dumps(line, ensure_ascii=False) for line in lines]
        column = chance.choice(list(lines[2]))
        other_fields = json.dumps({name: of for name, of in lines[2].items() if name != column})[1:]
        texts[2] = f'{{"{column}": {value}, {other_fields}'
        texts[3] = f'{{"odd": {value}, {texts[3][1:]}'
        files[f"v{number} {column}.jsonl"] = "\n".join(texts).encode("utf-8", "surrogatepass")
    for number, odd in enumerate(ODD_LINES):
        first, last = (json.dumps(line) for line in clicks(f"o{number}", 2))
        files[f"o{number}.jsonl"] = f"{first}\n{odd}\n{last}".encode()
    return files


def odd_gzip() -> Files:
    """Gzip cut at every eighth of its length and in its header and trailer, in several members, with garbage, and a bomb."""
    data = gzip.compress(as_jsonl(clicks("g", 400)), mtime=0)
    cuts = {*range(1, 12), *range(len(data) // 8, len(data), len(data) // 8), *range(len(data) - 9, len(data))}
    files = {f"g cut at {cut}.jsonl.gz": data[:cut] for cut in sorted(cuts)}
    two = [gzip.compress(as_jsonl(clicks(f"g{part}", 3)), mtime=0) for part in "ab"]
    files["g two members.jsonl.gz"] = b"".join(two)
    files["g an empty member.jsonl.gz"] = gzip.compress(b"") + gzip.compress(as_jsonl(clicks("g empty", 3)))
    files["g second cut.jsonl.gz"] = two[0] + two[1][:-5]
    files["g garbage after.jsonl.gz"] = gzip.compress(as_jsonl(clicks("g garbage", 3))) + b"garbage"
    files["g a line after.jsonl.gz"] = gzip.compress(as_jsonl(clicks("g line", 3))) + as_jsonl(clicks("g plain", 1))
    files["g gzip in gzip.jsonl.gz"] = gzip.compress(gzip.compress(as_jsonl(clicks("g twice", 3))))
    files["g zlib.jsonl.gz"] = zlib.compress(as_jsonl(clicks("g zlib")))
    files["g wrong method.jsonl.gz"] = data[:2] + b"\x07" + data[3:]
    files["g wrong length.jsonl.gz"] = data[:-4] + struct.pack("<I", 7)
    files["g in truth zip.jsonl.gz"] = b"PK\x03\x04" + data
    files["g bomb.jsonl.gz"] = gzip.compress(bytes(40_000_000), mtime=0)
    return files


def odd_csv() -> Files:
    """Quotes, delimiters, headers and rows that do not fit."""
    head = "event_id,event_name,event_at,visitor_id"
    row = "{},view_item,2026-05-01T12:01:00Z,v"
    texts = {
        "open quote at the end": f'{head}\n{row.format("c1")}\nc2,"view_item,2026-05-01T12:01:00Z,v\n',
        "open quote first": f'{head}\n"c3,view_item,2026-05-01T12:01:00Z,v\n{row.format("c4")}\n',
        "quote within": f'{head}\nc5,vi"ew"_item,2026-05-01T12:01:00Z,v\n{row.format("c6")}\n',
        "text after quote": f'{head}\n"c7"x,view_item,2026-05-01T12:01:00Z,v\n{row.format("c8")}\n',
        "ragged": f"{head}\n{row.format('c9')},more,and,more\nc10\n,,,\n,\n{row.format('c11')}\n",
        "no header": f"{row.format('c12')}\n{row.format('c13')}\n",
        "header twice": f"{head},event_id\n{row.format('c14')},c15\n",
        "empty names": f"{head},,\n{row.format('c16')},a,b\n",
        "quoted header": f'"event_id","event_name","event_at","visitor_id","a ""b"", c"\n{row.format("c17")},x\n',
        "upper case": f"{head.upper()}\n{row.format('c18')}\n",
        "blanks in header": f"{head.replace(',', ' , ')}\n{row.format('c19')}\n",
        "semicolons": f"{head}\n{row.format('c20')}\n".replace(",", ";"),
        "tabs": f"{head}\n{row.format('c21')}\n".replace(",", "\t"),
        "sep line": f"sep=,\n{head}\n{row.format('c22')}\n",
        "comment": f"# made by hand\n{head}\n{row.format('c23')}\n",
        "header only": head,
        "a line within quotes": f'{head},note\n{row.format("c24")},"1\n2\r\n3\n\n"\n{row.format("c25")},"{chr(10) * 50}"\n',
        "formula": f"{head},note\n{row.format('c26')},=cmd|'/C calc'!A0\n",
        "html": f"{head},note\n{row.format('c27')},<script>alert(1)</script>\n",
        "very many columns": ",".join([head, *(f"k{n}" for n in range(6_000))]) + f"\n{row.format('c28')}{',1' * 6_000}\n",
        "very many unfit columns": f"{head}\n{row.format('c29')}{',1' * 200_000}\n{row.format('c30')}\n",
        "deep value": f"{head},deep\n{row.format('c31')},{'[' * DEEP}\n",
        "huge value": f"{head},huge\n{row.format('c32')},{'x' * 900_000}\n",
        "only quotes": '"' * 1001,
        "only commas": ("," * 50 + "\n") * 50,
    }
    return {f"c {name}.csv": text.encode() for name, text in texts.items()}


def odd_parquet() -> Files:
    """Columns of wrong and nested types, without the required ones, named oddly, very many, and none."""
    moment = datetime.fromisoformat("2026-05-01T12:01:00")

    def table(stem: str, **columns: Any) -> pa.Table:
        base: dict[str, Any] = {
            "event_id": pa.array([f"{stem}-{n}" for n in range(3)]),
            "event_name": pa.array(["view_item"] * 3),
            "event_at": pa.array([moment] * 3),
            "visitor_id": pa.array(["v"] * 3),
        }
        return pa.table({name: values for name, values in (base | columns).items() if values is not None})

    ids = pa.array(["q-1", "q-2", None])
    odd: dict[str, pa.Array[Any]] = {
        "list": pa.array([[1], [], None]),
        "struct": pa.array([{"a": {"b": 1}}, {"a": None}, None]),
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([b"\xff\xfe", b"x", None]),
        "bool": pa.array([True, False, None]),
        "null": pa.nulls(3),
        "int8": pa.array([-1, 1, None], pa.int8()),
        "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "decimal256": pa.array([Decimal(10**60), Decimal(1), None], pa.decimal256(70, 2)),
        "half": pa.array([1.5, 2.5, None], pa.float16()),
        "float": pa.array([float("nan"), float("-inf"), None]),
        "date": pa.array([date(1, 1, 1), date(9999, 12, 31), None]),
        "ns": pa.array([-(2**63) + 1, 2**63 - 1, None], pa.int64()).cast(pa.timestamp("ns")),
        "us": pa.array([-(2**63) + 1, 2**63 - 1, None], pa.int64()).cast(pa.timestamp("us")),
        "zone": pa.array([2**62, 0, None], pa.int64()).cast(pa.timestamp("us", "Asia/Tokyo")),
        "time": pa.array([1, 2, None], pa.time64("us")),
        "duration": pa.array([1, 2, None], pa.duration("us")),
        "dictionary": ids.dictionary_encode(),
    }
    tables = {
        f"{column} as {name}": table(f"p {column} {name}", **{column: values})
        for name, values in odd.items()
        for column in ("event_id", "event_at", "amount", "line_no")
    }
    for column in ("event_id", "event_name", "event_at", "visitor_id"):
        tables[f"without {column}"] = table("p without", **{column: None})
        tables[f"upper case {column}"] = table("p upper", **{column: None, column.upper(): ids})
    tables["no columns"] = pa.table({})
    tables["no rows"] = table("none").slice(0, 0)
    tables["very many columns"] = table("p many", **{f"k{n}": pa.nulls(3) for n in range(2_000)})
    named = ("", " ", 'a"b', "'; drop table x; --", "<script>", "a.b", "line\nbreak", "EVENT_id", "rowid", "\u00e4", "select")
    for number, name in enumerate(named):
        tables[f"column named {number}"] = table(f"p named {number}", **{name: ids})
    files = {f"p {name}.parquet": as_parquet(content) for name, content in tables.items()}
    rows = clicks("p rows", 50)
    for codec in ("none", "gzip", "brotli", "zstd", "lz4"):
        files[f"p {codec}.parquet"] = as_parquet(pa.Table.from_pylist(rows), compression=codec)  # the same rows: copies
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["event_id", "event_id"])
    return files | {"p a name twice.parquet": as_parquet(twice)}


def odd_names() -> Files:
    """Good files and broken ones under every odd name; links and pipes are for the test to make."""
    files: Files = {}
    for number, stem in enumerate(NAMES):
        for kind in KINDS:
            lines = clicks(f"n{number}{kind}", 3)
            files[f"{stem}{kind}"] = as_kind(kind, [*lines[:2], {**lines[2], "event_at": "never", "theme": HTML_NAME}])
    return files


def all_bad_files(seed: int = 20260501, rounds: int = 2) -> Files:
    """Everything above."""
    chance = Random(seed)
    parts: Iterator[Files] = iter(
        (
            damaged(seed, rounds),
            whole_files(chance),
            encodings(),
            odd_json(chance),
            odd_gzip(),
            odd_csv(),
            odd_parquet(),
            odd_names(),
        )
    )
    return {name: data for part in parts for name, data in part.items()}
