"""TIFU-KNN by hand: vectors of grouped orders, nearest customers, and the settings that the last orders choose."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from ml.recommendations.tifu_knn import Orders, Settings, TifuKnn, _near, _vectors, best_of, fit


def orders(*customers: list[str], products: str = "ABCD") -> Orders:
    """Of each customer the orders, the oldest first, a letter a product."""
    lines = [
        (customer, products.index(name), len(baskets) - 1 - number)
        for customer, baskets in enumerate(customers)
        for number, basket in enumerate(baskets)
        for name in basket
    ]
    columns = np.array(lines, dtype=np.int64).reshape(-1, 3).T
    return Orders(columns[0], columns[1], columns[2], (len(customers), len(products)))


def test_a_vector_is_the_mean_over_groups_of_the_mean_over_orders() -> None:
    vector = _vectors(orders(["A", "A", "AB", "B"]), 3, 0.6).toarray()[0]
    # the newest three orders are a group, the oldest is one alone
    newest = {"A": (0.9 + 0.81) / 3, "B": (1 + 0.9) / 3}
    assert vector == pytest.approx([(newest["A"] + 0.6) / 2, newest["B"] / 2, 0, 0])


def test_a_score_is_of_the_own_vector_and_of_the_nearest_others() -> None:
    vectors = _vectors(orders(["A"], ["AB"], ["CD"]), 3, 0.6)
    ((_, (near,)),) = list(_near(vectors, np.arange(3), np.array([0]), (1,)))
    assert near.toarray().tolist() == [[1, 1, 0, 0]]  # at distance 1, the third at the root of 3; nobody is near to itself
    method = TifuKnn(vectors, np.arange(3), Settings(3, 0.6, 1, own=0.7))
    ((customers, scores),) = list(method.scores(np.array([0])))
    assert customers.tolist() == [0]
    assert scores.toarray()[0] == pytest.approx([1, 0.3, 0, 0])


def test_the_last_orders_choose_how_much_the_others_count() -> None:
    alone = [[f"{name}"] * 4 for name in "ABCD"] * 5  # who buys what it bought
    assert fit(orders(*alone)).settings.own == 0.2  # all settings find it: the first one
    products = [chr(65 + number) for number in range(26)]
    # each has twelve products and then buys what others have had: the own vector fills the ten places where it counts most
    own = "".join(products[:12])
    alike = [[own, own + "YZ"]] * 20 + [[own, own, "YZ"]] * 5
    found = fit(orders(*alike, products="".join(products)))
    assert found.settings.own == 0.2
    assert isinstance(found.vectors, sp.csr_matrix)


def test_nobody_has_no_scores() -> None:
    nothing = Orders(*(np.empty(0, dtype=np.int64),) * 3, (0, 0))
    assert list(fit(nothing).scores(np.empty(0, dtype=np.int64))) == []


def test_the_best_of_a_row_are_the_largest_ties_by_column() -> None:
    scores = sp.csr_matrix([[0.2, 0, 0.5, 0.5], [0, 0, 0, 0]])
    assert [row.tolist() for row in best_of(scores, 2)] == [[2, 3], []]
    many = sp.csr_matrix(np.r_[np.full(50, 0.1), np.full(50, 0.2)][None])
    assert best_of(many, 3)[0].tolist() == [50, 51, 52]
