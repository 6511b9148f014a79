"""Why a customer got a campaign's contact, or did not: from the audience's conditions to plan, ledger and orders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import duckdb
import pandas as pd

from customer360.campaigns.audience import (
    FEATURES,
    audience_columns,
    audience_relation,
    audience_tree,
    naming_missing_tables,
)
from customer360.campaigns.conditions import conditions_of, sql_of, text_of
from customer360.campaigns.drafts import approved_file
from customer360.campaigns.ledger import APPROVED, SENT, ledger_query
from customer360.lake.engine import literal, quoted
from customer360.settings import Place, Shop

# On one published version, bound to customer and campaign.
PLANNED = "from campaign_plan where customer_id = ? and campaign_id = ?"
TOUCHED = """
    select touch_id, channel, touched_at, is_time_known, is_converted, converted_at, is_control from campaign_touch_history
    where customer_id = ? and campaign_id = ? order by touched_at
"""
ENTRIES = "select * from ({ledger}) where customer_id = ? and campaign_id = ? order by recorded_at, event_at"
ORDERED = """
    select order_id, ordered_at, amount from customer_orders
    where customer_id = ? and lines > 0 and ordered_at >= ? and ordered_at < ? order by ordered_at
"""


@dataclass(frozen=True)
class ConditionOutcome:
    """A condition of an audience on ``column``, the customer's value, and whether it holds (None: the value is not known)."""

    column: str
    text: str
    value: Any
    holds: bool | None


@dataclass(frozen=True)
class Membership:
    """Whether a customer is in an audience as published now, and condition by condition why."""

    audience: str
    is_member: bool
    conditions: list[ConditionOutcome]


@dataclass(frozen=True)
class DecisionTrail:
    """What is known of a customer and a campaign; times are plain UTC.

    ``planned``: the row of the newest draft; ``approved``: that of the plan which was approved. ``entries``: of the ledger.
    ``touches``: contacts and controls that another tool reports. ``orders``: within ``attribution_days`` of a contact, or of
    the time for which it was planned.
    """

    planned: dict[str, Any] | None
    approved: dict[str, Any] | None
    entries: pd.DataFrame
    touches: pd.DataFrame
    orders: pd.DataFrame


def membership(connection: duckdb.DuckDBPyConnection, audience: str, shop: Shop, customer_id: str) -> Membership | None:
    """Why a customer is in an audience or not; None for one who is not published. Raises ``AudienceError`` on a wrong audience.

    ``connection``: on which the published tables are found by their names.
    """
    tree, known = audience_tree(audience, shop), audience_columns(shop)
    conditions = list(dict.fromkeys(conditions_of(tree)))
    columns = [known[name] for name in dict.fromkeys(condition.column for condition in conditions)]
    tables = {column.name: column.table for column in columns}
    relation, bound = audience_relation(columns)
    parts = [tree, *conditions]
    selected = ", ".join(
        [*(sql_of(part, tables) for part in parts), *(f"{quoted(tables[c.column])}.{quoted(c.column)}" for c in conditions)]
    )
    values = [value for part in parts for condition in conditions_of(part) for value in condition.values]
    query = f"select {selected} from {relation} where {quoted(FEATURES)}.customer_id = ?"
    with naming_missing_tables(audience, shop):
        row = connection.execute(query, [*values, *bound, customer_id]).fetchone()
    if row is None:
        return None
    holds, shown = row[1 : 1 + len(conditions)], row[1 + len(conditions) :]
    outcomes = [
        ConditionOutcome(each.column, text_of(each), value, is_held)
        for each, is_held, value in zip(conditions, holds, shown, strict=True)
    ]
    return Membership(text_of(tree), bool(row[0]), outcomes)


def decision_trail(
    connection: duckdb.DuckDBPyConnection,
    published: Collection[str],
    place: Place,
    shop: Shop,
    *,
    customer_id: str,
    campaign_id: str,
) -> DecisionTrail:
    """What one published version and the ledger as it is now say.

    ``connection``: on which the tables of the version, ``published``, are found by their names.
    """
    key = [customer_id, campaign_id]

    def rows(table: str, query: str, values: list[Any]) -> pd.DataFrame:
        return connection.execute(query, values).df() if table in published else pd.DataFrame()

    entries = connection.execute(ENTRIES.format(ledger=ledger_query(place)), key).df()
    touches = rows("campaign_touch_history", TOUCHED, key)
    approved = entries.loc[entries["event"] == APPROVED]
    plan = approved_file(place, campaign_id, str(approved["plan_version"].iloc[-1])) if len(approved) else None
    approved_rows = pd.DataFrame()
    if plan is not None and plan.exists():
        query = f"from read_parquet({literal(str(plan))}) where customer_id = ? and campaign_id = ?"
        approved_rows = connection.execute(query, key).df()
    orders = pd.DataFrame()
    if (begins := _contact_begins(entries, touches)) is not None:
        ends = begins + timedelta(days=shop.campaigns.attribution_days)
        orders = rows("customer_orders", ORDERED, [customer_id, begins, ends])
    planned = rows("campaign_plan", PLANNED, key)
    return DecisionTrail(_first(planned), _first(approved_rows), entries, touches, orders)


def _contact_begins(entries: pd.DataFrame, touches: pd.DataFrame) -> Any:
    """When the customer was contacted, or would have been (plain UTC); None where nothing was planned or reported."""
    sent = entries.loc[entries["event"] == SENT, "event_at"]
    planned = entries.loc[entries["event"] == APPROVED, "send_at"]
    reported = touches["touched_at"] if len(touches) else pd.Series(dtype="datetime64[us]")
    moments = [series.iloc[0] for series in (sent, planned, reported) if len(series)]
    return moments[0].to_pydatetime() if moments else None


def _first(rows: pd.DataFrame) -> dict[str, Any] | None:
    return None if rows.empty else {str(name): value for name, value in rows.iloc[0].items()}
