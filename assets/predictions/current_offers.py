"""The offer that each customer would see now."""

from datetime import UTC

import dagster as dg

from customer360.lake.publishing.tables import TABLES
from customer360.offers.current import decide_everyone
from customer360.offers.offers import Book
from customer360.offers.policy import policy_of, read_state
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform

CAN_BE_SHOWN = "offers_can_be_shown"


@dg.asset(
    key=["predictions", "current_offers"],
    deps=[
        ["predictions", "customer_scores"],
        *(
            ["marts", name]
            for name in (
                *("customer_features", "customer_attributes", "customer_product_activity", "customer_offer_activity"),
                *("rfm_segments", "offer_activity"),
            )
        ),
        ["raw", "offers"],
        ["raw", "products"],
    ],
    group_name=groups.PREDICTIONS,
    kinds={"duckdb"},
    owners=[MARKETING_TEAM],
    tags=groups.tags("offers", TABLES["current_offers"].columns),
    pool=WAREHOUSE_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            CAN_BE_SHOWN,
            asset=dg.AssetKey(["predictions", "current_offers"]),
            description=(
                "Warns of offers that nobody can see: for products only, of which none is listed, or without stock; "
                "and of a default that does not run today and is shown all the same."
            ),
        )
    ],
)
def current_offers(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """The offer that each customer would see, why, and with which probability it was drawn. One row per known customer."""
    settings = platform.settings()
    state = read_state(settings.place)
    policy = policy_of(state, settings.shop.offers)
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        (as_of,) = connection.execute("select max(as_of) from ops.clock").fetchone() or (None,)
        # Before the first slice nobody is known.
        moment = as_of.replace(tzinfo=UTC) if as_of else platform.now()
        book, counts = decide_everyone(connection, settings, policy, moment)
    lines = "\n".join(f"| {offer} | {basis} | {customers:,} |" for (offer, basis), customers in sorted(counts.items()))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(counts.values()),
            "policy": f"{policy.name}-{policy.version}",
            "verdict": state.verdict if state else "nothing is learned yet: daily_job judges what was logged",
            "offers": len(book.listed),
            "decisions": dg.MetadataValue.md(f"| offer | basis | customers |\n|---|---|---:|\n{lines}"),
        },
        check_results=[_can_be_shown(book)],
    )


def _can_be_shown(book: Book) -> dg.AssetCheckResult:
    running = [offer for offer in book.listed if offer.runs_on(book.day)]
    unlisted = [
        o.offer_id for o in running if not o.condition.is_general and not any(p in book.products for p in o.product_ids)
    ]
    used_up = [offer.offer_id for offer in running if offer.stock_left is not None and offer.stock_left <= 0]
    default = book.default
    is_over = default is not None and not default.runs_on(book.day)
    return dg.AssetCheckResult(
        check_name=CAN_BE_SHOWN,
        passed=not (unlisted or used_up or is_over),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "offers": len(book.listed),
            "without_listed_products": ", ".join(unlisted) or "none",
            "without_stock": ", ".join(used_up) or "none",
            "default": "none" if default is None else default.offer_id,
            "default_runs": not is_over,
        },
    )
