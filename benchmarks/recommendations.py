"""Recommendations beside decayed popularity and peers, on the same rows and filters: recall at 10.

``eshop``: clicks of a clothing shop in 2008, read from FROM; the next product of a session, learned April to July, judged on
every click of August but a session's first. ``journey``: Complete Journey 2.0; a household's next basket within 28 days of 1
October, 1 November and 1 December 2017, by what was known then and a model that was trained before October. Repeats are kept
everywhere, and no product is filtered.

Nothing is chosen by the months that judge: ours learns weights, half-life and trees from the rows before them, and each peer
has those of its settings (neighbourhood sizes, similarities, factors, half-lives) that are best in the month before, of what
the months before that teach: July, and the baskets of September.

Recall is the share of the basket among 10 products; of one next product, whether it is among them. Intervals are by bootstrap
over sessions or households: of the relative gain over decayed popularity, of histories of 5 events or more.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.measuring import progress, write_result
from customer360.adapters.completejourney import package_data
from customer360.recommendations.session_model import COMPONENTS, NEIGHBOURS, POPULARITY, SessionModel, ranked
from customer360.settings import REPOSITORY, Settings
from ml.arrays import Floats, Integers, Texts
from ml.bootstrap import interval, resamples
from ml.datasets.targets import PRODUCT, target_of
from ml.fitting.training import train
from ml.judging.evaluation import evaluate
from ml.recommendations import sessions
from ml.recommendations.affinity import probabilities
from ml.recommendations.candidates import candidate_rows, know_until
from ml.recommendations.session_backtest import backtest, serving
from ml.recommendations.training_set import build_product_training_set, read_candidates

SEED, TOP, LEAST_EVENTS = 360, 10, 5
CHOOSING = 3_000  # clicks of July that choose the settings of peers
ESHOP = "eshop_clothing_2008/eshop_clothing_2008.parquet"
CHOSEN_FROM, JUDGED_FROM = "2008-07-01", "2008-08-01"
CHOSEN_AT = datetime(2017, 9, 1, 4)  # noqa: DTZ001 (UTC without a zone, midnight of the shops)
CUTOFFS = [datetime(2017, month, 1, 4) for month in (10, 11, 12)]  # noqa: DTZ001 (UTC without a zone, midnight of the shops)
BASKET_DAYS = 28

Recommend = Callable[[Integers], Integers]


def main() -> None:
    """Measure both data sets."""
    file = Path(os.environ.get("FROM", "")) / ESHOP
    if not file.exists():
        raise SystemExit(f"{file} does not exist: name the folder that holds {ESHOP} by FROM")
    write_result("recommendations", {"eshop": eshop(file), "journey": journey()})


def eshop(file: Path) -> dict[str, float]:
    """Recall of each method on August's clicks."""
    with duckdb.connect() as connection:
        events = connection.execute(
            """
            select "session.ID"::bigint::varchar as session_id, "page.2..clothing.model."::bigint::varchar as product_id,
                make_date(year::int, month::int, day::int)::timestamp + to_seconds("order") as happened_at
            from read_parquet($file)
            """,
            {"file": str(file)},
        ).df()
    tuning = _Clicks.of(events[events["happened_at"] < JUDGED_FROM], CHOSEN_FROM)
    judging = _Clicks.of(events, JUDGED_FROM)
    model = serving(sessions.fit_session_model(judging.before), backtest(judging.before))
    hits = {"ours": judging.hits(lambda context: _best(model, context, model.weights_of(len(context))))}
    for name, settings in _session_peers().items():
        scores = {tried: float(tuning.hits(make(tuning.before), CHOOSING).mean()) for tried, make in settings.items()}
        best = max(scores, key=lambda tried: scores[tried])
        progress(f"eshop {name}: {best} of {scores}")
        hits[name] = judging.hits(settings[best](judging.before))
    return _figures(hits, judging.clusters, judging.lengths)


