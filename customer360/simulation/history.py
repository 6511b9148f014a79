"""What a shop has when it starts with the product: reference tables, and weeks of clicks in daily files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from customer360.lake.landing.contracts import reference_tables
from customer360.lake.warehouse.frames import write_parquet
from customer360.settings import Place, Shop
from customer360.simulation.addresses import customer_addresses, with_pages
from customer360.simulation.arrays import DAY, EPOCH, MINUTE, microseconds
from customer360.simulation.behaviour import draw_block
from customer360.simulation.events import Events, click_table, concatenate, in_order
from customer360.simulation.parameters import Simulation
from customer360.simulation.population import customers_table
from customer360.simulation.reactions import Reactions
from customer360.simulation.response import true_response
from customer360.simulation.rhythm import SLOT
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.touches import draw_touches, in_history
from customer360.simulation.truth import write_truth
from customer360.simulation.writing import json_lines, packed, write_bytes, write_csv

# The last hours are drawn as live slices are, so that visits go on across the start of the live slices.
TAIL = 180 * MINUTE


def simulate_history(
    simulation: Simulation, shop: Shop, place: Place, file_type: Literal["parquet", "jsonl.gz"] = "parquet"
) -> dict[str, Any]:
    """Write the reference tables, and ``days`` of clicks that end at the shop's ``slices_start``, one file per UTC day.

    The clicks have what past contacts of these days led to, as live slices have it of contacts that the ledger says were sent.

    The truth goes to ``truth``. Returns counts: ``events``, ``files``, ``purchases`` (lines), ``touches``, and rows by
    ``reference`` table. Raises ``SimulationError`` where shop.yaml does not fit the synthetic shop.
    """
    synthetic = SyntheticShop.build(simulation, shop)
    response = true_response(simulation, shop, synthetic.population)
    events = files = purchases = 0
    orders = []
    for day, drawn in history(synthetic, _reactions(synthetic, draw_touches(synthetic, response))):
        table = click_table(drawn, synthetic.population, shop)
        path = place.landing / "history" / f"clicks-{day:%Y-%m-%d}.{file_type}"
        if file_type == "parquet":
            write_parquet(path, table)
        else:
            write_bytes(path, packed(json_lines(table), path.name))
        events += len(drawn)
        purchases += int((drawn.order != 0).sum())
        files += 1
        orders.append(_orders(synthetic, drawn))
    touches = draw_touches(synthetic, response, pd.concat(orders, ignore_index=True))
    reference = write_reference(synthetic, touches, place)
    write_truth(synthetic, response, touches, place)
    return {"events": events, "files": files, "purchases": purchases, "touches": len(touches), "reference": reference}


def _reactions(synthetic: SyntheticShop, touches: pd.DataFrame) -> Reactions:
    """What customers did after the contacts that were made in the days of the history."""
    made = touches[in_history(touches["touched_at"], synthetic.simulation, synthetic.shop) & ~touches["is_control"]]
    return Reactions.to(made.rename(columns={"touched_at": "sent_at"}), synthetic)


def history(synthetic: SyntheticShop, reactions: Reactions | None = None) -> Iterator[tuple[datetime, Events]]:
    """The events of each UTC day of the history, in order: visits of their own accord, and the reactions to contacts."""
    end = microseconds(synthetic.shop.slices_start)
    start = (end - synthetic.simulation.days * DAY) // SLOT * SLOT
    tail = (end - TAIL) // SLOT * SLOT
    carried: list[Events] = []
    for midnight in range(start // DAY * DAY, end, DAY):
        first, last = max(midnight, start), min(midnight + DAY, end)
        blocks_end = min(last, tail)
        drawn = [draw_block(synthetic, first, blocks_end)] if first < blocks_end else []
        slots = range(max(first, tail), last, SLOT)
        answers = [] if reactions is None else [reactions.between(first, last)]
        everything = concatenate([*carried, *drawn, *answers, *(draw_block(synthetic, slot, slot + SLOT) for slot in slots)])
        carried = [everything.take(everything.at >= last)]
        yield EPOCH + timedelta(microseconds=midnight), in_order(everything.between(start, last))


def _orders(synthetic: SyntheticShop, events: Events) -> pd.DataFrame:
    """Customer and moment (plain UTC) of the order lines among the events."""
    lines = np.flatnonzero(events.order != 0)
    customers = np.array(synthetic.population.customer_ids, dtype=object)[events.customer[lines]]
    return pd.DataFrame({"customer_id": customers, "ordered_at": events.at[lines].view("datetime64[us]")})


def write_reference(synthetic: SyntheticShop, touches: pd.DataFrame, place: Place) -> dict[str, int]:
    """Write every reference table of the synthetic shop, whose customers are known since its history began; rows by table."""
    catalogue = synthetic.catalogue
    began = synthetic.shop.slices_start - timedelta(days=synthetic.simulation.days)
    customers, products = customers_table(synthetic.population, synthetic.shop), catalogue.products()
    if synthetic.shop.email is not None:
        customers["email"] = customer_addresses(synthetic.simulation, synthetic.population.customer_ids)
        products = with_pages(products, synthetic.shop.email.public_url)
    tables = {
        "customers": customers.assign(known_since=began.isoformat()),
        "categories": catalogue.categories(),
        "products": products,
        "offers": catalogue.offers(),
        "campaigns": synthetic.calendar.table(),
        "campaign_touches": touches,
    }
    for name, frame in tables.items():
        columns = [column.name for column in reference_tables(synthetic.shop)[name].columns if column.name in frame]
        write_csv(place.landing / "reference" / name / f"{name}.csv", frame[columns])
    return {name: len(frame) for name, frame in tables.items()}
