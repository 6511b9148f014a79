"""The retail360 data set as landing files: published customers and purchases, and browsing simulated as it was published.

The folder that the reader names holds three CSV files without header:

    customer.csv   customer_id, age, gender, income band, head of household, household size, months at residence
    purchase.csv   time, customer_id, product, amount
    product.csv    product, description

Customers, products and purchases are reference tables: in that shop they stay in a database of their own. Customers and
purchases land as they are, and ``sources`` of shop.yaml names their columns. The category of a product is its description in
``product.csv``, where T2 is Apparel and T3 Cosmetics. The text that was published with the files has the two the other way
round. Purchases and browsing both carry the ids T2 and T3, so no number depends on it; the names do.

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

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa

from customer360.lake.atomic import TEMPORARY_PREFIX, replacing
from customer360.lake.engine import connect
from customer360.lake.slices import slice_folder
from customer360.lake.warehouse.frames import write_parquet
from customer360.settings import Place, SettingsError, Shop, slug
from customer360.simulation.arrays import Ints
from customer360.simulation.retail360_browsing import PRODUCTS, SHARE, groups_of, session
from customer360.simulation.writing import write_csv

SOURCE_FILES = ("customer.csv", "purchase.csv", "product.csv")
DAYS = 67
SEED = 2017
WELL_OFF = ("50K_100K", "Greater_than_100K")
FASHION_AGES = range(25, 56)

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

    Raises ``SettingsError`` where shop.yaml does not fit the files; nothing is written then. Rows are judged by the load.
    """
    starts = _slice_starts(shop)
    customers, purchases = (_read(source, shop, name) for name in ("customers", "purchases"))
    products = pd.read_csv(source / "product.csv", header=None, names=["product_id", "name"], dtype=str)
    products["category_id"] = products["name"].map(slug)
    if set(products["category_id"]) != set(shop.category_ids[:-1]):
        raise SettingsError(
            f"{source / 'product.csv'} describes {', '.join(products['category_id'])}; shop.yaml names other categories:"
            f" {', '.join(shop.category_ids[:-1])}; make the two agree"
        )
    made = {"products": products, "categories": products[["category_id", "name"]]}
    for name, frame in made.items():
        write_csv(place.landing / "reference" / name / f"{name}.csv", frame)
    for name in ("customers", "purchases"):
        with replacing(place.landing / "reference" / name / f"{name}.csv") as temporary:
            shutil.copyfile(source / _file_of(name), temporary)
    groups = _groups(customers, purchases)
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
    counts = {name: len(frame) for name, frame in {"customers": customers, **made, "purchases": purchases}.items()}
    return counts | {"live_slices": len(starts), "browsing_messages": messages, "browsing_lines": lines}


def _slice_starts(shop: Shop) -> list[datetime]:
    if shop.slices_end is None:
        raise SettingsError(f"shop.yaml of {shop.name} has no slices_end, so nothing says how many slices to fill; set it")
    return [shop.slices_start + n * shop.slice_width for n in range((shop.slices_end - shop.slices_start) // shop.slice_width)]


def _file_of(table: str) -> str:
    return f"{table.removesuffix('s')}.csv"


def _read(source: Path, shop: Shop, table: str) -> pd.DataFrame:
    """The rows of a file as text, by the header that ``sources`` of shop.yaml gives it."""
    names = shop.sources[table].header or []
    return pd.read_csv(source / _file_of(table), header=None, names=names, usecols=range(len(names)), dtype=str)


def _groups(customers: pd.DataFrame, purchases: pd.DataFrame) -> Ints:
    bought = purchases.groupby("customer_id")["product_id"].agg(frozenset)
    ages = pd.to_numeric(customers["age"], errors="coerce")
    may_buy_fashion = customers["income_band"].isin(WELL_OFF) & ages.isin(FASHION_AGES)
    return groups_of([bought.get(customer, frozenset()) for customer in customers["customer_id"]], list(may_buy_fashion))


def _write_lines(messages: pa.Table, number: int, target: Path, place: Place) -> int:
    """Write the messages of session ``number`` as lines of the click contract, one a category; return their number."""
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=place.root) as spill, connect(Path(spill)) as connection:
        connection.register("messages", messages)
        lines = connection.execute(_LINES, [str(number)]).to_arrow_table()
    write_parquet(target, lines)
    return int(lines.num_rows)
