"""A chart: one query, drawn as a picture and by plotly.js, with its rows as a table and CSV, its SQL, and a link to it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.translation import gettext

from customer360.services.desk.access import PERSONAL, DeskRequest
from customer360.services.desk.drawing import picture
from customer360.services.desk.kept_rows import MOST_ROWS, TooManyRowsError, kept_rows, rows_key
from customer360.services.desk.personal import masked

Figure = Callable[[pd.DataFrame], dict[str, Any]]
TABLE_ROWS, LEGEND = 200, 44


@dataclass(frozen=True)
class Chart:
    """What is asked and how it is drawn.

    ``sql`` has named parameters (``$from``) and reads the published version. ``note`` says how to read it, ``empty`` what to do
    where there are no rows. ``labels``: what columns are called.
    """

    key: str
    title: Any
    sql: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    figure: Figure | None = None
    note: Any = ""
    empty: Any = ""
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A chart with its rows; ``is_too_large``: it has none, since they would be too many to show or to download.

    ``key`` names all that the rows depend on.
    """

    chart: Chart
    rows: pd.DataFrame
    query: str
    key: Hashable
    is_too_large: bool = False

    @classmethod
    def of(cls, chart: Chart, request: DeskRequest) -> Drawn:
        """Run the query on the request's snapshot. Personal columns, by their names, are masked for who may not see them."""
        query = request.GET.copy()
        query.pop("csv", None)
        key = (rows_key(request.snapshot, chart.sql, chart.parameters), request.may(PERSONAL))
        try:
            rows = kept_rows(request.snapshot, chart.sql, chart.parameters)
        except TooManyRowsError:
            text = gettext("These are over %(most)s rows. Choose a shorter period or more filters.") % {
                "most": f"{MOST_ROWS:,}"
            }
            return cls(replace(chart, empty=text), pd.DataFrame(), query.urlencode(), key, is_too_large=True)
        return cls(chart, masked(request, rows), query.urlencode(), key)

    @cached_property
    def _figure(self) -> dict[str, Any] | None:
        return None if self.chart.figure is None or self.rows.empty else self.chart.figure(self.rows)

    @property
    def figure(self) -> str:
        """The figure's JSON, for plotly.js; empty without one."""
        return "" if self._figure is None else json.dumps(self._figure, cls=DjangoJSONEncoder)

    @property
    def picture(self) -> str:
        """The figure as it is seen before; empty without one."""
        return "" if self._figure is None else picture(self._figure)

    @property
    def shown_sql(self) -> str:
        """The SQL with its parameters below it, as comments."""
        return "\n".join(
            [self.chart.sql.strip(), *(f"-- ${name} = {value!r}" for name, value in self.chart.parameters.items())]
        )

    @property
    def header(self) -> list[Any]:
        """What the table's columns are called."""
        return [self.chart.labels.get(name, str(name).replace("_", " ")) for name in self.rows.columns]

    @property
    def table(self) -> list[tuple[Any, ...]]:
        """The first rows."""
        return list(self.rows.head(TABLE_ROWS).itertuples(index=False, name=None))

    @property
    def left_out(self) -> int:
        """Rows that the table does not show; the CSV has them."""
        return max(0, len(self.rows) - TABLE_ROWS)


def line(
    x: str, y: str | Iterable[str], *, by: str | None = None, unit: str = "", names: Mapping[str, Any] | None = None
) -> Figure:
    """A line for each measure of ``y``, or of one measure for each value of ``by``. ``unit``: ``%`` or a currency's code."""
    return _xy({"type": "scatter", "mode": "lines+markers"}, x, y, by=by, unit=unit, names=names)


def with_bands(figure: Figure, x: str, bands: Iterable[tuple[str, str, Any]]) -> Figure:
    """A figure over bands, the first the outermost: columns of the lower and upper bounds, and what the band is called."""

    def draw(rows: pd.DataFrame) -> dict[str, Any]:
        above = figure(rows)
        rows, _axes = _few_times(rows, x)
        edge = {"type": "scatter", "mode": "lines", "x": labels(rows[x]), "line": {"width": 0}}
        traces = [
            trace
            for low, high, name in bands
            for trace in (
                {**edge, "y": plain(rows[low]), "showlegend": False, "name": str(name)},
                {**edge, "y": plain(rows[high]), "fill": "tonexty", "name": str(name)},
            )
        ]
        return {**above, "data": [*traces, *above["data"]], "layout": {**above["layout"], "showlegend": True}}

    return draw


