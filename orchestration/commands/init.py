"""``customer360 init``: a first shop.yaml from a shop's files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from customer360.errors import OperatorError
from orchestration.console import WELL, WRONG, environment, fitted, now, say


def init(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Of the shop: shops/NAME/shop.yaml is written; or a path with a /.")],
    files: Annotated[list[Path], typer.Argument(help="Exports: purchases, products, customers, events.")],
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="IANA zone of the shop and of times without one.")
    ] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="ISO 4217, such as EUR.")] = None,
    date_format: Annotated[
        str | None, typer.Option("--date-format", help="Where day and month cannot be told apart, as in %d/%m/%Y.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", metavar="FILE=TABLE", help="Table of a file whose columns do not tell it.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="COLUMN=NAME", help="What files call a column of the contracts, where init does not see it."
        ),
    ] = None,
    copy: Annotated[bool, typer.Option(help="Copy the files to where the pipeline reads them.")] = True,
) -> int:
    """Write a commented shop.yaml from the files that a shop can export.

    Nothing is overwritten. What the files do not tell is asked at a terminal, or given by options.
    """
    from customer360.lake.checking.new_shop import (
        EXAMPLE_CAMPAIGN,
        Answers,
        NewShopError,
        copy_into_landing,
        landing_path,
        new_shop,
    )
    from customer360.lake.checking.proposal import NAMES
    from customer360.settings import REFERENCE_NAMES, REPOSITORY, Settings, known_zone, load_shop

    folder = Path(name) if "/" in name else REPOSITORY / "shops" / name
    target = folder / "shop.yaml"
    if target.exists():
        raise NewShopError(f"{target} exists; edit it, or give another name")
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise NewShopError(f"{', '.join(missing)} does not exist or is no file")
    zone = _asked(time_zone, "Time zone of the shop, such as Europe/Berlin", "--time-zone", known_zone)
    money = _asked(currency, "Currency of the amounts, such as EUR", "--currency", _currency)
    tables = {file: kind for file, _, kind in (pair.rpartition("=") for pair in table or [])}
    columns = {known: theirs for known, _, theirs in (pair.partition("=") for pair in column or [])}
    if unknown := set(tables.values()) - {"history", *REFERENCE_NAMES}:
        raise NewShopError(f"--table ...={', '.join(unknown)}: write FILE=TABLE, one of history, {', '.join(REFERENCE_NAMES)}")
    if unknown := columns.keys() - NAMES:
        raise NewShopError(f"--column {', '.join(sorted(unknown))}=...: write COLUMN=NAME, one of {', '.join(NAMES)}")
    found = new_shop(folder.name, files, Answers(zone, money, date_format, tables, columns), now())
    place = {"DATA_DIR": str(REPOSITORY / f"data-{folder.name}"), **environment(context)}  # no two shops share a place
    root = Settings.place_from(place).root
    copies = list(copy_into_landing(found.tables, root)) if copy else []
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(found.text, encoding="utf-8")
    load_shop(target)
    example = folder / "campaigns" / "win_back.yaml.example"
    example.parent.mkdir(exist_ok=True)
    example.write_text(EXAMPLE_CAMPAIGN, encoding="utf-8")
    say(f"{target} is written; read it through. For a first plan rename {example} to win_back.yaml.")
    for label, lines in (("seen", found.notes), ("missing", found.costs), ("OPEN", found.questions)):
        for line in lines:
            say(*fitted(f"{label}: {line}", indent="  "))
    for copied in copies:
        say(f"  copied to {copied}")
    for path, kind in () if copy else found.tables:
        say(f"  {path} is not copied: put it to {root / landing_path(path, kind)}")
    shop = f"--shop {name} --data-dir {root}"
    say("", f"Next: customer360 check {shop} {root}/landing", f"      customer360 start {shop}")
    return WRONG if found.questions else WELL


def _currency(text: str) -> str:
    if not (len(text) == 3 and text.isascii() and text.isalpha()):
        raise ValueError(f"{text!r} is no currency of ISO 4217, such as EUR")
    return text.upper()


def _asked(given: str | None, question: str, option: str, parse: Callable[[str], str]) -> str:
    """The parsed option, or the answer of the person at the terminal. Raises ``OperatorError`` where there is neither."""
    if given is None and not sys.stdin.isatty():
        raise OperatorError(f"{question}? Give {option}: files do not tell it")
    try:
        return parse(given if given is not None else typer.prompt(question))
    except ValueError as error:
        raise OperatorError(f"{option}: {error}") from error
