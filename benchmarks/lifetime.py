"""What customers will spend, beside BG/NBD with Gamma-Gamma as published: absolute error of each customer, and the total.

CDNOW (``cdnow/`` in FROM): 39 weeks are known, 39 are forecast. The figures are of the 1/10 sample on which the models were
published, ``master`` of all 23,570 customers. ``completejourney``: 275 days of Complete Journey 2.0 are known, 90 are forecast.

BG/NBD is fitted here by its published formulas, and Gamma-Gamma to repeat orders, as in Fader, Hardie and Lee (2005) and Fader
and Hardie (2013). Ours is what the product would serve: it chooses by the newest days of what is known. ``total_ratio`` is the
spend expected of all customers over what came. An absolute error is lower where too little is expected, so ``mae_bgnbd_scaled``
is that of BG/NBD times one factor, with which its total is ours. ``mae_difference_low`` and ``_high`` are the 95% interval of
``mae_ours`` less ``mae_bgnbd``.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from benchmarks.measuring import write_result
from customer360.adapters.completejourney import package_data
from ml.arrays import Floats
from ml.bootstrap import mean_interval
from ml.lifetime.customer_lifetime import expected_spend, known_at
from ml.lifetime.histories import spent_between
from ml.lifetime.judging import deviances

CDNOW_END, CDNOW_DAYS = datetime(1997, 10, 1), 39 * 7  # noqa: DTZ001 (UTC without a zone, as published tables have it)
JOURNEY_END, JOURNEY_DAYS = datetime(2017, 10, 3, 4), 90  # noqa: DTZ001 (midnight of the shops)
SEED = 360
LAST = datetime(2100, 1, 1)  # noqa: DTZ001


def main() -> None:
    """Measure the three."""
    folder = Path(os.environ.get("FROM", "")) / "cdnow"
    if not folder.exists():
        raise SystemExit(f"{folder} does not exist: name the folder that holds cdnow/ by FROM")
    sample = measured(cdnow(folder / "CDNOW_sample.txt", 1, 0), CDNOW_END, CDNOW_DAYS, "UTC")
    master = measured(cdnow(folder / "CDNOW_master.txt", 0, 1), CDNOW_END, CDNOW_DAYS, "UTC")
    households = measured(journey(), JOURNEY_END, JOURNEY_DAYS, "America/New_York")
    write_result("lifetime", {**sample, "master": master, "completejourney": households})


def cdnow(file: Path, id_place: int, header_lines: int) -> duckdb.DuckDBPyConnection:
    """``order_amounts`` of a file of CDNOW: a customer's lines of a day are one order."""
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()[header_lines:]]
    rows = pd.DataFrame(
        {
            "customer_id": [line[id_place] for line in lines],
            "happened_at": pd.to_datetime([line[-3] for line in lines], format="%Y%m%d"),
            "amount": [float(line[-1]) for line in lines],
        }
    )
    return _order_amounts("select customer_id, customer_id || happened_at as order_id, happened_at, amount from found", rows)


def journey() -> duckdb.DuckDBPyConnection:
    """``order_amounts`` of Complete Journey 2.0: baskets of households."""
    file = package_data() / "transactions.parquet"
    return _order_amounts(
        f"""
        select cast(household_id as varchar) as customer_id, cast(basket_id as varchar) as order_id,
            cast(min(transaction_timestamp) as timestamp) as happened_at, sum(sales_value) as amount
        from read_parquet('{file}') group by household_id, basket_id
        """
    )


