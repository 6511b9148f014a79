"""Questions answered in a page: runs each ```sql block that an answer follows on the published tables, and writes the answer.

``python -m orchestration.answers docs/bi.md`` brings the answers of a page up to the data of ``SHOP`` and ``DATA_DIR``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb

from customer360.lake.atomic import write_text
from customer360.lake.publishing.version import open_version
from customer360.settings import Settings

ANSWER = re.compile(r"```sql\n(?P<sql>(?:(?!```).)*)```\n\n<!-- answer -->\n(?P<answer>.*?)<!-- end of answer -->\n", re.DOTALL)


def questions(page: str) -> Iterator[str]:
    """The SQL of every block that an answer follows."""
    return (match["sql"] for match in ANSWER.finditer(page))


def answered(page: str, connection: duckdb.DuckDBPyConnection) -> str:
    """The page with every answer made anew from ``connection``. Raises ``duckdb.Error`` where a query does not run."""

    def block(match: re.Match[str]) -> str:
        table = "\n".join(answer(connection, match["sql"]))
        return f"```sql\n{match['sql']}```\n\n<!-- answer -->\n\n{table}\n\n<!-- end of answer -->\n"

    return ANSWER.sub(block, page)


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """The rows of a query as the lines of a Markdown table."""
    found = connection.execute(sql)
    columns = found.description or []
    numeric = [str(kind) not in {"VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP"} for _, kind, *_ in columns]
    rows = [" | ".join(_cell(value) for value in row) for row in found.fetchall()]
    header = " | ".join(name for name, *_ in columns)
    rule = "|".join("---:" if is_number else "---" for is_number in numeric)
    return [f"| {header} |", f"|{rule}|", *(f"| {row} |" for row in rows)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | Decimal):
        return str(value).replace("|", "\\|")
    return f"{value:,}"


def main() -> None:
    """Bring the answers of the page that is named up to date."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestration.answers docs/bi.md")
    path = Path(sys.argv[1])
    with open_version(Settings.from_environment().place) as version:
        write_text(path, answered(path.read_text(encoding="utf-8"), version.connection))


if __name__ == "__main__":
    main()
