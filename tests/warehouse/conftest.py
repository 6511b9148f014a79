"""dbt for the random shop, parsed once a session for each slice width."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from customer360.settings import Shop
from tests.support.lab import Dbt, Lab


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shop], Lab]:
    """Makes an empty place for a shop; shops whose dbt variables are the same share a manifest."""
    parsed: dict[str, Dbt] = {}

    def make(shop: Shop) -> Lab:
        key = f"{shop.slice_minutes} {sorted(shop.attributes)}"
        if key not in parsed:
            parsed[key] = Dbt(shop, tmp_path_factory)
        return Lab(shop, tmp_path_factory.mktemp("place"), parsed[key])

    return make
