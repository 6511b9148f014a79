"""How a published table is described."""

from __future__ import annotations

from dataclasses import dataclass

EVERY_SLICE, DAILY = "every slice", "daily"
MONEY = "DECIMAL(18,2)"


@dataclass(frozen=True)
class PublishedColumn:
    """A published column: its DuckDB type and meaning. Columns of one ``pattern`` are shown as one, under that name."""

    name: str
    type: str
    description: str
    pattern: str | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A published table: what its rows are, and how often they are made again."""

    name: str
    description: str
    columns: tuple[PublishedColumn, ...]
    refreshed: str = EVERY_SLICE
