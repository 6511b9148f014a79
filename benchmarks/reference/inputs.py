"""The files that the engines read: the published tables, and slices of browsing as the published simulator sends them."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from benchmarks.reference.columns import AS_OF, COLUMNS, CUSTOMER, PRODUCTS, PURCHASE, SLICES
from customer360.adapters.retail360 import DAYS, FASHION_AGES, SEED, WELL_OFF
from customer360.settings import REPOSITORY
from customer360.simulation.retail360_browsing import groups_of, session

VARIABLE = "REFERENCE_DATA"
TABLES = ("customer.csv", "purchase.csv")
PROFILES = "customer_profile_label.csv"


def published() -> Path:
    """The folder of the published files. Raises ``SystemExit`` where one is absent or the columns differ from ours."""
    folder = Path(os.environ.get(VARIABLE) or REPOSITORY.parent / "shared" / "data") / "customer360"
    missing = [name for name in (*TABLES, PROFILES) if not (folder / name).is_file()]
    if missing:
        raise SystemExit(f"{folder} lacks {', '.join(missing)}; set {VARIABLE} to the folder above a customer360/ with them")
    columns = list(pd.read_csv(folder / PROFILES, nrows=0).columns)
    if columns != COLUMNS:
        raise SystemExit(f"{folder / PROFILES} has the columns {', '.join(columns)}; expected {', '.join(COLUMNS)}")
    return folder


def write_inputs(source: Path, target: Path) -> int:
    """Write the files that ``columns`` describes into ``target``; return the messages of a slice."""
    for name in TABLES:
        shutil.copyfile(source / name, target / name)
    customers = pd.read_csv(source / "customer.csv", names=list(CUSTOMER))
    bought = pd.read_csv(source / "purchase.csv", names=list(PURCHASE)).groupby("customerID")["product"].agg(frozenset)
    may_buy_fashion = customers["Income"].isin(WELL_OFF) & customers["age"].isin(FASHION_AGES)
    groups = groups_of([bought.get(customer, frozenset()) for customer in customers["customerID"]], list(may_buy_fashion))
    days = [AS_OF - timedelta(days=back) for back in reversed(range(DAYS))]
    for number in SLICES:
        messages = session([str(customer) for customer in customers["customerID"]], groups, days, seed=SEED, number=number)
        stamps = messages["browsed_at"].cast(pa.timestamp("s"))
        names = ["userDatetime", "customerID", *(f"category_{product}" for product in PRODUCTS)]
        columns = [stamps, messages["customer_id"].cast(pa.int64()), *(messages[product] for product in PRODUCTS)]
        pyarrow.csv.write_csv(pa.table(columns, names=names), target / f"browsing_{number}.csv")
    return len(messages)
