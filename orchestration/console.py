"""What all commands share: options, exit codes, output for people and as JSON, and how an error ends a command."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from customer360.errors import OperatorError
from customer360.lake.slices import slice_key, slice_start
from customer360.text import printable

if TYPE_CHECKING:
    from customer360.decisions import Request
    from customer360.settings import Settings

Parsed = TypeVar("Parsed")
WELL, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130
STATUS_CODES = {"healthy": 0, "warning": 1, "critical": 2, "unknown": 3}  # as in Nagios
EXIT_CODES = """Exit codes:
  0    well; of status: healthy
  1    the data, plan or model that was looked at is wrong, or not every line or file could be used;
       of start: a stage failed; of status: warning
  2    wrong usage or settings, or refused: nothing was changed; of status: critical
  3    of status alone: not known, such as before the first publication
  130  interrupted (Ctrl-C)"""
PLACE_FOLDERS = ["landing", "raw", "published", "models", "plans", "campaigns", "quarantine", "dagster"]
PLACE_ENTRIES = [*PLACE_FOLDERS, "serving", "warehouse.duckdb", "warehouse.lock"]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")]


def _keep(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> None:
    """Keep an option for the commands below: the one nearest to the command is parsed last and wins."""
    if value:
        context.meta[str(parameter.name).upper()] = value


_shared = partial(typer.Option, callback=_keep, expose_value=False)


def _shared_options(
    shop: Annotated[
        str | None, _shared("--shop", help="Folder under shops/, or a path with shop.yaml (default: $SHOP, else synthetic).")
    ] = None,
    data_dir: Annotated[
        str | None, _shared("--data-dir", help="Folder with the shop's data (default: $DATA_DIR, else ./data).")
    ] = None,
) -> None:
    """Options of every command."""


_options = typer.Typer(add_completion=False)
_options.command()(_shared_options)
SHARED_OPTIONS = typer.main.get_command(_options).params


class Command(TyperCommand):
    """A command with the shared options, which ends with the exit code that its function returns."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if "ignore_unknown_options" not in self.context_settings:  # else all options are those of another program
            self.params += SHARED_OPTIONS

    def invoke(self, ctx: Any) -> Any:
        """Run the function and end with its exit code."""
        raise typer.Exit(exit_code(partial(super().invoke, ctx)))


class Group(TyperGroup):
    """Commands below a name, such as ``models``, with the shared options."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += SHARED_OPTIONS


def group(name: str, description: str, epilog: str | None = None) -> typer.Typer:
    """Commands below a name. Without rich, whose import takes longer than most commands."""
    settings: dict[str, Any] = {"cls": Group, "rich_markup_mode": None, "pretty_exceptions_enable": False}
    return typer.Typer(name=name, help=description, epilog=epilog, no_args_is_help=False, **settings)


def command(app: typer.Typer, name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of the context and its own options, which returns its exit code, or None where all is well."""
    return app.command(name, cls=Command, **settings)


def environment(context: typer.Context) -> dict[str, str]:
    """The environment with ``--shop`` and ``--data-dir`` in it."""
    return {**os.environ, **{name: context.meta[name] for name in ("SHOP", "DATA_DIR") if name in context.meta}}


def shop_settings(context: typer.Context) -> Settings:
    """The shop and its place, which may not exist yet. Raises ``SettingsError`` where the named place is a file.

    Raises ``PlaceError`` where it is of a newer release.
    """
    from customer360.place_format import place_format
    from customer360.settings import Settings

    settings = Settings.from_environment(environment(context))
    place_format(settings.place)
    if settings.place.root.exists() and not settings.place.root.is_dir():
        raise _no_place(context, "is a file")
    return settings


def home_of(settings: Settings) -> Path:
    """The Dagster home: ``DAGSTER_HOME``, else ``dagster`` in the data folder."""
    return Path(os.environ.get("DAGSTER_HOME") or settings.place.root / "dagster")


