"""The retail360 data set as landing files: published customers and purchases, and browsing simulated as it was published.

The folder that the reader names holds three CSV files without header:

    customer.csv   customer_id, age, gender, income band, head of household, household size, months at residence
    purchase.csv   time, customer_id, product, amount
    product.csv    product, description

Customers, products and purchases are reference tables: in that shop they stay in a database of their own. The category of a
product is its description in ``product.csv``, where T2 is Apparel and T3 Cosmetics. The text that was published with the files
has the two the other way round. Purchases and browsing both carry the ids T2 and T3, so no number depends on it; the names do.

Browsing (``simulation/retail360_browsing.py``) has 67 daily stamps, the last at ``slices_start``. A message covers a
customer's day in three categories and an event of the click contract has one, so a message becomes three ``view_item`` lines:
201,000 messages, 603,000 lines. The published simulator sent four sessions of messages an hour, one in each slice:

- Live slices: a session each, all 67 days at once. Nearly all of it is late, by up to 66 days, and nothing of it was there
  before. So every slice adds a session to the same days, and views and seconds of a window grow by one session.
- History: each message on its own day, since a model learns only from what was known at a cut-off. Days within the longest
  window have one session, up to the day before ``slices_start``; older days have as many more as there are live slices. After
  the last slice, the last month has as many sessions a day as the month before it, which the model was trained on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa

from customer360.adapters.source import (
    Field,
    SourceError,
    given,
    money,
    one_of,
    read_rows,
    require_files,
    utc_time,
    whole_number,
)
from customer360.lake.atomic import TEMPORARY_PREFIX
from customer360.lake.engine import connect
from customer360.lake.slices import slice_folder
from customer360.settings import Place, Shop, slug
from customer360.simulation.arrays import Ints
from customer360.simulation.retail360_browsing import PRODUCTS, SHARE, groups_of, session
from customer360.simulation.writing import write_csv, write_parquet

SOURCE_FILES = ("customer.csv", "purchase.csv", "product.csv")
DAYS = 67
SEED = 2017
WELL_OFF = ("50K_100K", "Greater_than_100K")
FASHION_AGES = range(25, 56)
TRUE_FALSE = ("T", "F")

_LINES = f"""
    select
        $1 || '-' || customer_id || '-' || strftime(browsed_at, '%m%d') || '-' || product_id as event_id,
        'view_item' as event_name,
        browsed_at as event_at,
        customer_id,
        product_id,
        dwell_seconds
    from (unpivot messages on {", ".join(PRODUCTS)} into name product_id value dwell_seconds)
    order by event_at, event_id
"""


def write_landing(shop: Shop, place: Place, source: Path, *, share: float = SHARE) -> dict[str, int]:
    """Write the files of ``source`` and the browsing of every slice into ``place.landing``; return the rows of every part.

    ``reference/<table>/<table>.csv`` holds customers, products, categories and purchases; ``history/hub-<n>.parquet`` the
    sessions of the history, and ``hub.parquet`` of each slice from ``shop.slices_start`` to ``shop.slices_end`` a session.
    ``share`` is the part of all customer-days that a session holds. Files appear by rename, the same for the same source.

    Raises ``SourceError`` naming file, row, column and remedy; nothing is written then.
    """
    require_files(source, SOURCE_FILES)
    starts = _slice_starts(shop)
    tables = _reference(source, shop)
    for name, frame in tables.items():
        write_csv(place.landing / "reference" / name / f"{name}.csv", frame)
    customers = tables["customers"]
    groups = _groups(customers, tables["purchases"])
    stamps = [shop.slices_start - timedelta(days=back) for back in reversed(range(DAYS))]
    older = stamps[: -max(shop.windows_days)]
    history = [stamps[:-1], *[older for _ in starts]]
    sessions = [(place.landing / "history" / f"hub-{number}.parquet", days) for number, days in enumerate(history, 1)]
    sessions += [(slice_folder(place.landing / "clicks", start) / "hub.parquet", stamps) for start in starts]
    messages, lines = 0, 0
    for number, (target, days) in enumerate(sessions, 1):
        drawn = session(list(customers["customer_id"]), groups, days, seed=SEED, number=number, share=share)
        messages += len(drawn)
        lines += _write_lines(drawn, number, target, place)
    counts = {name: len(frame) for name, frame in tables.items()}
    return counts | {"live_slices": len(starts), "browsing_messages": messages, "browsing_lines": lines}


def _slice_starts(shop: Shop) -> list[datetime]:
    if shop.slices_end is None:
        raise SourceError(f"shop.yaml of {shop.name} has no slices_end, so nothing says how many slices to fill; set it")
    return [shop.slices_start + n * shop.slice_width for n in range((shop.slices_end - shop.slices_start) // shop.slice_width)]


def _reference(source: Path, shop: Shop) -> dict[str, pd.DataFrame]:
    """The reference tables. A product is a category of its own, all that a customer buys at one time an order."""
    number = "a whole number from 0 on"
    customers = read_rows(
        source / "customer.csv",
        [
            Field("customer_id", "an id", given),
            Field("age", number, whole_number),
            Field("gender", "given", given),
            Field("income_band", "given", given),
            Field("is_head_of_household", "T or F", one_of(TRUE_FALSE)),
            Field("household_size", number, whole_number),
            Field("months_at_residence", number, whole_number),
        ],
        key=["customer_id"],
    )
    customers["is_head_of_household"] = customers["is_head_of_household"] == "T"
    products = read_rows(
        source / "product.csv",
        [Field("product_id", f"one of {', '.join(PRODUCTS)}", one_of(PRODUCTS)), Field("name", "given", given)],
        key=["product_id"],
    )
    products["category_id"] = products["name"].map(slug)
    if set(products["category_id"]) != set(shop.category_ids[:-1]):
        raise SourceError(
            f"{source / 'product.csv'} describes {', '.join(products['category_id'])}; shop.yaml names other categories:"
            f" {', '.join(shop.category_ids[:-1])}; make the two agree"
        )
    purchases = read_rows(
        source / "purchase.csv",
        [
            Field("purchased_at", "a time such as 2017-01-10 06:00:00", utc_time),
            Field("customer_id", "a customer of customer.csv", one_of(set(customers["customer_id"]))),
            Field("product_id", "a product of product.csv", one_of(set(products["product_id"]))),
            Field("amount", "an amount of money", money),
        ],
        key=["customer_id", "purchased_at", "product_id"],
    )
    purchases.insert(0, "order_id", purchases["customer_id"] + "-" + purchases["purchased_at"].dt.strftime("%Y%m%d%H%M"))
    categories = products[["category_id", "name"]]
    return {"customers": customers, "products": products, "categories": categories, "purchases": purchases}


def _groups(customers: pd.DataFrame, purchases: pd.DataFrame) -> Ints:
    bought = purchases.groupby("customer_id")["product_id"].agg(frozenset)
    may_buy_fashion = customers["income_band"].isin(WELL_OFF) & customers["age"].isin(FASHION_AGES)
    return groups_of([bought.get(customer, frozenset()) for customer in customers["customer_id"]], list(may_buy_fashion))


def _write_lines(messages: pa.Table, number: int, target: Path, place: Place) -> int:
    """Write the messages of session ``number`` as lines of the click contract, one a category; return their number."""
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=place.root) as spill, connect(Path(spill)) as connection:
        connection.register("messages", messages)
        lines = connection.execute(_LINES, [str(number)]).to_arrow_table()
    write_parquet(target, lines)
    return int(lines.num_rows)