@dataclass(frozen=True)
class _Clicks:
    """Sessions that teach, and cases that judge: of each click but a session's first its code and those before it."""

    before: sessions.Sessions
    cases: list[tuple[Integers, int | None]]
    clusters: Texts
    lengths: Integers

    @staticmethod
    def of(events: pd.DataFrame, judged_from: str) -> _Clicks:
        before = sessions.sessions_of(events[events["happened_at"] < judged_from])
        codes = {product: code for code, product in enumerate(before.products)}
        later = events[events["happened_at"] >= judged_from].sort_values("happened_at")
        cases, clusters, lengths = [], [], []
        for session, products in later.groupby("session_id")["product_id"]:
            visit = [codes.get(product) for product in products]
            for place in range(1, len(visit)):
                cases.append((np.array([code for code in visit[:place] if code is not None], dtype=np.int64), visit[place]))
                clusters.append(session)
                lengths.append(place)
        return _Clicks(before, cases, np.array(clusters, dtype=object), np.array(lengths))

    def hits(self, recommend: Recommend, most: int | None = None) -> Floats:
        """Whether each click was recommended, of evenly many cases where there are more than ``most``."""
        cases = self.cases[:: -(-len(self.cases) // most)] if most else self.cases
        return np.array([float(code in recommend(context)) for context, code in cases])


def _session_peers() -> dict[str, dict[str, Callable[[sessions.Sessions], Recommend]]]:
    """Of each method its settings, by name; of decayed popularity the half-life, of V-SKNN how many sessions are near."""
    item_knn, als = _implicit()
    return {
        POPULARITY: {f"{days} days": partial(_component, POPULARITY, days, 100) for days in sessions.HALF_LIVES_DAYS},
        "v_sknn": {f"{count} sessions": partial(_component, NEIGHBOURS, 30.0, count) for count in (50, 100, 200, 500)},
        "item_knn": {name: partial(_of_sessions, make) for name, make in item_knn.items()},
        "als": {name: partial(_of_sessions, make) for name, make in als.items()},
    }


def _component(name: str, half_life_days: float, nearest: int, before: sessions.Sessions) -> Recommend:
    model = replace(sessions.learned(before, half_life_days), nearest=nearest)
    return partial(_best, model, weights=np.eye(len(COMPONENTS))[COMPONENTS.index(name)])


def _best(model: SessionModel, context: Integers, weights: Floats) -> Integers:
    return ranked(model, model.found(context), weights, TOP)[0]


def _of_sessions(make: Callable[[], Any], before: sessions.Sessions) -> Recommend:
    """A method of implicit, with sessions as users."""
    rows = np.repeat(np.arange(len(before)), np.diff(before.starts))
    shape = (len(before), len(before.products))
    peer = make()
    peer.fit(sp.csr_matrix((np.ones(len(rows)), (rows, before.codes)), shape), show_progress=False)

    def recommend(context: Integers) -> Integers:
        user = sp.csr_matrix((np.ones(len(context)), (np.zeros(len(context), dtype=np.int64), context)), (1, shape[1]))
        if not user.nnz:
            return np.empty(0, dtype=np.int64)
        found, _ = peer.recommend(0, user, N=TOP, filter_already_liked_items=False, recalculate_user=True)
        return np.asarray(found, dtype=np.int64)

    return recommend


def _implicit() -> tuple[dict[str, Callable[[], Any]], dict[str, Callable[[], Any]]]:
    """Item-KNN by three similarities and neighbourhood sizes, and ALS by factors and confidence, with their settings by name.

    BPR cannot tell anything of a user that it was not fitted on, and is measured on households alone.
    """
    neighbours = importlib.import_module("implicit.nearest_neighbours")
    als = importlib.import_module("implicit.als").AlternatingLeastSquares
    kinds = {"cosine": neighbours.CosineRecommender, "tf-idf": neighbours.TFIDFRecommender, "bm25": neighbours.BM25Recommender}
    return (
        {f"{name}, K {size}": partial(kind, K=size) for name, kind in kinds.items() for size in (20, 100, 500)},
        {
            f"{factors} factors, alpha {alpha:g}": partial(
                als, factors=factors, alpha=alpha, regularization=0.05, iterations=15, random_state=SEED
            )
            for factors in (32, 128)
            for alpha in (1.0, 10.0)
        },
    )


def journey() -> dict[str, float]:
    """Recall of each method on the next baskets of three months."""
    settings = Settings.load(REPOSITORY / "shops" / "completejourney", Path("unused"))
    connection, target = _journey_tables(), target_of(PRODUCT, settings.shop)
    tuning, tuned = _Month.of(connection, CHOSEN_AT), {}
    for name, peers in _basket_peers().items():
        scores = {tried: float(tuning.recalls(recommend(tuning)).mean()) for tried, recommend in peers.items()}
        best = max(scores, key=lambda tried: scores[tried])
        progress(f"journey {name}: {best} of {scores}")
        tuned[name] = peers[best]
    training_set = build_product_training_set(read_candidates(connection, settings.shop, CUTOFFS[0]), target)
    trained = train(training_set, seed=SEED, threads=2)
    serves = evaluate(training_set, trained).serves
    progress(f"journey ours: {serves}")
    ours = trained.contenders[serves]
    months = [_Month.of(connection, moment) for moment in CUTOFFS]
    methods = {"ours": lambda month: _top(month.rows, probabilities(ours, month.rows)), **tuned}
    hits = {name: np.concatenate([month.recalls(of(month)) for month in months]) for name, of in methods.items()}
    clusters = np.concatenate([month.baskets["customer_id"].to_numpy(dtype=object) for month in months])
    return _figures(hits, clusters, np.concatenate([month.baskets["orders"].fillna(0).to_numpy(np.int64) for month in months]))


def _journey_tables() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    folder = package_data()
    connection.execute(
        f"""
        create table products as
        select cast(product_id as varchar) as product_id, department as category_id
        from read_parquet('{folder}/products.parquet');
        create table interactions as
        select cast(household_id as varchar) as customer_id, cast(null as varchar) as visitor_id,
            cast(basket_id as varchar) as session_id, cast(product_id as varchar) as product_id, 'purchase' as kind,
            cast(min(transaction_timestamp) as timestamp) as happened_at,
            cast(min(transaction_timestamp) as timestamp) as known_at,
            cast(sum(quantity) as double) as quantity
        from read_parquet('{folder}/transactions.parquet') group by household_id, basket_id, product_id
        """
    )
    return connection


Lists = dict[str, list[str]]


@dataclass(frozen=True)
class _Month:
    """What was known at a moment, and the next basket of each household with one within ``BASKET_DAYS``.

    ``rows``: candidates. ``pairs``: households, products and how many baskets had them. ``near``: the best by TIFU-KNN.
    """

    rows: pd.DataFrame
    pairs: pd.DataFrame
    near: pd.DataFrame
    baskets: pd.DataFrame

    @staticmethod
    def of(connection: duckdb.DuckDBPyConnection, moment: datetime) -> _Month:
        known = know_until(connection, moment)
        baskets = connection.execute(
            f"""
            with next_baskets as (
                select customer_id, arg_min(session_id, happened_at) as session_id from interactions
                where happened_at >= $moment and happened_at < $moment + to_days({BASKET_DAYS}) group by customer_id
            )
            select customer_id, list(product_id) as products, any_value(orders) as orders
            from interactions semi join next_baskets using (customer_id, session_id)
            inner join customers_of using (customer_id)
            group by customer_id order by customer_id
            """,
            {"moment": moment},
        ).df()
        pairs = connection.execute("select customer_id, product_id, purchases from pairs_of where purchases > 0").df()
        return _Month(candidate_rows(connection, known), pairs, known.near(baskets["customer_id"]), baskets)

    def recalls(self, lists: Lists) -> Floats:
        taken = zip(self.baskets["customer_id"], self.baskets["products"], strict=True)
        return np.array([len(set(lists.get(household, ())) & set(basket)) / len(basket) for household, basket in taken])


def _top(rows: pd.DataFrame, scores: Floats) -> Lists:
    best = rows[["customer_id", "product_id"]].assign(score=scores).sort_values("score", ascending=False, kind="stable")
    return dict(best.groupby("customer_id").head(TOP).groupby("customer_id")["product_id"].agg(list))


def _basket_peers() -> dict[str, dict[str, Callable[[_Month], Lists]]]:
    """Of each method its settings, by name; TIFU-KNN chooses its own by each household's last basket, as in the product."""
    item_knn, als = _implicit()
    bpr = importlib.import_module("implicit.bpr").BayesianPersonalizedRanking
    factors = {f"{count} factors": partial(bpr, factors=count, iterations=50, random_state=SEED) for count in (32, 128)}
    methods = {"item_knn": item_knn, "als": als, "bpr": factors}
    return {
        POPULARITY: {name: partial(_by, (name,)) for name in ("popularity", "popularity_60d")},
        "own_frequency": {name: partial(_by, ("purchase_share", name)) for name in ("popularity", "popularity_60d")},
        "tifu_knn": {"chosen by last baskets": lambda month: _top(month.near, month.near["tifu_knn"].to_numpy(np.float64))},
        **{
            name: {tried: partial(_of_households, make) for tried, make in settings.items()}
            for name, settings in methods.items()
        },
    }


def _by(columns: tuple[str, ...], month: _Month) -> Lists:
    return _top(month.rows, month.rows[list(columns)].sum(axis=1).to_numpy(np.float64))


def _of_households(make: Callable[[], Any], month: _Month) -> Lists:
    """A method of implicit, on the number of a household's baskets with a product: all products are candidates."""
    (users, names), (items, products) = (
        pd.factorize(month.pairs[column], sort=True) for column in ("customer_id", "product_id")
    )
    shape = (len(names), len(products))
    matrix = sp.csr_matrix((month.pairs["purchases"].to_numpy(np.float64), (users, items)), shape)
    households = month.baskets["customer_id"]
    chosen = pd.Index(names).get_indexer(pd.Index(households))
    peer = make()
    peer.fit(matrix, show_progress=False)
    codes, _ = peer.recommend(chosen, matrix[chosen], N=TOP, filter_already_liked_items=False)
    rows = zip(households, codes, strict=True)
    return {str(household): [str(products[code]) for code in row if code >= 0] for household, row in rows}


def _figures(recalls: dict[str, Floats], clusters: Texts, lengths: Integers) -> dict[str, float]:
    peers = {name: float(values.mean()) for name, values in recalls.items() if name not in {"ours", POPULARITY}}
    is_long = lengths >= LEAST_EVENTS
    ours, popular, codes = recalls["ours"][is_long], recalls[POPULARITY][is_long], pd.factorize(clusters[is_long])[0]
    sums = [np.bincount(codes, values) for values in (ours, popular)]
    drawn = [sums[0][chosen].sum() / sums[1][chosen].sum() - 1 for chosen in resamples(len(sums[0]), 1_000, SEED)]
    gain = interval(float(ours.mean() / popular.mean() - 1), np.array(drawn))
    return {
        "recall_at_10": round(float(recalls["ours"].mean()), 4),
        "popularity_recall_at_10": round(float(recalls[POPULARITY].mean()), 4),
        "best_peer_recall_at_10": round(max(peers.values()), 4),
        "gain": round(gain.estimate, 4),
        "gain_low": round(gain.low, 4),
        "cases": len(clusters),
        **{f"{name}_recall_at_10": round(value, 4) for name, value in peers.items()},
    }


if __name__ == "__main__":
    main()
