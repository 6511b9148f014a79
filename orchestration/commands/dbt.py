"""``customer360 dbt <any dbt arguments>``: dbt with the shop's variables, and with the warehouse's lock where it is opened."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext

from customer360.lake.warehouse.warehouse import WarehouseBusyError, warehouse_lock
from orchestration import dbt_command
from orchestration.console import WELL, environment_of, settings_of

EXPECTED = (WarehouseBusyError,)
WITHOUT_WAREHOUSE = {"--version", "-v", "--help", "-h", "clean", "deps", "list", "ls", "parse"}
WAIT_SECONDS = 10.0


def run(options: argparse.Namespace) -> int:
    """Run dbt in this process. Raises ``WarehouseBusyError`` where a run holds the warehouse for longer than 10 seconds."""
    os.environ.update(environment_of(options))
    settings = settings_of(options)
    verb = options.arguments[0] if options.arguments else "--help"
    is_free = verb in WITHOUT_WAREHOUSE
    with nullcontext() if is_free else warehouse_lock(settings.place, f"customer360 dbt {verb}", WAIT_SECONDS):
        sys.argv = ["customer360 dbt", *options.arguments]
        try:
            dbt_command.main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else WELL
    return WELL
