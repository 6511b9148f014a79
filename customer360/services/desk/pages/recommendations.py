"""Recommendations: how good each ranking was on the shop's recent past, and the list of any customer with its reasons."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.audit import PERSONAL_VIEWED, record
from customer360.services.desk.charts import Chart, bar
from customer360.services.desk.show import show

NAMES = {
    "recall_10": "recall@10",
    "ndcg_10": "NDCG@10",
    "mrr_20": "MRR@20",
    "coverage_10": _("Coverage"),
    "novelty_10": _("Novelty"),
}
QUALITY = """
select ranking, method, history, recall_10, recall_10_low, recall_10_high, ndcg_10, mrr_20, coverage_10, novelty_10, cases,
    users, is_serving, reason
from recommendation_backtest where split = 'all' and ranking = $ranking
order by method, try_cast(regexp_extract(history, '[0-9]+') as bigint) nulls first
"""
LISTED = """
select products.name as product, affinity.rank, probability, affinity.reason, products.category_id, products.price
from product_affinity as affinity left join products using (product_id)
where customer_id = $customer order by affinity.rank
"""
RELATED = """
select related.relation, shown.name as product, related.rank, related.score, related.reason
from related_products as related left join products as shown on shown.product_id = related.related_product_id
where related.product_id = $product order by related.relation, related.rank
"""
MOST_LISTED = """
select products.name as product, count(*) as customers, avg(probability) as mean_probability
from product_affinity left join products using (product_id) where product_affinity.rank <= 10
group by products.name order by customers desc, product limit 25
"""


@page("recommendations/", VIEW, name="recommendations", title=_("Recommendations"), order=75)
def recommendations(request: DeskRequest) -> HttpResponse:
    """Quality by length of history; the list of a customer, and what goes with a product."""
    asked = {name: request.GET.get(name, "").strip() for name in ("customer", "product")}
    if asked["customer"]:
        record(request, PERSONAL_VIEWED, subject=asked["customer"], details={"page": "recommendations"})
    rankings = _rankings(request)
    charts = [
        Chart(
            f"quality-{number}",
            _("Found among the first ten, by length of history: %(ranking)s") % {"ranking": ranking},
            QUALITY,
            {"ranking": ranking},
            bar("history", "recall_10", by="method", unit="%"),
            note=_("The share of what customers took next that the first ten products held, on days that no method had seen."),
            labels=NAMES,
        )
        for number, ranking in enumerate(rankings)
    ]
    if request.snapshot.has("product_affinity"):
        if asked["customer"]:
            nobody = _("No customer of this id has a list.")
            charts.append(Chart("listed", _("The list of a customer"), LISTED, {"customer": asked["customer"]}, empty=nobody))
        charts.append(
            Chart("most", _("Products in the most lists"), MOST_LISTED, figure=bar("product", "customers", is_horizontal=True))
        )
    if asked["product"] and request.snapshot.has("related_products"):
        nothing = _("Nothing is related to a product of this id.")
        charts.append(Chart("related", _("What goes with a product"), RELATED, {"product": asked["product"]}, empty=nothing))
    return show(request, "desk/recommendations.html", {**asked, "products": _products(request)}, charts)


def _rankings(request: DeskRequest) -> list[str]:
    if not request.snapshot.has("recommendation_backtest"):
        return []
    found = request.snapshot.connection.execute("select distinct ranking from recommendation_backtest order by 1")
    return [str(ranking) for (ranking,) in found.fetchall()]


def _products(request: DeskRequest) -> list[tuple[str, str]]:
    """Products that something is related to, of which a browser proposes some as a person types."""
    if not (request.snapshot.has("related_products") and request.snapshot.has("products")):
        return []
    query = "select product_id, name from products semi join related_products using (product_id) order by name limit 500"
    return request.snapshot.connection.execute(query).fetchall()
