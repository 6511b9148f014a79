"""The truth behind the synthetic shop, in ``truth`` beside ``landing``. Evaluations may read it, the pipeline never does."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from customer360.lake.atomic import write_text
from customer360.lake.warehouse.frames import write_parquet
from customer360.settings import Place
from customer360.simulation.arrays import DAY, microseconds
from customer360.simulation.catalogue import CATEGORIES
from customer360.simulation.interest import SPELL
from customer360.simulation.parameters import Drift, Simulation
from customer360.simulation.population import GROUPS
from customer360.simulation.response import Response
from customer360.simulation.synthetic_shop import SyntheticShop

TRUTH_COLUMNS = [
    "touch_id",
    "customer_id",
    "is_control",
    "channel",
    "day",
    "daypart",
    "propensity",
    "probability",
    "is_converted",
]


def truth_folder(place: Place) -> Path:
    """Where the truth lies."""
    return place.root / "truth"


def write_truth(synthetic: SyntheticShop, response: Response, touches: pd.DataFrame, place: Place) -> None:
    """Parameters, customers, spells, what contacts add (customer x channel x day x daypart) and the touches' probabilities."""
    folder = truth_folder(place)
    write_text(folder / "simulation.json", json.dumps(asdict(synthetic.simulation), indent=2, default=str) + "\n")
    for name, frame in (
        ("customers", _customers(synthetic, response)),
        ("spells", _spells(synthetic)),
        ("response", _response(synthetic, response)),
        ("touches", touches[TRUTH_COLUMNS]),
    ):
        write_parquet(folder / f"{name}.parquet", frame)


def read_simulation(place: Place) -> Simulation | None:
    """The parameters that the history was simulated with, so that later slices fit it; None before the first."""
    path = truth_folder(place) / "simulation.json"
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["drift"] is not None:
        drift = values["drift"]
        swaps = {name: tuple(drift[name]) if drift.get(name) else None for name in ("swap", "bought_swap")}
        values["drift"] = Drift(**{**drift, "start": datetime.fromisoformat(drift["start"]), **swaps})
    return Simulation(**values)


def write_faults(place: Place, start: datetime, report: dict[str, Any]) -> None:
    """What was put into one slice's files."""
    path = truth_folder(place) / "slices" / f"{start:%Y-%m-%d-%H%M}.json"
    write_text(path, json.dumps(report, indent=2) + "\n")


def _customers(synthetic: SyntheticShop, response: Response) -> pd.DataFrame:
    people = synthetic.population
    frame = pd.DataFrame(
        {
            "customer_id": people.customer_ids,
            "customer_group": np.array(GROUPS)[people.group],
            "income": people.income,
            "activity": people.activity,
            "buying": people.buying,
            "orders_anyway": response.without,
        }
    )
    for number, category in enumerate(CATEGORIES):
        frame[f"affinity_{category}"] = people.affinity[:, number]
    return frame


def _spells(synthetic: SyntheticShop) -> pd.DataFrame:
    """Customers x days at noon UTC, from the start of the history until 30 days into the live slices: the spell's category."""
    last = microseconds(synthetic.shop.slices_start) // DAY * DAY + DAY // 2
    moments = last + np.arange(-synthetic.simulation.days, 31, dtype=np.int64) * DAY
    n = synthetic.simulation.customers
    customer = np.repeat(np.arange(n), len(moments))
    at = np.tile(moments, n)
    spells = synthetic.interest.spells(customer, at)
    in_spell = spells >= 0
    return pd.DataFrame(
        {
            "customer_id": np.array(synthetic.population.customer_ids)[customer[in_spell]],
            "at": at[in_spell].view("datetime64[us]"),
            "category_id": np.array(CATEGORIES)[spells[in_spell]],
            "spell_days": SPELL // DAY,
        }
    )


def _response(synthetic: SyntheticShop, response: Response) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [synthetic.population.customer_ids, synthetic.shop.channels, range(7), list(synthetic.shop.dayparts)],
        names=["customer_id", "channel", "day", "daypart"],
    )
    return pd.DataFrame({"probability": response.probability.ravel()}, index=index).reset_index()
