"""The measures that dashboards and docs/bi.md show, as dbt's semantic layer defines them in ``dbt_project/models/measures``.

Each is one expression over one published table, right for every group of rows: ``select segment, {measure.sql} from
{measure.table} group by segment``. The files are the only place where a measure is defined; the terms are those of dbt
(https://docs.getdbt.com/docs/build/semantic-models, measures, and metrics of the type ratio).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from customer360.errors import OperatorError
from customer360.settings import REPOSITORY

FOLDER = REPOSITORY / "dbt_project" / "models" / "measures"
Unit = Literal["count", "currency", "share"]
AGGREGATES: Mapping[str, str] = {
    "sum": "sum({})",
    "count": "count({})",
    "count_distinct": "count(distinct {})",
    "average": "avg({})",
}


class MeasureError(OperatorError):
    """A measure's definition cannot be used; the message names its file and name and what to change."""


@dataclass(frozen=True)
class Measure:
    """A measure of one published table.

    ``sql`` aggregates the rows of any group. ``time_column`` is the day (shop-local) or the moment (UTC) that a row is of;
    ``dimensions`` are the other columns to group and filter by. ``unit``: ``count``, ``currency`` or ``share``, a
    ratio that is read as a percentage.
    """

    name: str
    label: str
    description: str
    table: str
    sql: str
    time_column: str
    dimensions: tuple[str, ...]
    unit: Unit


def load_measures(folder: Path = FOLDER) -> dict[str, Measure]:
    """Every measure by name, in the order of the files: those of a file's tables, then its ratios.

    Raises ``MeasureError`` where a definition lacks what a measure needs, or combines measures of different tables.
    """
    documents = {path: yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) for path in sorted(folder.glob("*.yml"))}
    measures: dict[str, Measure] = {}
    for path, document in documents.items():
        made = (measure for model in document.get("semantic_models", []) for measure in _of_table(path, model))
        for measure in made:
            _add(measures, measure, path)
        for metric in document.get("metrics", []):
            _add(measures, _of_metric(path, metric, measures), path)
    return measures


def _add(measures: dict[str, Measure], measure: Measure, path: Path) -> None:
    if measure.name in measures:
        raise MeasureError(f"{path}: {measure.name} is defined twice; give one of them another name")
    measures[measure.name] = measure


def _of_table(path: Path, model: Mapping[str, Any]) -> Iterator[Measure]:
    table = model["model"].removeprefix("ref('").removesuffix("')")
    time_column = model["defaults"]["agg_time_dimension"]
    dimensions = tuple(dimension["name"] for dimension in model["dimensions"] if dimension["name"] != time_column)
    for values in model["measures"]:
        aggregate = AGGREGATES.get(values["agg"])
        if aggregate is None:
            raise MeasureError(f"{path}: {values['name']}: agg {values['agg']} is none of {', '.join(AGGREGATES)}")
        sql = aggregate.format(values.get("expr", values["name"]))
        yield Measure(**_texts(path, values), table=table, sql=sql, time_column=time_column, dimensions=dimensions)


def _of_metric(path: Path, metric: Mapping[str, Any], measures: Mapping[str, Measure]) -> Measure:
    name, parameters = metric["name"], metric["type_params"]
    if metric["type"] != "ratio":
        raise MeasureError(f"{path}: {name} is of type {metric['type']}; only ratios are read beside the measures of tables")
    numerator, denominator = (measures.get(parameters[part]) for part in ("numerator", "denominator"))
    if numerator is None or denominator is None or numerator.table != denominator.table:
        raise MeasureError(
            f"{path}: {name}: {parameters['numerator']} and {parameters['denominator']} have to be measures of one table, "
            "defined above it or in a file before"
        )
    sql = f"cast({numerator.sql} as double) / nullif(cast({denominator.sql} as double), 0)"
    return replace(numerator, **_texts(path, metric), sql=sql)


def _texts(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    unit = values.get("config", {}).get("meta", {}).get("unit")
    if unit not in get_args(Unit):
        raise MeasureError(f"{path}: {values['name']}: config.meta.unit is {unit}; write one of {', '.join(get_args(Unit))}")
    for key in ("label", "description"):
        if not values.get(key):
            raise MeasureError(f"{path}: {values['name']} has no {key}; write one")
    return {
        "name": values["name"],
        "label": values["label"],
        "description": " ".join(values["description"].split()),
        "unit": unit,
    }


def measures_markdown(measures: Mapping[str, Measure]) -> str:
    """The measures as a Markdown table, in their order."""
    rows = [
        f"| `{measure.name}` | {measure.description} | {measure.unit} | `{measure.table}` | `{measure.sql}` |"
        for measure in measures.values()
    ]
    return "\n".join(["| measure | what it is | unit | table | SQL |", "|---|---|---|---|---|", *rows])
