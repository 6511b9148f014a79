"""The contracts as Markdown, for ``customer360 contracts`` and ``docs/your-data.md``: made from what the validator checks."""

from __future__ import annotations

from collections.abc import Iterable

from customer360.lake.landing.contracts import CLICK_COLUMNS, Column, reference_tables
from customer360.settings import Shop

WORDS = {
    "VARCHAR": "text",
    "TIMESTAMP": "timestamp, UTC",
    "DOUBLE": "number",
    "BIGINT": "whole number",
    "DECIMAL(18,2)": "number, 2 decimals",
    "BOOLEAN": "true or false",
    "DATE": "date",
}


def contracts_markdown(shop: Shop) -> str:
    """Every table that a shop may bring, with its columns, types and meaning."""
    parts = ["### Clicks", "", *column_table(CLICK_COLUMNS)]
    for table in reference_tables(shop).values():
        key = ", ".join(f"`{name}`" for name in table.key)
        parts += ["", f"### {table.name}", "", f"{table.description}. One row per {key}.", "", *column_table(table.columns)]
    return "\n".join(parts) + "\n"


def column_table(columns: Iterable[Column]) -> list[str]:
    """Lines of a Markdown table."""
    rows = [
        f"| `{column.name}` | {WORDS[column.type]} | {'required' if column.required else ''} | {column.description} |"
        for column in columns
    ]
    return ["| column | type | | meaning |", "|---|---|---|---|", *rows]
