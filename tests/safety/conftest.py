"""A place for a small shop, and landing folders to put files in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from customer360.settings import Settings
from tests.safety.slices import settings_at


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path)


@pytest.fixture(scope="module")
def new_place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Settings]:
    """Settings with a data folder of their own, as often as they are asked for."""
    return lambda name: settings_at(tmp_path_factory.mktemp(name))
