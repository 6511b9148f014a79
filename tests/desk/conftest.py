"""The desk in the test's own process, on a small published shop, with an account a role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from customer360.lake.publishing.tables import TABLES as DECLARED
from tests.desk.in_django import Desk, database, desk_of
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop

TABLES = {
    "traffic": """
        select as_of - interval 15 minute * (n + 1) as event_slice, 40 + n % 7 as page_and_product_views, n % 3 as purchases,
            (n % 3 * 20)::decimal(18, 2) as revenue
        from (select timestamp '2026-05-01 10:15:00' as as_of), range(800) as slices (n)
    """,
    "slice_log": "select timestamp '2026-05-01 10:00:00' as slice, 40 as lines, 2 as quarantined, 1 as duplicates",
    "drift_metrics": """
        select date '2026-05-01' - n::integer as report_date, 'feature' as kind, 'age' as "column", n * .05 as value,
            .1 as threshold, n > 2 as is_drifted
        from range(4) as days (n)
    """,
    "model_versions": """
        select 'affinity' as model_name, 'v' || n as model_version, n = 7 as is_champion, 'promoted' as status,
            'better than the best baseline <b>prior</b>' as reason, timestamp '2026-04-01' + interval 1 day * n as created_at,
            created_at as decided_at, 'training' as decided_by, .7 - n * .01 as log_loss, 'prior' as best_baseline,
            .8 as best_baseline_log_loss, .75 as auc, .01 as calibration_error, 3.0 as lift_10, 1000 as rows_train,
            9 as feature_count
        from range(6, 8) as versions (n)
    """,
    "campaign_plan": """
        select 'spring' as campaign_id, 'spring-1' as plan_version, date '2026-05-01' as plan_date, 'contact' as decision,
            'C' || n as customer_id,
            'email' as channel, 'day' as daypart, date '2026-05-02' as contact_date,
            .5 as cost, 5.0 as expected_value
        from range(1, 4) as customers (n)
    """,
}
SPRING = "title: Spring\naudience: segment = 'Lost'\nvalue_per_conversion: 20\nchannels: {email: {cost: 0.5}}\n"


def whole(table: str, query: str) -> str:
    """The rows of a query with all columns of a table that tables.yml declares, in its types; what the query lacks is null."""
    return DECLARED[table].select_casts(query) if table in DECLARED else query


@pytest.fixture(scope="session")
def _database() -> Iterator[None]:
    with database():
        yield


def small_desk_shop(root: Path) -> ServedShop:
    """Three customers and a campaign, published with the tables that pages read."""
    shop = ServedShop(root, customers={"C1": {}, "C2": {"segment": None, "city": "Zürich"}, "C3": {"segment": "Lost"}})
    shop.tables |= {name: whole(name, query) for name, query in TABLES.items()}
    write_shop(shop.settings)
    shop.settings.campaign_folder.mkdir()
    (shop.settings.campaign_folder / "spring.yaml").write_text(SPRING, encoding="utf-8")
    shop.publish()
    return shop


@pytest.fixture
def desk(_database: None, tmp_path: Path) -> Iterator[Desk]:
    """Three customers; more tables: ``desk.shop.tables["name"] = sql``, then ``desk.shop.publish()``."""
    with desk_of(small_desk_shop(tmp_path)) as desk:
        yield desk
