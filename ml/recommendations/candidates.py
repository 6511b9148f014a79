"""Products that a customer may buy next, with what was known of both at a moment: rows for training, judging and scoring.

Candidates are a customer's own products (bought before, or viewed or put into the cart lately), the best by TIFU-KNN, the
most popular products, and those of the customer's main category. The features are those of personal frequency, recency and
regularity that next-basket methods use (Hu et al., Modeling personalized item frequency information for next-basket
recommendation, 2020; Faggioli et al., Recency aware collaborative filtering for next basket recommendation, 2020), beside
popularity, category and views.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pandas as pd

from customer360.features import Feature
from customer360.lake.engine import registered
from customer360.settings import Shop
from ml.recommendations.tifu_knn import Orders, TifuKnn, best_of, fit

TABLE = "interactions"
OWN, NEAR, POPULAR, IN_CATEGORY = 60, 20, 30, 10
SCORED_NEAR = OWN + NEAR  # products of a customer that have a score by TIFU-KNN, which is 0 for others
SHARE, POPULARITY, TIFU_KNN = "purchase_share", "popularity", "tifu_knn"


def _features(**descriptions: str) -> tuple[Feature, ...]:
    return tuple(Feature(name, "numeric", text, name) for name, text in descriptions.items())


FEATURES = _features(
    orders="orders of the customer",
    products_per_order="products in an order of the customer",
    days_since_order="days since the customer's last order",
    days_known="days since the customer's first interaction",
    purchases="orders of the customer with the product",
    purchase_share="share of the customer's orders with the product, an order counting .97 of the one after it",
    purchases_20d="orders with the product, decayed by e in 20 days",
    purchases_60d="orders with the product, decayed by e in 60 days",
    purchases_180d="orders with the product, decayed by e in 180 days",
    days_since_purchase="days since the customer last bought the product",
    orders_since_purchase="orders since the customer last bought the product",
    purchase_interval_days="mean days between the customer's orders with the product",
    due="days since the last purchase over the customer's interval, else over the product's median",
    views_3d="views of the product by the customer, decayed by e in 3 days",
    views_30d="views of the product by the customer, decayed by e in 30 days",
    carts_3d="additions of the product to the customer's cart, decayed by e in 3 days",
    days_since_view="days since the customer last viewed the product",
    category_share="share of the customer's purchases that are of the product's category, decayed by e in 60 days",
    tifu_knn="personal frequency of the customer and of those who buy alike (TIFU-KNN)",
    popularity="share of all purchases that are of the product, decayed by e in 20 days",
    popularity_60d="share of all purchases that are of the product, decayed by e in 60 days",
    buyers="customers who bought the product",
    repeat_share="share of the product's buyers who bought it again",
    product_interval_days="median days between two purchases of the product by a customer",
)


def product_features(_: Shop) -> tuple[Feature, ...]:
    """The features of the model of products: the same in every shop."""
    return FEATURES


# Views count from when they were known to be the customer's: a visitor who was linked later was nobody's before.
_TABLES = f"""
create or replace temp table known as
select i.customer_id, i.visitor_id, i.session_id, i.product_id, i.kind, i.quantity,
    (epoch($as_of) - epoch(i.happened_at)) / 86400.0 as days, p.category_id
from {TABLE} as i left join products as p on p.product_id = i.product_id
where i.happened_at < $as_of and i.known_at <= $as_of;

create or replace temp table orders_of as
select customer_id, session_id, min(days) as days, count(*) as products,
    row_number() over (partition by customer_id order by min(days), session_id) - 1 as place
from known where kind = 'purchase' and customer_id is not null group by customer_id, session_id;

create or replace temp table customers_of as
select customer_id, max(orders) as orders, max(products) as products_per_order, max(since) as days_since_order,
    max(days) as days_known, max(weight) as weight_of_orders
from (
    select customer_id, null as orders, null as products, null as since, days, null as weight from known
    where customer_id is not null
    union all
    select customer_id, count(*), avg(products), min(days), max(days), sum(power(.97, place))
    from orders_of group by customer_id
) group by customer_id;

