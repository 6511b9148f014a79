"""Whether an offer that is shown is clicked. Fixed, and documented in docs/offers.md, before any policy was tried on it.

The chance is that of the offer and of how much the customer is after its category at that moment, times what is left of it
after the same offer was shown to the customer before, times that of its place on the page.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from customer360.simulation.arrays import Floats, Ints
from customer360.simulation.catalogue import OFFER_CATEGORY

GENERAL, OF_CATEGORY, BY_AFFINITY = 0.008, 0.004, 0.035
FATIGUE, REMEMBERED = 0.8, timedelta(days=7)  # a factor for each time the offer was shown within so long before
POSITIONS = np.array([1.0, 0.6, 0.4])  # the banner, the second place, the third


def click_chance(offer: Ints, affinity: Floats, shown_before: Ints | int = 0, position: Ints | int = 0) -> Floats:
    """The probability of a click for each showing.

    ``offer``: its place in the catalogue; ``affinity``: showings x categories, rows sum to 1, of the customer at that moment;
    ``shown_before``: times that the offer was shown to the customer within ``REMEMBERED``; ``position``: 0 is the banner.
    """
    return category_click_chance(OFFER_CATEGORY[offer], affinity, position) * FATIGUE ** np.asarray(shown_before)


def category_click_chance(category: Ints, affinity: Floats, position: Ints | int = 0) -> Floats:
    """The same by the category that something speaks to, -1 for everyone's: so a recommended product is clicked."""
    liking = affinity[np.arange(len(category)), np.maximum(category, 0)]
    chance = np.where(category < 0, GENERAL, OF_CATEGORY + BY_AFFINITY * liking)
    return np.asarray(chance * POSITIONS[position], dtype=np.float64)