def place_settings(context: typer.Context) -> Settings:
    """The same for a command that reads the place. Raises ``SettingsError`` where the named folder is no data folder."""
    settings = shop_settings(context)
    root = settings.place.root
    if environment(context).get("DATA_DIR"):
        if not root.exists():
            raise _no_place(context, "does not exist")
        names = {path.name for path in root.iterdir()}
        if names and names.isdisjoint(PLACE_ENTRIES):
            raise _no_place(context, f"is no data folder, it has none of {', '.join(PLACE_ENTRIES)}")
    return settings


def _no_place(context: typer.Context, problem: str) -> Exception:
    from customer360.settings import SettingsError

    source = "--data-dir" if "DATA_DIR" in context.meta else "DATA_DIR"
    return SettingsError(
        f"{source} {environment(context)['DATA_DIR']} {problem}: name the folder that holds a shop's landing and published; "
        "customer360 init makes one from your files, customer360 simulate and make demo from made-up ones"
    )


def exit_code(run: Callable[[], int | None]) -> int:
    """The exit code of a command's function.

    ``OperatorError`` and files that are missing or refused end it with one line on stderr and ``USAGE``; a reader that closes
    the pipe, such as ``head``, ends it well.
    """
    try:
        return run() or WELL
    except (OperatorError, FileNotFoundError, PermissionError) as error:
        sys.stderr.write(f"customer360: {error}\n")
        return USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED


def say(*lines: str) -> None:
    """Write lines for people, at once. Control characters are escaped: what producers wrote must not steer the terminal."""
    sys.stdout.write("".join(f"{printable(line)}\n" for text in lines for line in text.split("\n")))
    sys.stdout.flush()


def answer(as_json: bool, document: object, lines: Iterable[str], is_well: bool = True) -> int:
    """Write a result as one JSON document, or as lines for people. Returns the exit code."""
    if as_json:
        say(json.dumps(document, default=_plain, indent=2))
    else:
        say(*lines)
    return WELL if is_well else WRONG


def _plain(value: Any) -> Any:
    """What JSON has no type for: times as ISO 8601, data frames as lists of records, paths and decimals as text."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, datetime | date):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "to_json"):
        return json.loads(value.to_json(orient="records", date_format="iso"))
    return value.item() if hasattr(value, "item") else str(value)


def fitted(text: str, indent: str = "", hanging: str = "  ") -> list[str]:
    """``text`` in lines: wrapped between words at a terminal's width, in one line where the output is piped."""
    if not sys.stdout.isatty():
        return [f"{indent}{text}"]
    width = shutil.get_terminal_size().columns
    lines = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + hanging, break_long_words=False)
    return lines or [""]


def now() -> datetime:
    """Wall clock, UTC."""
    return datetime.now(UTC)


def user() -> str:
    """Who is at the terminal; the number where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def request(reason: str) -> Request:
    """A decision by the user at the terminal, now. Raises ``DecisionRefused`` where the reason is empty."""
    from customer360.decisions import Request

    return Request(reason, now(), user())


def _option_parser(parse: Callable[[str], Parsed], remedy: str) -> Callable[[str], Parsed]:
    """``parse`` as the parser of an option; the remedy ends the message about what it refuses with ``ValueError``."""

    def parse_option(text: str) -> Parsed:
        try:
            return parse(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is {remedy}") from None

    return parse_option


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


slice_option = _option_parser(slice_start, "no slice; write its start in UTC, as in 2026-05-01-10:00")
moment_option = _option_parser(_aware, "no moment; write it with its time zone, as in 2026-05-01T18:00+02:00")
day_option = _option_parser(lambda text: f"{date.fromisoformat(text)}", "no day; write it as in 2026-05-01")


def slice_or_history_option(text: str) -> str:
    """Key of a slice, or ``history``."""
    return text if text == "history" else slice_key(slice_option(text))
