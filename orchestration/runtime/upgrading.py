"""Brings a place to this release. Each step may be repeated; the place is noted as upgraded when all are done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import duckdb

from customer360.lake.publishing.publishing import renew_moved_views
from customer360.mail.queue import open_queue
from customer360.place_format import note_format, place_format
from customer360.services.desk.configuration import PREFIX, DeskSettings, desk_folder
from customer360.services.store.writing import remake_store
from customer360.settings import Settings
from orchestration.runtime.home import prepare_home
from orchestration.runtime.services import alone


def upgrade_place(settings: Settings, home: Path, say: Callable[[str], None]) -> None:
    """Upgrade a place and its Dagster home; ``say`` is told each step.

    Raises ``PlaceError`` where the place is of a newer release, ``ServedAlreadyError`` where it is being served.
    """
    place_format(settings.place)
    with alone(home, "customer360 upgrade"):
        for title, step in STEPS.items():
            say(title)
            step(settings, home)
        note_format(settings.place)


def _dagster_home(_settings: Settings, home: Path) -> None:
    prepare_home(home)
    os.environ["DAGSTER_HOME"] = str(home)
    import dagster as dg  # noqa: PLC0415  takes a second

    with dg.DagsterInstance.get() as instance:
        instance.upgrade(lambda _: None)


def _desk(settings: Settings, _home: Path) -> None:
    if not (os.environ.get(f"{PREFIX}DATABASE_URL") or (desk_folder(settings.place) / "desk.sqlite3").exists()):
        return
    from customer360.services.desk.server import prepare, set_up  # noqa: PLC0415  loads Django

    set_up(settings, DeskSettings.from_environment(os.environ))
    prepare()


def _mail_queue(settings: Settings, _home: Path) -> None:
    if settings.shop.email is not None:
        open_queue(settings.place)


def _published(settings: Settings, _home: Path) -> None:
    renew_moved_views(settings.place)
    try:
        remake_store(settings)
    except duckdb.Error:  # the tables of an earlier release are others: the next slice makes the store
        return


STEPS: dict[str, Callable[[Settings, Path], None]] = {
    "Dagster home: settings and tables": _dagster_home,
    "desk: tables": _desk,
    "mail queue: tables": _mail_queue,
    "published version: views, and the store of the services": _published,
}
