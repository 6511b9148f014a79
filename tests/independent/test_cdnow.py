"""The CDNOW sample of 2,357 customers as purchases, against the published summary of its calibration period.

Frequency there is the number of days with a purchase after the first, recency the weeks from the first purchase to the last, T
the weeks from the first purchase to the end of the period, 1997-09-30 (Fader and Hardie, "Implementing the BG/NBD Model for
Customer Base Analysis in Excel").
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from customer360.lake.atomic import write_text
from tests.support.lab import Lab
from tests.support.reference_data import reference_data

PERIOD_END = date(1997, 9, 30)
LAST_SLICE = datetime(1997, 9, 30, tzinfo=UTC)  # ends at 20:00 in New York, so the shop's date is the last of the period
EVENT_COLUMNS = "event_id,event_name,event_at,customer_id,order_id,line_no,quantity,amount"
PURCHASE_COLUMNS = "order_id,product_id,line_no,customer_id,purchased_at,quantity,amount"


@pytest.fixture(scope="module")
def folder() -> Path:
    return reference_data("cdnow")


@pytest.fixture(scope="module")
def purchases(folder: Path) -> list[tuple[str, date, int, str]]:
    """Every line of the sample: customer, day, CDs, dollars. Lines after the period too, which nothing may know."""
    lines = [line.split() for line in (folder / "CDNOW_sample.txt").read_text().splitlines()]
    return [
        (str(int(sample)), datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(), int(discs), dollars)
        for _, sample, day, discs, dollars in lines
    ]


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, tuple[int, float, float]]:
    """Frequency, recency and T by customer, as published: weeks with two decimals."""
    with (folder / "cdnow_customers_summary.csv").open(newline="") as stream:
        rows = csv.DictReader(stream)
        return {row["ID"]: (int(row["frequency"]), float(row["recency"]), float(row["T"])) for row in rows}


@pytest.fixture(scope="module")
def lab(new_lab: Callable[..., Lab], purchases: list[tuple[str, date, int, str]]) -> Lab:
    """As of the period's last slice. All lines of a day are one order.

    Odd customers buy in stores, so the reference table has their lines, later ones too; even ones buy on line, so their lines
    are events, in the history or, on the last day, in the slice.
    """
    lab = new_lab(LAST_SLICE, "USD")
    stores, history, last_day = [PURCHASE_COLUMNS], [EVENT_COLUMNS], [EVENT_COLUMNS]
    for number, (customer, day, discs, dollars) in enumerate(purchases):
        at, order = f"{day}T17:00:00Z", f"{customer}/{day}"
        if int(customer) % 2:
            stores.append(f"{order},cd,{number},{customer},{at},{discs},{dollars}")
        elif day <= PERIOD_END:
            event = f"{number},purchase,{at},{customer},{order},{number},{discs},{dollars}"
            (history if day < PERIOD_END else last_day).append(event)
    for name, lines in (
        ("reference/purchases/stores.csv", stores),
        ("history/web.csv", history),
        ("clicks/1997/09/30/0000/web.csv", last_day),
    ):
        write_text(lab.landing / name, "\n".join(lines) + "\n")
    lab.load_references()
    lab.history()
    lab.write_raw([LAST_SLICE.replace(tzinfo=None)])
    lab.plan()
    lab.transform(
        "build", "--select", "+customer_features", "+rfm_segments", "--resource-type", "model", "--resource-type", "seed"
    )
    return lab


def weeks(days: int) -> float:
    """Days as the summary writes them."""
    return round(days / 7, 2)


def test_frequency_recency_and_t_of_every_customer_are_the_published_ones(
    lab: Lab, summary: dict[str, tuple[int, float, float]]
) -> None:
    rows = lab.query(
        """
        select features.customer_id, features.frequency, features.recency_days, first_line.bought_on
        from marts.customer_features as features
        inner join (
            select customer_id, cast(min(purchased_at) as date) as bought_on
            from intermediate.int_purchase_lines group by customer_id
        ) as first_line using (customer_id)
        """
    )
    ages = {customer: (PERIOD_END - first).days for customer, _, _, first in rows}
    found = {
        customer: (orders - 1, weeks(ages[customer] - since_last), weeks(ages[customer]))
        for customer, orders, since_last, _ in rows
    }
    assert found == summary
    assert len(found) == 2_357


def test_spend_is_that_of_the_file(lab: Lab, purchases: list[tuple[str, date, int, str]]) -> None:
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for customer, day, _, dollars in purchases:
        if day <= PERIOD_END:
            expected[customer] += Decimal(dollars)
    assert dict(lab.query("select customer_id, monetary from marts.rfm_segments")) == expected
    assert sum(expected.values()) == Decimal("173115.55")
