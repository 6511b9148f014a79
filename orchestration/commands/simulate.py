"""``customer360 simulate [all | history | slices | stream | retailer]``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from customer360.lake.slices import floor_to_slice, slice_key
from customer360.text import many
from orchestration.console import now, say, shop_settings

if TYPE_CHECKING:
    from datetime import datetime

    from customer360.settings import Settings
    from customer360.simulation import Faults, Simulation


def simulate(
    context: typer.Context,
    *,
    what: Annotated[
        Literal["all", "history", "slices", "stream", "retailer"],
        typer.Argument(
            metavar="[all|history|slices|stream|retailer]",
            help="History, live slices, both, or files that keep coming; or the CSV files of a retailer without clicks.",
        ),
    ] = "all",
    customers: Annotated[
        int | None, typer.Option(min=0, help="Customers (default 6000, or as the history was made; of a retailer 1500).")
    ] = None,
    days: Annotated[int | None, typer.Option(min=0, help="Days of history (default 60, of a retailer 730).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same files (default 360).")] = None,
    events_per_slice: Annotated[
        float | None, typer.Option(help="Mean load; without it customers browse at a natural rate.")
    ] = None,
    slices: Annotated[int, typer.Option(min=0, metavar="N", help="Live slices, after those in landing.")] = 5,
    faults: Annotated[Literal["none", "everyday"], typer.Option(help="Late, copied and broken lines.")] = "none",
    speed: Annotated[float, typer.Option(help="Of a stream: 1 is real time, 10 ten times as fast.")] = 1.0,
    api: Annotated[
        str | None, typer.Option(metavar="URL", help="Of a stream: shoppers ask this API for offers, and send it their events.")
    ] = None,
    lines: Annotated[int | None, typer.Option(min=0, help="Of a retailer: about how many sold lines (default 100000).")] = None,
    into: Annotated[
        Path | None, typer.Option(help="Of a retailer: the folder for purchases.csv, products.csv, customers.csv.")
    ] = None,
) -> None:
    """Write the files of the synthetic shop into landing. Later slices fit the history that is there.

    A retailer's files, two years of purchases with products and customers, go into a folder of their own: they are a newcomer's
    files for a first try, with no shop.yaml yet.
    """
    from customer360.simulation import Faults, Simulation, SimulationError, read_simulation

    if what == "retailer":
        _retailer(into, {"customers": customers, "days": days, "seed": seed, "lines": lines})
        return
    settings = shop_settings(context)
    if settings.shop.landing_url:
        raise SimulationError(
            f"landing of {settings.shop.name} is {settings.shop.landing_url}, and simulated files go into folders only; use a "
            "shop.yaml without object_storage"
        )
    options = {"customers": customers, "days": days, "seed": seed, "events_per_slice": events_per_slice}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    simulation = replace(read_simulation(settings.place) or Simulation(), **given)
    chosen = Faults.everyday() if faults == "everyday" else Faults()
    if what == "stream":
        if api is None:
            _stream(settings, simulation, chosen, speed)
        else:
            _shop(settings, simulation, api, speed)
        return
    if what in {"all", "history"}:
        _history(settings, simulation)
    if what in {"all", "slices"}:
        _slices(settings, simulation, chosen, slices)
    say(f"The files are in {settings.place.landing}")


def _retailer(into: Path | None, options: dict[str, int | None]) -> None:
    from customer360.simulation import Retailer, SimulationError, simulate_retailer, write_retailer

    if into is None:
        raise SimulationError("a retailer's files go into a folder of their own: simulate retailer --into FOLDER")
    retailer = Retailer(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]  # all are whole numbers
    rows = write_retailer(simulate_retailer(retailer), into)
    for name, count in rows.items():
        say(f"{into / f'{name}.csv'}  {count:,} rows")


def _history(settings: Settings, simulation: Simulation) -> None:
    from customer360.simulation import SimulationError, read_simulation, simulate_history

    folder = settings.place.landing / "history"
    if folder.is_dir() and any(folder.iterdir()):
        if read_simulation(settings.place) != simulation:
            raise SimulationError(f"{folder} has files that were made otherwise; remove them, or choose another --data-dir")
        say(f"history    is there already, in {folder}")
        return
    say(f"history    {simulation.days} days of {simulation.customers:,} customers, seed {simulation.seed} ...")
    began = time.monotonic()
    made = simulate_history(simulation, settings.shop, settings.place)
    counts = f"{made['events']:,} events, {made['purchases']:,} purchases, {many(made['files'], 'file')}"
    say(f"history    {counts}, {time.monotonic() - began:.1f} s")
    say(f"reference  {', '.join(f'{table} {rows:,}' for table, rows in made['reference'].items())}")


def _slices(settings: Settings, simulation: Simulation, faults: Faults, count: int) -> None:
    from customer360.simulation import next_slice, simulate_slice

    shop, place = settings.shop, settings.place
    first = next_slice(shop, place)
    for number in range(count):
        start = first + number * shop.slice_width
        made = simulate_slice(simulation, shop, place, start, faults)
        total = made["total"]
        copies = sum(total.get(name, 0) for name in ("duplicates_inside", "duplicates_across", "restamped"))
        say(
            f"slice      {slice_key(start)}  {total.get('lines', 0):>7,} lines in {many(len(made['files']), 'file')}: "
            f"{total.get('late', 0):,} late, {copies:,} copies, {total.get('poison', 0):,} broken"
        )
    if count and not shop.live:
        say("           A replayed slice is closed when a later one has files: the last one stays open.")


def _stream(settings: Settings, simulation: Simulation, faults: Faults, speed: float) -> None:
    """Write files until Ctrl-C; no half file stays."""
    from customer360.simulation import stream

    start = _stream_start(settings, speed)
    say(
        f"stream     from {slice_key(start)} on at {speed:g} times real time, into {settings.place.landing / 'clicks'}",
        "           Ctrl-C ends it; the next stream goes on after the last slice.",
    )
    try:
        for arrived in stream(simulation, settings.shop, settings.place, start, speed=speed, faults=faults):
            lines = arrived.report["lines"]
            say(f"{now():%H:%M:%S}   {slice_key(arrived.slice_start)}  {arrived.path.name}  {many(lines, 'line')}")
    except KeyboardInterrupt:
        say("stopped")


def _shop(settings: Settings, simulation: Simulation, url: str, speed: float) -> None:
    """Shop over the API until Ctrl-C, with a key of its own for that time."""
    from customer360.services.api.keys import add_key, keys_file, read_keys, revoke_key
    from customer360.simulation import Api, shop_over_api

    file = keys_file(settings.place)
    key = add_key(file, "simulated shoppers", ["offers", "events"], now())
    key_id = read_keys(file)[-1].id
    say(f"shoppers   use {url} at {speed:g} times real time; Ctrl-C ends it")
    try:
        for served in shop_over_api(simulation, settings.shop, settings.place, Api(url, key), speed=speed):
            counts = ", ".join(f"{count:,} {name}" for name, count in sorted(served.counts.items()) if count)
            say(f"{now():%H:%M:%S}   {slice_key(served.slice_start)}  {counts}")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        revoke_key(file, key_id, now())


def _stream_start(settings: Settings, speed: float) -> datetime:
    """The slice after the last in landing; in a live shop, whose files have to arrive in their slice, the next to begin."""
    from customer360.simulation import SimulationError, next_slice

    shop, start = settings.shop, next_slice(settings.shop, settings.place)
    if not shop.live:
        return start
    if speed != 1:
        raise SimulationError(f"{shop.name} is live: its slices take their own time; leave --speed out")
    start = max(start, floor_to_slice(now(), shop.slice_width) + shop.slice_width)
    wait = (start - now()).total_seconds()
    say(f"stream     waits {wait:.0f} s for the next slice to begin")
    time.sleep(max(0.0, wait))
    return start
