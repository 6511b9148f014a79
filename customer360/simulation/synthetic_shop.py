"""One simulated shop with everything that stays the same over time, built again from the seed whenever it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from customer360.settings import Shop
from customer360.simulation.campaigns import Calendar
from customer360.simulation.catalogue import Catalogue, require_categories
from customer360.simulation.interest import Interest
from customer360.simulation.parameters import Simulation
from customer360.simulation.population import Population, draw_population


@dataclass(frozen=True)
class SyntheticShop:
    """Customers, their interests, the catalogue and the campaigns of one simulation of one shop."""

    simulation: Simulation
    shop: Shop
    population: Population
    interest: Interest
    catalogue: Catalogue
    calendar: Calendar

    @classmethod
    def build(cls, simulation: Simulation, shop: Shop) -> SyntheticShop:
        """The shop of these parameters. Raises ``SimulationError`` where shop.yaml does not fit it."""
        require_categories(shop)
        population = draw_population(simulation, shop)
        first_live_day = local_day(shop)
        return cls(
            simulation=simulation,
            shop=shop,
            population=population,
            interest=Interest(simulation, population),
            catalogue=Catalogue(first_live_day),
            calendar=Calendar(simulation, first_live_day),
        )

    @property
    def first_live_day(self) -> date:
        """Shop-local day of the first live slice."""
        return self.catalogue.first_live_day

    def day(self, number: int) -> date:
        """The shop-local day that lies so many days after the first live one."""
        return self.first_live_day + timedelta(days=number)


def local_day(shop: Shop) -> date:
    """The shop's own date when its live slices start."""
    return shop.slices_start.astimezone(shop.zone).date()
