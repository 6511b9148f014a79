"""The mixture that tells the next product of a session, learned from sessions.

The weights of the mixture, by the length of the session, are those under which the shop's newest sessions are most likely, by
expectation maximisation on sessions that no component has seen (deleted interpolation; Jelinek and Mercer, Interpolated
estimation of Markov source parameters, 1980). So is the share of ``product_affinity`` in the list of a known customer.
``customer360.recommendations.session_model`` has the components, and answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from customer360.lake.atomic import replacing
from customer360.recommendations.recommend import BLEND
from customer360.recommendations.session_model import (
    COMPONENTS,
    LENGTHS,
    LONGEST,
    SAMPLE,
    Rows,
    SessionModel,
    length_class,
)
from ml.arrays import Floats, Integers, Texts

HALF_LIVES_DAYS: tuple[float, ...] = (7.0, 30.0, 120.0)
MOST_PAIRS = 5_000_000  # that a matrix of products keeps, the largest of each row: 40 MB
HELD_OUT = 0.1  # of the newest sessions, which the weights are learned on
MOST_CASES = 5_000
ITERATIONS = 50


@dataclass(frozen=True)
class Sessions:
    """Sessions in the order of their ends. Session s has the products ``codes[starts[s]:starts[s + 1]]``, in their order.

    ``products``: the product of each code. ``ids``: of the sessions. ``ended_days``: when each ended, in days since 1970 (UTC).
    """

    products: Texts
    starts: Integers
    codes: Integers
    ids: Texts
    ended_days: Floats

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self.ended_days)

    def of(self, session: int) -> Integers:
        """Codes of the session's products, in their order."""
        return self.codes[self.starts[session] : self.starts[session + 1]]

    @property
    def users(self) -> list[str]:
        """The customer or visitor of each session, with which ids of ``interactions`` begin; of other ids the id itself."""
        return [str(name).rpartition("/")[0] or str(name) for name in self.ids]

    def between(self, first: int, last: int) -> Sessions:
        """The sessions from ``first`` to before ``last``."""
        starts = self.starts[first : last + 1]
        return replace(
            self,
            starts=starts - starts[0],
            codes=self.codes[starts[0] : starts[-1]],
            ids=self.ids[first:last],
            ended_days=self.ended_days[first:last],
        )


def sessions_of(events: pd.DataFrame) -> Sessions:
    """Sessions of rows (session_id, product_id, happened_at), in the order of happened_at; equal moments keep their order."""
    codes, products = pd.factorize(events["product_id"].to_numpy(dtype=object), sort=True)
    session_codes, ids = pd.factorize(events["session_id"].to_numpy(dtype=object))
    days = events["happened_at"].to_numpy("datetime64[us]").astype(np.float64) / 86_400e6
    ends = np.full(session_codes.max(initial=-1) + 1, -np.inf)
    np.maximum.at(ends, session_codes, days)
    by_end = np.argsort(ends, kind="stable")
    place = np.empty_like(by_end)
    place[by_end] = np.arange(len(by_end))
    order = np.lexsort((np.arange(len(days)), days, place[session_codes]))
    counts = np.bincount(place[session_codes], minlength=len(ends))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Sessions(
        np.asarray(products, dtype=object), starts, codes[order], np.asarray(ids, dtype=object)[by_end], ends[by_end]
    )


@dataclass(frozen=True)
class Case:
    """A product of a session, as a code (-1: one without), with the codes before it; ``session``: its number."""

    session: int
    before: Integers
    product: int


def fit_session_model(sessions: Sessions, half_lives: tuple[float, ...] = HALF_LIVES_DAYS) -> SessionModel:
    """Learn half-life and weights on the newest tenth of the sessions by what the others teach, then the components on all."""
    held = first_held_out(sessions)
    cases = [case for case in cases_of(sessions.between(held, len(sessions))) if len(case.before)][-MOST_CASES:]
    if held < 1 or not cases:
        return learned(sessions, half_lives[-1])
    tried = [_with_weights(learned(sessions.between(0, held), days), cases) for days in half_lives]
    best, _ = max(tried, key=lambda model_and_likelihood: model_and_likelihood[1])
    return replace(learned(sessions, best.half_life_days), weights=best.weights)


