"""The ``customer360`` command: one module of ``orchestration.commands`` per noun, exit codes in ``orchestration.console``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from orchestration.commands import (
    adapt,
    campaigns,
    categories,
    check,
    contracts,
    dbt,
    models,
    quarantine,
    rebuild,
    serve,
    simulate,
    status,
)
from orchestration.console import EXIT_CODES, DataDirOption, ShopOption, command, keep_options

app = typer.Typer(
    name="customer360",
    help="Check, simulate, watch and repair a shop's data.",
    epilog=f"\b\n{EXIT_CODES}",
    rich_markup_mode=None,  # importing rich takes longer than the command itself
    pretty_exceptions_enable=False,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"customer360 {version('customer360')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    shop: ShopOption = None,
    data_dir: DataDirOption = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command; they may also follow its name."""
    keep_options(context, shop, data_dir)


COMMANDS: tuple[Callable[..., int], ...] = (
    check.check,
    adapt.adapt,
    simulate.simulate,
    status.status,
    serve.serve,
    categories.categories,
    rebuild.rebuild,
    contracts.contracts,
)
for function in COMMANDS:
    command(app)(function)
for group in (quarantine.app, models.app, campaigns.app):
    app.add_typer(group)
dbt.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        app(arguments, prog_name="customer360")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
