"""Numbers and foreign text in sentences."""

from __future__ import annotations

# What begins or ends markup, a mention or a string somewhere, beside a character that looks like it and means nothing.
LOOK_ALIKES = str.maketrans(dict(zip("<>&\"'`\\@[]{}", "‹›＆”’‘＼＠［］｛｝", strict=True)))  # noqa: RUF001  that they look alike is what they are for


def many(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    r"""The text with what cannot be printed written out, as ``\n`` or ``\x1b``: control characters, marks, stray bytes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def inert(text: str, longest: int) -> str:
    """Foreign text that no page, chat or script takes for anything but text: look-alikes for markup, at most ``longest``."""
    shown = printable(text).translate(LOOK_ALIKES)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
