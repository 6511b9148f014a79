"""A small synthetic shop, simulated once for the tests of this folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from customer360.settings import REPOSITORY, Place, Shop, load_shop
from customer360.simulation import Simulation, simulate_history


@dataclass(frozen=True)
class Simulated:
    simulation: Simulation
    shop: Shop
    place: Place
    counts: dict[str, Any]

    def history(self):
        return pq.read_table(self.place.landing / "history")


@pytest.fixture(scope="session")
def synthetic_shop() -> Shop:
    return load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")


@pytest.fixture(scope="session")
def simulated(synthetic_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    simulation = Simulation(customers=1_500, days=15, seed=7)
    place = Place(root=tmp_path_factory.mktemp("simulated"))
    return Simulated(simulation, synthetic_shop, place, simulate_history(simulation, synthetic_shop, place))


def file_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
