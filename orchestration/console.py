"""What the subcommands share: exit codes, words on stdout, and the settings that the options ask for."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime

from customer360.settings import Settings
from customer360.words import printable

WELL, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130


def say(*lines: str) -> None:
    """Write lines for people, at once. What producers wrote must not steer the terminal."""
    sys.stdout.write("".join(f"{printable(line)}\n" for text in lines for line in text.split("\n")))
    sys.stdout.flush()


def environment_of(options: argparse.Namespace) -> dict[str, str]:
    """The environment with ``--shop`` and ``--data-dir`` in it."""
    given = {"SHOP": options.shop, "DATA_DIR": options.data_dir}
    return {**os.environ, **{name: value for name, value in given.items() if value}}


def settings_of(options: argparse.Namespace) -> Settings:
    """The shop and the place that options and environment name."""
    return Settings.from_environment(environment_of(options))


def now() -> datetime:
    """Wall clock, UTC."""
    return datetime.now(UTC)


def user() -> str:
    """Who is at the terminal; the number where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
