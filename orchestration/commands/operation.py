"""``customer360 start | status | serve | rebuild``: begin with a place, watch it, keep it running, remake its warehouse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from customer360.errors import OperatorError
from customer360.lake.slices import slice_key
from customer360.loopback import is_loopback
from orchestration.console import STATUS_CODES, JsonOption, answer, fitted, home_of, now, place_settings, say, shop_settings

if TYPE_CHECKING:
    from datetime import datetime

    from customer360.settings import Place, Settings

WAIT_SECONDS = 10.0


def status(context: typer.Context, as_json: JsonOption = False) -> int:
    """What is published, waiting, quarantined and wrong.

    Disturbs no run. Exits as monitors expect: 0 healthy, 1 warning, 2 critical, 3 unknown; the first line says why.
    """
    from customer360.lake.operations.status import read_status, status_lines

    settings, moment = place_settings(context), now()
    found = read_status(settings, moment)
    lines = [part for line in status_lines(settings, found, moment) for part in fitted(line, hanging=" " * 11)]
    answer(as_json, {"state": found.state, **vars(found)}, lines)
    return STATUS_CODES[found.state]


def start(
    context: typer.Context,
    has_check: Annotated[bool, typer.Option("--check/--no-check", help="Judge the files before they are loaded.")] = True,
) -> int:
    """Go from the files in landing to a first plan: check, load, train, run the waiting slices, plan, report.

    Shows its progress, and writes debug output to start.log in the data folder. Safe to interrupt and to repeat: what is
    done is not done again. Exits with 0 when every stage is done, with 1 when one failed (the report says which, and the
    remedy), with 2 when nothing could begin: no files, wrong settings, or another program at work on the place.
    """
    from orchestration.progress_display import Display
    from orchestration.start import start_place

    return start_place(_in_environment(shop_settings(context)), Display(sys.stdout), now(), has_check=has_check)


def serve(
    context: typer.Context,
    *,
    port: Annotated[int | None, typer.Option(min=0, help="Of the web server; without it there is none.")] = None,
    host: Annotated[str, typer.Option(help="Address that the web server listens on.")] = "127.0.0.1",
    without_login: Annotated[
        bool,
        typer.Option(
            "--reachable-without-login",
            help="Listen on --host though other machines reach it: Dagster's pages ask nobody who they are.",
        ),
    ] = False,
    path_prefix: Annotated[str, typer.Option(help="Of the web server's addresses behind a proxy, such as /dagster.")] = "",
    is_read_only: Annotated[
        bool, typer.Option("--read-only", help="The web server shows all and changes nothing: for viewers.")
    ] = False,
) -> None:
    """Keep Dagster's daemon, code server and web server running.

    Ends with SIGTERM or Ctrl-C. The Dagster home is $DAGSTER_HOME, else dagster in the data folder.
    """
    if not is_loopback(host) and not without_login:
        raise OperatorError(
            f"--host {host} lets other machines reach Dagster's pages, which have no login: whoever reaches them may launch "
            "runs, stop them and read logs. Put a proxy that asks for a login before 127.0.0.1, or, where the network itself "
            "keeps others out, add --reachable-without-login"
        )
    from customer360.lake.publishing.publishing import renew_moved_views
    from customer360.logs import announce
    from customer360.place_format import FORMAT, note_format, place_format
    from orchestration.runtime.home import prepare_home
    from orchestration.runtime.services import services

    settings = _in_environment(shop_settings(context))
    home = home_of(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    if not settings.place.root.exists():
        note_format(settings.place)
    elif place_format(settings.place) < FORMAT:  # in a process of its own: this one imports little and starts no thread
        code = subprocess.run([sys.executable, "-m", "orchestration.cli", "upgrade"], stdout=subprocess.DEVNULL, check=False)
        if code.returncode:
            raise typer.Exit(code.returncode)
    prepare_home(home)
    if renew_moved_views(settings.place):
        announce(f"{settings.place.published} was moved here: the views of its newest version name its files again.")
    with services(home, port, announce, host=host, path_prefix=path_prefix, is_read_only=is_read_only) as served:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: served.end())
        served.run()


def _in_environment(settings: Settings) -> Settings:
    """Name the shop and its place, by absolute paths, to Dagster and the programs that this one starts in other folders."""
    os.environ.update({"SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)})
    return settings


def rebuild(
    context: typer.Context,
    anew: Annotated[bool, typer.Option("--anew", help="Set the file aside, also where it is damaged.")] = False,
) -> None:
    """Have the next run make the warehouse from raw again.

    By default every slice is marked as not transformed, in the warehouse as it is. With --anew the file is set aside: slices
    whose raw files are past their retention are then lost to the new one.
    """
    from customer360.lake.operations.clock import last_closed_slice
    from customer360.lake.publishing.version import current_publication
    from customer360.lake.warehouse.warehouse import warehouse_lock

    settings, moment = place_settings(context), now()
    shop, place = settings.shop, settings.place
    if not place.warehouse.exists():
        say(f"{place.warehouse} does not exist: the next run makes it from raw.")
    else:
        with warehouse_lock(place, "customer360 rebuild", WAIT_SECONDS):
            _set_aside(place, moment) if anew else _forget(place)
    publication = current_publication(place)
    as_of = publication.as_of if publication else None
    last = as_of - shop.slice_width if as_of else last_closed_slice(settings, moment)
    key = slice_key(last or shop.slices_start - shop.slice_width)
    say(
        "Any run rebuilds it now. To do so at once:",
        f"""dagster job launch -w workspace.yaml -j warehouse_job --tags '{{"dagster/partition": "{key}"}}'""",
    )


def _forget(place: Place) -> None:
    """Mark every slice as not transformed."""
    import duckdb

    from customer360.lake.warehouse.slice_log import forget_transforms
    from customer360.lake.warehouse.warehouse import open_warehouse

    try:
        with open_warehouse(place) as connection, suppress(duckdb.CatalogException):  # no run has made the log yet
            forget_transforms(connection)
    except duckdb.IOException as error:
        raise OperatorError(f"{error}; customer360 rebuild --anew sets the file aside") from error
    say(f"Every slice of {place.warehouse} is to be transformed again.")


def _set_aside(place: Place, moment: datetime) -> None:
    """Rename the file and what DuckDB keeps beside it; the new names carry the moment."""
    name, kept = place.warehouse.name, f"{place.warehouse.name}.before-"
    for path in sorted(place.warehouse.parent.glob(f"{name}*")):
        if path.is_file() and not path.name.startswith(kept):
            target = path.rename(path.with_name(f"{kept}{moment:%Y%m%dT%H%M%SZ}{path.name.removeprefix(name)}"))
            say(f"{path.name} is {target.name} now; delete it when all is well.")
