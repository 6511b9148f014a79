"""DuckDB's errors without the values that they quote: ``Could not convert string 'anna@example.org' to INT32``.

Readers of logs may lack the right to read rows. Errors about SQL, files and memory quote no row and pass as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

OF_NO_ROW = (
    *("Binder", "Catalog", "Parser", "IO", "Out of Memory", "Not implemented", "Dependency", "TransactionContext"),
    *("Permission", "Connection", "INTERRUPT", "Interrupt", "FATAL", "INTERNAL"),
)
KIND = re.compile(r"\b(?P<kind>[A-Z][A-Za-z]*(?: [A-Z][a-z]+| of [A-Z][a-z]+| implemented)*) Error: ")
WITHHELD = "what it says quotes a value, which has no place in a log"


def redacted(text: str, see: str) -> str:
    """The text up to the first error that may quote a row, and the kind of that; ``see`` says where more is to be seen."""
    for found in KIND.finditer(text):
        if found["kind"] not in OF_NO_ROW:
            return f"{text[: found.start()]}{found['kind']} Error: {WITHHELD}; {see}"
    return text


@contextmanager
def redacted_errors(see: str) -> Iterator[None]:
    """Have DuckDB's errors of this block quote no row. The error is raised anew, without the one that quotes."""
    try:
        yield
    except duckdb.Error as error:
        message = redacted(str(error), see)
        if message == str(error):
            raise
        raise type(error)(message) from None
