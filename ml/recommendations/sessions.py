"""The next product of a session: a mixture of what follows, what is visited along, nearest sessions, repeats and popularity.

Each component is a distribution over products given the products of the session so far. The weights of the mixture, by the
length of the session, are those under which the shop's newest sessions are most likely, by expectation maximisation on sessions
that no component has seen (deleted interpolation; Jelinek and Mercer, Interpolated estimation of Markov source parameters,
1980).

What follows is a first-order Markov chain; what is visited along are sequential rules over all pairs of a session, and nearest
sessions are V-SKNN, with its settings (Ludewig and Jannach, Evaluation of session-based recommendation algorithms, 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from customer360.lake.atomic import replacing
from ml.arrays import Floats, Integers, Texts
from ml.bootstrap import Interval, clustered_mean_interval
from ml.recommendations.measures import SEED, Ranking, best_codes, measured

POPULARITY, REPEATS, FOLLOWS, ALONG, NEIGHBOURS = COMPONENTS = ("popularity", "repeats", "follows", "along", "neighbours")
MIXTURE = "mixture"
LENGTHS = (2, 3, 5, 10)  # sessions of 1, 2, 3 to 4, 5 to 9, and 10 or more products have weights of their own
HALF_LIVES_DAYS = (7.0, 30.0, 120.0)
LONGEST = 20  # of a session the last products count; of its pairs, those so far apart
NEAREST, SAMPLE = 100, 1_000  # nearest sessions, of the newest ones with a product of the session
HELD_OUT = 0.1  # of the newest sessions, which the weights are learned on
MOST_CASES = 5_000
ITERATIONS = 50


@dataclass(frozen=True)
class Sessions:
    """Sessions in the order of their ends. Session s has the products ``codes[starts[s]:starts[s + 1]]``, in their order.

    ``products``: the product of each code. ``ended_days``: when each session ended, in days since 1970 (UTC).
    """

    products: Texts
    starts: Integers
    codes: Integers
    ended_days: Floats

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self.ended_days)

    def of(self, session: int) -> Integers:
        """Codes of the session's products, in their order."""
        return self.codes[self.starts[session] : self.starts[session + 1]]

    def between(self, first: int, last: int) -> Sessions:
        """The sessions from ``first`` to before ``last``."""
        starts = self.starts[first : last + 1]
        return replace(
            self, starts=starts - starts[0], codes=self.codes[starts[0] : starts[-1]], ended_days=self.ended_days[first:last]
        )


def sessions_of(events: pd.DataFrame) -> Sessions:
    """Sessions of rows (session_id, product_id, happened_at), in the order of happened_at; equal moments keep their order."""
    codes, products = pd.factorize(events["product_id"].to_numpy(dtype=object), sort=True)
    session_codes, _ = pd.factorize(events["session_id"])
    days = events["happened_at"].to_numpy("datetime64[us]").astype(np.float64) / 86_400e6
    ends = np.full(session_codes.max(initial=-1) + 1, -np.inf)
    np.maximum.at(ends, session_codes, days)
    by_end = np.argsort(ends, kind="stable")
    place = np.empty_like(by_end)
    place[by_end] = np.arange(len(by_end))
    order = np.lexsort((np.arange(len(days)), days, place[session_codes]))
    counts = np.bincount(place[session_codes], minlength=len(ends))
    return Sessions(np.asarray(products, dtype=object), np.concatenate([[0], np.cumsum(counts)]), codes[order], ends[by_end])


@dataclass(frozen=True)
class _Rows:
    """A sparse matrix by rows: as three arrays, since taking a row of scipy's costs 30 microseconds."""

    starts: Integers
    columns: Integers
    values: Floats

    @staticmethod
    def of(matrix: sp.csr_matrix) -> _Rows:
        matrix.sort_indices()
        return _Rows(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data.astype(np.float64))

    def add(self, row: int, weight: float, target: Floats) -> None:
        part = slice(self.starts[row], self.starts[row + 1])
        target[self.columns[part]] += weight * self.values[part]