create or replace temp table pairs_of as
select k.customer_id, k.product_id,
    count(*) filter (where k.kind = 'purchase') as purchases,
    sum(power(.97, o.place)) as weight,
    sum(exp(-k.days / 20)) filter (where k.kind = 'purchase') as purchases_20d,
    sum(exp(-k.days / 60)) filter (where k.kind = 'purchase') as purchases_60d,
    sum(exp(-k.days / 180)) filter (where k.kind = 'purchase') as purchases_180d,
    min(k.days) filter (where k.kind = 'purchase') as days_since_purchase,
    max(k.days) filter (where k.kind = 'purchase') as days_since_first,
    min(o.place) as orders_since_purchase,
    sum(k.quantity * exp(-k.days / 3)) filter (where k.kind = 'view') as views_3d,
    sum(k.quantity * exp(-k.days / 30)) filter (where k.kind = 'view') as views_30d,
    sum(k.quantity * exp(-k.days / 3)) filter (where k.kind = 'cart') as carts_3d,
    min(k.days) filter (where k.kind = 'view') as days_since_view
from known as k
-- the kind in the key: of a condition on the left side alone DuckDB makes a nested loop
left join orders_of as o
    on o.customer_id = k.customer_id and o.session_id = case when k.kind = 'purchase' then k.session_id end
where k.customer_id is not null group by k.customer_id, k.product_id;

create or replace temp table products_of as
select popular.product_id, popular.category_id, popular.decayed / sum(popular.decayed) over () as popularity,
    popular.decayed_60 / sum(popular.decayed_60) over () as popularity_60d, repeats.buyers, repeats.repeat_share,
    repeats.product_interval_days,
    row_number() over (order by popular.decayed desc, popular.product_id) as place,
    row_number() over (partition by popular.category_id order by popular.decayed desc, popular.product_id) as place_in_category
from (
    select product_id, any_value(category_id) as category_id,
        sum(exp(-days / 20) * case when kind = 'purchase' then 1 when kind = 'cart' then .1 else .01 end) as decayed,
        sum(exp(-days / 60) * case when kind = 'purchase' then 1 when kind = 'cart' then .1 else .01 end) as decayed_60
    from known group by product_id
) as popular
left join (
    select product_id, count(*) as buyers, avg(case when purchases > 1 then 1 else 0 end) as repeat_share,
        median((days_since_first - days_since_purchase) / nullif(purchases - 1, 0)) as product_interval_days
    from pairs_of where purchases > 0 group by product_id
) as repeats on repeats.product_id = popular.product_id;

create or replace temp table categories_of as
select customer_id, category_id, amount / sum(amount) over (partition by customer_id) as category_share,
    row_number() over (partition by customer_id order by amount desc, category_id) as place
