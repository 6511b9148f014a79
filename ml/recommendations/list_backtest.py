"""The list that a visit is served, replayed by the function that services call, beside each of its sources alone.

Sources are as of the beginning of each split; the share of affinity is learned on the older half of its sessions, and the newer
half judges. Judged are products with another one before them in the session: without one a list has a single source, which
``baskets`` (a customer's affinity) and ``cold_start`` judge. ``interactions`` has no referrer and device: a visit begins with
the category of its first product. Nothing is left out as bought or not for sale.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd

from customer360.lake.engine import registered
from customer360.lake.publishing.tables import TABLES
from customer360.recommendations.recommend import (
    AFFINITY,
    BLEND,
    COLD_START,
    POPULAR,
    SESSION,
    Product,
    Ranked,
    cold_start_entries,
    likely,
)
from customer360.recommendations.session_model import SessionModel
from customer360.text import many
from ml.recommendations.cold_start import cold_start
from ml.recommendations.measures import LONGER, Comparison, Ranking, Split, compare
from ml.recommendations.session_backtest import Judgement, SessionBacktest, moment_of, padded, ranking, serving
from ml.recommendations.sessions import Case, Sessions, affinity_weights, cases_of, fit_session_model

# Lists by whom they are for, each with what it is compared to.
CUSTOMERS, VISITORS = "customers", "visitors"
METHODS = {CUSTOMERS: (BLEND, SESSION, AFFINITY, POPULAR), VISITORS: (BLEND, SESSION, COLD_START, POPULAR)}
MOST_CASES = 4_000  # of customers, and of visitors

_SLICES = """
create schema intermediate; create schema raw;
create table raw.products (product_id varchar, category_id varchar, valid_to timestamp);
create table raw.categories (category_id varchar, name varchar, valid_to timestamp);
create table intermediate.int_visit_starts_by_slice as
select date_trunc('hour', ended_at) as slice, date_trunc('hour', ended_at) as event_slice, category_id,
    cast(null as varchar) as first_product_id, '(direct)' as referrer, '(none)' as device, product_id, count(*) as visitors
