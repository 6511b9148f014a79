"""The click model: its factors one by one, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from customer360.simulation.catalogue import CATEGORIES, OFFERS
from customer360.simulation.offer_clicks import click_chance

FITNESS = CATEGORIES.index("fitness")
GENERAL = next(place for place, offer in enumerate(OFFERS) if offer[1] is None and offer[2] is None)
OF_FITNESS = next(place for place, offer in enumerate(OFFERS) if offer[1] == "fitness")
TASTE = np.array([[0.1, 0.1, 0.6, 0.1, 0.1]])


@pytest.mark.parametrize(
    ("offer", "shown_before", "position", "expected"),
    [
        (GENERAL, 0, 0, 0.008),
        (OF_FITNESS, 0, 0, 0.004 + 0.035 * 0.6),
        (OF_FITNESS, 2, 0, 0.025 * 0.64),
        (OF_FITNESS, 0, 1, 0.025 * 0.6),
        (GENERAL, 1, 2, 0.008 * 0.8 * 0.4),
    ],
)
def test_a_click_depends_on_affinity_offer_fatigue_and_position(
    offer: int, shown_before: int, position: int, expected: float
) -> None:
    assert TASTE[0, FITNESS] == 0.6
    found = click_chance(np.array([offer]), TASTE, np.array([shown_before]), np.array([position]))
    assert found == pytest.approx([expected])
