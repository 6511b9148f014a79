"""What whole runs and killed runs both need: landed slices, and the assets that follow the transformed tables."""

from typing import Any

from customer360.simulation import Faults
from tests.orchestration.place import TinyShop

# What a slice's run makes of the tables that it has transformed.
SERVED = (
    ["predictions", "customer_scores"],
    ["predictions", "customer_value"],
    ["predictions", "current_offers"],
    ["predictions", "cold_start"],
    ["publishing", "customer_profiles"],
    ["publishing", "published"],
)


def land_all(shop: TinyShop, count: int) -> list[dict[str, Any]]:
    """Write the files of the first slices, each with the faults of a bad but ordinary day; returns their accounts."""
    return [shop.land(number, Faults.everyday()) for number in range(count)]
