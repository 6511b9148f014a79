"""The ``customer360`` command: one module of ``orchestration.commands`` per noun, exit codes in ``orchestration.console``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from orchestration.commands import (
    adapt,
    api,
    campaigns,
    dbt,
    desk,
    email,
    init,
    inspection,
    mailer,
    messages,
    models,
    operation,
    quarantine,
    simulate,
    upkeep,
)
from orchestration.console import EXIT_CODES, command, group

app = group("customer360", "Check, simulate, watch and repair a shop's data.", f"\b\n{EXIT_CODES}")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"customer360 {version('customer360')}")
        raise typer.Exit


VersionOption = Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")]


@app.callback()
def options(version: VersionOption = False) -> None:
    """Options of every command; they may also follow its name."""


FUNCTIONS: list[Callable[..., int | None]] = [inspection.check, operation.start, operation.status, adapt.adapt]
FUNCTIONS += [simulate.simulate, init.init]
FUNCTIONS += [operation.serve, inspection.categories, operation.rebuild, inspection.contracts]
FUNCTIONS += [upkeep.backup, upkeep.restore, upkeep.upgrade]
for function in FUNCTIONS:
    command(app)(function)
for noun in (quarantine, models, campaigns, messages, email, mailer, api, desk):
    app.add_typer(noun.app)
command(app, context_settings=dbt.CONTEXT_SETTINGS, add_help_option=False)(dbt.dbt)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        app(arguments, prog_name="customer360")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
