"""Numbers and foreign text in messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Characters that begin or end markup, a mention or a string in HTML, Markdown, chats or shells, and look-alikes of them.
LOOK_ALIKES = str.maketrans(dict(zip("<>&\"'`\\@[]{}", "‹›＆”’‘＼＠［］｛｝", strict=True)))  # noqa: RUF001  look-alikes on purpose


def many(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nearest(word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
    """The known word that was probably meant; "" where none is near."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")


def printable(text: str) -> str:
    r"""The text with what cannot be printed written out, as ``\n`` or ``\x1b``: control characters, marks, stray bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_markup(text: str, longest: int) -> str:
    """Foreign text for pages, chats and scripts: printable, look-alikes in place of markup, at most ``longest`` characters."""
    shown = printable(text).translate(LOOK_ALIKES)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