def first_held_out(sessions: Sessions) -> int:
    """The number of the first of the newest sessions, which choose or judge what the others teach."""
    return len(sessions) - max(1, int(HELD_OUT * len(sessions)))


def affinity_weights(model: SessionModel, sessions: Sessions, affinity: pd.DataFrame) -> Floats:
    """By the length of a session (``LENGTHS``), the share of ``product_affinity`` under which sessions are most likely.

    ``sessions``, with the model's codes, are of a time of which neither ``model`` nor ``affinity`` (rows of the table) knows;
    their ids, of ``interactions``, begin with the customer's. What few products of known customers teach is near one half.
    """
    customers = sessions.users
    of = {
        str(customer): dict(zip(rows["product_id"], rows["probability"] / rows["probability"].sum(), strict=True))
        for customer, rows in affinity[affinity["customer_id"].isin(customers)].groupby("customer_id")
    }
    cases = [case for case in cases_of(sessions) if len(case.before) and customers[case.session] in of][-MOST_CASES:]
    likely, classes = np.zeros((len(cases), 2)), np.zeros(len(cases), dtype=np.int64)
    for place, case in enumerate(cases):
        length, product = len(case.before), str(sessions.products[case.product])
        by_session = float(model.weights_of(length) @ _likely(model, case))
        likely[place] = by_session, of[customers[case.session]].get(product, 0.0)
        classes[place] = length_class(length)
    weights, _ = _maximised(likely + 1e-9, classes)
    return np.asarray(weights[:, 1], dtype=np.float64)


def weights_frame(model: SessionModel) -> pd.DataFrame:
    """One row a length of the session: its weight of each component, and the share of affinity in a known customer's list."""
    names = [f"from {low}" for low in (0, *LENGTHS)]
    frame = pd.DataFrame(model.weights, columns=list(COMPONENTS)).assign(affinity=model.affinity_weights, products=names)
    return frame[["products", *COMPONENTS, "affinity"]]


def save(model: SessionModel, target: Path) -> None:
    """Write the model as arrays (npz, nothing pickled, and nothing compressed: loading is reading)."""
    arrays: dict[str, Any] = {}
    for field in fields(model):
        value = getattr(model, field.name)
        if isinstance(value, Rows):
            arrays |= {f"{field.name}.{part.name}": getattr(value, part.name) for part in fields(value)}
        else:
            arrays[field.name] = value
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def cases_of(sessions: Sessions) -> list[Case]:
    """Each product of each session with those before it."""
    return [
        Case(number, codes[:place], int(codes[place]))
        for number, codes in enumerate(map(sessions.of, range(len(sessions))))
        for place in range(len(codes))
    ]


