"""What all commands share: options, exit codes, output for people and as JSON, and how an error ends a command."""

from __future__ import annotations

import functools
import getpass
import inspect
import json
import os
import shutil
import sys
import textwrap
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from customer360.errors import OperatorError
from customer360.text import printable

if TYPE_CHECKING:
    from customer360.settings import Settings

WELL, WRONG, USAGE, UNKNOWN, INTERRUPTED = 0, 1, 2, 3, 130
WARNING, CRITICAL = 1, 2  # what `status` says with the codes above; 3 is "unknown" there, as in Nagios
EXIT_CODES = """Exit codes:
  0    well; of status: healthy
  1    the data, plan or model that was looked at is wrong, or not every line or file could be used;
       of status: warning
  2    wrong usage or settings, or refused: nothing was changed; of status: critical
  3    of status alone: not known, such as before the first publication
  130  interrupted (Ctrl-C)"""
PLACE_ENTRIES = (
    "landing",
    "raw",
    "published",
    "models",
    "plans",
    "campaigns",
    "quarantine",
    "dagster",
    "warehouse.duckdb",
    "warehouse.lock",
)

ShopOption = Annotated[
    str | None, typer.Option("--shop", help="Folder under shops/, or a path with shop.yaml (default: $SHOP, else synthetic).")
]
DataDirOption = Annotated[
    str | None, typer.Option("--data-dir", help="Folder with the shop's data (default: $DATA_DIR, else ./data).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the decision.")]


@dataclass(frozen=True)
class Invocation:
    """The shop and the data folder that a command was called with."""

    shop: str | None = None
    data_dir: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment with ``--shop`` and ``--data-dir`` in it."""
        options = {"SHOP": self.shop, "DATA_DIR": self.data_dir}
        return {**os.environ, **{name: value for name, value in options.items() if value}}

    @property
    def settings(self) -> Settings:
        """The shop and its place, which may not exist yet. Raises ``SettingsError`` where the named place is a file."""
        from customer360.settings import Settings

        settings = Settings.from_environment(self.environment)
        if settings.place.root.exists() and not settings.place.root.is_dir():
            raise self._no_place("is a file")
        return settings

    @property
    def place_settings(self) -> Settings:
        """The same for a command that reads the place. Raises ``SettingsError`` where the named folder is no data folder."""
        named = self.environment.get("DATA_DIR")
        settings = self.settings
        root = settings.place.root
        if named and not root.exists():
            raise self._no_place("does not exist")
        if named and any(root.iterdir()) and not any((root / name).exists() for name in PLACE_ENTRIES):
            raise self._no_place(f"is no data folder, it has none of {', '.join(PLACE_ENTRIES)}")
        return settings

    def _no_place(self, problem: str) -> Exception:
        from customer360.settings import SettingsError

        source = "--data-dir" if self.data_dir else "DATA_DIR"
        return SettingsError(
            f"{source} {self.environment['DATA_DIR']} {problem}: name the folder that holds a shop's landing and published; "
            "customer360 simulate and make demo make one"
        )


def noun(name: str, description: str) -> typer.Typer:
    """A group of commands, such as ``models``, which takes ``--shop`` and ``--data-dir`` too."""
    return typer.Typer(name=name, help=description, callback=keep_options, no_args_is_help=False, rich_markup_mode=None)


def keep_options(context: typer.Context, shop: ShopOption = None, data_dir: DataDirOption = None) -> None:
    """Hand the options of a group on to its commands; the option nearest to the command wins."""
    context.obj = _nearest(context.obj, shop, data_dir)


def command(app: typer.Typer, name: str | None = None, **options: Any) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register ``function(invocation, ...) -> exit code``; the command takes ``--shop`` and ``--data-dir`` as well.

    ``OperatorError`` and files that are missing or refused end it with one line on stderr and ``USAGE``; a reader that closes
    the pipe, such as ``head``, ends it well.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        hints = typing.get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]

        @functools.wraps(function)
        def run(context: typer.Context, shop: str | None = None, data_dir: str | None = None, **values: Any) -> None:
            raise typer.Exit(exit_code(functools.partial(function, _nearest(context.obj, shop, data_dir), **values)))

        common = inspect.signature(keep_options, eval_str=True).parameters.values()
        parameters = [*(parameter.replace(annotation=hints[parameter.name]) for parameter in own), *common]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        )
        run.__annotations__ = {}
        app.command(name, **options)(run)
        return function

    return register


def _nearest(outer: Invocation | None, shop: str | None, data_dir: str | None) -> Invocation:
    outer = outer or Invocation()
    return replace(outer, shop=shop or outer.shop, data_dir=data_dir or outer.data_dir)


def exit_code(run: Callable[[], int]) -> int:
    """The exit code of a command's work; expected errors become one line on stderr."""
    try:
        return run()
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


def answer(as_json: bool, document: object, lines: Iterable[str]) -> None:
    """Write a result as one JSON document, or as lines for people."""
    if as_json:
        say(json.dumps(document, default=_plain, indent=2))
    else:
        say(*lines)


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


def slice_option(text: str) -> datetime:
    """Start of a slice, from its key."""
    from customer360.lake.slices import slice_start

    try:
        return slice_start(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no slice; write its start in UTC, as in 2026-05-01-10:00") from None


def slice_or_history_option(text: str) -> str:
    """Key of a slice, or ``history``."""
    from customer360.lake.slices import slice_key

    return text if text == "history" else slice_key(slice_option(text))


def moment_option(text: str) -> datetime:
    """A moment with its time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is no moment; write it with its time zone, as in 2026-05-01T18:00+02:00")
    return moment


def day_option(text: str) -> str:
    """A calendar day, as in 2026-05-01."""
    try:
        return f"{date.fromisoformat(text)}"
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write it as in 2026-05-01") from None