@dataclass(frozen=True)
class SessionModel:
    """What answers. ``weights``: row by length of the session (``LENGTHS``), column by component; each row sums to 1."""

    products: Texts
    popularity: Floats
    follows: _Rows
    along: _Rows
    sessions: Sessions
    newest: _Rows  # of each product, the newest sessions with it
    half_life_days: float
    weights: Floats

    def code_of(self, product_id: str) -> int | None:
        """The code of a product; None of one that no session has."""
        place = int(np.searchsorted(self.products, product_id))
        return place if place < len(self.products) and self.products[place] == product_id else None

    def components(self, context: Sequence[int] | Integers) -> Floats:
        """Rows ``COMPONENTS``, columns products: the distribution of the next product by each; zeros where it knows none."""
        found = np.zeros((len(COMPONENTS), len(self.products)))
        found[0] = self.popularity
        recent = np.asarray(context, dtype=np.int64)[-LONGEST:]
        if len(recent):
            np.add.at(found[1], recent, 1.0)
            self.follows.add(int(recent[-1]), 1.0, found[2])
            for distance, product in enumerate(recent[::-1], start=1):
                self.along.add(int(product), 1.0 / distance, found[3])
            self._neighbours(recent, found[4])
            totals = found.sum(axis=1, keepdims=True)
            np.divide(found, totals, out=found, where=totals > 0)
        return found

    def scores(self, context: Sequence[int] | Integers) -> Floats:
        """The probability of each product as the next one of a session with these products, in order; sums to at most 1."""
        return np.asarray(self.weights[_length_class(len(context))] @ self.components(context), dtype=np.float64)

    def _neighbours(self, recent: Integers, target: Floats) -> None:
        """Sessions by cosine, products weighted by their place here; their products by how late the last common one is."""
        products, last = np.unique(recent[::-1], return_index=True)
        parts = [slice(self.newest.starts[product], self.newest.starts[product + 1]) for product in products]
        counts = [part.stop - part.start for part in parts]
        matches = np.concatenate([self.newest.columns[part] for part in parts])
        if not len(matches):
            return
        sessions, place = np.unique(matches, return_inverse=True)
        similar = np.bincount(place, np.repeat(1.0 - last / len(recent), counts))
        distance = np.full(len(sessions), np.inf)
        np.minimum.at(distance, place, np.repeat(last + 1.0, counts))
        sessions, similar, distance = sessions[-SAMPLE:], similar[-SAMPLE:], distance[-SAMPLE:]
        similar = similar / np.sqrt(self.sessions.starts[sessions + 1] - self.sessions.starts[sessions])
        nearest = np.argsort(-similar, kind="stable")[:NEAREST]
        chosen = [self.sessions.of(int(session)) for session in sessions[nearest]]
        weights = np.repeat(similar[nearest] / distance[nearest], [len(codes) for codes in chosen])
        target += np.bincount(np.concatenate(chosen), weights, minlength=len(target))


