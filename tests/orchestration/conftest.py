"""One tiny shop for all tests that run jobs: they put its data back before they change them."""

import pytest

from tests.orchestration.place import TinyShop, tiny_shop


@pytest.fixture(scope="session")
def shop() -> TinyShop:
    """A shop with its history loaded and a model trained."""
    return tiny_shop()


LONGEST = (
    "test_killed_services.py",
    "test_killed_runs.py",
    "test_daemon.py",
    "test_whole_runs.py",
    "test_any_way_to_a_state.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes: the other worker does the short ones meanwhile, and none is left for the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
