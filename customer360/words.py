"""Numbers and foreign text in sentences."""

from __future__ import annotations


def many(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    r"""The text with what cannot be printed written out, as ``\n`` or ``\x1b``: control characters, marks, stray bytes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
