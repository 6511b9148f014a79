"""The next product of a session: components by hand, the mixture on made sessions, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from customer360.recommendations.session_model import COMPONENTS, SessionModel, load, ranked
from ml.recommendations import sessions
from ml.recommendations.measures import Ranking, measured
from ml.recommendations.session_backtest import MIXTURE, backtest, serving


def events(*visits: str) -> pd.DataFrame:
    """A visit a day, a letter a product, a minute apart."""
    return pd.DataFrame(
        [
            {
                "session_id": f"S{number}",
                "product_id": product,
                "happened_at": pd.Timestamp("2026-05-01") + pd.Timedelta(days=number, minutes=minute),
            }
            for number, visit in enumerate(visits)
            for minute, product in enumerate(visit)
        ]
    )


def learned(*visits: str) -> SessionModel:
    found = sessions.sessions_of(events(*visits))
    return sessions.fit_session_model(found)


def next_products(model: SessionModel, viewed: Sequence[str], count: int) -> list[tuple[str, float]]:
    context = model.context(viewed)
    codes, scores = ranked(model, model.found(context), model.weights_of(len(context)), count)
    return [(str(model.products[code]), float(score)) for code, score in zip(codes, scores, strict=True)]


def test_sessions_are_in_the_order_of_their_ends_and_products_in_that_of_their_events() -> None:
    shuffled = events("BA", "CAB").sample(frac=1, random_state=1)
    found = sessions.sessions_of(shuffled)
    assert ["".join(found.products[found.of(number)]) for number in range(2)] == ["BA", "CAB"]


def test_components_are_those_worked_out_by_hand() -> None:
    model = sessions.fit_session_model(sessions.sessions_of(events("AB", "ABC", "AC", "AB")))
    decay = 0.5 ** (np.array([3, 2, 1, 0]) / model.half_life_days)  # the last minutes differ by too little to matter
    found = model.found([model.codes["A"]])
    assert found.codes.tolist() == [0, 1, 2]
    components = dict(zip(COMPONENTS, found.parts, strict=True))
    to_b, to_c = decay[[0, 1, 3]].sum(), decay[2]
    assert components["follows"] == pytest.approx([0, to_b / (to_b + to_c), to_c / (to_b + to_c)], abs=1e-3)
    far = decay[1] / 2 + decay[2]
    assert components["along"] == pytest.approx([0, to_b / (to_b + far), far / (to_b + far)], abs=1e-3)
    assert components["repeats"] == pytest.approx([1, 0, 0])
    # all four sessions have A, of cosine 1 / sqrt(products): their products in proportion
    two, three = 1 / np.sqrt(2), 1 / np.sqrt(3)
    near = np.array([3 * two + three, 2 * two + three, two + three])
    assert components["neighbours"] == pytest.approx(near / near.sum())


def test_every_mixture_is_a_distribution_and_an_unknown_product_is_passed_over() -> None:
    model = learned(*["ABCD", "BCDA", "CDAB", "DABC"] * 10)
    assert model.weights.sum(axis=1) == pytest.approx(1)
    assert sum(share for _, share in next_products(model, ["A", "B"], 10)) == pytest.approx(1)
    assert next_products(model, ["never seen", "A"], 3) == next_products(model, ["A"], 3)
    assert next_products(model, ["A"], 1)[0][0] == "B"
    assert next_products(model, [], 10) == [
        (name, pytest.approx(0.25)) for name in "ABCD"
    ]  # a new visitor gets what is popular


def test_the_mixture_finds_what_follows_and_is_kept_and_read_again(tmp_path: Path) -> None:
    generator = np.random.default_rng(360)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    visits = []
    for _ in range(600):
        place, visit = int(generator.integers(26)), ""
        for _ in range(6):  # four of five go on to the next letter, the others anywhere
            visit += alphabet[place]
            place = (place + 1) % 26 if generator.random() < 0.8 else int(generator.integers(26))
        visits.append(visit)
    found = backtest(sessions.sessions_of(events(*visits)))
    overall = found.comparison.table[found.comparison.table["history"] == "all"].set_index("method")
    # five of six cases have a product before them, and of these four of five are found first
    assert overall.loc["follows", "mrr_20"] > 5 / 6 * 0.8 > overall.loc["popularity", "mrr_20"] + 0.4
    assert overall.loc[MIXTURE, "mrr_20"] > overall.loc["follows", "mrr_20"] - 0.02
    assert set(found.comparison.table["history"]) == {"all", "0", "1", "2 to 4", "5 to 19"}
    model = serving(sessions.fit_session_model(sessions.sessions_of(events(*visits))), found)
    sessions.save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    for context in ("", "D", "DEJ"):
        assert next_products(again, context, 26) == next_products(model, context, 26)


def test_the_share_of_affinity_is_what_known_customers_take_in_sessions_of_that_length() -> None:
    teach = sessions.sessions_of(events(*["AB", "BA"] * 30, "C"))
    model = sessions.learned(teach, 30.0)
    affinity = pd.DataFrame({"customer_id": ["K", "K"], "product_id": ["C", "A"], "probability": [0.3, 0.1]})
    # after A the customer K goes on to C, which no session has after A, and a stranger to B
    taken = events(*["AC"] * 40, *["AB"] * 40)
    number = taken["session_id"].str[1:].astype(int)
    visits = taken.assign(session_id=np.where(number < 40, "K/", "other/") + taken["session_id"])
    shares = sessions.affinity_weights(model, sessions.sessions_of(visits), affinity)
    assert shares[1] > 0.95
    assert shares[2:] == pytest.approx(0.5)  # no session of two or more products
    of_strangers = sessions.affinity_weights(model, sessions.sessions_of(visits[number >= 40]), affinity)
    assert of_strangers == pytest.approx(0.5)


def test_measures_are_those_worked_out_by_hand() -> None:
    products = np.array([[0, 1, 2, -1], [3, 2, 1, 0]])
    ranking = Ranking(
        products,
        [np.array([1, 3]), np.array([-2])],
        np.array([0, 7]),
        np.array(["a", "b"]),
        np.array([0.5, 0.25, 0.125, 0.125]),
    )
    rows = measured({"m": ranking}).set_index("history")
    assert rows.loc["0", "recall_10"] == 0.5
    assert rows.loc["0", "mrr_20"] == 0.5
    assert rows.loc["0", "ndcg_10"] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert rows.loc["0", "novelty_10"] == pytest.approx((1 + 2 + 3) / 3)
    assert (rows.loc["0", "coverage_10"], rows.loc["5 to 19", "recall_10"]) == (0.75, 0)
    assert rows.loc["all", "recall_10"] == 0.25
