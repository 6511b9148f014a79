"""Credit of channels: by hand, by another calculation of the chain, and to the cent for whatever was sold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from random import Random

import numpy as np
import pandas as pd
import pytest

from customer360.lake.publishing.tables import TABLES
from ml.effects.channel_attribution import (
    CHANNELS,
    MARKOV,
    MODELS,
    NO_VISIT,
    OTHER,
    PARTS_OF_AN_ORDER,
    TABLE,
    attributed,
    credits_of,
    periods_of,
    removal_effects,
    unequal_sums,
)

Row = tuple[str, int, float, int]


def paths(rows: Iterable[Row], day: str = "2026-04-10") -> pd.DataFrame:
    """Rows of ``conversion_paths``; channels are letters, each the medium of a source ``s``."""
    frame = pd.DataFrame(rows, columns=["path", "orders", "revenue", "journeys_without_order"])
    names = frame["path"].str.split(">").map(lambda steps: " > ".join(f"s / {step}" for step in steps))
    return frame.assign(
        path=names.where(frame["path"] != NO_VISIT, NO_VISIT),
        local_date=pd.Timestamp(day),
        as_of=pd.Timestamp("2026-05-01 12:00"),
    )


def credited(frame: pd.DataFrame, model: str) -> dict[str, tuple[float, float]]:
    units = credits_of(frame)[model].units
    return {
        str(name).removeprefix("s / "): (row.orders / PARTS_OF_AN_ORDER, row.cents / 100)
        for name, row in zip(units.index, units.itertuples(), strict=True)
    }


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first touch", {"A": (3, 110.01), "B": (0, 0), "C": (0, 0), "D": (0, 0)}),
        ("last touch", {"A": (1, 4), "B": (1, 6), "C": (0, 0), "D": (1, 100.01)}),
        # a quarter of 100.01 each is 25.0025: the cent that is left is A's, the first by name
        ("linear", {"A": (1.75, 25.01 + 3 + 4), "B": (0.75, 28), "C": (0.25, 25), "D": (0.25, 25)}),
        # 40.004, 10.001, 10.001, 40.004: the cent that is left goes to A
        ("position", {"A": (1.9, 40.01 + 3 + 4), "B": (0.6, 13), "C": (0.1, 10), "D": (0.4, 40)}),
    ],
)
def test_an_order_is_divided_by_the_place_of_its_sessions(model: str, expected: dict[str, tuple[float, float]]) -> None:
    found = credited(paths([("A>B>C>D", 1, 100.01, 0), ("A>B", 1, 6, 3), ("A", 1, 4, 9)]), model)
    assert found == {name: pytest.approx(values) for name, values in expected.items()}


def test_orders_without_a_visit_are_credited_to_no_channel() -> None:
    frame = paths([("A>B", 1, 10, 0), (NO_VISIT, 2, 30.5, 0)])
    assert {model: credited(frame, model)[NO_VISIT] for model in MODELS} == dict.fromkeys(MODELS, (2, 30.5))
    assert all(credit.units.index.is_unique for credit in credits_of(frame).values())


def test_the_removal_effects_are_those_of_the_worked_example() -> None:
    """C1 > C2 > C3 ends with an order, C1 and C2 > C3 without one.

    From C1 the chain goes on to C2 half of the times, C2 always to C3, of which a half orders: a third of all. Without C1 half
    of that is left (the journey that begins at C2); without C2 or C3 nothing. So 1/5, 2/5 and 2/5 of the order and its 99.99.
    """
    frame = paths([("C1>C2>C3", 1, 99.99, 0), ("C1", 0, 0, 1), ("C2>C3", 0, 0, 1)])
    credit = credits_of(frame)[MARKOV]
    assert credit.removal_effects.to_dict() == pytest.approx({"s / C1": 0.5, "s / C2": 1, "s / C3": 1})
    assert credited(frame, MARKOV) == {"C1": (0.2, 20), "C2": (0.4, pytest.approx(40)), "C3": (0.4, pytest.approx(39.99))}


@pytest.mark.parametrize("seed", range(20))
def test_a_removal_effect_is_what_a_chain_without_the_channel_orders_less(seed: int) -> None:
    """Another calculation: the chance to have ordered after 2,000 steps, with the channel's visitors sent away."""
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 7))
    follows = random.integers(0, 9, (n, n)) * (random.random((n, n)) < 0.6)
    begins, absorbed = random.integers(0, 9, n) + 1, random.integers(1, 6, (n, 2))
    found = removal_effects(list("ABCDEFG"[:n]), follows, begins, absorbed)

    def ordered(removed: int | None) -> float:
        leaves = follows.sum(axis=1) + absorbed.sum(axis=1)
        here, share = begins / begins.sum(), 0.0
        for _ in range(2000):
            if removed is not None:
                here[removed] = 0
            share += float(here @ (absorbed[:, 0] / leaves))
            here = here @ (follows / leaves[:, None])
        return share

    expected = [1 - ordered(number) / ordered(None) for number in range(n)]
    assert found.to_list() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_every_model_credits_exactly_what_was_sold(seed: int) -> None:
    random = Random(seed)
    days = pd.date_range("2026-02-20", "2026-05-01")
    parts = [
        paths([(NO_VISIT, 3, 10.01, 0), ("A", 0, -2.37, 0)], "2026-01-05"),  # a month with a return and no order of a visit
        *(
            paths(
                [
                    (
                        ">".join(random.choices("ABCDEFGH", k=random.randint(1, 9))),
                        random.randrange(4),
                        round(random.uniform(-9, 999), 2),
                        random.randrange(9),
                    )
                    for _ in range(random.randrange(1, 6))
                ],
                str(day.date()),
            )
            for day in days
        ),
    ]
    periods = periods_of(pd.concat(parts, ignore_index=True), date(2026, 5, 1))
    rows = attributed(periods)
    assert unequal_sums(periods, rows) == []
    wrong = rows.assign(revenue=rows["revenue"].where(rows.index != 7, rows["revenue"] + 0.01))
    assert len(unequal_sums(periods, wrong)) == 1
    assert set(rows["model"]) == set(MODELS)
    assert rows[rows["model"] != MARKOV]["removal_effect"].isna().all()
    assert not rows.duplicated(list(TABLES[TABLE].grain)).any()
    periods_found = rows[["period", "starts_on", "is_complete"]].drop_duplicates().astype(str).to_numpy().tolist()
    assert periods_found == [
        ["month", "2026-01-01", "True"],
        ["month", "2026-02-01", "True"],
        ["month", "2026-03-01", "True"],
        ["month", "2026-04-01", "True"],
        ["month", "2026-05-01", "False"],
        ["last 30 whole days", "2026-04-01", "True"],
    ]


