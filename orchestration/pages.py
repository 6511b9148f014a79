"""Pages of docs whose outputs are made: queries with their answers, and commands with what they print.

``python -m orchestration.pages docs/bi.md`` runs, in order, each ```sql block that an answer follows on the tables that the
place of ``SHOP`` and ``DATA_DIR`` then publishes, and each ```console block in a new folder that is left out of the paths
shown. A page with the line ``<!-- on a copy of the place -->`` has a copy of shop and place there, and works on it alone. What
lies between ``<!-- measures -->`` and ``<!-- end of measures -->`` becomes the table of ``customer360.measures``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import duckdb

from customer360.lake.atomic import write_text
from customer360.lake.publishing.version import open_version
from customer360.measures import load_measures, measures_markdown
from customer360.settings import Settings

ANSWER = re.compile(r"```sql\n(?P<sql>(?:(?!```).)*)```\n\n<!-- answer -->\n(?P<answer>.*?)<!-- end of answer -->\n", re.DOTALL)
MEASURES = re.compile(r"<!-- measures -->\n.*?<!-- end of measures -->\n", re.DOTALL)
COPY = "<!-- on a copy of the place -->\n"
PLAN_VERSION = re.compile(r"\b(?P<planned>\w+-\d{4}-\d\d-\d\d)-[0-9a-f]{8}\b")
SESSION = re.compile(r"```console\n\$ (?P<command>[^\n]+(?:\n> [^\n]*)*)\n(?P<output>(?:(?!```).)*)```\n", re.DOTALL)
BLOCK = re.compile(f"{ANSWER.pattern}|{SESSION.pattern}", re.DOTALL)


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


class SessionError(RuntimeError):
    """A command of the page failed; the message has its output."""


def with_measures(page: str) -> str:
    """The page with its table of measures made anew, where it has one."""
    table = measures_markdown(load_measures())
    return MEASURES.sub(lambda _: f"<!-- measures -->\n\n{table}\n\n<!-- end of measures -->\n", page)


def commands(page: str) -> list[str]:
    """The command of every block; lines of one that goes on begin with ``> `` in the page."""
    return [match["command"].replace("\n> ", "\n") for match in SESSION.finditer(page)]


def rerun(page: str, run: Callable[[str], str]) -> str:
    """The page with the output of every command made anew by ``run``."""

    def block(match: re.Match[str]) -> str:
        output = run(match["command"].replace("\n> ", "\n")).rstrip()
        return "\n".join(["```console", f"$ {match['command']}", *([output] if output else []), "```\n"])

    return SESSION.sub(block, page)


def run_in(folder: Path, command: str, settings: Mapping[str, str] | None = None) -> str:
    """What the shell prints for a command in ``folder``, the folder left out of paths. Raises ``SessionError``.

    ``settings``: SHOP, DATA_DIR and DAGSTER_HOME, where the command is to have them.
    """
    kept = {name: value for name, value in os.environ.items() if name not in {"SHOP", "DATA_DIR", "DAGSTER_HOME"}}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(  # noqa: S602  the commands of a page of this repository
        command,
        shell=True,
        cwd=folder,
        env={**kept, "PATH": path, **(settings or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise SessionError(f"$ {command}\n{ran.stdout}{ran.stderr}")
    return ran.stdout.replace(f"{folder}/", "").replace(str(folder), ".")


def copied_place(folder: Path, settings: Settings) -> Settings:
    """The shop and its place copied below ``folder``, as ``shops/<name>`` and ``data``."""
    shop = folder / "shops" / settings.shop_folder.name
    shutil.copytree(settings.shop_folder, shop)
    shutil.copytree(settings.place.root, folder / "data", symlinks=True)
    return Settings.load(shop, folder / "data")


def remade(page: str, settings: Settings, run: Callable[[str], str]) -> str:
    """The page with every answer and output made anew, in order.

    The plan versions that a command names become those of the same campaign and day that were last printed.
    """
    newest: dict[str, str] = {}

    def block(match: re.Match[str]) -> str:
        if match["sql"] is None:
            made = rerun(PLAN_VERSION.sub(lambda name: newest.get(name["planned"], name[0]), match[0]), run)
            newest.update((name["planned"], name[0]) for name in PLAN_VERSION.finditer(made))
            return made
        with open_version(settings.place) as version:
            return answered(match[0], version.connection)

    return with_measures(BLOCK.sub(block, page))


def main() -> None:
    """Bring the outputs of the page that is named up to date."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestration.pages docs/bi.md")
    path, settings, environment = Path(sys.argv[1]), Settings.from_environment(), {}
    page = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="customer360-session-") as folder:
        root = Path(folder).resolve()
        if COPY in page:
            settings = copied_place(root, settings)
            data = str(settings.place.root)
            environment = {"SHOP": str(settings.shop_folder), "DATA_DIR": data, "DAGSTER_HOME": f"{data}/dagster"}
        write_text(path, remade(page, settings, lambda command: run_in(root, command, environment)))


if __name__ == "__main__":
    main()
