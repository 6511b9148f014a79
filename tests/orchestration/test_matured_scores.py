"""A day of scores matures: kept by a slice, judged by what customers then bought, through the real jobs."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from customer360.lake.publishing.version import open_version
from customer360.lake.reference.reference import load_reference
from customer360.lake.slices import slice_folder
from ml.monitoring.matured import matured_scores
from tests.orchestration.place import TinyShop

HORIZON, LATE = timedelta(days=3), timedelta(days=2)
DAY = 48  # slices


def land(shop: TinyShop, number: int, *events: dict[str, object]) -> None:
    """Write a slice's file with these events, and a page view."""
    folder = slice_folder(shop.settings.place.landing / "clicks", shop.slice(number))
    folder.mkdir(parents=True)
    at = (shop.slice(number) + timedelta(minutes=1)).isoformat()
    lines = [{"event_name": "page_view", "visitor_id": "nobody"}, *events]
    lines = [{"event_id": f"{number}-{place}", "event_at": at, **line} for place, line in enumerate(lines)]
    (folder / "web.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def bought(customer: str, category: str, amount: float, **columns: object) -> dict[str, object]:
    line = {"order_id": f"{customer} {category}", "customer_id": customer, "category_id": category, "amount": amount}
    return {"event_name": "purchase", **line, **columns}


def register(shop: TinyShop, customer: str, known_since: datetime) -> None:
    """Load the customers table anew, in which the customer is one only since that moment (UTC)."""
    (file,) = (shop.settings.place.landing / "reference" / "customers").iterdir()
    customers = pd.read_csv(file, dtype=str, keep_default_na=False)
    customers.loc[customers["customer_id"] == customer, "known_since"] = f"{known_since.isoformat()}+00:00"
    customers.to_csv(file, index=False)
    load_reference(shop.settings, "customers", datetime.now(UTC))


@pytest.mark.exhaustive  # two minutes; tests/ml/test_matured.py has its parts
def test_a_day_of_scores_matures_and_is_judged_by_what_was_bought(shop: TinyShop) -> None:
    shop.restore("ready")
    land(shop, 0)
    shop.run("slice_job", shop.key(0)).succeed()
    as_of = shop.slice(1).replace(tzinfo=None)
    assert shop.published("select distinct as_of from customer_scores_daily") == [(as_of,)]
    customers = [customer for (customer,) in shop.published("select customer_id from customer_features order by 1")]
    first, second, third, fourth, late, *_ = customers
    land(
        shop,
        DAY,
        bought(first, "fitness", 10),
        bought(first, "beauty", 25),
        bought(second, "computers", 900),
        bought(third, "apparel", 30),
        bought(third, "apparel", -30, order_id="a return"),
        bought(late, "fitness", 10),
    )
    shop.run("slice_job", shop.key(DAY)).succeed()
    # as_of + horizon + 2 days is the end of slice 5 x 48; what is bought as the horizon ends is bought too late
    land(shop, 3 * DAY + 1, bought(fourth, "fitness", 10, event_at=(as_of + HORIZON).isoformat()))
    land(shop, 5 * DAY - 1)
    shop.run("slice_job", shop.key(3 * DAY + 1)).succeed()
    shop.run("slice_job", shop.key(5 * DAY - 1)).succeed()
    shop.run("warehouse_job", shop.key(5 * DAY - 1)).succeed()
    with open_version(shop.settings.place) as version:
        assert list(matured_scores(version.connection)) == []  # half an hour too early
    register(shop, late, as_of + timedelta(hours=1))
    land(shop, 5 * DAY)
    shop.run("slice_job", shop.key(5 * DAY)).succeed()
    shop.run("warehouse_job", shop.key(5 * DAY)).succeed()

    labels = {first: "beauty", second: "computers"}
    expected = [(as_of, *pair) for pair in sorted({**labels, late: None}.items())]
    assert shop.published("from realised_labels order by customer_id") == expected
    with open_version(shop.settings.place) as version:
        (judged,) = matured_scores(version.connection)
    scores = shop.published(
        "select customer_id, category_id, probability, is_label, model_version from customer_scores_daily "
        f"where as_of = timestamp '{as_of}'"
    )
    of_label = [row for row in scores if row[0] != late and row[1] == labels.get(row[0], "none")]
    assert judged.rows == len(of_label) == len(customers) - 1
    assert (judged.as_of, judged.unscored, {judged.model_version}) == (as_of, 0, {row[4] for row in scores})
    assert judged.log_loss.estimate == pytest.approx(sum(-math.log(row[2]) for row in of_label) / len(of_label))
    assert judged.log_loss.low < judged.log_loss.estimate < judged.log_loss.high
    assert judged.accuracy == pytest.approx(sum(row[3] for row in of_label) / len(of_label))
    shares = [1 / len(of_label), 1 / len(of_label), 1 - 2 / len(of_label)]
    assert judged.prior_log_loss == pytest.approx(-sum(share * math.log(share) for share in shares))

    # the monitoring tables of the same night
    now = shop.slice(5 * DAY + 1).replace(tzinfo=None)
    known = f"select count(*) from monitoring_customers where known_at <= timestamp '{now}'"
    assert shop.published(known) == [(len(customers),)]
    assert shop.published(
        f"select day_no, day_end, category_id, orders, spend from monitoring_activity where customer_id = '{second}' "
        "and orders > 0 and day_no < 5"
    ) == [(4, now - timedelta(days=4), "computers", 1, 900)]

    # and the drift report of its morning, which has the realised performance
    shop.run("daily_job", f"{now:%Y-%m-%d}", assets=[["monitoring", "drift_report"]]).succeed()
    performance = shop.published(
        "select \"column\", value, threshold, rows_current from drift_metrics where kind = 'performance' order by 1"
    )
    # two buyers are too few for a multiple of the prior's loss
    assert [row[0] for row in performance] == ["matured_calibration_error", "matured_log_loss"]
    assert performance[1][1:] == (pytest.approx(judged.log_loss.estimate), None, judged.rows)
