"""dbt as a command that knows the shop: what ``customer360 dbt`` runs, and what parses the project."""

from __future__ import annotations

import json
import os
import sys

from customer360.features import dbt_vars
from customer360.lake.warehouse.unchanged import built_contents, set_built_contents
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import REPOSITORY, Settings

BUILDING = {"build", "run", "seed", "snapshot", "clone", "retry", "run-operation"}
WITHOUT_VARS = {"--version", "-v", "--help", "-h", "deps", "clean", "debug"}


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment that the dbt project reads."""
    return {
        "CUSTOMER360_WAREHOUSE": str(settings.place.warehouse),
        "DBT_PROJECT_DIR": str(REPOSITORY / "dbt_project"),
        "DBT_PROFILES_DIR": str(REPOSITORY / "dbt_project"),
        "DBT_TARGET_PATH": str(settings.place.dbt_target),
        "DBT_LOG_PATH": str(settings.place.dbt_target),
    }


def with_vars(arguments: list[str], settings: Settings) -> list[str]:
    """The arguments with the shop's ``--vars``, unless they are of a kind that takes none."""
    if not arguments or arguments[0] in WITHOUT_VARS or "--vars" in arguments:
        return arguments
    return [*arguments, "--vars", json.dumps(dbt_vars(settings.shop), sort_keys=True)]


def main() -> None:
    """Run dbt in this process."""
    settings = Settings.from_environment()
    # Errors quote values: they are for the person at the terminal, not for a file. --log-level-file debug keeps one.
    for name, value in {**dbt_environment(settings), "DBT_LOG_LEVEL_FILE": "none"}.items():
        os.environ.setdefault(name, value)
    if sys.argv[1:2] and sys.argv[1] in BUILDING:
        with open_warehouse(settings.place) as connection:
            set_built_contents(connection, built_contents(connection), None)  # the next slice publishes all tables anew
    from dbt.cli.main import cli  # noqa: PLC0415  dbt reads the environment that was just set while it loads

    sys.argv = ["dbt", *with_vars(sys.argv[1:], settings)]
    cli()


if __name__ == "__main__":
    main()
