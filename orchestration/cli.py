"""The ``customer360`` command: a parser, and one short function per subcommand that calls the library and says what it found.

A subcommand imports what it needs when it runs, so that the others start fast. Exit codes: 0 well, 1 something is wrong with
the data, 2 wrong usage or settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from customer360.lake.slices import floor_to_slice, slice_key, slice_start
from customer360.settings import Settings, SettingsError, TopCategories

WELL, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130
WITHOUT_WAREHOUSE = {"--version", "-v", "--help", "-h", "clean", "deps", "list", "ls", "parse"}
DBT_WAIT_SECONDS = 10.0
TEXT_SHOWN = 96


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code. Expected errors are one clear message on stderr, without a traceback."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (SettingsError, FileNotFoundError, PermissionError) as error:
        return refuse(error)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED


def say(*lines: str) -> None:
    """Write lines for people, at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def refuse(error: Exception) -> int:
    """Say what cannot be done."""
    sys.stderr.write(f"customer360: {error}\n")
    return USAGE


def build_parser() -> argparse.ArgumentParser:
    """The subcommands and their options."""
    parser = argparse.ArgumentParser(prog="customer360", description="Check, simulate, watch and mend a shop's data.")
    parser.add_argument("--shop", help="folder under shops/, or a path with shop.yaml (default: $SHOP, else synthetic)")
    parser.add_argument("--data-dir", help="where the data lie (default: $DATA_DIR, else ./data)")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_check(commands)
    _add_simulate(commands)
    status = commands.add_parser("status", help="what is published, waiting, held, quarantined and used")
    status.set_defaults(run=run_status)
    _add_quarantine(commands)
    categories = commands.add_parser("categories", help="show the categories, or choose the top K again")
    categories.add_argument("--again", action="store_true", help="choose the top K by revenue anew")
    categories.set_defaults(run=run_categories)
    contracts = commands.add_parser("contracts", help="the files and columns that this shop may bring, as Markdown")
    contracts.set_defaults(run=run_contracts)
    # All arguments are dbt's own, those that look like options too: nothing begins with this prefix.
    dbt = commands.add_parser("dbt", help="dbt with this shop's variables: customer360 dbt ls", add_help=False, prefix_chars="\0")
    dbt.add_argument("arguments", nargs="*")
    dbt.set_defaults(run=run_dbt)
    return parser


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="judge files by the contracts before anything runs; writes nothing")
    check.add_argument("folder", type=Path, help="a landing folder, a part of it, or any folder with click files")
    check.add_argument("--most", type=_count, default=10, metavar="N", help="problems shown a file (default 10)")
    check.set_defaults(run=run_check)


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = commands.add_parser("simulate", help="write the files of the synthetic shop into landing")
    simulate.add_argument(
        "what",
        nargs="?",
        choices=["all", "history", "slices", "stream"],
        default="all",
        help="history, live slices, both (all, the default), or files that keep coming (stream)",
    )
    simulate.add_argument("--customers", type=_count, help="customers (default 6000, or as the history was made)")
    simulate.add_argument("--days", type=_count, help="days of history (default 60)")
    simulate.add_argument("--seed", type=_count, help="the same seed gives the same files (default 360)")
    simulate.add_argument("--events-per-slice", type=float, help="mean load; without it customers browse at a natural rate")
    simulate.add_argument("--slices", type=_count, default=5, metavar="N", help="live slices, after those in landing (default 5)")
    simulate.add_argument("--faults", choices=["none", "everyday"], default="none", help="late, copied and broken lines")
    simulate.add_argument("--speed", type=float, default=1.0, help="of a stream: 1 is real time, 10 ten times as fast")
    simulate.set_defaults(run=run_simulate)


