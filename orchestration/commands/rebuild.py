"""``customer360 rebuild [--anew]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from customer360.errors import OperatorError
from orchestration.console import WELL, Invocation, now, say

if TYPE_CHECKING:
    from datetime import datetime

    from customer360.settings import Place, Settings

WAIT_SECONDS = 10.0


def rebuild(
    invocation: Invocation,
    anew: Annotated[bool, typer.Option("--anew", help="Set the file aside, also where it is damaged.")] = False,
) -> int:
    """Have the next run make the warehouse from raw again.

    By default every slice is marked as not transformed, in the warehouse as it is. With --anew the file is set aside: slices
    whose raw files are past their retention are then lost to the new one.
    """
    import duckdb

    from customer360.lake.warehouse.warehouse import warehouse_lock

    settings, moment = invocation.place_settings, now()
    place = settings.place
    if not place.warehouse.exists():
        say(f"{place.warehouse} does not exist: the next run makes it from raw.")
    else:
        with warehouse_lock(place, "customer360 rebuild", WAIT_SECONDS):
            if anew:
                _set_aside(place, moment)
            else:
                try:
                    _forget(place)
                except duckdb.IOException as error:
                    raise OperatorError(f"{error}; customer360 rebuild --anew sets the file aside") from error
    say(*_next_steps(settings, moment))
    return WELL


def _forget(place: Place) -> None:
    from customer360.lake.warehouse.slice_log import forget_transforms
    from customer360.lake.warehouse.warehouse import open_warehouse

    with open_warehouse(place) as connection:
        known = "select 1 from duckdb_tables() where schema_name = 'ops' and table_name = 'slice_log'"
        if connection.execute(known).fetchone():
            forget_transforms(connection)
    say(f"Every slice of {place.warehouse} is to be transformed again.")


def _set_aside(place: Place, moment: datetime) -> None:
    """The file and what DuckDB keeps beside it, under a name that says when."""
    for path in sorted(place.warehouse.parent.glob(f"{place.warehouse.name}*")):
        if path.is_file() and not path.name.startswith(f"{place.warehouse.name}.before-"):
            end = path.name.removeprefix(place.warehouse.name)
            target = path.with_name(f"{place.warehouse.name}.before-{moment:%Y%m%dT%H%M%SZ}{end}")
            path.rename(target)
            say(f"{path.name} is {target.name} now; delete it when all is well.")


def _next_steps(settings: Settings, moment: datetime) -> list[str]:
    """The run that rebuilds at once, instead of waiting for the next slice."""
    from customer360.lake.operations.clock import last_closed_slice
    from customer360.lake.publishing.version import current_publication
    from customer360.lake.slices import slice_key

    publication = current_publication(settings.place)
    as_of = publication.as_of if publication else None
    last = as_of - settings.shop.slice_width if as_of else last_closed_slice(settings, moment)
    key = slice_key(last or settings.shop.slices_start - settings.shop.slice_width)
    return [
        "Any run rebuilds it now. To do so at once:",
        f"""dagster job launch -w workspace.yaml -j warehouse_job --tags '{{"dagster/partition": "{key}"}}'""",
    ]
