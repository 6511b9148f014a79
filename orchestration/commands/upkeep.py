"""``customer360 backup | restore | upgrade``: keep a copy of a whole place, bring it back, and have it be of this release."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from customer360.text import many
from orchestration.console import JsonOption, answer, environment, home_of, now, place_settings, say


def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="Folder of backups; each is a folder in it, named after its time.")],
    as_json: JsonOption = False,
) -> int:
    """Copy the whole place: data, shop, Dagster home, and the PostgreSQL databases that the environment names.

    Slices may run meanwhile. Files that the backup before has too are hard links to it.
    """
    from rich.filesize import decimal

    from customer360.services.backup import back_up

    settings = place_settings(context)
    made = back_up(settings, target, home_of(settings), now(), os.environ)
    databases = f", databases {', '.join(made.databases)}" if made.databases else ""
    lines = [
        f"{made.folder}: {many(made.files, 'file')}, {decimal(made.bytes)}, {made.linked:,} as in the backup before{databases}"
    ]
    return answer(as_json, made, lines)


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A backup: FOLDER/<time>.")],
) -> None:
    """Make a place of a backup, in a data folder that does not exist or is empty, and databases that are empty."""
    from customer360.services.backup import restore as restore_place
    from customer360.settings import Settings

    place = Settings.place_from(environment(context))
    manifest = restore_place(source, place, os.environ)
    say(
        f"{place.root} is as it was at {manifest['made_at']}.",
        f"The shop's folder is {source / 'shop'}; copy it to where SHOP names it, if it is not there.",
        "Before anything is sent: withdraw what was sent since then (customer360 campaigns list), and compare the mail queue, "
        "which is closed, with what was sent (customer360 email reconcile).",
        "The next run makes the warehouse from raw again; customer360 serve starts runs.",
    )


def upgrade(context: typer.Context) -> None:
    """Bring the place to this release: Dagster home, databases, stores of the services. Nothing else may be at work on it.

    Safe to interrupt and to repeat. Refuses a place of a newer release.
    """
    from orchestration.runtime.upgrading import upgrade_place

    settings = place_settings(context)
    upgrade_place(settings, home_of(settings), say)
    say(f"{settings.place.root} is of this release.")
