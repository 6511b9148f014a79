"""What the ETL reads and writes: names, windows and the moment that every window ends at.

A folder holds ``customer.csv`` and ``purchase.csv`` as published (no header; one row a customer, one a purchase) and
``browsing_<n>.csv``, a slice (header; one row a message: a customer's day and the seconds spent on each product group).

The output has one row a customer and the columns of the published ``customer_profile_label.csv``:

- ``<product>count_<n>d``: seconds spent on the product group in the ``n`` days before ``AS_OF``, ``<product>spend_<n>d``: money
  spent on it, ``<product>_m_60d``: the same over 60 days. Rounded to two places, 0 where there is nothing.
- ``r_60d``: days since the last purchase of the last 60, empty without one; ``f_60d``: the purchases of the last 60 days.
- ``label``: 1, 2 or 3 for the product group bought in the last 3 days, the first of several; 0 for none.

A window of ``n`` days holds what is at or after ``AS_OF`` less ``n`` days and before ``AS_OF``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

AS_OF = datetime(2017, 3, 8, 6)  # noqa: DTZ001  as the files have it: UTC without zone
PRODUCTS = ("T1", "T2", "T3")
WINDOWS = (30, 10, 3)
RFM_DAYS = 60
SLICES = (1, 2)
DONE = "done"

CUSTOMER = {
    "customerID": "BIGINT",
    "age": "INT",
    "Gender": "STRING",
    "Income": "STRING",
    "HeadofHousehold": "STRING",
    "number_household": "INT",
    "months_residence": "INT",
}
PURCHASE = {"purchased_at": "TIMESTAMP", "customerID": "BIGINT", "product": "STRING", "amount": "DOUBLE"}
BROWSING = {"userDatetime": "TIMESTAMP", "customerID": "BIGINT", **{f"category_{product}": "DOUBLE" for product in PRODUCTS}}

ACTIVITY = [f"{product}{what}_{days}d" for days in WINDOWS for what in ("count", "spend") for product in PRODUCTS]
MONETARY = [f"{product}_m_{RFM_DAYS}d" for product in PRODUCTS]
RECENCY, FREQUENCY = f"r_{RFM_DAYS}d", f"f_{RFM_DAYS}d"
COLUMNS = [*CUSTOMER, *ACTIVITY, RECENCY, FREQUENCY, *MONETARY, "label"]


def each_slice(engine: str, etl: Callable[[Path, int, Path], None]) -> None:
    """Run an engine on the folder that the command names, slice by slice, and print ``DONE`` after each.

    ``etl`` takes the folder, the number of the slice and the file to write, ``<engine>_<n>.csv``.
    """
    folder = Path(sys.argv[1])
    for number in SLICES:
        etl(folder, number, folder / f"{engine}_{number}.csv")
        print(DONE, flush=True)
