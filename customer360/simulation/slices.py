"""One live slice: its events spread over the producers' files, with the faults asked for and an exact report of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from customer360.lake.landing.contracts import DUPLICATE_DAYS
from customer360.lake.slices import floor_to_slice, slice_folder
from customer360.settings import Place, Shop
from customer360.simulation.arrays import EPOCH, Ints, generator, microseconds
from customer360.simulation.behaviour import LONGEST_VISIT
from customer360.simulation.campaigns import CAMPAIGN_IDS
from customer360.simulation.events import Events, click_table, concatenate, in_order, make_events
from customer360.simulation.faults import POISON_KINDS, Faults, FaultyEvents, apply_faults, count_of_share, poison_line
from customer360.simulation.history import TAIL
from customer360.simulation.parameters import Simulation, SimulationError
from customer360.simulation.population import PLATFORMS
from customer360.simulation.reactions import Reactions, sent_contacts, shop_events
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.truth import write_faults
from customer360.simulation.writing import json_lines, packed, write_bytes

# producer and the type of file that it writes
PRODUCERS = (("web-1", "jsonl"), ("web-2", "jsonl.gz"), ("app", "jsonl.gz"), ("messages", "jsonl"))
APP_PRODUCER = 2
SLICES_OF_DUPLICATES = 8
KEPT_SHARE_OF_TRUNCATED_FILE = 0.6


@dataclass(frozen=True)
class ProducedFile:
    """A file of a slice before it is written: when its producer is done with it, and what is in it."""

    name: str
    content: bytes
    due: datetime
    report: dict[str, Any]


def simulate_slice(
    simulation: Simulation,
    shop: Shop,
    place: Place,
    slice_start: datetime,
    faults: Faults | None = None,
    *,
    contacts: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Write the files of the slice that starts at ``slice_start`` (with a time zone), and a report of them to ``truth``.

    Customers react to ``contacts`` (customer_id, campaign_id, channel, sent_at in UTC; by default those that the place's ledger
    says were sent).

    Returns ``slice``, ``files`` (a report by file) and ``total``: ``lines`` = ``events`` + ``duplicates_inside`` +
    ``duplicates_across`` + ``restamped`` + ``poison``; of the events so many are ``late`` and ``skewed``; ``poison_kinds``;
    ``new_columns`` = lines that carry them; ``truncated_files``.
    Raises ``SimulationError`` where ``slice_start`` is not the start of a slice or lies before the live slices.
    """
    synthetic = SyntheticShop.build(simulation, shop)
    reactions = Reactions.to(sent_contacts(place) if contacts is None else contacts, synthetic)
    produced = slice_files(synthetic, slice_start, faults or Faults(), reactions=reactions)
    for file in produced:
        write_bytes(slice_folder(place.landing / "clicks", slice_start) / file.name, file.content)
    report = slice_report(slice_start, produced)
    write_faults(place, slice_start, report)
    return report


