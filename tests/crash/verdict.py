"""Whether anything shows: the producers' account against the tables, and the tables against those of a clean run."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator

import duckdb

from customer360.lake.landing.listing import list_slice
from customer360.lake.slices import EPOCH, slice_key
from tests.crash.producer import Account
from tests.orchestration.place import Tables, TinyShop

EVENTS = "select coalesce(sum(events), 0)::bigint from traffic"
LOG = "select sum(lines)::bigint, sum(quarantined)::bigint, sum(good - repeats)::bigint from slice_log where source = 'clicks'"


def unpublished(shop: TinyShop, closed: int) -> list[str]:
    """Keys of closed slices that the published version does not hold as they are landed now."""
    landing = shop.settings.place.landing
    done = dict(shop.published("select slice, raw_fingerprint from slice_log where source = 'clicks' and is_transformed"))
    starts = [shop.slice(number) for number in range(closed)]
    return [slice_key(at) for at in starts if done.get(at.replace(tzinfo=None)) != list_slice(landing, at).fingerprint]


def account_differences(shop: TinyShop, account: Account, events_before: int) -> Iterator[str]:
    """Lost and doubled events: by id in raw, by slice in the warehouse, in total in what is published."""
    kept: Counter[str] = Counter()
    with duckdb.connect() as connection:
        parts = f"{shop.data}/raw/clicks/slice_key=*/part.parquet"
        raw = connection.execute(f"select slice, event_id, count(*) from read_parquet('{parts}') group by all").fetchall()
        connection.execute(f"attach '{shop.settings.place.warehouse}' as warehouse (read_only)")
        by_slice = dict(
            connection.execute(
                "select slice, sum(events)::bigint from warehouse.intermediate.int_activity_by_slice group by slice"
            ).fetchall()
        )
    times = {(start.replace(tzinfo=EPOCH.tzinfo), event_id): count for start, event_id, count in raw}
    for start, ids in account.ids.items():
        lost = sorted(event_id for event_id in ids if (start, event_id) not in times)
        doubled = sorted(event_id for event_id in ids if times.get((start, event_id), 1) > 1)
        counted = by_slice.get(start.replace(tzinfo=None), 0)
        kept["lost"] += len(lost)
        kept["doubled"] += len(doubled)
        if lost or doubled or counted != len(ids):
            yield f"{slice_key(start)}: {len(ids)} events landed, {counted} counted; lost {lost[:3]}, doubled {doubled[:3]}"
    expected = {
        "lines in slice_log": (account.lines, shop.published(LOG)[0][0]),
        "quarantined in slice_log": (account.bad, shop.published(LOG)[0][1]),
        "kept events in slice_log": (account.events, shop.published(LOG)[0][2]),
        "events in traffic": (events_before + account.events, shop.published(EVENTS)[0][0]),
    }
    for name, (landed, found) in expected.items():
        if landed != found:
            yield f"{name}: {found}, but {landed} were landed"


def clean_tables(shop: TinyShop, closed: int, at_once: int = 96) -> Tables:
    """Published tables of the same files in runs that nobody disturbs. What was killed is kept as "killed" and comes back."""
    shop.save("killed")
    shop.restore("ready")
    landing = shop.data / "landing" / "clicks"
    shutil.rmtree(landing, ignore_errors=True)
    shutil.copytree(shop.root / "killed" / "landing" / "clicks", landing)
    for first in range(0, closed, at_once):
        shop.run_range(first, min(first + at_once, closed) - 1).succeed()
    tables = shop.tables()
    shop.save("clean")
    shop.restore("killed")
    return tables


def table_differences(found: Tables, clean: Tables) -> Iterator[str]:
    """Published tables that differ from the clean run's."""
    for name in sorted(found.keys() | clean.keys()):
        if name not in found or name not in clean:
            yield f"{name} is published by one of the two only"
        elif found[name] != clean[name]:
            ours, theirs = Counter(map(repr, found[name])), Counter(map(repr, clean[name]))
            more, less = list((ours - theirs).elements()), list((theirs - ours).elements())
            yield f"{name}: {len(more)} rows that a clean run has not {more[:1]}, {len(less)} missing {less[:1]}"
