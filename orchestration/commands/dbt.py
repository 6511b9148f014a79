"""``customer360 dbt <any dbt arguments>``: dbt with the shop's variables, and with the warehouse's lock where it is opened."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

import typer

from orchestration.console import WELL, environment, shop_settings

CONTEXT_SETTINGS = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}
WITHOUT_WAREHOUSE = {"--version", "-v", "--help", "-h", "clean", "deps", "list", "ls", "parse"}
WAIT_SECONDS = 10.0


def dbt(context: typer.Context) -> int:
    """Run dbt with this shop's variables, as in dbt ls."""
    from customer360.lake.warehouse.warehouse import warehouse_lock
    from orchestration import dbt_command

    os.environ.update(environment(context))
    verb = context.args[0] if context.args else "--help"
    place = shop_settings(context).place
    with nullcontext() if verb in WITHOUT_WAREHOUSE else warehouse_lock(place, f"customer360 dbt {verb}", WAIT_SECONDS):
        sys.argv = ["customer360 dbt", *context.args]
        try:
            dbt_command.main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else WELL
    return WELL