def _add_quarantine(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    quarantine = commands.add_parser("quarantine", help="lines that broke the contract: list them, send them back")
    actions = quarantine.add_subparsers(required=True, metavar="action")
    listing = actions.add_parser("list", help="counts by reason, and the lines")
    listing.add_argument("--limit", type=_count, default=20, metavar="N", help="lines shown (default 20)")
    listing.add_argument("--all", action="store_true", help="also lines that were replayed already")
    listing.set_defaults(run=run_quarantine_list)
    replaying = actions.add_parser("replay", help="send lines that keep the contract now back to landing")
    replaying.add_argument("--into", type=_slice, metavar="KEY", help="another slice than the line's own, at most 3 days away")
    replaying.add_argument("--again", action="store_true", help="also lines that were replayed already")
    replaying.add_argument("--salvage", action="store_true", help="also the readable lines of files that were set aside whole")
    ways = replaying.add_mutually_exclusive_group()
    ways.add_argument("--edit", type=Path, metavar="FILE", help="write the lines to FILE, to be mended; sends nothing")
    ways.add_argument("--from", type=Path, metavar="FILE", dest="source", help="send the mended lines of FILE")
    replaying.set_defaults(run=run_quarantine_replay)
    for action in (listing, replaying):
        action.add_argument("--slice", type=_slice_or_history, metavar="KEY", help="only this slice (2026-05-01-10:00), or history")
        action.add_argument("--file", metavar="NAME", help="only this file")
        action.add_argument("--where-reason", metavar="TEXT", help="only where column and reason hold this text")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _slice(text: str) -> datetime:
    try:
        return slice_start(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no slice; write its start in UTC, as in 2026-05-01-10:00") from None


def _slice_or_history(text: str) -> str:
    return text if text == "history" else slice_key(_slice(text))


def _environment(options: argparse.Namespace) -> dict[str, str]:
    """The environment with ``--shop`` and ``--data-dir`` in it."""
    given = {"SHOP": options.shop, "DATA_DIR": options.data_dir}
    return {**os.environ, **{name: value for name, value in given.items() if value}}


def _settings(options: argparse.Namespace) -> Settings:
    return Settings.from_environment(_environment(options))


def _now() -> datetime:
    return datetime.now(UTC)


def run_check(options: argparse.Namespace) -> int:
    """Judge files. A ``shop.yaml`` in the folder or just above it is the shop, unless ``--shop`` says otherwise."""
    from customer360.lake.check_report import report_lines
    from customer360.lake.checking import check

    settings = _settings_for(options)
    shop = settings.shop
    say(
        f"{settings.shop_folder / 'shop.yaml'} is valid: {shop.name}, {shop.currency}, {shop.time_zone}, "
        f"slices of {shop.slice_minutes} minutes",
        "",
    )
    report = check(settings, options.folder, _now(), options.most)
    say(*report_lines(report))
    return WELL if report.is_clean else WRONG


def _settings_for(options: argparse.Namespace) -> Settings:
    near = [folder for folder in (options.folder, options.folder.absolute().parent) if (folder / "shop.yaml").is_file()]
    if options.shop or not near:
        return _settings(options)
    return Settings.load(near[0], _settings(argparse.Namespace(shop=None, data_dir=options.data_dir)).place.root)


def run_simulate(options: argparse.Namespace) -> int:
    """Write files of the synthetic shop. Without parameters, later slices fit the history that is there."""
    from customer360.simulation import Faults, Simulation, SimulationError, read_simulation

    settings = _settings(options)
    names = ("customers", "days", "seed", "events_per_slice")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    faults = Faults.everyday() if options.faults == "everyday" else Faults()
    try:
        simulation = replace(read_simulation(settings.place) or Simulation(), **given)
        if options.what == "stream":
            return _stream(settings, simulation, faults, options.speed)
        if options.what in {"all", "history"}:
            _simulate_history(settings, simulation)
        if options.what in {"all", "slices"}:
            _simulate_slices(settings, simulation, faults, options.slices)
    except SimulationError as error:
        return refuse(error)
    say(f"written to {settings.place.landing}; next: customer360 check {settings.place.landing}, or make ui")
    return WELL


def _simulate_history(settings: Settings, simulation: Simulation) -> None:
    from customer360.simulation import SimulationError, read_simulation, simulate_history

    history = settings.place.landing / "history"
    if history.is_dir() and any(history.iterdir()):
        if read_simulation(settings.place) != simulation:
            raise SimulationError(f"{history} has files made otherwise; remove them, or choose another --data-dir")
        say(f"history: {history} has it already")
        return
    say(f"history: {simulation.days} days of {simulation.customers:,} customers, seed {simulation.seed} ...")
    began = time.monotonic()
    made = simulate_history(simulation, settings.shop, settings.place)
    rows = ", ".join(f"{table} {count:,}" for table, count in made["reference"].items())
    say(
        f"history: {made['events']:,} events in {made['files']:,} files, {made['purchases']:,} of them purchases, "
        f"{time.monotonic() - began:.1f} s",
        f"reference: {rows}",
    )
"""
"""
