"""A shop all of whose texts carry markup and begin as a formula: published tables, a campaign, a card, an incident."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import pandas as pd
import yaml

from customer360.campaigns.ledger import APPROVED, CLICKED, SENT, SUPPRESSED, append
from customer360.features import feature_list, feature_type
from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.tables import MARTS, REFERENCE
from customer360.lake.publishing.tables import TABLES as DECLARED
from customer360.services.alerts import Incident, incidents_file
from customer360.settings import REPOSITORY
from tests.desk.conftest import TABLES as WEEKS_OF_TRAFFIC
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop

MARKUP = "<img src=x onerror=alert(1)>"
LINK = "<a href='//evil.example'>"
PERSONAL = "canary@personal.example"
SPRING = "spring"  # the only text that is a name of a file


def text(name: str) -> str:
    """What stands wherever a table has a text of this name, so that tables join."""
    return f"={MARKUP}{LINK}{name}</a>\"'"


CUSTOMER, PRODUCT = text("customer_id"), text("product_id")
# Texts that pages choose rows by, and the shares and places that are no longer such beyond 1 or 12.
CHOSEN = {
    **{"decision": "contact", "arm": "contact", "period": "last 30 days", "split": "all", "estimator": "ips", "kind": "view"},
    **dict.fromkeys(("is_complete", "is_time_known", "is_serving", "is_closed"), "true"),
    **{"starts_on": "2026-04-01", "local_hour": "9", "day_of_week": "3", "months_since": "1", "decile": "1"},
}
OF_TABLE: Mapping[str, Mapping[str, str]] = {
    "funnel_daily": dict.fromkeys(("utm_source", "utm_medium", "device", "category_id"), "(all)"),
    "channel_attribution": {"period": "last 30 whole days"},
    "related_products": {"related_product_id": PRODUCT},
    "campaign_plan": {"campaign_id": SPRING, "plan_version": "spring-2026-05-01-1"},
    "campaign_briefs": {"campaign_id": SPRING, "plan_version": "spring-2026-05-01-1"},
    **{name: {"campaign_id": SPRING} for name in ("campaign_results", "campaign_result_days", "campaign_result_deciles")},
}
VALUES = {"TIMESTAMP": "2026-05-01 09:30:00", "DATE": "2026-05-01", "BOOLEAN": "true"}
LEFT_OUT = {"customer_consents", "training_features"}
PAGES = [
    *("/", "/activity/?measure=visits&by=utm_source", "/activity/?measure=revenue&days=365", "/segments/"),
    *(
        "/campaigns/",
        "/campaigns/spring/",
        "/campaigns/spring/results/",
        "/campaigns/spring/edit/",
        "/campaign-new/?copy=spring",
    ),
    *("/models/", "/models/affinity/v7/", "/reconciliation/", "/audit/", "/accounts/", "/password/"),
    "/audiences/?" + urlencode({"text": f"segment = '{text('segment').replace(chr(39), chr(39) * 2)}'"}),
    *("/audiences/columns/segment/", "/audiences/columns/city/", "/audiences/overlap/?first=everyone&second=is_member"),
    *("/audiences/?by=form&mode-0=all&column-0-0=city&operator-0-0=in&value-0-0=x", "/customers/?q=%3D"),
    f"/customers/{quote(CUSTOMER)}/",
    "/offers/?" + urlencode({"customer": CUSTOMER}),
    "/recommendations/?" + urlencode({"customer": CUSTOMER, "product": PRODUCT}),
    "/why/?" + urlencode({"customer": CUSTOMER, "campaign": SPRING}),
]


def hostile_shop(root: Path) -> ServedShop:
    """Publish it below ``root``, as of 2026-05-01 10:15 UTC."""
    named = {name: text(name) for name in ("segment", "label", "reason_1", "reason_2", "reason_3", "city", "top_category_id")}
    shop = ServedShop(root, {CUSTOMER: {**named, "email": PERSONAL}}, consented={CUSTOMER})
    shop.rules = {"title": f"Shop {MARKUP}", "channels": ["email"]}
    types = {**_of_dbt(), **{name: table.duckdb_types for name, table in DECLARED.items()}}
    features = {feature.name: feature_type(shop.settings.shop, feature) for feature in feature_list(shop.settings.shop)}
    types["customer_features"] = {"customer_id": "VARCHAR", **features}
    types |= {
        name: {column.name: column.type for column in reference_tables(shop.settings.shop)[name].columns} for name in REFERENCE
    }
    shop.tables = {
        name: _row(columns, OF_TABLE.get(name, {}))
        for name, columns in types.items()
        if name not in {*LEFT_OUT, "customer_profiles", "visitor_customers"} and columns
    }
    shop.tables["traffic"] = WEEKS_OF_TRAFFIC["traffic"]  # which has no text, and charts only where there are weeks of it
    again = f"select * replace ('C2' as customer_id) from ({shop.tables['customer_features']})"
    shop.tables["customer_features"] += f" union all {again}"  # a value of one customer alone is not shown
    write_shop(shop.settings)
    _write_files(shop)
    shop.publish()
    return shop


def _write_files(shop: ServedShop) -> None:
    place = shop.settings.place
    shop.settings.campaign_folder.mkdir()
    campaign = {"title": text("title"), "kind": text("kind"), "audience": "everyone", "value_per_conversion": 20}
    campaign |= {"channels": {"email": {"cost": 0.5}}}
    (shop.settings.campaign_folder / f"{SPRING}.yaml").write_text(yaml.safe_dump(campaign), encoding="utf-8")
    card = place.reports / "models" / "affinity" / "v7" / "card.md"
    card.parent.mkdir(parents=True)
    card.write_text(f"# affinity\n\n{text('feature')}\n\n[{MARKUP}](javascript:alert(1))\n", encoding="utf-8")
    at = pd.Timestamp("2026-04-29 08:00")
    entry = {"event_at": at, "send_at": at, "campaign_id": SPRING, "plan_version": "spring-0", "customer_id": CUSTOMER}
    entry |= {"arm": "contact", "channel": text("channel"), "detail": text("detail"), "contact_date": at.normalize()}
    events = pd.DataFrame([entry | {"event": event} for event in (APPROVED, SENT, SUPPRESSED, CLICKED)])
    append(place, events, datetime(2026, 4, 29, 8, tzinfo=UTC), text("by"))
    incident = Incident(text("job"), text("partition"), (), "2026-05-01", "run", text("message"), text("runbook"))
    incidents_file(place).write_text(json.dumps({"open": [asdict(incident)]}), encoding="utf-8")


def _row(columns: Mapping[str, str], own: Mapping[str, str]) -> str:
    """One row: the texts, and numbers and times that all charts can draw."""
    values = {name: own.get(name, CHOSEN.get(name, _value(name, kind))) for name, kind in columns.items()}
    return "select " + ", ".join(f"cast({literal(values[name])} as {kind}) as {quoted(name)}" for name, kind in columns.items())


def _value(name: str, kind: str) -> str:
    return text(name) if kind.upper() in {"VARCHAR", "STRING"} else VALUES.get(kind.upper(), "0.25" if "I" not in kind else "2")


def _of_dbt() -> dict[str, dict[str, str]]:
    """The columns of the marts, as the contracts of their models have them."""
    found = {}
    for file in (REPOSITORY / "dbt_project" / "models" / "marts").rglob("*.yml"):
        for model in yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader).get("models", ()):
            if model["name"] in MARTS:
                found[model["name"]] = {
                    column["name"]: column["data_type"].upper() for column in model.get("columns", ()) if "data_type" in column
                }
    return found
