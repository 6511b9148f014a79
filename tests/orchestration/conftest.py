"""One tiny shop for all tests that run jobs: they put its data back before they change them."""

import pytest

from tests.orchestration.place import TinyShop, tiny_shop


@pytest.fixture(scope="session")
def shop() -> TinyShop:
    """A shop with its history loaded and a model trained."""
    return tiny_shop()
