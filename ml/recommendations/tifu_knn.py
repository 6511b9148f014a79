"""TIFU-KNN: what a customer buys often and lately, and what customers do who buy alike.

Hu, He, Gao and Zhang, Modeling personalized item frequency information for next-basket recommendation, SIGIR 2020. Orders are
put into groups of m, the newest first; an order counts r_b of the one after it in its group, a group r_g of the one after it.
The customer's vector is the mean over groups of the mean over their orders; a score is alpha of the customer's own vector and
the remainder of the mean vector of the k nearest customers, by Euclidean distance. ``fit`` chooses m, r_g, k and alpha by the
last order of customers, of what the orders before it tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sp

from ml.arrays import Floats, Integers

WITHIN = 0.9  # r_b
GROUPS = ((3, 0.6), (7, 0.7))  # m and r_g, near those that the paper chose for its four data sets
NEIGHBOURS = (100, 300)
OWN_SHARES = (0.2, 0.5, 0.7, 0.9)
MOST_OTHERS = 5_000  # customers that may be near: of more, evenly many of all
JUDGING = 200  # customers whose last order chooses the settings
STRONGEST = 100  # products that a near customer adds
CHUNK = 500  # customers at a time: 20 MB of distances
TOP = 10


@dataclass(frozen=True)
class Orders:
    """Lines of orders, each product of an order once: codes of customer and product, and the order's place, 0 = the newest."""

    customers: Integers
    products: Integers
    places: Integers
    shape: tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """Group size, decay between groups, number of neighbours, and the share of the own vector."""

    group: int
    between: float
    neighbours: int
    own: float


@dataclass(frozen=True)
class TifuKnn:
    """Vectors of all customers (customers x products), numbers of those that may be near, and the settings."""

    vectors: sp.csr_matrix
    others: Integers
    settings: Settings

    def scores(self, customers: Integers) -> Iterator[tuple[Integers, sp.csr_matrix]]:
        """Chunks of these customers' codes with their scores, customers x products; 0 where neither they nor others buy it."""
        own = self.settings.own
        for chunk, near in _near(self.vectors, self.others, customers, (self.settings.neighbours,)):
            yield chunk, sp.csr_matrix(own * self.vectors[chunk] + (1 - own) * near[0])


def fit(orders: Orders) -> TifuKnn:
    """The method with the settings whose ten products hit most of the last orders, ties in the order of the settings."""
    others = _evenly(np.arange(orders.shape[0]), MOST_OTHERS)
    settings = _chosen(orders, others)
    return TifuKnn(_vectors(orders, settings.group, settings.between), others, settings)


def _chosen(orders: Orders, others: Integers) -> Settings:
    is_last = orders.places == 0
    before = Orders(orders.customers[~is_last], orders.products[~is_last], orders.places[~is_last] - 1, orders.shape)
    known = np.unique(before.customers)
    judging = (
        known[np.unique(np.linspace(0, len(known) - 1, min(len(known), JUDGING)).astype(np.int64))] if len(known) else known
    )
    taken = sp.csr_matrix((np.ones(is_last.sum()), (orders.customers[is_last], orders.products[is_last])), orders.shape)
    hits = {Settings(*groups, k, own): 0.0 for groups, k, own in product(GROUPS, NEIGHBOURS, OWN_SHARES)}
    for groups in GROUPS if len(judging) else ():
        vectors = _vectors(before, *groups)
        for chunk, near in _near(vectors, others, judging, NEIGHBOURS):
            for (k, of_others), own in product(zip(NEIGHBOURS, near, strict=True), OWN_SHARES):
                best = best_of(sp.csr_matrix(own * vectors[chunk] + (1 - own) * of_others), TOP)
                found = [len(np.intersect1d(row, of)) / len(of) for row, of in zip(best, _columns(taken[chunk]), strict=True)]
                hits[Settings(*groups, k, own)] += sum(found)
    return max(hits, key=lambda settings: hits[settings])


def best_of(scores: sp.csr_matrix, count: int) -> list[Integers]:
    """The columns of the ``count`` largest values of each row, the largest first, ties by column."""
    found = []
    for row in range(scores.shape[0]):
        part = slice(scores.indptr[row], scores.indptr[row + 1])
        columns, values = scores.indices[part], scores.data[part]
        if len(values) > 4 * count:  # what may be among them, with what equals the last one
            least = np.partition(values, len(values) - count)[len(values) - count]
            columns, values = columns[values >= least], values[values >= least]
        found.append(columns[np.lexsort((columns, -values))][:count].astype(np.int64))
    return found


def _columns(matrix: sp.csr_matrix) -> list[Integers]:
    return np.split(matrix.indices, matrix.indptr[1:-1])


def _largest(matrix: sp.csr_matrix, count: int) -> sp.csr_matrix:
    """The matrix with the ``count`` largest values of each row alone."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    kept = order[np.arange(len(order)) - matrix.indptr[row] < count]
    return sp.csr_matrix((matrix.data[kept], (row[kept], matrix.indices[kept])), matrix.shape)


def _evenly(values: Integers, count: int) -> Integers:
    """At most ``count`` of the values, evenly many of all."""
    return values[:: max(1, -(-len(values) // count))]


def _vectors(orders: Orders, group: int, between: float) -> sp.csr_matrix:
    """Customers x products: the mean over groups, which decay, of the mean over their orders, which decay."""
    counts = np.zeros(orders.shape[0], dtype=np.int64)
    np.maximum.at(counts, orders.customers, orders.places + 1)
    of = counts[orders.customers]
    groups = -(-of // group)
    number = orders.places // group
    size = np.minimum(of - number * group, group)
    weights = WITHIN ** (orders.places % group) * between**number / (size * groups)
    return sp.csr_matrix((weights, (orders.customers, orders.products)), orders.shape)


def _near(
    vectors: sp.csr_matrix, others: Integers, customers: Integers, counts: tuple[int, ...]
) -> Iterator[tuple[Integers, list[sp.csr_matrix]]]:
    """Chunks of customers, and for each of ``counts`` the mean vectors of so many nearest others (chunk x products)."""
    pool = vectors[others]
    strongest = _largest(pool, STRONGEST)
    lengths: Floats = np.asarray(pool.multiply(pool).sum(axis=1)).ravel()
    for first in range(0, len(customers), CHUNK):
        chunk = customers[first : first + CHUNK]
        # less the customer's own length, which changes no order
        distances = lengths - 2 * np.asarray((vectors[chunk] @ pool.T).todense())
        distances[chunk[:, None] == others] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : max(counts)]
        means = []
        for count in counts:
            chosen = nearest[:, : min(count, max(len(others) - 1, 0))]
            rows = np.repeat(np.arange(len(chunk)), chosen.shape[1])
            picked = sp.csr_matrix((np.full(chosen.size, 1 / count), (rows, chosen.ravel())), (len(chunk), len(others)))
            means.append(sp.csr_matrix(picked @ strongest))
        yield chunk, means
