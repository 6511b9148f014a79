"""``product_affinity``: the products that each customer most probably buys within the label horizon, with a reason in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import duckdb
import numpy as np
import pandas as pd

from customer360.lake.publishing.tables import TABLES
from ml.arrays import Floats
from ml.datasets.targets import BOUGHT
from ml.fitting.class_model import ClassModel
from ml.frames import feature_matrix
from ml.recommendations.candidates import FEATURES, POPULARITY, SHARE, candidate_rows, know_until

TABLE, INTERVALS = "product_affinity", "repurchase_intervals"
COUNT = 20
BATCH_CUSTOMERS = 10_000
LEAST_INTERVALS = 20  # between purchases of a product by a customer, for a category to have an interval of its own

_INTERVALS = f"""
create or replace temp table intervals_of as
select products_of.category_id,
    case
        when avg(case when purchases > 1 then 1 else 0 end) < .01 then 'infinity'::double
        when count(*) filter (where purchases > 1) >= {LEAST_INTERVALS}
            then quantile_cont((days_since_first - days_since_purchase) / (purchases - 1), .1) filter (where purchases > 1)
        else 0
    end as least_days
from pairs_of inner join products_of using (product_id)
where purchases > 0 and products_of.category_id is not null
group by products_of.category_id having count(*) >= {LEAST_INTERVALS}
"""
# Versions published before the products had these columns lack them.
_PRODUCTS = """
(from products union all by name select null::boolean as is_for_sale, null::double as stock where false)
"""
_CHOSEN = f"""
with eligible as (
    select scored.* from scored
    left join {_PRODUCTS} as p on p.product_id = scored.product_id
    left join intervals_of as i on i.category_id = scored.category_id
    where coalesce(p.is_for_sale, true) and coalesce(p.stock, 1) > 0
        and (scored.days_since_purchase is null or scored.days_since_purchase + $horizon >= coalesce(i.least_days, 0))
),
ranked as (
    select *, row_number() over (partition by customer_id order by score desc, tie desc, product_id) as rank from eligible
    qualify rank <= {COUNT}
),
-- the strongest product of the last order with which a product is bought
together as (
    select ranked.customer_id, ranked.product_id, arg_max(r.product_id, r.score) as with_product_id
    from ranked
    inner join orders_of on orders_of.customer_id = ranked.customer_id and orders_of.place = 0
    inner join known on known.customer_id = orders_of.customer_id and known.session_id = orders_of.session_id
    inner join related_products as r on r.relation = 'also_bought' and r.product_id = known.product_id
        and r.related_product_id = ranked.product_id
    where known.kind = 'purchase' and ranked.purchases = 0
    group by ranked.customer_id, ranked.product_id
)
select ranked.customer_id, ranked.product_id, ranked.rank, ranked.probability,
    case
        when ranked.purchases > 1 and ranked.purchase_interval_days >= 10.5
            then 'you buy this every ' || round(ranked.purchase_interval_days / 7)::bigint || ' weeks'
        when ranked.purchases > 1 and ranked.purchase_interval_days >= 1.5
            then 'you buy this every ' || round(ranked.purchase_interval_days)::bigint || ' days'
        when ranked.purchases > 1 then 'you buy this often'
        when ranked.carts_3d > .05 then 'you put this into your cart lately'
        when ranked.days_since_view <= 14 then 'you viewed this lately'
        when together.with_product_id is not null then 'bought together with ' || coalesce(t.name, together.with_product_id)
        when ranked.purchases = 1 then 'you bought this before'
        when ranked.category_share > 0 then 'popular in ' || coalesce(c.name, ranked.category_id)
        else 'popular in the shop'
    end as reason
from ranked
left join together on together.customer_id = ranked.customer_id and together.product_id = ranked.product_id
left join products as t on t.product_id = together.with_product_id
left join categories as c on c.category_id = ranked.category_id
order by ranked.customer_id, ranked.rank
"""


def product_affinity(
    connection: duckdb.DuckDBPyConnection,
    as_of: datetime,
    model: ClassModel,
    version: str,
    horizon_days: int,
    *,
    order: Callable[[pd.DataFrame], Floats] | None = None,
) -> Iterator[pd.DataFrame]:
    """The rows of ``product_affinity`` as of a moment (plain UTC), a batch of customers at a time, in no order of batches.

    ``order``: what ranks a customer's products; without it their probability does.

    ``connection`` has interactions, products, categories and related_products. Left out are products that are not for sale, are
    out of stock, or were bought so lately that by the horizon's end 9 of 10 customers of the category have bought none again.
    """
    known = know_until(connection, as_of)
    connection.execute(_INTERVALS)
    batches = -(-known.customers // BATCH_CUSTOMERS)
    for batch in range(batches):
        rows = candidate_rows(connection, known, batch, batches)
        probability = probabilities(model, rows)
        ranks_by = order(rows) if order else probability
        scored = rows.assign(probability=probability, score=ranks_by, tie=rows[SHARE] + rows[POPULARITY])
        connection.register("scored", scored)
        try:
            found = connection.execute(_CHOSEN, {"horizon": float(horizon_days)}).df()
        finally:
            connection.unregister("scored")
        yield TABLES[TABLE].typed(found.assign(model_version=version, as_of=pd.Timestamp(as_of)))


def repurchase_intervals(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> pd.DataFrame:
    """The rows of ``repurchase_intervals``, as the ``product_affinity`` of this connection and moment has left products out."""
    rows = connection.execute("from intervals_of order by category_id").df()
    return TABLES[INTERVALS].typed(rows.assign(as_of=pd.Timestamp(as_of)))


def probabilities(model: ClassModel, rows: pd.DataFrame) -> Floats:
    """The probability that each row's customer buys its product within the model's horizon."""
    shares = model.probabilities(feature_matrix(rows, FEATURES, "interactions"))
    return np.asarray(shares[:, model.categories.index(BOUGHT)], dtype=np.float64)
