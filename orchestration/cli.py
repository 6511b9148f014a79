"""The ``customer360`` command: the parser. Each subcommand is a module of ``orchestration.commands``, imported when it runs.

Exit codes: 0 well, 1 something is wrong with the data, 2 wrong usage or settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date, datetime
from importlib import import_module
from pathlib import Path

from customer360.adapters.conversion import Into
from customer360.adapters.formats import FORMATS
from customer360.lake.slices import slice_key, slice_start
from customer360.settings import SettingsError
from orchestration.console import INTERRUPTED, USAGE, WELL, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code. Expected errors are one clear message on stderr, without a traceback."""
    options = build_parser().parse_args(arguments)
    module = import_module(f"orchestration.commands.{options.module}")
    try:
        return int(module.run(options))
    except (SettingsError, FileNotFoundError, PermissionError, *module.EXPECTED) as error:
        sys.stderr.write(f"customer360: {error}\n")
        return USAGE
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except KeyboardInterrupt:
        say("stopped")
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The subcommands and their options."""
    parser = argparse.ArgumentParser(prog="customer360", description="Check, simulate, watch and mend a shop's data.")
    parser.add_argument("--shop", help="folder under shops/, or a path with shop.yaml (default: $SHOP, else synthetic)")
    parser.add_argument("--data-dir", help="where the data lie (default: $DATA_DIR, else ./data)")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_check(commands)
    _add_adapt(commands)
    _add_simulate(commands)
    status = commands.add_parser("status", help="what is published, waiting, held, quarantined and used")
    status.set_defaults(module="status")
    serve = commands.add_parser("serve", help="keep Dagster's daemon, code server and web server running")
    serve.add_argument("--port", type=_count, help="of the web server; without it there is none")
    serve.set_defaults(module="serve")
    _add_quarantine(commands)
    _add_models(commands)
    _add_campaigns(commands)
    categories = commands.add_parser("categories", help="show the categories, or choose the top K again")
    categories.add_argument("--again", action="store_true", help="choose the top K by revenue anew")
    categories.set_defaults(module="categories")
    rebuild = commands.add_parser("rebuild", help="have the next run make the warehouse from raw again")
    rebuild.add_argument("--anew", action="store_true", help="set the file aside, also where it is damaged")
    rebuild.set_defaults(module="rebuild")
    contracts = commands.add_parser("contracts", help="the files and columns that this shop may bring, as Markdown")
    contracts.set_defaults(module="contracts")
    # All arguments are dbt's own, those that look like options too: nothing begins with this prefix.
    dbt = commands.add_parser("dbt", help="dbt with this shop's variables, as in dbt ls", add_help=False, prefix_chars="\0")
    dbt.add_argument("arguments", nargs="*")
    dbt.set_defaults(module="dbt")
    return parser


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser("check", help="judge files by the contracts before anything runs; writes nothing")
    check.add_argument(
        "folder",
        type=_folder_or_url,
        help="a landing folder, a part of it, any folder with click files, or s3://bucket/... in the shop's store",
    )
    check.add_argument("--most", type=_count, default=10, metavar="N", help="problems shown a file (default 10)")
    check.set_defaults(module="check")


def _folder_or_url(text: str) -> Path | str:
    return text if text.startswith("s3://") else Path(text)


def _add_adapt(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    adapt = commands.add_parser("adapt", help="convert web server logs, GA4 exports or Snowplow events into landing files")
    adapt.add_argument("format", choices=FORMATS)
    adapt.add_argument("files", type=Path, nargs="+", metavar="file", help="also compressed (.gz)")
    adapt.add_argument(
        "--into",
        type=_slice_or_into,
        metavar="WHERE",
        help="now, event-time, or a slice (default: now; in a replayed shop event-time)",
    )
    adapt.set_defaults(module="adapt")


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
    simulate.add_argument(
        "--slices", type=_count, default=5, metavar="N", help="live slices, after those in landing (default 5)"
    )
    simulate.add_argument("--faults", choices=["none", "everyday"], default="none", help="late, copied and broken lines")
    simulate.add_argument("--speed", type=float, default=1.0, help="of a stream: 1 is real time, 10 ten times as fast")
    simulate.set_defaults(module="simulate")


def _add_quarantine(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    quarantine = commands.add_parser("quarantine", help="lines that broke the contract: list them, send them back")
    actions = quarantine.add_subparsers(required=True, metavar="action")
    listing = actions.add_parser("list", help="counts by reason, and the lines")
    listing.add_argument("--limit", type=_count, default=20, metavar="N", help="lines shown (default 20)")
    listing.add_argument("--all", action="store_true", help="also lines that were replayed already")
    listing.set_defaults(module="quarantine_list")
    replaying = actions.add_parser("replay", help="send lines that keep the contract now back to landing")
    replaying.add_argument("--into", type=_slice, metavar="KEY", help="another slice than the line's own, at most 3 days away")
    replaying.add_argument("--all", action="store_true", help="also lines that were replayed already")
    ways = replaying.add_mutually_exclusive_group()
    ways.add_argument("--edit", type=Path, metavar="FILE", help="write the lines to FILE, to be mended; sends nothing")
    ways.add_argument("--from", type=Path, metavar="FILE", dest="source", help="send the mended lines of FILE")
    replaying.set_defaults(module="quarantine_replay")
    for action in (listing, replaying):
        action.add_argument(
            "--slice", type=_slice_or_history, metavar="KEY", help="only this slice (2026-05-01-10:00), or history"
        )
        action.add_argument("--file", metavar="NAME", help="only this file")
        action.add_argument("--where-reason", metavar="TEXT", help="only where column and reason hold this text")


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser("models", help="versions of the models: what they are, which one serves, and why")
    actions = models.add_subparsers(required=True, metavar="action", dest="action")
    listing = actions.add_parser("list", help="every version and the last decision about it")
    listing.set_defaults(module="models_list")
    show = actions.add_parser("show", help="data, cut-offs, metrics beside the baselines, decisions with their reasons")
    show.add_argument("version", help="a version, or champion")
    show.set_defaults(module="models_show")
    promote = actions.add_parser("promote", help="make a version champion")
    promote.add_argument("version")
    reject = actions.add_parser("reject", help="have a version serve no more, also not in need")
    reject.add_argument("version")
    rollback = actions.add_parser("rollback", help="withdraw the champion: an earlier one serves again")
    rollback.add_argument("version", nargs="?", help="an earlier champion (default: the one before)")
    for action in (promote, reject, rollback):
        action.add_argument("--reason", required=True, metavar="TEXT", help="why; it is kept and shown with the version")
        action.set_defaults(module="models_decide")
    recompute = actions.add_parser("recompute", help="make a day's kept scores again from what was known then, and compare")
    recompute.add_argument("--day", type=_day, metavar="DAY", help="shop-local, as in 2026-05-01 (default: the newest)")
    recompute.set_defaults(module="models_recompute")
    for action in (listing, show, promote, reject, rollback):
        action.add_argument("--model", default="affinity", help="affinity, spend or churn (default: affinity)")


def _add_campaigns(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    campaigns = commands.add_parser("campaigns", help="plans: check, approve, withdraw and send them, and what they brought")
    actions = campaigns.add_subparsers(required=True, metavar="action", dest="action")
    check = actions.add_parser("check", help="judge the campaign files; counts their audiences once something is published")
    check.set_defaults(module="campaigns_check")
    listing = actions.add_parser("list", help="every campaign with its newest draft and what was approved")
    listing.set_defaults(module="campaigns_list")
    show = actions.add_parser("show", help="one campaign: costs, contacts by channel and day, why others are left out")
    show.add_argument("campaign")
    show.set_defaults(module="campaigns_list")
    approve = actions.add_parser("approve", help="have the newest draft sent when it is due; it never changes from then on")
    approve.add_argument("campaign")
    approve.add_argument("version", help="the draft's plan_version, as list shows it")
    withdraw = actions.add_parser("withdraw", help="take back what is approved and not sent")
    withdraw.add_argument("campaign")
    withdraw.add_argument("--customer", action="append", default=[], metavar="ID", help="only this one; may be repeated")
    for action in (approve, withdraw):
        action.add_argument("--reason", required=True, metavar="TEXT", help="why; it is kept in the ledger")
        action.set_defaults(module="campaigns_decide")
    send = actions.add_parser("send", help="hand approved contacts that are due over to the outbox")
    send.add_argument("--until", type=_moment, metavar="TIME", help="also those due until then, at most 24 hours ahead")
    send.set_defaults(module="campaigns_send")
    results = actions.add_parser("results", help="what campaigns brought beside the customers who were held out")
    results.add_argument("campaign", nargs="?", help="only this one")
    results.set_defaults(module="campaigns_results")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment; write it with its time zone, as in 2026-05-01T18:00+02:00")
    return moment


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _day(text: str) -> str:
    try:
        return f"{date.fromisoformat(text)}"
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as in 2026-05-01") from None


def _slice(text: str) -> datetime:
    try:
        return slice_start(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no slice; write its start in UTC, as in 2026-05-01-10:00") from None


def _slice_or_history(text: str) -> str:
    return text if text == "history" else slice_key(_slice(text))


def _slice_or_into(text: str) -> datetime | Into:
    return Into(text) if text in list(Into) else _slice(text)


if __name__ == "__main__":
    sys.exit(main())
