"""``customer360 dbt <any dbt arguments>``: dbt with the shop's variables, and with the warehouse's lock where it is opened."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

import typer

from orchestration.console import WELL, Invocation, exit_code

WITHOUT_WAREHOUSE = {"--version", "-v", "--help", "-h", "clean", "deps", "list", "ls", "parse"}
WAIT_SECONDS = 10.0


def register(app: typer.Typer) -> None:
    """Add the command. All that follows its name is dbt's: it alone takes no options of ours there."""
    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}

    @app.command("dbt", context_settings=settings, add_help_option=False)
    def dbt(context: typer.Context) -> None:
        """Run dbt with this shop's variables, as in dbt ls."""
        raise typer.Exit(exit_code(lambda: run(context.obj, context.args)))


def run(invocation: Invocation, arguments: list[str]) -> int:
    """Run dbt in this process. Raises ``WarehouseBusyError`` where a run holds the warehouse for longer than 10 seconds."""
    from customer360.lake.warehouse.warehouse import warehouse_lock
    from orchestration import dbt_command

    os.environ.update(invocation.environment)
    verb = arguments[0] if arguments else "--help"
    is_free = verb in WITHOUT_WAREHOUSE
    place = invocation.settings.place
    with nullcontext() if is_free else warehouse_lock(place, f"customer360 dbt {verb}", WAIT_SECONDS):
        sys.argv = ["customer360 dbt", *arguments]
        try:
            dbt_command.main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else WELL
    return WELL
