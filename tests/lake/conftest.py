"""A place for a small shop, and a landing folder to put files in."""

from __future__ import annotations

from pathlib import Path

import pytest

from customer360.settings import Place, Settings
from tests.support.object_store import ObjectStore, empty_store
from tests.support.random_shop import small_shop


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(shop=small_shop(), place=Place(root=tmp_path), shop_folder=tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The real S3-compatible server of this process, empty, and its keys in the environment."""
    return empty_store(monkeypatch)