def bar(
    x: str,
    y: str | Iterable[str],
    *,
    by: str | None = None,
    unit: str = "",
    names: Mapping[str, Any] | None = None,
    is_stacked: bool = False,
    is_horizontal: bool = False,
) -> Figure:
    """Bars, as ``line`` has lines; horizontal ones, the first row at the top, leave room for long names."""
    upright = _xy({"type": "bar"}, x, y, by=by, unit=unit, names=names, barmode="stack" if is_stacked else "group")
    return _lying(upright) if is_horizontal else upright


def _lying(upright: Figure) -> Figure:
    def draw(rows: pd.DataFrame) -> dict[str, Any]:
        figure = upright(rows)
        data = [
            {**trace, "orientation": "h", "x": trace["y"], "y": [wrapped(name) for name in trace["x"]]}
            for trace in figure["data"]
        ]
        axes = {"yaxis": {"type": "category", "autorange": "reversed", "ticksuffix": " "}, "hovermode": "y unified"}
        return {**figure, "data": data, "layout": {**figure["layout"], **axes}, "value_axis": "xaxis"}

    return draw


def heatmap(x: str, y: str, value: str, *, unit: str = "") -> Figure:
    """One cell for each pair of ``x`` and ``y``: numbers in their order, others in that in which the rows name them."""

    def draw(rows: pd.DataFrame) -> dict[str, Any]:
        rows, axes = _few_times(rows, x)
        across, down = _places(rows[x]), _places(rows[y])
        if not pd.api.types.is_datetime64_any_dtype(rows[x]):
            axes = {"xaxis": {"type": "category"}}
        cells = rows.pivot_table(index=y, columns=x, values=value, sort=False).reindex(index=down, columns=across)
        trace = {
            "type": "heatmap",
            "x": labels(across),
            "y": [wrapped(name) for name in labels(down)],
            "z": [plain(row) for row in cells.to_numpy().tolist()],
            "colorscale": "Blues",
            "reversescale": True,
        }
        return {"data": [trace], "layout": {"yaxis": {"type": "category", "autorange": "reversed"}, **axes}, "unit": unit}

    return draw


def _xy(
    kind: Mapping[str, Any],
    x: str,
    y: str | Iterable[str],
    *,
    by: str | None,
    unit: str,
    names: Mapping[str, Any] | None,
    **layout: Any,
) -> Figure:
    measures = [y] if isinstance(y, str) else [*y]

    def draw(rows: pd.DataFrame) -> dict[str, Any]:
        rows, axes = _few_times(rows, x)
        groups = (
            [("", rows)] if by is None else [(str(value), part) for value, part in rows.groupby(by, sort=False, dropna=False)]
        )
        traces = [
            {
                **kind,
                "name": label(_shortened(group)) or str((names or {}).get(measure, measure.replace("_", " "))),
                "x": labels(part[x]),
                "y": plain(part[measure]),
            }
            for group, part in groups
            for measure in measures
        ]
        return {"data": traces, "layout": {**layout, **axes, "showlegend": len(traces) > 1}, "unit": unit}

    return draw


def _few_times(rows: pd.DataFrame, x: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One or two times as categories: plotly.js would draw an axis of milliseconds around them."""
    if not pd.api.types.is_datetime64_any_dtype(rows[x]) or rows[x].nunique() > 2:
        return rows, {}
    times = rows[x].dt.strftime("%Y-%m-%d %H:%M").str.removesuffix(" 00:00")
    return rows.assign(**{x: times}), {"xaxis": {"type": "category"}}


def _places(values: pd.Series[Any]) -> list[Any]:
    places = list(dict.fromkeys(values))
    return sorted(places) if pd.api.types.is_numeric_dtype(values) else places


def _shortened(name: str) -> str:
    """A name as legends have room for it."""
    return name if len(name) <= LEGEND else f"{name[: LEGEND - 1]}…"


def wrapped(name: Any) -> Any:
    """A ``label`` in lines of 26 characters, as plotly.js breaks them."""
    return "<br>".join(textwrap.wrap(name, 26, break_long_words="&" not in name)) if isinstance(name, str) else name


def label(text: str) -> str:
    """A text of the data that plotly.js shows as it is: it would draw links and styles of HTML in labels and hover texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def labels(values: Iterable[Any]) -> list[Any]:
    """``plain`` values, of which the texts are labels."""
    return [label(value) if isinstance(value, str) else value for value in plain(values)]


def is_missing(value: Any) -> bool:
    """Whether a value of a row is null: lists and the like are values."""
    return value is None or (not isinstance(value, str | list | dict | tuple | np.ndarray) and bool(pd.isna(value)))


def plain(values: Iterable[Any]) -> list[Any]:
    """Values as JSON has them: missing ones are null, times ISO 8601, decimals numbers."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if is_missing(value):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str | bool):
        return value
    return float(value)
