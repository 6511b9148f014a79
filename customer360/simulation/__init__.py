"""The synthetic shop: customers, visits, purchases, offers, campaign touches, and the faults of real producers.

Everything is a function of the seed and of time; nothing is remembered between calls, so any slice can be made at any time and
fits the history. Only what real producers write goes to ``landing``; the truth behind it goes to ``truth`` beside it, which
the pipeline never reads and evaluations may.

    simulation = Simulation(customers=6_000, days=60)
    simulate_history(simulation, shop, place)
    simulate_slice(simulation, shop, place, shop.slices_start, Faults.everyday())

Two are of other shops: ``retailer`` draws the files of an online retailer without clicks, as newcomers have them, and
``retail360_browsing`` adds browsing to a published data set that lacks it.

Nothing here validates, transforms or predicts.
"""

from customer360.simulation.api_shoppers import Api, ServedSlice, shop_over_api
from customer360.simulation.faults import Faults
from customer360.simulation.history import simulate_history
from customer360.simulation.parameters import Drift, Simulation, SimulationError
from customer360.simulation.retailer import Retailer, SimulatedRetailer, simulate_retailer, write_retailer
from customer360.simulation.slices import simulate_slice
from customer360.simulation.stream import ArrivedFile, next_slice, stream
from customer360.simulation.truth import read_simulation

__all__ = [
    "Api",
    "ArrivedFile",
    "Drift",
    "Faults",
    "Retailer",
    "ServedSlice",
    "SimulatedRetailer",
    "Simulation",
    "SimulationError",
    "next_slice",
    "read_simulation",
    "shop_over_api",
    "simulate_history",
    "simulate_retailer",
    "simulate_slice",
    "stream",
    "write_retailer",
]
