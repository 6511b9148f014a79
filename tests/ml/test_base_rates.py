"""What customers order by themselves: of a model's purchase probability where one serves, else of their last weeks."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from customer360.settings import CampaignRules
from ml.planning.base_rates import base_rate, customer_base_rates
from ml.planning.rate_predictions import index_customers

SHOP = small_shop().model_copy(update={"campaigns": CampaignRules(attribution_days=7)})
AS_OF = datetime(2026, 5, 1)  # noqa: DTZ001 (published timestamps are plain UTC)
NO_MODEL = pd.Series(dtype="float64")


def customers(count: int) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": [f"C{number:03}" for number in range(count)], "segment": None})


def orders(*rows: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["customer_id", "ordered_at"])
    return frame.assign(ordered_at=pd.to_datetime(frame["ordered_at"]))


def rates(count: int, made: pd.DataFrame, probability: pd.Series = NO_MODEL) -> np.ndarray:
    return customer_base_rates(index_customers(customers(count)), made, probability, AS_OF, SHOP)


def test_the_purchase_probability_orders_the_customers_and_the_base_rate_is_their_mean() -> None:
    made = orders(*((f"C{number:03}", "2026-04-29") for number in range(40)))
    probability = pd.Series({"C000": 0.4, "C001": 0.2, **{f"C{n:03}": 0.1 for n in range(2, 99)}})  # C099 is not scored
    found = rates(100, made, probability)
    assert base_rate(made, 100, AS_OF, SHOP) == (pytest.approx(0.1), 40, 100)
    assert found.mean() == pytest.approx(0.1, rel=0.02)
    assert found[0] == pytest.approx(2 * found[1])
    assert found[1] == pytest.approx(2 * found[2])
    assert found[99] == pytest.approx(0.1, rel=0.02)


def test_without_a_model_who_ordered_in_more_weeks_comes_first_and_nobody_is_certain_not_to() -> None:
    weeks = ("2026-04-29", "2026-04-20", "2026-04-13", "2026-04-06")
    made = orders(*((f"C{number:03}", week) for number in range(20) for week in weeks), ("C020", "2026-04-29"))
    found = rates(100, made)
    assert found[0] > found[20] > found[50] > 0
    assert found.mean() == pytest.approx(81 / 400, rel=0.1)


def test_without_a_recent_order_the_rate_is_small_and_not_nothing() -> None:
    found = rates(50, orders(("C001", "2026-01-01")))
    assert found == pytest.approx(np.full(50, 0.5 / 201), rel=0.03)


def test_without_customers_there_are_no_rates() -> None:
    assert len(rates(0, orders())) == 0