from visits group by all
"""


@dataclass(frozen=True)
class ListBacktest:
    """What makes the list of ``audience`` in a session with products, and why; ``comparison``: None where nothing is judged."""

    audience: str
    comparison: Comparison | None

    @property
    def serves(self) -> str:
        """The best of the others until the blend is better beyond chance; the session where nothing is judged."""
        if self.comparison is None:
            return SESSION
        return BLEND if self.comparison.gain.low > 0 else self.comparison.best

    @property
    def is_beaten(self) -> bool:
        """Whether the best of the others is better than the blend beyond chance."""
        return self.comparison is not None and self.comparison.gain.high < 0

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        if self.comparison is None:
            return f"'{SESSION}' serves {self.audience} until the blend is better: none of them has a session that can judge it"
        best, found = self.comparison.best, self.comparison.difference
        where = f"over {many(self.comparison.splits, 'split')}"
        if self.serves == BLEND:
            return f"the blend serves {self.audience}: it is better than '{best}', the best of the others, {where} ({found})"
        compared = "worse" if self.is_beaten else "not better"
        return f"'{best}' serves {self.audience}: the blend is {compared} beyond chance {where} ({found})"


@dataclass(frozen=True)
class Known:
    """What lists are made of beside sessions. ``visitors``: ids of the sessions of visitors whom nobody knows.

    ``affinity_at``: the rows of ``product_affinity`` as of a moment (plain UTC), by a model that knows nothing of what happened
    from ``affinity_knows_until`` on; None without a model.
    """

    visitors: Collection[str]
    category_of: Mapping[str, str | None]
    affinity_at: Callable[[datetime], pd.DataFrame]
    affinity_knows_until: datetime | None


def served(learned: Sessions, found: SessionBacktest, lists: Sequence[ListBacktest], known: Known) -> SessionModel:
    """The model of all sessions as it serves; affinity has the share that makes the newest sessions most likely."""
    newest = found.judgements[-1]
    shares = affinity_weights(serving(newest.model, found), newest.judged, known.affinity_at(newest.begins))
    model = serving(fit_session_model(learned), found)
    return replace(model, affinity_weights=shares, lists=np.array([of.serves for of in lists]))


def list_backtests(found: SessionBacktest, known: Known) -> list[ListBacktest]:
    """Judge the lists of customers, in the splits of which the model of affinity knows nothing, and of visitors."""
    splits: dict[str, list[Split]] = {audience: [] for audience in METHODS}
    most = MOST_CASES // len(found.judgements)
    for of in found.judgements:
        is_unknown = known.affinity_knows_until is not None and of.begins >= known.affinity_knows_until
        affinity = known.affinity_at(of.begins) if is_unknown else TABLES["product_affinity"].empty()
        replay = _Replay.of(of, serving(of.model, found), known.category_of, affinity)
        for audience, cases in replay.cases(known.visitors).items():
            if cases:
                rankings = {method: replay.ranked(method, cases[-most:]) for method in METHODS[audience]}
                splits[audience].append(Split(of.begins, of.ends, rankings))
    return [ListBacktest(audience, compare(judged) if judged else None) for audience, judged in splits.items()]


@dataclass(frozen=True)
class _Replay:
    """Sessions that judge, with the sources of their lists as of the time before them."""

    judged: Sessions
    model: SessionModel
    affinities: Mapping[str, list[Ranked]]
    beginnings: Mapping[str, list[Ranked]]
    category_of: Mapping[str, str | None]

    @staticmethod
    def of(of: Judgement, model: SessionModel, category_of: Mapping[str, str | None], affinity: pd.DataFrame) -> _Replay:
        half = len(of.judged) // 2
        shares = affinity_weights(model, of.judged.between(0, half), affinity)
        return _Replay(
            of.judged.between(half, len(of.judged)),
            replace(model, affinity_weights=shares),
            _by(affinity, "customer_id", "probability"),
            beginnings(of.before, category_of),
            category_of,
        )

    def cases(self, visitors: Collection[str]) -> dict[str, list[Case]]:
        """Those of customers with affinity, and those of unknown visitors."""
        users, ids = self.judged.users, self.judged.ids
        cases = [case for case in cases_of(self.judged) if len(case.before)]
        return {
            CUSTOMERS: [case for case in cases if users[case.session] in self.affinities],
            VISITORS: [case for case in cases if str(ids[case.session]) in visitors],
        }

    def ranked(self, method: str, cases: Sequence[Case]) -> Ranking:
        """The lists in these cases where ``method`` serves."""
        model = replace(self.model, lists=np.array([method, method]))
        users, products = self.judged.users, self.judged.products
        lists = []
        for case in cases:
            before = [str(product) for product in products[case.before]]
            entries = cold_start_entries(self.category_of.get(before[0]), None, None)
            shown = likely(
                LONGER,
                product_of=_listed,
                session=before,
                model=model,
                affinity=self.affinities.get(users[case.session], ()),
                cold_start=next((self.beginnings[entry] for entry in entries if entry in self.beginnings), ()),
            )
            lists.append(padded(np.array([model.codes.get(product, -1) for product, _ in shown], dtype=np.int64)))
        return ranking(lists, cases, self.judged, model)


def beginnings(before: Sessions, category_of: Mapping[str, str | None]) -> dict[str, list[Ranked]]:
    """The rows of ``cold_start`` by entry as of the end of these sessions, each begun with its first product's category."""
    of = np.repeat(np.arange(len(before)), np.diff(before.starts))
    first = before.codes[before.starts[:-1]][of]
    categories = np.array([category_of.get(str(product)) for product in before.products], dtype=object)
    visits = pd.DataFrame(
        {
            "session": of,
            "ended_at": pd.to_datetime(before.ended_days[of], unit="D").floor("us"),
            "category_id": categories[first],
            "product_id": before.products[before.codes],
        }
    )[before.codes != first].drop_duplicates(["session", "product_id"])
    with duckdb.connect() as connection, registered(connection, "visits", visits):
        connection.execute(_SLICES)
        # slices begin before their end: the last session's is known then
        rows = cold_start(connection, moment_of(before.ended_days[-1]) + timedelta(hours=1)).rows
    return _by(rows, "entry", "score")


def _by(rows: pd.DataFrame, key: str, score: str) -> dict[str, list[Ranked]]:
    """The rows of each key by rank, without their reasons."""
    found: dict[str, list[Ranked]] = {}
    ordered = rows.sort_values([key, "rank"])
    for name, product, value in zip(ordered[key], ordered["product_id"], ordered[score], strict=True):
        found.setdefault(str(name), []).append(Ranked(str(product), float(value), ""))
    return found


def _listed(_product_id: str) -> Product:
    return Product()
