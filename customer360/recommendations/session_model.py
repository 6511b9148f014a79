"""The next product of a session: a mixture of what follows, what is visited along, nearest sessions, repeats and popularity.

Each component is a distribution over products given the products of the session so far. What follows is a first-order Markov
chain; what is visited along are sequential rules over all pairs of a session, and nearest sessions are V-SKNN (Ludewig and
Jannach, Evaluation of session-based recommendation algorithms, 2018). ``ml.recommendations.sessions`` learns them.

An answer costs what the session's products are seen with, not the size of the catalogue: popularity, the one component that
knows every product, is looked up where another has a product, and walked down from the top where a list is to be filled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from customer360.errors import OperatorError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
POPULARITY, REPEATS, FOLLOWS, ALONG, NEIGHBOURS = COMPONENTS = ("popularity", "repeats", "follows", "along", "neighbours")
LENGTHS = (1, 2, 3, 5, 10)  # sessions of 0, 1, 2, 3 to 4, 5 to 9, and 10 or more products have weights of their own
LONGEST = 20  # of a session the last products count
NEAREST, SAMPLE = 100, 1_000  # nearest sessions, of the newest ones with a product of the session
TOP = 1_000  # most popular products that a list is filled from


class SessionModelError(OperatorError, ValueError):
    """The file of the model cannot be read. The message says why, and what makes it good."""


@dataclass(frozen=True)
class Rows:
    """A sparse matrix by rows: row r has ``values[starts[r]:starts[r + 1]]`` in ``columns``, which ascend."""

    starts: Integers
    columns: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    def row(self, number: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Columns and values of a row."""
        part = slice(self.starts[number], self.starts[number + 1])
        return self.columns[part], self.values[part]

    def value(self, row: int, column: int) -> float:
        """The value at a place; 0 where there is none."""
        columns, values = self.row(row)
        place = int(np.searchsorted(columns, column))
        return float(values[place]) if place < len(columns) and columns[place] == column else 0.0


@dataclass(frozen=True)
class Found:
    """Products that the components know of a session (``codes``), and each one's probability of them: rows ``COMPONENTS``."""

    codes: Integers
    parts: Floats


