"""Recommendations beside decayed popularity and three peers, on the same rows, candidates and filters: recall at 10.

``eshop``: clicks of a clothing shop in 2008, read from FROM; the next product of a session, learned April to July, judged on
every click of August but a session's first. ``journey``: Complete Journey 2.0; a household's next basket within 28 days of 1
October, 1 November and 1 December 2017, by what was known then and a model that was trained before October. Repeats are kept
everywhere, and no product is filtered. Settings are learned from the rows before those that judge; the peers have those of
their papers and of implicit 0.7.3.

Recall is the share of the basket among 10 products; of one next product, whether it is among them. Intervals are by bootstrap
over sessions or households: of the relative gain over decayed popularity, of histories of 5 events or more.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.measuring import write_result
from customer360.adapters.completejourney import package_data
from customer360.recommendations.session_model import COMPONENTS, NEIGHBOURS, POPULARITY, SessionModel, ranked
from customer360.settings import REPOSITORY, Settings
from ml.arrays import Floats, Integers, Texts
from ml.bootstrap import interval, resamples
from ml.datasets.targets import PRODUCT, target_of
from ml.fitting.class_model import ClassModel
from ml.fitting.training import train
from ml.judging.evaluation import evaluate
from ml.recommendations import sessions
from ml.recommendations.affinity import probabilities
from ml.recommendations.candidates import candidate_rows, know_until
from ml.recommendations.training_set import build_product_training_set, read_candidates

SEED, TOP, LEAST_EVENTS = 360, 10, 5
ESHOP = "eshop_clothing_2008/eshop_clothing_2008.parquet"
JUDGED_FROM = "2008-08-01"
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
    before = sessions.sessions_of(events[events["happened_at"] < JUDGED_FROM])
    model = sessions.serving(sessions.fit_session_model(before), sessions.backtest(before))
    judged = [
        [model.codes.get(product) for product in visit]
        for _, visit in events[events["happened_at"] >= JUDGED_FROM]
        .sort_values("happened_at")
        .groupby("session_id")["product_id"]
    ]
    cases = [
        (number, np.array([code for code in visit[:place] if code is not None]), visit[place], place)
        for number, visit in enumerate(judged)
        for place in range(1, len(visit))
    ]
    rankers = {"ours": lambda context: _best(model, context, model.weights_of(len(context))), **_session_peers(model, before)}
    hits = {
        name: np.array([float(code in recommend(context)) for _, context, code, _ in cases])
        for name, recommend in rankers.items()
    }
    clusters, lengths = np.array([str(number) for number, *_ in cases]), np.array([place for *_, place in cases])
    return _figures(hits, clusters, lengths)


def _session_peers(model: SessionModel, before: sessions.Sessions) -> dict[str, Recommend]:
    """Decayed popularity; V-SKNN; item-KNN by cosine and ALS of implicit, on sessions as users."""
    rows = np.repeat(np.arange(len(before)), np.diff(before.starts))
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, before.codes)), (len(before), len(before.products)))
    peers: dict[str, Recommend] = {
        name: partial(_best, model, weights=np.eye(len(COMPONENTS))[COMPONENTS.index(name)])
        for name in (POPULARITY, NEIGHBOURS)
    }
    for name, peer in _implicit().items():
        peer.fit(matrix, show_progress=False)
        peers[name] = lambda context, peer=peer: _of_implicit(peer, context, len(before.products))
    return peers


def _best(model: SessionModel, context: Integers, weights: Floats) -> Integers:
    return ranked(model, model.found(context), weights, TOP)[0]


def _of_implicit(peer: object, context: Integers, products: int) -> Integers:
    user = sp.csr_matrix((np.ones(len(context)), (np.zeros(len(context), dtype=np.int64), context)), (1, products))
    if not user.nnz:
        return np.empty(0, dtype=np.int64)
    found, _ = peer.recommend(0, user, N=TOP, filter_already_liked_items=False, recalculate_user=True)  # type: ignore[attr-defined]
    return np.asarray(found, dtype=np.int64)


def _implicit() -> dict[str, object]:
    """Item-KNN and ALS; BPR cannot tell anything of a user that it was not fitted on, and is measured on households alone."""
    neighbours = importlib.import_module("implicit.nearest_neighbours")
    als = importlib.import_module("implicit.als")
    return {
        "item_knn": neighbours.CosineRecommender(K=100),
        "als": als.AlternatingLeastSquares(factors=64, alpha=10.0, regularization=0.05, iterations=15, random_state=SEED),
    }


def journey() -> dict[str, float]:
    """Recall of each method on the next baskets of three months."""
    settings = Settings.load(REPOSITORY / "shops" / "completejourney", Path("unused"))
    connection, target = _journey_tables(), target_of(PRODUCT, settings.shop)
    training_set = build_product_training_set(read_candidates(connection, settings.shop, CUTOFFS[0]), target)
    trained = train(training_set, seed=SEED, threads=2)
    model = trained.contenders[evaluate(training_set, trained).serves]
    parts = [_month(connection, model, moment) for moment in CUTOFFS]
    hits = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    return _figures(hits, np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts]))


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


def _month(
    connection: duckdb.DuckDBPyConnection, model: ClassModel, moment: datetime
) -> tuple[dict[str, Floats], Texts, Integers]:
    """Recall by method, household and number of baskets before, of the households with a basket after ``moment``."""
    know_until(connection, moment)
    rows = candidate_rows(connection)
    baskets = connection.execute(
        f"""
        with next_baskets as (
            select customer_id, arg_min(session_id, happened_at) as session_id from interactions
            where happened_at >= $moment and happened_at < $moment + to_days({BASKET_DAYS}) group by customer_id
        )
        select customer_id, list(product_id) as products, any_value(orders) as orders
        from interactions semi join next_baskets using (customer_id, session_id) inner join customers_of using (customer_id)
        group by customer_id order by customer_id
        """,
        {"moment": moment},
    ).df()
    ranked = {
        "ours": _top(rows, probabilities(model, rows)),
        POPULARITY: _top(rows, rows["popularity"].to_numpy(np.float64)),
        **_basket_peers(connection, baskets["customer_id"]),
    }
    recalls = {
        name: np.array([
            len(set(of.get(customer, ())) & set(products)) / len(products)
            for customer, products in zip(baskets["customer_id"], baskets["products"], strict=True)
        ])
        for name, of in ranked.items()
    }  # fmt: skip
    return recalls, baskets["customer_id"].to_numpy(dtype=object), baskets["orders"].fillna(0).to_numpy(np.int64)


def _top(rows: pd.DataFrame, scores: Floats) -> dict[str, list[str]]:
    best = rows[["customer_id", "product_id"]].assign(score=scores).sort_values("score", ascending=False, kind="stable")
    return dict(best.groupby("customer_id").head(TOP).groupby("customer_id")["product_id"].agg(list))


def _basket_peers(connection: duckdb.DuckDBPyConnection, customers: pd.Series[str]) -> dict[str, dict[str, list[str]]]:
    """Item-KNN, ALS and BPR of implicit, on the number of a household's baskets with a product: all products are candidates."""
    pairs = connection.execute("select customer_id, product_id, purchases from pairs_of where purchases > 0").df()
    (users, names), (items, products) = (
        pd.factorize(pairs["customer_id"], sort=True),
        pd.factorize(pairs["product_id"], sort=True),
    )
    matrix = sp.csr_matrix((pairs["purchases"].to_numpy(np.float64), (users, items)), (len(names), len(products)))
    chosen = pd.Index(names).get_indexer(pd.Index(customers))
    bpr = importlib.import_module("implicit.bpr").BayesianPersonalizedRanking(factors=64, iterations=50, random_state=SEED)
    found = {}
    for name, peer in {**_implicit(), "bpr": bpr}.items():
        peer.fit(matrix, show_progress=False)  # type: ignore[attr-defined]
        codes, _ = peer.recommend(chosen, matrix[chosen], N=TOP, filter_already_liked_items=False)  # type: ignore[attr-defined]
        found[name] = {
            str(customer): [str(products[code]) for code in row if code >= 0]
            for customer, row in zip(customers, codes, strict=True)
        }
    return found


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
