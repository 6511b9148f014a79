"""Frames as small Markdown tables, and pictures embedded as data URLs, for run metadata and reports."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Collection
from typing import Any

import pandas as pd

from customer360.text import printable

LONGEST = 120
# Producers name categories and offers: their names must not become links, images or HTML in the UI.
MARKUP = re.compile(r"[\\`*|\[\]~$]")
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def table(frame: pd.DataFrame, money: Collection[str] = ()) -> str:
    """The frame as a Markdown table: numbers to four significant digits, empty cells where nothing is known.

    Columns of ``money`` have two decimals.
    """
    amounts = {name: frame[name].map(_amount, na_action="ignore").astype(object) for name in frame.columns if name in money}
    frame = frame.assign(**amounts)
    header = "| " + " | ".join(_text(str(column)) for column in frame.columns) + " |"
    rule = "|" + "|".join(" --- " for _ in frame.columns) + "|"
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join([header, rule, *rows])


def picture_in_text(name: str, png: bytes) -> str:
    """A picture as Markdown that needs no file beside it."""
    return f"![{name}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _amount(value: float) -> str:
    return f"{value:,.2f}"


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return _text(str(value))


def _text(text: str) -> str:
    shown = printable(text.replace("\n", " "))
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
    for mark, written in HTML.items():
        shown = shown.replace(mark, written)
    return MARKUP.sub(lambda found: f"\\{found[0]}", shown)
