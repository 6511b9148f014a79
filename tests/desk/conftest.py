"""The desk in the test's own process, on a small published shop, with an account a role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk.in_django import Desk, database, desk_of
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop

TABLES = {
    "traffic": """
        select as_of - interval 15 minute * (n + 1) as event_slice, 40 + n % 7 as views, 9 as visitors, n % 3 as purchases
        from (select timestamp '2026-05-01 10:15:00' as as_of), range(800) as slices (n)
    """,
}


@pytest.fixture(scope="session")
def _database() -> Iterator[None]:
    with database():
        yield


@pytest.fixture
def desk(_database: None, tmp_path: Path) -> Iterator[Desk]:
    """Three customers; more tables: ``desk.shop.tables["name"] = sql``, then ``desk.shop.publish()``."""
    shop = ServedShop(tmp_path, customers={"C1": {}, "C2": {"segment": None, "city": "Zürich"}, "C3": {"segment": "Lost"}})
    shop.tables |= TABLES
    write_shop(shop.settings)
    shop.publish()
    with desk_of(shop) as desk:
        yield desk