def test_names_are_those_of_the_sessions_and_what_is_rare_is_other() -> None:
    frame = paths([(f"m{number}", 1, 1, 0) for number in range(CHANNELS + 5)])
    frame.loc[0, "path"] = "news / email / spring > news / email / spring"
    rows = attributed(periods_of(frame, date(2026, 4, 20)))
    named = rows[rows["model"] == "linear"][["utm_source", "utm_medium", "utm_campaign"]].drop_duplicates()
    assert len(named) == CHANNELS + 1
    assert {("news", "email", "spring"), (OTHER, OTHER, OTHER), ("s", "m1", "(not set)")} <= set(
        named.itertuples(index=False, name=None)
    )


def test_nothing_sold_is_credited_to_nobody() -> None:
    assert credits_of(paths([("A>B", 0, 0, 4)]))[MARKOV].removal_effects.to_dict() == {"s / A": 0, "s / B": 0}
    assert periods_of(paths([]), date(2026, 5, 1)) == []
    assert attributed([]).empty


def test_a_shop_without_clicks_credits_all_of_its_orders_to_no_visit() -> None:
    frame = paths([(NO_VISIT, 3, 40.0, 0)])
    assert all(credited(frame, model) == {NO_VISIT: (3, 40)} for model in MODELS)
    periods = periods_of(frame, date(2026, 5, 1))
    assert unequal_sums(periods, attributed(periods)) == []
