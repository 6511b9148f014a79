"""The dbt project for the random shop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from customer360.settings import Shop
from tests.support.lab import Dbt, Lab


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shop], Lab]:
    """Makes an empty place for a shop."""
    dbt = Dbt(tmp_path_factory)
    return lambda shop: Lab(shop, tmp_path_factory.mktemp("place"), dbt)