def next_products(model: SessionModel, events: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The products to show next in a session with these products so far, in their order, with the probability of each.

    Products that no learned session has are passed over. Repeats are not left out: people go back to what they saw.
    """
    context = [code for code in map(model.code_of, events) if code is not None]
    scores = model.scores(context)
    return [(str(model.products[code]), float(scores[code])) for code in best_codes(scores, count) if code >= 0]


def fit_session_model(sessions: Sessions) -> SessionModel:
    """Learn half-life and weights on the newest tenth of the sessions by what the others teach, then the components on all."""
    held = len(sessions) - max(1, int(HELD_OUT * len(sessions)))
    cases = next_product_cases(sessions.between(held, len(sessions)))[-MOST_CASES:]
    if held < 1 or not cases:
        return _learned(sessions, HALF_LIVES_DAYS[-1], np.eye(len(COMPONENTS))[np.zeros(len(LENGTHS) + 1, dtype=np.int64)])
    weights, _, half_life = max(
        (_fit_weights(_learned(sessions.between(0, held), days, None), cases) for days in HALF_LIVES_DAYS),
        key=lambda found: found[1],
    )
    return _learned(sessions, half_life, weights)


@dataclass(frozen=True)
class SessionBacktest:
    """What served of the components and their mixture on the sessions that judged, and why. ``table``: see ``measured``.

    ``gain``: recall at 10 of the mixture less that of the best component, sessions drawn whole.
    """

    table: pd.DataFrame
    best: str
    gain: Interval

    @property
    def serves(self) -> str:
        """The mixture where it is better than the best component beyond chance, else that component."""
        return MIXTURE if self.gain.low > 0 else self.best

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        found = f"{self.gain.estimate:+.4f} recall at 10, {self.gain.low:+.4f} to {self.gain.high:+.4f}"
        if self.serves == MIXTURE:
            return f"the mixture is better than '{self.best}', the best of its components ({found})"
        return f"'{self.best}' serves until the mixture beats it: it is not better beyond chance ({found})"


def backtest(sessions: Sessions) -> SessionBacktest:
    """Judge each component and the mixture on the newest tenth of the sessions, learned on those before them."""
    held = len(sessions) - max(1, int(HELD_OUT * len(sessions)))
    return judge(fit_session_model(sessions.between(0, held)), sessions.between(held, len(sessions)))


def judge(model: SessionModel, sessions: Sessions) -> SessionBacktest:
    """Judge on sessions whose codes are those of the model; products without a code have -1 and are never found."""
    cases = [
        (number, codes[:place], int(codes[place]))
        for number, codes in enumerate(map(sessions.of, range(len(sessions))))
        for place in range(len(codes))
    ][-4 * MOST_CASES :]
    ranked: dict[str, list[Integers]] = {name: [] for name in (*COMPONENTS, MIXTURE)}
    for _, context, _ in cases:
        known = context[context >= 0]
        components = model.components(known)
        for name, scores in zip(COMPONENTS, components, strict=True):
            ranked[name].append(best_codes(scores))
        ranked[MIXTURE].append(best_codes(model.weights[_length_class(len(known))] @ components))
    taken = [np.array([product if product >= 0 else -2]) for *_, product in cases]  # -1 are places without a product
    lengths, clusters = (
        np.array([len(context) for _, context, _ in cases]),
        np.array([str(case[0]) for case in cases], dtype=object),
    )
    rankings = {
        name: Ranking(np.array(products), taken, lengths, clusters, model.popularity) for name, products in ranked.items()
    }
    found = measured(rankings)
    overall = found[found["history"] == "all"].set_index("method")["recall_10"]
    best = str(overall.drop(MIXTURE).idxmax())
    gain = clustered_mean_interval(rankings[MIXTURE].recalls() - rankings[best].recalls(), clusters, SEED)
    return SessionBacktest(found, best, gain)


def serving(model: SessionModel, found: SessionBacktest) -> SessionModel:
    """The model with the weights of what serves. A component alone knows little of some sessions: popularity fills its list."""
    if found.serves == MIXTURE:
        return model
    weights = np.zeros_like(model.weights)
    weights[:, COMPONENTS.index(found.best)] = 1 - 1e-6
    weights[:, 0] += 1e-6
    return replace(model, weights=weights)


def weights_frame(model: SessionModel) -> pd.DataFrame:
    """One row a length of the session: its weight of each component."""
    names = [f"from {low}" for low in (0, *LENGTHS)]
    return pd.DataFrame(model.weights, columns=list(COMPONENTS)).assign(products=names)[["products", *COMPONENTS]]


def save(model: SessionModel, target: Path) -> None:
    """Write the model as arrays (npz, nothing pickled): sessions, half-life and weights, of which the components follow."""
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            products=model.products.astype(str),
            starts=model.sessions.starts,
            codes=model.sessions.codes,
            ended_days=model.sessions.ended_days,
            half_life_days=np.array(model.half_life_days),
            weights=model.weights,
        )


def load(source: Path) -> SessionModel:
    """The model of a file. Raises ``OSError`` or ``ValueError`` where it is none."""
    with np.load(source, allow_pickle=False) as arrays:
        products = arrays["products"].astype(object)
        sessions = Sessions(products, arrays["starts"], arrays["codes"], arrays["ended_days"])
        return _learned(sessions, float(arrays["half_life_days"]), arrays["weights"])


def next_product_cases(sessions: Sessions) -> list[tuple[Integers, int]]:
    """Each product of each session but the first, with those before it."""
    return [
        (codes[:place], int(codes[place])) for codes in map(sessions.of, range(len(sessions))) for place in range(1, len(codes))
    ]


def _length_class(length: int) -> int:
    return int(np.searchsorted(LENGTHS, length, side="right"))


def _learned(sessions: Sessions, half_life_days: float, weights: Floats | None) -> SessionModel:
    count, size = len(sessions.products), np.diff(sessions.starts)
    of = np.repeat(np.arange(len(sessions)), size)
    decay = 0.5 ** ((sessions.ended_days[-1] - sessions.ended_days) / half_life_days)
    popularity = np.bincount(sessions.codes, decay[of], minlength=count)
    follows, along = (_pairs(sessions, of, decay, count, apart) for apart in (1, LONGEST))
    inside = sp.csr_matrix((np.ones(len(of)), (sessions.codes, of)), (count, len(sessions)))
    inside.sum_duplicates()
    rows = _Rows.of(inside)
    is_newest = np.concatenate(
        [np.arange(end - start) >= end - start - SAMPLE for start, end in zip(rows.starts, rows.starts[1:], strict=False)]
    )
    kept = np.concatenate([[0], np.cumsum(is_newest)])[rows.starts]
    return SessionModel(
        products=sessions.products,
        popularity=popularity / popularity.sum(),
        follows=_Rows.of(follows),
        along=_Rows.of(along),
        sessions=sessions,
        newest=_Rows(kept, rows.columns[is_newest], rows.values[is_newest]),
        half_life_days=half_life_days,
        weights=np.full((len(LENGTHS) + 1, len(COMPONENTS)), 1 / len(COMPONENTS)) if weights is None else weights,
    )


def _pairs(sessions: Sessions, of: Integers, decay: Floats, count: int, apart: int) -> sp.csr_matrix:
    """Product x later product of the same session, decayed, a pair of distance d counting 1 / d; rows sum to 1."""
    found = sp.csr_matrix((count, count))
    for distance in range(1, apart + 1):
        is_pair = of[:-distance] == of[distance:]
        if not is_pair.any():
            break
        earlier, later = sessions.codes[:-distance][is_pair], sessions.codes[distance:][is_pair]
        found = found + sp.csr_matrix((decay[of[distance:][is_pair]] / distance, (earlier, later)), (count, count))
    totals = np.asarray(found.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(np.divide(1.0, totals, out=np.zeros(count), where=totals > 0)) @ found)


def _fit_weights(model: SessionModel, cases: Sequence[tuple[Integers, int]]) -> tuple[Floats, float, float]:
    """Weights by length, the mean log likelihood that they reach, and the model's half-life."""
    likely = np.array([model.components(context)[:, product] for context, product in cases]) + 1e-9
    classes = np.array([_length_class(len(context)) for context, _ in cases])
    weights = model.weights.copy()
    for _ in range(ITERATIONS):
        shares = likely * weights[classes]
        shares /= shares.sum(axis=1, keepdims=True)
        for number in range(len(weights)):
            # one case shared among all components keeps a length that was hardly seen near equal weights
            mass = shares[classes == number].sum(axis=0) + 1 / len(COMPONENTS)
            weights[number] = mass / mass.sum()
    return weights, float(np.log((likely * weights[classes]).sum(axis=1)).mean()), model.half_life_days