def learned(sessions: Sessions, half_life_days: float) -> SessionModel:
    """The components of these sessions, in equal weights."""
    count, size = len(sessions.products), np.diff(sessions.starts)
    of = np.repeat(np.arange(len(sessions)), size)
    decay = 0.5 ** ((sessions.ended_days[-1] - sessions.ended_days) / half_life_days)
    popularity = np.bincount(sessions.codes, decay[of], minlength=count)
    order = np.lexsort((of, sessions.codes))
    codes, numbers = sessions.codes[order], of[order]
    is_first = np.ones(len(codes), dtype=bool)  # of a product in a session
    is_first[1:] = (codes[1:] != codes[:-1]) | (numbers[1:] != numbers[:-1])
    codes, numbers = codes[is_first], numbers[is_first]
    ends = np.searchsorted(codes, np.arange(count), side="right")
    is_newest = np.arange(len(codes)) >= ends[codes] - SAMPLE
    weights = np.full((len(LENGTHS) + 1, len(COMPONENTS)), 1 / len(COMPONENTS))
    weights[0] = np.eye(len(COMPONENTS))[0]  # before the first product there is popularity alone
    return SessionModel(
        products=sessions.products.astype(str),
        popularity=popularity / popularity.sum(),
        follows=_pairs(sessions, of, decay, count, 1),
        along=_pairs(sessions, of, decay, count, LONGEST),
        session_starts=sessions.starts,
        session_codes=sessions.codes.astype(np.int32),
        newest_starts=np.searchsorted(codes[is_newest], np.arange(count + 1)),
        newest_sessions=numbers[is_newest].astype(np.int32),
        half_life_days=half_life_days,
        weights=weights,
        affinity_weights=np.full(len(LENGTHS) + 1, 0.5),
        lists=np.array([BLEND, BLEND]),
    )


def _pairs(sessions: Sessions, of: Integers, decay: Floats, count: int, apart: int) -> Rows:
    """Product x later product of the same session, decayed, a pair of distance d counting 1 / d; rows sum to 1.

    Of each row as many of the largest are kept as make ``MOST_PAIRS`` in a matrix whose rows are all full.
    """
    found = sp.csr_matrix((count, count))
    for distance in range(1, apart + 1):
        is_pair = of[:-distance] == of[distance:]
        if not is_pair.any():
            break
        earlier, later = sessions.codes[:-distance][is_pair], sessions.codes[distance:][is_pair]
        found = found + sp.csr_matrix((decay[of[distance:][is_pair]] / distance, (earlier, later)), (count, count))
    found.sort_indices()
    row = np.repeat(np.arange(count), np.diff(found.indptr))
    order = np.lexsort((-found.data, row))  # within a row the largest first
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - found.indptr[row]
    is_kept = place < max(1, MOST_PAIRS // max(count, 1))
    row, columns, values = row[is_kept], found.indices[is_kept], found.data[is_kept]
    totals = np.bincount(row, values, minlength=count)
    starts = np.searchsorted(row, np.arange(count + 1))
    return Rows(starts, columns.astype(np.int32), (values / totals[row]).astype(np.float32))


def _likely(model: SessionModel, case: Case) -> Floats:
    """The probability of the case's product by each component."""
    found = model.found(case.before)
    place = int(np.searchsorted(found.codes, case.product))
    if place < len(found.codes) and found.codes[place] == case.product:
        return np.asarray(found.parts[:, place], dtype=np.float64)
    return np.asarray(np.eye(len(COMPONENTS))[0] * model.popularity[case.product], dtype=np.float64)


def _with_weights(model: SessionModel, cases: Sequence[Case]) -> tuple[SessionModel, float]:
    """The model with the weights of the components under which the cases are most likely, and their mean log likelihood."""
    likely = np.array([_likely(model, case) for case in cases]) + 1e-9
    weights, mean = _maximised(likely, np.array([length_class(len(case.before)) for case in cases]))
    weights[0] = model.weights[0]
    return replace(model, weights=weights), mean


def _maximised(likely: Floats, classes: Integers) -> tuple[Floats, float]:
    """Weights (class x source) of the mixture that makes cases most likely (cases x sources), and the mean log likelihood.

    One case shared among all sources keeps a class that was hardly seen near equal weights.
    """
    sources = likely.shape[1]
    weights = np.full((len(LENGTHS) + 1, sources), 1 / sources)
    for _ in range(ITERATIONS):
        shares = likely * weights[classes]
        shares /= shares.sum(axis=1, keepdims=True)
        for number in range(len(weights)):
            mass = shares[classes == number].sum(axis=0) + 1 / sources
            weights[number] = mass / mass.sum()
    return weights, float(np.log((likely * weights[classes]).sum(axis=1)).mean()) if len(classes) else 0.0