@dataclass(frozen=True)
class SessionModel:
    """What answers. A product's code is its place in ``products``, which ascend; a session's number grows with its end.

    ``popularity`` by code, sums to 1. ``follows``, ``along``: product x later product. ``sessions``: session x its products, in
    their order. ``newest``: product x the newest sessions with it. ``weights``: row by length of the session (``LENGTHS``),
    column by component, each row sums to 1. ``affinity_weights``: by length, the share of what the customer likes in a list.
    ``lists``: what a list is made of in a session with products, a customer's and a visitor's: a name of ``recommend.LISTS``.
    ``nearest``: sessions that are near.
    """

    products: npt.NDArray[np.str_]
    popularity: Floats
    follows: Rows
    along: Rows
    session_starts: Integers
    session_codes: npt.NDArray[np.int32]
    newest_starts: Integers
    newest_sessions: npt.NDArray[np.int32]
    half_life_days: float
    weights: Floats
    affinity_weights: Floats
    lists: npt.NDArray[np.str_]
    nearest: int = NEAREST

    @cached_property
    def codes(self) -> dict[str, int]:
        """The code of each product."""
        return {name: code for code, name in enumerate(self.products.tolist())}

    @cached_property
    def popular(self) -> Integers:
        """Codes of the ``TOP`` most popular products, ties by code."""
        return np.argsort(-self.popularity, kind="stable")[:TOP]

    def context(self, products: Sequence[str]) -> list[int]:
        """The codes of a session's products; those that no learned session has are passed over."""
        codes = self.codes
        return [codes[name] for name in products if name in codes]

    def found(self, context: Sequence[int] | Integers) -> Found:
        """What each component knows of a session with these products, in order; a component that knows nothing has zeros."""
        recent = np.asarray(context, dtype=np.int64)[-LONGEST:]
        if not len(recent):
            return Found(np.empty(0, dtype=np.int64), np.zeros((len(COMPONENTS), 0)))
        viewed: list[int] = recent.tolist()
        rows = self.follows.row(viewed[-1]), self._along(viewed), self._neighbours(viewed)
        knows: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = [(recent, np.ones(len(recent))), *rows]
        every = np.concatenate([known for known, _ in knows])
        codes, place = _distinct(every)
        place += np.repeat(np.arange(len(knows)) * len(codes), [len(known) for known, _ in knows])
        values = np.concatenate([values for _, values in knows])
        added = np.bincount(place, values, minlength=len(knows) * len(codes)).reshape(len(knows), -1)
        totals = added.sum(axis=1, keepdims=True)
        totals[totals <= 0] = 1.0
        parts = np.empty((len(COMPONENTS), len(codes)))
        parts[0] = self.popularity[codes]
        np.divide(added, totals, out=parts[1:])
        return Found(codes, parts)

    def weights_of(self, length: int) -> Floats:
        """The weights of the components in a session with so many products."""
        return np.asarray(self.weights[length_class(length)], dtype=np.float64)

    def _along(self, viewed: list[int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        rows = [self.along.row(product) for product in reversed(viewed)]
        codes = np.concatenate([columns for columns, _ in rows])
        return codes, np.concatenate([values / distance for distance, (_, values) in enumerate(rows, start=1)])

    def _neighbours(self, viewed: list[int]) -> tuple[npt.NDArray[np.int32], Floats]:
        """Sessions by cosine, products weighted by their place here; their products by how late the last common one is."""
        last = {product: len(viewed) - place for place, product in enumerate(viewed, start=1)}
        products = sorted(last)
        parts = [self.newest_sessions[self.newest_starts[product] : self.newest_starts[product + 1]] for product in products]
        counts = [len(part) for part in parts]
        matches = np.concatenate(parts)
        if not len(matches):
            return np.empty(0, dtype=np.int32), np.empty(0)
        sessions, place = _distinct(matches)
        views_after = np.repeat([float(last[product]) for product in products], counts)
        similar = np.bincount(place, 1.0 - views_after / len(viewed))
        distance = np.full(len(sessions), np.inf)
        np.minimum.at(distance, place, views_after + 1.0)
        sessions, similar, distance = sessions[-SAMPLE:], similar[-SAMPLE:], distance[-SAMPLE:]
        sizes = self.session_starts[sessions + 1] - self.session_starts[sessions]
        similar = similar / np.sqrt(sizes)
        nearest = np.argsort(-similar, kind="stable")[: self.nearest]
        sizes, firsts = sizes[nearest], self.session_starts[sessions[nearest]]
        # places of all products of the nearest sessions: ranges laid end to end
        places = np.arange(sizes.sum()) + np.repeat(firsts - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
        return self.session_codes[places], np.repeat(similar[nearest] / distance[nearest], sizes)


def length_class(length: int) -> int:
    """The row of the weights of a session with so many products."""
    return bisect_right(LENGTHS, length)


def _distinct(values: npt.NDArray[Any]) -> tuple[Integers, Integers]:
    """The distinct values (not negative), ascending, and the place of each value among them.

    Value and place are sorted as one number of 64 bits, which takes half of the time of ``np.unique``.
    """
    bits = len(values).bit_length()
    packed = (values.astype(np.int64) << bits) | np.arange(len(values))
    packed.sort()
    ascending = packed >> bits
    begins = np.empty(len(values), dtype=np.int64)
    begins[0] = 0
    np.not_equal(ascending[1:], ascending[:-1], out=begins[1:], casting="unsafe")
    place = np.empty_like(begins)
    place[packed & ((1 << bits) - 1)] = begins.cumsum()
    begins[0] = 1
    return ascending[begins.astype(bool)], place


def ranked(model: SessionModel, found: Found, weights: Floats, count: int) -> tuple[Integers, Floats]:
    """Codes of the ``count`` largest mixed probabilities above 0, and these; ties by code.

    Repeats are not left out: people go back to what they saw.
    """
    popular = model.popular[: count + len(found.codes)]
    filled = popular[np.isin(popular, found.codes, invert=True)][:count]
    codes = np.concatenate([found.codes, filled])
    scores = np.concatenate([weights @ found.parts, weights[0] * model.popularity[filled]])
    best = np.lexsort((codes, -scores))[:count]
    best = best[scores[best] > 0]
    return codes[best], scores[best]


def load(source: Path) -> SessionModel:
    """The model of a file. Raises ``OSError`` where there is none, ``SessionModelError`` where it cannot be read."""
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            rows = {name: Rows(*(arrays[f"{name}.{part.name}"] for part in fields(Rows))) for name in ("follows", "along")}
            plain = {field.name: arrays[field.name] for field in fields(SessionModel) if field.name not in rows}
    except (KeyError, ValueError, BadZipFile) as error:
        reason = f"{source} holds no session model of this release ({error}); daily_job makes it anew"
        raise SessionModelError(reason) from error
    return SessionModel(**{**plain, **rows, "half_life_days": float(plain["half_life_days"]), "nearest": int(plain["nearest"])})
