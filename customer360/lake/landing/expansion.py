"""Compressed files that expand out of all measure: a few megabytes that hold gigabytes of nothing, by accident or on purpose.

An event has an id and a time of its own, which take some bytes however well they are compressed; clicks compress to a tenth.
"""

from __future__ import annotations

MANY_LINES = 100_000
MANY_BYTES = 64 * 1024 * 1024
MOST_TIMES = 200
LEAST_BYTES = 4

EXPANDS = f"expands out of all measure: under {LEAST_BYTES} bytes a line, or over {MOST_TIMES} times its size"


class ExpandsError(ValueError):
    """A file that is not worth reading to its end."""


def refuse_expansion(size: int, lines: int, expanded: int) -> None:
    """Raise ``ExpandsError`` for ``lines`` lines or ``expanded`` bytes out of a file of ``size`` bytes; small ones may do."""
    if lines > max(MANY_LINES, size // LEAST_BYTES) or expanded > max(MANY_BYTES, MOST_TIMES * size):
        raise ExpandsError(EXPANDS)
