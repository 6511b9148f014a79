"""Figures as pictures: drawn by the server, so that a page needs no script for them and its browser no work.

plotly.js takes over a figure that is pointed at: it takes .4 s to start, in which a page does not answer. What a trace means is
as in plotly: ``scatter`` (lines, markers, ``fill`` to the trace before, ``error_y``), ``bar`` and ``heatmap``. Shapes are an
SVG that is stretched to the room that there is; labels are HTML beside it, which is not.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from babel import dates, numbers
from django.conf import settings
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

COLORS, MOST_ACROSS, MOST_DOWN, MOST_MARKERS, VALUE_TICKS, LONGEST_VALUE = 8, 9, 24, 60, 5, 9
Trace = Mapping[str, Any]
Ticks = list[tuple[float, str]]


def picture(figure: Mapping[str, Any]) -> SafeString:
    """The HTML of a figure as ``charts`` makes it; nothing where it has no trace."""
    traces = figure["data"]
    if not traces:
        return SafeString()
    if traces[0]["type"] == "heatmap":
        return _heatmap(traces[0], figure.get("unit", ""))
    is_lying = traces[0].get("orientation") == "h"
    along, across = ("y", "x") if is_lying else ("x", "y")
    steps = _steps([place for trace in traces for place in trace[along]], figure["layout"].get(f"{along}axis", {}))
    is_stacked = figure["layout"].get("barmode") == "stack"
    scale = _scale(_extremes(traces, across, is_stacked=is_stacked))
    shapes = list(_shapes(traces, steps, scale, along, across, is_stacked=is_stacked, is_lying=is_lying))
    ticks = [(scale.place(value), _written(value, scale.step, figure.get("unit", ""))) for value in scale.ticks]
    if is_lying:
        lines = "".join(f"M{place:.2f} 0V100" for place, _ in ticks)
        return _framed(shapes, ticks, steps.ticks(MOST_DOWN), _legend(figure), lines)
    lines = "".join(f"M0 {100 - place:.2f}H100" for place, _ in ticks)
    return _framed(shapes, steps.ticks(MOST_ACROSS), [(100 - place, text) for place, text in ticks], _legend(figure), lines)


@dataclass(frozen=True)
class _Steps:
    """Places from 0 to 100 of what stands side by side, and how wide each is."""

    places: Mapping[Any, float]
    width: float

    def ticks(self, most: int) -> Ticks:
        """Of at most so many of them."""
        every = math.ceil(len(self.places) / most)
        return [(place, _named(value)) for value, place in [*self.places.items()][::every]]


def _steps(values: Sequence[Any], axis: Mapping[str, Any]) -> _Steps:
    """Times stand as far from each other as they are; all else in the order in which it is named."""
    known = [*dict.fromkeys(values)]
    times = None if axis.get("type") == "category" else _times(known)
    if times is None or len(known) < 2:
        width = 100 / len(known)
        return _Steps({value: width * (place + 0.5) for place, value in enumerate(known)}, width)
    gap = min(filter(None, times.sort_values().diff().dropna()))
    span = times.max() - times.min() + gap
    inorder = sorted(zip(known, times, strict=True), key=lambda pair: pair[1])
    return _Steps({value: 100 * float((at - times.min() + gap / 2) / span) for value, at in inorder}, 100 * float(gap / span))


def _times(values: Sequence[Any]) -> pd.Series[pd.Timestamp] | None:
    """The values as times, where they are ISO 8601 as ``charts`` writes it."""
    if not all(isinstance(value, str) and value[4:5] == "-" and value[:4].isdigit() for value in values):
        return None
    times = pd.to_datetime(pd.Series(values), format="ISO8601", errors="coerce")
    return None if times.isna().any() else times


@dataclass(frozen=True)
class _Scale:
    """Values from ``low`` to ``high``, with a line at each ``step``."""

    low: float
    high: float
    step: float

    def place(self, value: float) -> float:
        """From 0 to 100."""
        return 100 * (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """The lines, from the lowest."""
        return [self.low + self.step * number for number in range(round((self.high - self.low) / self.step) + 1)]


def _scale(extremes: tuple[float, float]) -> _Scale:
    """With 0 in it, and steps of 1, 2 or 5 times a power of ten."""
    low, high = min(0.0, extremes[0]), max(0.0, extremes[1])
    rough = (high - low or 1.0) / VALUE_TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return _Scale(math.floor(low / step) * step, math.ceil((high or 1.0 if high == low else high) / step) * step, step)


def _extremes(traces: Sequence[Trace], across: str, *, is_stacked: bool) -> tuple[float, float]:
    if is_stacked:
        sums = pd.DataFrame([dict(zip(trace["x" if across == "y" else "y"], trace[across], strict=True)) for trace in traces])
        found = [0.0, float(sums.sum().max())]
    else:
        found = [value for trace in traces for value in trace[across] if value is not None]
        for trace in traces:
            found += [end for _value, *ends in _errors(trace) for end in ends]
    return min(found, default=0.0), max(found, default=0.0)


def _errors(trace: Trace) -> list[tuple[float, float, float]]:
    """Each value with the ends of its error bar."""
    if "error_y" not in trace:
        return []
    sides = zip(trace["y"], trace["error_y"]["arrayminus"], trace["error_y"]["array"], strict=True)
    return [(value, value - (below or 0.0), value + (above or 0.0)) for value, below, above in sides]


def _shapes(
    traces: Sequence[Trace], steps: _Steps, scale: _Scale, along: str, across: str, *, is_stacked: bool, is_lying: bool
) -> Iterator[SafeString]:
    bars = [trace for trace in traces if trace["type"] == "bar"]
    width = 0.8 * steps.width / (1 if is_stacked else max(len(bars), 1))
    below: dict[Any, float] = {}
    before: list[tuple[float, float]] = []
    for number, trace in enumerate(traces):
        color = f"c{number % COLORS}"
        pairs = [(at, value) for at, value in zip(trace[along], trace[across], strict=True)]
        if trace["type"] == "bar":
            shift = -width / 2 if is_stacked else -width * len(bars) / 2 + width * bars.index(trace)
            path = ""
            for at, value in pairs:
                start = below.get(at, 0.0) if is_stacked else 0.0
                below[at] = start + (value or 0.0)
                ends = (scale.place(start), scale.place(start + (value or 0.0)))
                path += _bar(steps.places[at] + shift, width, *ends, is_lying=is_lying)
            yield format_html('<path class="area {}" d="{}"/>', color, path)
            continue
        points = [None if value is None else (steps.places[at], 100 - scale.place(value)) for at, value in pairs]
        drawn = [point for point in points if point is not None]
        if trace.get("fill") == "tonexty" and drawn and before:
            outline = "".join(f"{'L' if place else 'M'}{x:.2f} {y:.2f}" for place, (x, y) in enumerate([*before, *drawn[::-1]]))
            yield format_html('<path class="band {}" d="{}"/>', color, outline)
        if trace.get("line", {}).get("width") != 0 and "lines" in trace.get("mode", ""):
            yield format_html('<path class="line {}" d="{}"/>', color, _line(points))
        if "markers" in trace.get("mode", "") and len(drawn) <= MOST_MARKERS:
            dots = "".join(f"M{x:.2f} {y:.2f}h0" for x, y in drawn)
            yield format_html('<path class="dots {}" d="{}"/>', color, dots)
        bounds = [(steps.places[at], *ends) for (at, _), (_, *ends) in zip(pairs, _errors(trace), strict=False)]
        if bounds:
            path = "".join(f"M{x:.2f} {100 - scale.place(low):.2f}V{100 - scale.place(high):.2f}" for x, low, high in bounds)
            yield format_html('<path class="line {}" d="{}"/>', color, path)
        before = drawn


def _bar(start: float, width: float, low: float, high: float, *, is_lying: bool) -> str:
    low, high = sorted((low, high))
    if is_lying:
        return f"M{low:.2f} {start:.2f}h{high - low:.2f}v{width:.2f}h{low - high:.2f}z"
    return f"M{start:.2f} {100 - high:.2f}h{width:.2f}v{high - low:.2f}h{-width:.2f}z"


def _line(points: Sequence[tuple[float, float] | None]) -> str:
    """Broken where a value is missing."""
    path, is_open = "", False
    for point in points:
        if point is not None:
            path += f"{'L' if is_open else 'M'}{point[0]:.2f} {point[1]:.2f}"
        is_open = point is not None
    return path


def _heatmap(trace: Trace, unit: str) -> SafeString:
    """A cell is the darker the greater its value is; the least and the greatest stand below."""
    across, down = _steps(trace["x"], {"type": "category"}), _steps(trace["y"], {"type": "category"})
    values = [value for row in trace["z"] for value in row if value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    cell = '<path class="area c0" fill-opacity="{}" d="{}"/>'
    cells = [
        format_html(cell, f"{_share(value, low, high):.2f}", _cell(x, y, across, down))
        for y, row in zip(down.places.values(), trace["z"], strict=True)
        for x, value in zip(across.places.values(), row, strict=True)
        if value is not None
    ]
    texts = [_written(value, (high - low) / VALUE_TICKS or 1.0, unit) for value in (low, high)]
    legend = format_html('<p class="legend">{} <i class="scale c0"></i> {}</p>', *texts)
    return _framed(cells, across.ticks(MOST_ACROSS), down.ticks(MOST_DOWN), legend)


def _share(value: float, low: float, high: float) -> float:
    return 0.06 + 0.94 * ((value - low) / (high - low) if high > low else 1.0)


def _cell(x: float, y: float, across: _Steps, down: _Steps) -> str:
    left, top = x - across.width / 2, y - down.width / 2
    return f"M{left:.2f} {top:.2f}h{across.width:.2f}v{down.width:.2f}h{-across.width:.2f}z"


def _legend(figure: Mapping[str, Any]) -> SafeString:
    if not figure["layout"].get("showlegend"):
        return SafeString()
    traces = [(number % COLORS, trace) for number, trace in enumerate(figure["data"])]
    named = [(color, _text(trace.get("name", ""))) for color, trace in traces if trace.get("showlegend", True)]
    return format_html('<p class="legend">{}</p>', format_html_join(" ", '<span><i class="c{}"></i>{}</span>', named))


def _framed(shapes: Sequence[SafeString], across: Ticks, down: Ticks, legend: SafeString, lines: str = "") -> SafeString:
    """The shapes over lines, with labels below and to the left, where long names have more room."""
    return format_html(
        '<div class="picture{}"><div class="down">{}</div><svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        'focusable="false"><path class="rule" d="{}"/>{}</svg><div class="across">{}</div></div>{}',
        " named" if max(len(text) for _, text in down) > LONGEST_VALUE else "",
        format_html_join("", '<span style="top:{}%">{}</span>', ((f"{place:.2f}", text) for place, text in down)),
        lines,
        format_html_join("", "{}", ((shape,) for shape in shapes)),
        format_html_join(
            "",
            '<span{} style="left:{}%">{}</span>',
            ((mark_safe(' class="end"') if place > 99 else "", f"{place:.2f}", text) for place, text in across),
        ),
        legend,
    )


def _text(name: Any) -> str:
    """What a ``label`` of plotly.js says."""
    return html.unescape(str(name).replace("<br>", " "))


def _named(value: Any) -> str:
    """A place on the axis, a time by its day, or its hour where it has one."""
    times = _times([value])
    if times is None:
        return _text(int(value) if isinstance(value, float) and value.is_integer() else value)
    locale, at = settings.DESK.babel_locale, times[0]
    return dates.format_skeleton("MMMd" if at == at.normalize() else "Hm", at, locale=locale)


def _written(value: float, step: float, unit: str) -> str:
    """A value with as many digits as its neighbours a step away need, large ones shortened."""
    locale = settings.DESK.babel_locale
    shown = 100 * step if unit == "%" else step
    digits = max(0, -math.floor(math.log10(shown)))
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    if unit == "%":
        return numbers.format_percent(value, f"{pattern}%", locale=locale)
    if step >= 1000:
        text = numbers.format_compact_decimal(value, locale=locale, fraction_digits=1 if step % 1_000 else 0)
    else:
        text = numbers.format_decimal(value, pattern, locale=locale)
    return f"{text} {unit}".strip()
