"""dbt's events as Dagster records them, with row counts, which are taken after dbt has let go of the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dagster as dg

RowCounter = Callable[[list[tuple[str, str]]], dict[tuple[str, str], int]]


def with_row_counts(context: dg.AssetExecutionContext, events: Iterable[Any], count: RowCounter) -> Iterator[Any]:
    """Hand on the events of dbt after it has ended, the tables' outputs with their rows.

    When dbt fails, what it had done is recorded all the same, and the failure is raised after that.
    """
    buffered: list[Any] = []
    failure: Exception | None = None
    try:
        for event in events:
            buffered.append(event)
    except Exception as error:  # noqa: BLE001  whatever ended dbt is raised again below, once its events are recorded
        failure = error
    outputs = {event.output_name: event for event in buffered if isinstance(event, dg.Output)}
    tables = {name: _table(context, name) for name in outputs}
    rows = count(list(tables.values())) if outputs and failure is None else {}
    for event in buffered:
        if isinstance(event, dg.Output) and tables[event.output_name] in rows:
            yield event.with_metadata({**event.metadata, "dagster/row_count": rows[tables[event.output_name]]})
        else:
            yield event
    if failure is not None:
        raise failure


def _table(context: dg.AssetExecutionContext, output_name: str) -> tuple[str, str]:
    schema, name = context.asset_key_for_output(output_name).path
    return schema, name
