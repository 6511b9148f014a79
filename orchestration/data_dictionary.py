"""The data dictionary as a page: every published table and column, by ``customer360.lake.publishing.tables``.

``python -m orchestration.data_dictionary > docs/data-dictionary.md`` writes the page for the shop of ``SHOP``.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from customer360.lake.publishing.tables import PublishedColumn, PublishedTable, published_tables
from customer360.settings import Settings, Shop
from orchestration.dbt import manifest_path

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Customers": (
        "customer_profiles",
        "rfm_segments",
        "customer_segments_weekly",
        "customer_scores",
        "customer_value",
        "customer_scores_daily",
        "customer_features",
        "customer_attributes",
        "customer_consents",
        "customer_category_activity",
        "customer_product_activity",
        "customer_offer_activity",
        "customer_purchase_times",
        "customer_time_zones",
        "customer_orders",
        "order_amounts",
        "customer_lifetime",
        "visitor_customers",
    ),
    "Recommendations": (
        *("product_affinity", "repurchase_intervals", "related_products", "cold_start", "interactions"),
        "recommendation_backtest",
    ),
    "Offers": ("current_offers", "offer_inputs", "offer_decisions", "offer_results", "offer_policy_values"),
    "Activity over time": (
        "traffic",
        "traffic_sources",
        "product_activity",
        "offer_activity",
        "orders_daily",
        "product_performance",
        "retention_cohorts",
        "segment_moves",
        "arrivals_daily",
    ),
    "Sessions": ("sessions", "funnel_daily", "conversion_paths", "channel_attribution"),
    "Campaigns": (
        "campaign_plan",
        "campaign_briefs",
        "campaign_ledger",
        "campaign_results",
        "campaign_result_days",
        "campaign_result_deciles",
        "campaign_variant_results",
        "campaign_activity",
        "campaign_touch_history",
        "email_deliveries",
        "delivery_metrics",
    ),
    "Reference": ("products", "categories", "offers", "campaigns"),
    "Models and operations": (
        "model_versions",
        "lifetime_backtest",
        "drift_metrics",
        "monitoring_activity",
        "monitoring_customers",
        "realised_labels",
        "training_features",
        "slice_log",
    ),
}


def dictionary_markdown(shop: Shop, tables: Mapping[str, PublishedTable]) -> str:
    """The page: tables in groups, each with what its rows are, when they are made again, and its columns."""
    lines = [
        "# Data dictionary",
        "",
        "Every published table and column. `python -m orchestration.data_dictionary` makes this page from dbt's manifest and",
        "`customer360/lake/publishing/tables.yml`: change the descriptions there, not here. Times are plain `TIMESTAMP` in",
        "UTC, dates are shop-local, money is in the shop's currency, net of returns. How to connect: [bi.md](bi.md).",
        "",
        f"Columns that depend on shop.yaml are those of the shop `{shop.name}`. `<category>` stands for its categories"
        f" ({', '.join(shop.category_ids)}),",
        f"`<n>` for its windows in days ({', '.join(str(days) for days in shop.windows_days)}); "
        f"its currency is {shop.currency}, its label horizon {shop.label_horizon_days} days.",
    ]
    for group, names in GROUPS.items():
        links = ", ".join(f"[{name}](#{name})" for name in names)
        lines += ["", f"## {group}", "", links]
        for name in names:
            lines += _table_lines(tables[name], shop.category_ids[0])
    return "\n".join(lines) + "\n"


def _table_lines(table: PublishedTable, category: str) -> Iterator[str]:
    personal = " Personal data: the rows are about single customers." if table.is_personal else ""
    key = ", ".join(f"`{name}`" for name in table.grain)
    yield from ("", f"### {table.name}", "", table.description, "", f"Key: {key}. Made again: {table.refreshed}.{personal}", "")
    yield from ("| column | type | unit | meaning |", "|---|---|---|---|")
    shown: set[str] = set()
    for column in table.columns:
        name = column.pattern or column.name
        if name not in shown:
            yield f"| `{name}` | {column.type} | {column.unit} | {_meaning(column, category)} |"
        shown.add(name)


def _meaning(column: PublishedColumn, category: str) -> str:
    """The description; of a pattern, whose first column is that of the first ``category`` and window, without the two."""
    text = column.description.replace("|", "\\|")
    if column.pattern:
        text = re.sub(r"last \d+ days", "last n days", re.sub(rf"\b(category )?{re.escape(category)}\b", "the category", text))
    return text


def read_manifest(settings: Settings) -> dict[str, Any]:
    """The manifest of the dbt project as it is now, parsed in a folder of its own: nothing is written where the data lie.

    Raises ``RuntimeError`` with dbt's own words when the project does not parse.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Settings.load(settings.shop_folder, Path(folder))
        manifest: dict[str, Any] = json.loads(manifest_path(scratch).read_text(encoding="utf-8"))
    return manifest


def main() -> None:
    """Write the page to stdout."""
    settings = Settings.from_environment()
    sys.stdout.write(dictionary_markdown(settings.shop, published_tables(settings.shop, read_manifest(settings))))


if __name__ == "__main__":
    main()