def _order_amounts(query: str, found: pd.DataFrame | None = None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    if found is not None:
        connection.register("found", found)
    connection.execute(
        f"""
        create table order_amounts as
        select customer_id, order_id, 'purchase' as kind, min(happened_at) as happened_at, min(happened_at) as known_at,
            cast(sum(amount) as decimal(18, 2)) as amount
        from ({query}) group by customer_id, order_id
        """
    )
    return connection


def measured(connection: duckdb.DuckDBPyConnection, moment: datetime, days: int, zone: str) -> dict[str, float]:
    """Errors of ours and of BG/NBD with Gamma-Gamma in the days after a moment."""
    known = known_at(connection, moment, zone)
    judged, ours = expected_spend(known, days)
    print(judged.table, judged.reason, sep="\n")
    real_spend = spent_between(connection, moment, moment + pd.Timedelta(days=days), LAST)
    real = np.asarray(real_spend.reindex(ours.index).fillna(0), dtype=np.float64)
    published = bgnbd_spend(order_days(connection, moment, zone).loc[ours.index], days)
    expected = {"ours": ours.to_numpy(), "bgnbd": published, "bgnbd_scaled": published * ours.sum() / published.sum()}
    worse = mean_interval(np.abs(expected["ours"] - real) - np.abs(expected["bgnbd"] - real), SEED)
    return {
        **{f"mae_{name}": float(np.abs(values - real).mean()) for name, values in expected.items()},
        **{f"deviance_{name}": float(deviances(values, real).mean()) for name, values in expected.items()},
        "total_ratio": float(ours.sum() / real.sum()),
        "total_ratio_bgnbd": float(published.sum() / real.sum()),
        "mae_difference_low": worse.low,
        "mae_difference_high": worse.high,
        "mae_of_nothing": float(real.mean()),
        "customers": len(ours),
    }


def order_days(connection: duckdb.DuckDBPyConnection, moment: datetime, zone: str) -> pd.DataFrame:
    """frequency, recency and T in days and the mean value of repeat orders, by customer, as the papers define them."""
    rows = connection.execute(
        """
        select customer_id, timezone($zone, timezone('UTC', happened_at))::date::timestamp as day, sum(amount)::double as amount
        from order_amounts where happened_at < $moment group by customer_id, day
        """,
        {"zone": zone, "moment": moment},
    ).df()
    first, last = rows.groupby("customer_id")["day"].transform("min"), rows.groupby("customer_id")["day"].transform("max")
    end = rows["day"].max()
    rows = rows.assign(recency=(last - first).dt.days, T=(end - first).dt.days, is_repeat=rows["day"] > first)
    found = rows.groupby("customer_id").agg(frequency=("is_repeat", "sum"), recency=("recency", "first"), T=("T", "first"))
    return found.assign(value=rows[rows["is_repeat"]].groupby("customer_id")["amount"].mean()).astype(float)


def bgnbd_spend(customers: pd.DataFrame, days: int) -> Floats:
    """Spend to expect by BG/NBD (equations 6 and 10 of the paper) and Gamma-Gamma, both fitted to these customers."""
    x, recency, age = (customers[name].to_numpy(np.float64) for name in ("frequency", "recency", "T"))
    value = customers["value"].fillna(0).to_numpy(np.float64)
    has_value = (x > 0) & (value > 0)

    def bgnbd_loss(logarithms: Floats) -> float:
        r, alpha, a, b = np.exp(logarithms)
        rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
        lost = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + recency)
        return -float((rate + np.logaddexp(alive, np.where(x > 0, lost, -np.inf))).mean())

    def gamma_gamma_loss(logarithms: Floats) -> float:
        p, q, v = np.exp(logarithms)
        n, mean = x[has_value], value[has_value]
        found = gammaln(p * n + q) - gammaln(p * n) - gammaln(q) + q * np.log(v)
        return -float((found + (p * n - 1) * np.log(mean) + p * n * np.log(n) - (p * n + q) * np.log(n * mean + v)).mean())

    r, alpha, a, b = np.exp(minimize(bgnbd_loss, (0, 3, 0, 1), method="L-BFGS-B", bounds=[(-8, 10)] * 4).x)
    p, q, v = np.exp(minimize(gamma_gamma_loss, (1, 1, 2), method="L-BFGS-B", bounds=[(-8, 10)] * 3).x)
    print(f"BG/NBD: r {r:.4f}, alpha {alpha:.4f} days, a {a:.4f}, b {b:.4f}; Gamma-Gamma: p {p:.3f}, q {q:.3f}, v {v:.3f}")
    z = days / (alpha + age + days)
    # hyp2f1 as printed overflows for households with hundreds of baskets: Euler's transformation of it
    lost = (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
    dropped = np.where(x > 0, a / (b + np.maximum(x, 1) - 1) * ((alpha + age) / (alpha + recency)) ** (r + x), 0)
    orders = (a + b + x - 1) / (a - 1) * (1 - lost) / (1 + dropped)
    return np.asarray(orders * p * (v + x * value) / (p * x + q - 1), dtype=np.float64)


if __name__ == "__main__":
    main()
