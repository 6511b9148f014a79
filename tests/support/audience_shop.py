"""A published shop of random customers, for audiences: features, segments, values, scores, consents, suppressions, contacts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from customer360.campaigns.audience import audience_columns
from customer360.campaigns.conditions import Condition, Group, Negation, Tree, Value
from customer360.campaigns.definition import Campaign
from customer360.features import feature_list
from customer360.lake.publishing.publishing import publish
from customer360.lake.reference.reference import load_reference
from customer360.settings import Place, Settings
from ml.planning.predictions import Predicted
from tests.support.random_shop import small_shop

AS_OF = datetime(2026, 5, 4, 10, tzinfo=UTC)  # a Monday
ATTRIBUTES = {
    "age": {"type": "integer", "personal": True},
    "city": {"description": "Where they live"},
    "vip": {"type": "boolean"},
}
SEGMENTS = ["Champions", "Loyal", "At Risk", "Lost"]
SHOP = small_shop(
    attributes=ATTRIBUTES,
    channels=["email", "sms", "call"],
    campaigns={"minimum_gap_days": 1, "frequency_cap": {"contacts": 2, "days": 14}, "global_holdout_share": 0.1},
)


@dataclass
class AudienceShop:
    """``values``: by column of audiences the values that occur, for conditions that some customers fulfil."""

    settings: Settings
    values: dict[str, list[Value]]

    def tree(self, rng: np.random.Generator, depth: int = 3) -> Tree:
        """Random conditions on these columns."""
        shape = rng.random()
        if depth and shape < 0.45:
            parts = tuple(self.tree(rng, depth - 1) for _ in range(rng.integers(2, 4)))
            return Group("and" if rng.random() < 0.5 else "or", parts)
        if depth and shape < 0.6:
            return Negation(self.tree(rng, depth - 1))
        column = str(rng.choice(sorted(self.values)))
        known = self.values[column]
        if rng.random() < 0.1:
            return Condition(column, str(rng.choice(["is empty", "is not empty"])))
        drawn = [known[place] for place in rng.integers(0, len(known), 3)]
        if rng.random() < 0.3:
            return Condition(column, str(rng.choice(["in", "not in"])), tuple(drawn))
        signs = ["=", "!=", "<", "<=", ">", ">="] if isinstance(drawn[0], float) else ["=", "!="]
        return Condition(column, str(rng.choice(signs)), (drawn[0],))


def audience_shop(root: Path, customers: int = 150, seed: int = 5) -> AudienceShop:
    """Publish it below ``root``. A few customers have no segment yet, and a few are known to the shop only after ``AS_OF``."""
    rng = np.random.default_rng(seed)
    settings = Settings(shop=SHOP, place=Place(root=root / "data"), shop_folder=root / "shop")
    ids = [f"C{number:04}" for number in range(customers)]
    features = _features(rng, ids)
    scores = pd.DataFrame(
        [
            {"customer_id": name, "category_id": category, "probability": float(chance), "is_label": place == chances.argmax()}
            for name, chances in zip(ids[: customers * 9 // 10], rng.dirichlet(np.ones(5), customers), strict=False)
            for place, (category, chance) in enumerate(zip([*SHOP.category_ids, "none"], chances, strict=True))
        ]
    )
    value = pd.DataFrame({"customer_id": ids, "purchase_probability": rng.random(customers).round(3)})
    value["expected_spend"] = (rng.random(customers) * 90).round(2)
    value["churn_probability"] = pd.Series(rng.random(customers)).where(rng.random(customers) < 0.8)
    segments = pd.DataFrame({"customer_id": ids, "segment": rng.choice(SEGMENTS, customers)})
    for name in ("recency_score", "frequency_score", "monetary_score", "fm_score"):
        segments[name] = rng.integers(1, 6, customers)
    _reference(settings, rng, ids)
    with duckdb.connect() as connection:
        frames = {"features": features, "scores": scores, "worth": value, "segments": segments[: customers * 19 // 20]}
        for name, frame in frames.items():
            connection.register(name, frame)
        tables = {
            "customer_features": "from features",
            "customer_scores": "from scores",
            "customer_value": "from worth",
            "rfm_segments": "from segments",
            "customer_time_zones": "select customer_id, null::varchar as time_zone from features",
            "offers": "select 'O1' as offer_id, 'Ten off' as name, null::varchar as category_id where false",
            "campaign_touch_history": _touches(ids),
            "campaigns": "select 'old' as campaign_id, 'Old' as name, null::varchar as kind, null::varchar as offer_id",
            "customer_purchase_times": "select 'C0001' as customer_id, 3 as day_of_week, 19 as local_hour, 1 as orders",
            "customer_orders": """
                select customer_id, 'O' || row_number() over () as order_id, timestamp '2026-04-20 10:00' as ordered_at,
                    9.5::decimal(18, 2) as amount, 1 as lines, timestamp '2026-05-04 10:00' as as_of
                from features where hash(customer_id) % 3 = 0
            """,
        }
        publish(settings.place, connection, tables, AS_OF, AS_OF)
    columns = audience_columns(SHOP)
    values: dict[str, list[Value]] = {"label": [*SHOP.category_ids, "none"]}
    for frame in (features, value, segments):
        for name in frame.columns.intersection(list(columns)):
            found = frame[name].dropna().unique().tolist()[:40]
            kind = {"number": float, "text": str, "boolean": bool}[columns[name].kind]
            values[name] = [kind(entry) for entry in found] or [kind(0)]
    values |= {name: [0.05, 0.2, 0.5] for name, column in columns.items() if column.category is not None}
    return AudienceShop(settings, values)


def predict(campaign: Campaign, ids: pd.Index[str]) -> Predicted:
    """A chance for each customer that depends on the id alone."""
    chances = [int(sha256(name.encode()).hexdigest()[:4], 16) / 2**20 for name in ids]
    shape = (len(ids), len(SHOP.channels), 7, len(SHOP.dayparts))
    conversion = np.broadcast_to(np.array(chances, dtype=np.float32)[:, None, None, None], shape)
    return Predicted(conversion, np.zeros(len(ids), dtype=np.float32), None)


def _features(rng: np.random.Generator, ids: list[str]) -> pd.DataFrame:
    count = len(ids)
    columns: dict[str, Any] = {"customer_id": ids}
    for feature in feature_list(SHOP):
        empty = rng.random(count) < 0.1
        if feature.name == "vip":
            drawn = pd.Series(rng.random(count) < 0.3).astype("boolean").mask(empty)
        elif feature.kind == "categorical":
            drawn = pd.Series(rng.choice(["Utrecht", "O'Hare", "books"], count)).mask(empty)
        else:
            drawn = pd.Series(rng.integers(0, 60, count)).astype("Int64").mask(empty)
        columns[feature.name] = drawn
    return pd.DataFrame(columns)


def _touches(ids: list[str]) -> str:
    """A contact of every seventh customer on the day before ``AS_OF``."""
    chosen = ", ".join(f"'{name}'" for name in ids[::7])
    return f"""
        select 'T' || customer_id as touch_id, 'old' as campaign_id, customer_id, 'email' as channel,
            timestamp '2026-05-03 09:00' as touched_at, true as is_time_known, date '2026-05-03' as local_date,
            7 as day_of_week, 11 as local_hour, false as is_converted, null::timestamp as converted_at,
            false as is_control, false as is_randomised
        from (select unnest([{chosen}]) as customer_id)
    """


def _reference(settings: Settings, rng: np.random.Generator, ids: list[str]) -> None:
    consents = {f"consent_{channel}": rng.choice(["true", "false", ""], len(ids)) for channel in SHOP.channels}
    later = np.where(rng.random(len(ids)) < 0.05, "2026-06-01T00:00:00Z", "")
    customers = pd.DataFrame({"customer_id": ids, **consents, "known_since": later})
    barred = [name for name in ids if rng.random() < 0.2]
    suppressions = pd.DataFrame({"customer_id": barred, "channel": rng.choice(["email", "sms", ""], len(barred))})
    for table, frame in (("customers", customers), ("suppressions", suppressions)):
        folder = settings.place.landing / "reference" / table
        folder.mkdir(parents=True)
        frame.to_csv(folder / f"{table}.csv", index=False)
        load_reference(settings, table, AS_OF)
