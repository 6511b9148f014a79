"""Commands shown in a page: runs each ```console block of a page in order and writes what it printed.

``python -m orchestration.sessions docs/first-day.md`` runs them in a new folder, which is left out of the paths shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from customer360.lake.atomic import write_text

SESSION = re.compile(r"```console\n\$ (?P<command>[^\n]+(?:\n> [^\n]*)*)\n(?P<output>(?:(?!```).)*)```\n", re.DOTALL)


class SessionError(RuntimeError):
    """A command of the page failed; the message has its output."""


def commands(page: str) -> list[str]:
    """The command of every block; lines of one that goes on begin with ``> `` in the page."""
    return [match["command"].replace("\n> ", "\n") for match in SESSION.finditer(page)]


def rerun(page: str, run: Callable[[str], str]) -> str:
    """The page with the output of every command made anew by ``run``."""

    def block(match: re.Match[str]) -> str:
        output = run(match["command"].replace("\n> ", "\n")).rstrip()
        return "\n".join(["```console", f"$ {match['command']}", *([output] if output else []), "```\n"])

    return SESSION.sub(block, page)


def run_in(folder: Path, command: str) -> str:
    """What the shell prints for a command in ``folder``, the folder left out of paths. Raises ``SessionError``."""
    kept = {name: value for name, value in os.environ.items() if name not in {"SHOP", "DATA_DIR", "DAGSTER_HOME"}}
    environment = {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(  # noqa: S602  the commands of a page of this repository
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise SessionError(f"$ {command}\n{ran.stdout}{ran.stderr}")
    return ran.stdout.replace(f"{folder}/", "").replace(str(folder), ".")


def main() -> None:
    """Run the commands of the page that is named, and write their output into it."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestration.sessions docs/first-day.md")
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="customer360-session-") as folder:
        root = Path(folder).resolve()
        write_text(path, rerun(path.read_text(encoding="utf-8"), lambda command: run_in(root, command)))


if __name__ == "__main__":
    main()
