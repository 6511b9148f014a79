"""A small served shop of three customers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.served_shop import ServedShop


@pytest.fixture
def shop(tmp_path: Path) -> ServedShop:
    """C1 and C2 consent to personalisation, C3 does not; each has a visitor. Nothing is published yet."""
    return ServedShop(
        tmp_path,
        customers={"C1": {}, "C2": {"segment": None, "city": "Zürich", "reason_1": None}, "C3": {"segment": "Lost"}},
        visitors={"V1": "C1", "V2": "C2", "V3": "C3"},
        consented={"C1", "C2"},
    )
