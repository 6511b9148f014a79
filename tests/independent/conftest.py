"""One shop for all published data sets, each with a warehouse of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from tests.support.lab import Dbt, Lab
from tests.support.random_shop import small_shop

# The categories are those of the Snowplow shop.
SETTINGS = {"time_zone": "America/New_York", "categories": ["Cloth", "Shoes", "Hats", "Beanies"]}


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lab]:
    """Makes an empty place for a replay with slices of a day, in UTC."""
    dbt = Dbt(tmp_path_factory)

    def make(slices_start: datetime, currency: str) -> Lab:
        shop = small_shop(1440, **SETTINGS, slices_start=slices_start, currency=currency)
        return Lab(shop, tmp_path_factory.mktemp("place"), dbt)

    return make