from (
    select customer_id, category_id, sum(exp(-days / 60)) as amount
    from known where kind = 'purchase' and customer_id is not null and category_id is not null group by all
);
"""
_ROWS = f"""
with chosen as (
    select * from customers_of where hash(customer_id) % $batches = $batch
),
own as (
    select pairs_of.customer_id, pairs_of.product_id from pairs_of semi join chosen using (customer_id)
    qualify row_number() over (
        partition by customer_id
        order by coalesce(purchases_180d, 0) + .3 * coalesce(carts_3d, 0) + .1 * coalesce(views_30d, 0) desc, product_id
    ) <= {OWN}
),
candidates as (
    from own
    union
    select customer_id, product_id from near where place <= {NEAR}
    union
    select customer_id, product_id from chosen cross join products_of where products_of.place <= {POPULAR}
    union
    select chosen.customer_id, products_of.product_id from chosen
    inner join categories_of on categories_of.customer_id = chosen.customer_id and categories_of.place = 1
    inner join products_of on products_of.category_id = categories_of.category_id
        and products_of.place_in_category <= {IN_CATEGORY}
),
rows as (
    select c.customer_id, c.product_id, products_of.category_id, chosen.orders, chosen.products_per_order,
        chosen.days_since_order, chosen.days_known, coalesce(p.purchases, 0) as purchases,
        coalesce(p.weight / chosen.weight_of_orders, 0) as purchase_share,
        coalesce(p.purchases_20d, 0) as purchases_20d, coalesce(p.purchases_60d, 0) as purchases_60d,
        coalesce(p.purchases_180d, 0) as purchases_180d, p.days_since_purchase, p.orders_since_purchase,
        (p.days_since_first - p.days_since_purchase) / nullif(p.purchases - 1, 0) as purchase_interval_days,
        coalesce(p.views_3d, 0) as views_3d, coalesce(p.views_30d, 0) as views_30d, coalesce(p.carts_3d, 0) as carts_3d,
        p.days_since_view, coalesce(g.category_share, 0) as category_share, coalesce(near.tifu_knn, 0) as tifu_knn,
        products_of.popularity,
        products_of.popularity_60d, products_of.buyers, products_of.repeat_share, products_of.product_interval_days
    from candidates as c
    inner join chosen on chosen.customer_id = c.customer_id
    inner join products_of on products_of.product_id = c.product_id
    left join pairs_of as p on p.customer_id = c.customer_id and p.product_id = c.product_id
    left join near on near.customer_id = c.customer_id and near.product_id = c.product_id
    left join categories_of as g on g.customer_id = c.customer_id and g.category_id = products_of.category_id
)
select *, days_since_purchase / coalesce(nullif(purchase_interval_days, 0), nullif(product_interval_days, 0)) as due
from rows order by customer_id, product_id
"""


@dataclass(frozen=True)
class Known:
    """How many customers are known, and who of them buy alike; ``buyers``, ``products``: the ids of its rows and columns."""

    customers: int
    alike: TifuKnn
    buyers: pd.Index[str]
    products: pd.Index[str]

    def near(self, customers: pd.Series[str]) -> pd.DataFrame:
        """The ``SCORED_NEAR`` best products of each customer by TIFU-KNN: customer_id, product_id, tifu_knn, place (from 1)."""
        codes = self.buyers.get_indexer(pd.Index(customers))
        found = [
            pd.DataFrame({"customer": [], "product": [], TIFU_KNN: [], "place": []}).astype({"customer": int, "product": int})
        ]
        for chunk, scores in self.alike.scores(codes[codes >= 0]):
            best = best_of(scores, SCORED_NEAR)
            rows = np.repeat(np.arange(len(chunk)), [len(row) for row in best])
            columns = np.concatenate(best)
            values = np.asarray(scores[rows, columns]).ravel()
            places = np.concatenate([np.arange(1, len(row) + 1) for row in best])
            found.append(pd.DataFrame({"customer": chunk[rows], "product": columns, TIFU_KNN: values, "place": places}))
        near = pd.concat(found, ignore_index=True)
        ids = {"customer_id": self.buyers[near.pop("customer")], "product_id": self.products[near.pop("product")]}
        return near.assign(**ids).astype({"customer_id": "str", "product_id": "str"})


def know_until(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> Known:
    """Prepare what was known before ``as_of`` (plain UTC) of the tables interactions and products.

    Temporary tables hold it, each replaced by the next call on the same connection.
    """
    for statement in _TABLES.split(";")[:-1]:
        connection.execute(statement, {"as_of": as_of} if "$as_of" in statement else None)
    (customers,) = connection.execute("select count(*) from customers_of").fetchone() or (0,)
    lines = connection.execute(
        """
        select k.customer_id, k.product_id, o.place from known as k
        inner join orders_of as o on o.customer_id = k.customer_id and o.session_id = k.session_id
        where k.kind = 'purchase' order by all
        """
    ).df()
    (of, buyers), (bought, products) = (pd.factorize(lines[name]) for name in ("customer_id", "product_id"))
    places = lines["place"].to_numpy(np.int64)
    alike = fit(Orders(of.astype(np.int64), bought.astype(np.int64), places, (len(buyers), len(products))))
    return Known(int(customers), alike, buyers, products)


def candidate_rows(connection: duckdb.DuckDBPyConnection, known: Known, batch: int = 0, batches: int = 1) -> pd.DataFrame:
    """The candidates of the customers of a batch, with category_id and ``FEATURES``, after ``know_until``.

    One row per customer and product. Customers without an interaction have none: those are served as visitors are.
    """
    parameters = {"batch": batch, "batches": batches}
    chosen = connection.execute("select customer_id from customers_of where hash(customer_id) % $batches = $batch", parameters)
    with registered(connection, "near", known.near(chosen.df()["customer_id"])):
        return connection.execute(_ROWS, parameters).df()


def bought_within(connection: duckdb.DuckDBPyConnection, as_of: datetime, horizon_days: float) -> pd.DataFrame:
    """customer_id, product_id of what customers bought in [as_of, as_of + horizon), one row each."""
    return connection.execute(
        f"""
        select distinct customer_id, product_id from {TABLE}
        where kind = 'purchase' and customer_id is not null
            and happened_at >= $as_of and happened_at < $as_of + to_seconds($seconds)
        """,
        {"as_of": as_of, "seconds": horizon_days * 86_400},
    ).df()