def slice_files(
    synthetic: SyntheticShop,
    slice_start: datetime,
    faults: Faults,
    parts: int = 1,
    *,
    reactions: Reactions | None = None,
    overdue: Events | None = None,
) -> list[ProducedFile]:
    """The files of one slice; each producer cuts its slice into ``parts`` equal stretches of time. No file is empty.

    ``overdue``: events of before the slice that come with it, such as reactions to contacts that were made in the middle of
    the last one.
    """
    shop = synthetic.shop
    _require_slice(shop, slice_start)
    start, width = microseconds(slice_start), shop.slice_width // timedelta(microseconds=1)
    rng = generator(synthetic.simulation.seed, 4, start // 1_000_000)
    events = shop_events(synthetic, reactions, start, start + width)
    if overdue is not None and len(overdue):
        events = in_order(concatenate([overdue, events]))
    marked = apply_faults(events, _earlier(synthetic, reactions, start, width, faults=faults, rng=rng), faults, rng)
    # A copy or a late event is sent at any moment of the slice.
    arrives_at = marked.events.arrives_at.copy()
    is_foreign = (arrives_at < start) | marked.is_inside | marked.is_restamped
    arrives_at[is_foreign] = start + rng.integers(0, width, int(is_foreign.sum()))
    part = (arrives_at - start) * parts // width
    producer = np.where(marked.events.platform == PLATFORMS.index("app"), APP_PRODUCER, marked.events.shard)
    campaign_ids = CAMPAIGN_IDS if reactions is None else reactions.campaign_ids
    lines = np.array(json_lines(click_table(marked.events, synthetic.population, shop, campaign_ids)), dtype=object)
    produced = []
    for number in range(parts):
        for index, (name, suffix) in enumerate(PRODUCERS):
            rows = np.flatnonzero((part == number) & (producer == index))
            rows = rows[np.argsort(arrives_at[rows], kind="stable")]
            if len(rows):
                file_name = f"{name}-{slice_start:%Y%m%dT%H%M}-{number + 1:03}.{suffix}"
                due = EPOCH + timedelta(microseconds=start + width * (number + 1) // parts)
                produced.append(
                    _file(
                        name=file_name, due=due, good=lines[rows], rows=rows, marked=marked, faults=faults, shop=shop, rng=rng
                    )
                )
    return _truncated(produced, faults.truncated_files)


def slice_report(slice_start: datetime, produced: list[ProducedFile]) -> dict[str, Any]:
    """What is in the files of a slice, by file and in total."""
    total: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for file in produced:
        kinds.update(file.report["poison_kinds"])
        total.update({name: int(value) for name, value in file.report.items() if name != "poison_kinds"})
    total["truncated_files"] = total.pop("is_truncated", 0)
    return {
        "slice": f"{slice_start:%Y-%m-%dT%H:%M:%SZ}",
        "files": {file.name: file.report for file in produced},
        "total": {**total, "poison_kinds": dict(kinds)},
    }


def _require_slice(shop: Shop, slice_start: datetime) -> None:
    if slice_start.tzinfo is None:
        raise SimulationError(f"give the slice's start a time zone, such as UTC; got {slice_start}")
    if floor_to_slice(slice_start, shop.slice_width) != slice_start:
        raise SimulationError(f"{slice_start} is not the start of a {shop.slice_minutes}-minute slice in UTC")
    if slice_start < shop.slices_start:
        raise SimulationError(f"{slice_start} lies before slices_start {shop.slices_start}: it belongs to the history")


def _earlier(
    synthetic: SyntheticShop, reactions: Reactions | None, start: int, width: int, *, faults: Faults, rng: np.random.Generator
) -> Events:
    """The events of one of the slices before, as far back as they are drawn slice by slice; else none."""
    oldest = max(microseconds(synthetic.shop.slices_start) - TAIL + LONGEST_VISIT, start - DUPLICATE_DAYS * 86_400_000_000)
    candidates = [start - k * width for k in range(1, SLICES_OF_DUPLICATES + 1) if start - k * width >= oldest]
    if not candidates or not (faults.duplicates_across or faults.restamped):
        return make_events(0)
    chosen = candidates[int(rng.integers(len(candidates)))]
    return shop_events(synthetic, reactions, chosen, chosen + width)


def _file(
    *,
    name: str,
    due: datetime,
    good: np.ndarray[Any, np.dtype[np.object_]],
    rows: Ints,
    marked: FaultyEvents,
    faults: Faults,
    shop: Shop,
    rng: np.random.Generator,
) -> ProducedFile:
    lines: list[bytes] = list(good)
    extended = 0
    if faults.new_columns:
        addition = b"," + json.dumps(faults.new_columns, separators=(",", ":")).encode()[1:]
        has_new = rng.random(len(lines)) < 0.5
        lines = [line[:-1] + addition if new else line for line, new in zip(lines, has_new, strict=True)]
        extended = int(has_new.sum())
    kinds: Counter[str] = Counter()
    names = list(POISON_KINDS)
    for number in range(count_of_share(len(rows), faults.poison)):
        kind = names[int(rng.integers(len(names)))]
        bad = poison_line(kind, good[int(rng.integers(len(good)))], number, shop, rng)
        lines.insert(int(rng.integers(len(lines) + 1)), bad)
        kinds[kind] += 1
    is_copy = marked.is_inside | marked.is_across | marked.is_restamped
    report = {
        "lines": len(lines),
        "events": int((~is_copy[rows]).sum()),
        "duplicates_inside": int(marked.is_inside[rows].sum()),
        "duplicates_across": int(marked.is_across[rows].sum()),
        "restamped": int(marked.is_restamped[rows].sum()),
        "late": int(marked.is_late[rows].sum()),
        "skewed": int(marked.is_skewed[rows].sum()),
        "new_columns": extended,
        "poison": kinds.total(),
        "poison_kinds": dict(kinds),
        "is_truncated": False,
    }
    return ProducedFile(name, packed(lines, name), due, report)


def _truncated(produced: list[ProducedFile], count: int) -> list[ProducedFile]:
    """The first ``count`` compressed files end in the middle."""
    result = []
    for file in produced:
        if count and file.name.endswith(".gz"):
            kept = int(len(file.content) * KEPT_SHARE_OF_TRUNCATED_FILE)
            result.append(ProducedFile(file.name, file.content[:kept], file.due, {**file.report, "is_truncated": True}))
            count -= 1
        else:
            result.append(file)
    return result
