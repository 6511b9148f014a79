"""A tiny shop, transformed by dbt and published by the product's own code, with the frames of ``ml`` beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from customer360.campaigns.ledger import holdout_salt
from customer360.lake.atomic import exclusive
from customer360.lake.publishing.nightly_tables import keep_nightly_tables
from customer360.lake.publishing.profiles import profiles_query
from customer360.lake.publishing.publications import publish_training_set
from customer360.lake.publishing.tables import TABLES, descriptions, published_tables
from customer360.lake.warehouse.frames import snapshot_folder, write_parquet
from customer360.mail.deliveries import write_deliveries
from customer360.offers.current import decide_everyone
from customer360.offers.decisions import PriorityList
from customer360.offers.outcomes import rebuild
from customer360.settings import REPOSITORY, Settings, load_shop
from ml.monitoring.report import empty_metrics
from ml.recommendations.backtest_table import keep_backtest
from ml.recommendations.cold_start import refresh_cold_start
from ml.serving import scoring, serving
from ml.serving.customer_value import Serving
from ml.serving.serving_tables import Tables
from orchestration.data_dictionary import read_manifest
from tests.support.lab import Dbt, Lab, shared_folder

SHOP = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")
NOW = datetime(2026, 5, 1, tzinfo=UTC)
# What assets/publishing/customer_profiles.py hands to the query.
PROFILE_RELATIONS = {
    "customer_features": "marts.customer_features",
    "customer_attributes": "marts.customer_attributes",
    "rfm_segments": "marts.rfm_segments",
    "customer_scores": "predictions.customer_scores",
    "customer_value": "predictions.customer_value",
    "customer_reasons": "predictions.customer_reasons",
    "last_activity": "intermediate.int_last_activity",
}


def empty(columns: Mapping[str, str]) -> pd.DataFrame:
    """A typed frame without rows."""
    return pd.DataFrame(columns=list(columns)).astype(dict(columns))


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """dbt's manifest of the project for the synthetic shop."""
    return read_manifest(Settings.from_environment({"SHOP": "synthetic"}))


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, manifest: dict[str, Any]) -> Lab:
    """The synthetic shop's published tables; the first of parallel test processes makes them, the others have a copy."""
    lab = Lab(SHOP, tmp_path_factory.mktemp("place") / "data", Dbt(tmp_path_factory))
    made = shared_folder(tmp_path_factory.getbasetemp()) / "docs-place"
    with exclusive(made.with_suffix(".lock")):
        if not made.exists():
            publish_tables(lab, manifest)
            shutil.copytree(lab.root, made, symlinks=True)
        else:
            shutil.copytree(made, lab.root, symlinks=True)
    return lab


def publish_tables(lab: Lab, manifest: dict[str, Any]) -> None:
    """The tables, published from one purchase and one view; scores, plan and reports have no rows."""
    _land(lab)
    lab.load_references()
    lab.run([datetime(2026, 4, 30, 16)])  # noqa: DTZ001 (the lab takes plain UTC)
    lab.transform("run", "--select", "tag:daily", "tag:training")
    place = lab.settings.place
    write_parquet(place.plans / "2026-04-30" / "campaign_plan.parquet", TABLES["campaign_plan"].empty())
    write_parquet(place.plans / "2026-04-30" / "campaign_briefs.parquet", TABLES["campaign_briefs"].empty())
    for name in ("product_affinity", "repurchase_intervals"):
        write_parquet(place.recommendations / f"{name}.parquet", TABLES[name].empty())
    write_parquet(place.campaigns / "channel_attribution.parquet", TABLES["channel_attribution"].empty())
    keep_backtest(place, "session_model", [], datetime(2026, 4, 30, 16, 15))  # noqa: DTZ001 (plain UTC)
    write_parquet(place.campaigns / "campaign_results.parquet", TABLES["campaign_results"].empty())
    for name in ("campaign_result_deciles", "campaign_result_days", "campaign_variant_results"):
        write_parquet(place.campaigns / f"{name}.parquet", TABLES[name].empty())
    write_deliveries(place, TABLES["email_deliveries"].empty().assign(is_in_agreement=True), [NOW.date()])
    for name in ("offer_results", "offer_policy_values"):
        write_parquet(place.offers / f"{name}.parquet", TABLES[name].empty())
    for name in ("customer_lifetime", "lifetime_backtest"):
        write_parquet(place.lifetime / f"{name}.parquet", TABLES[name].empty())
    holdout_salt(place, "salt", NOW, "a test")
    write_parquet(place.reports / "drift" / "2026-04-30.parquet", empty_metrics())
    write_parquet(place.models / "model_versions.parquet", TABLES["model_versions"].empty())
    write_parquet(snapshot_folder(place) / "day_key=2026-04-30" / "part.parquet", scoring.SCORE_SCHEMA.empty_table())
    with lab.opened() as connection:
        serving.serve(connection, Serving(), SHOP, Tables())
        rebuild(connection, lab.settings, "content", changed=False)
        decide_everyone(connection, lab.settings, PriorityList(), NOW)
        refresh_cold_start(connection, NOW.replace(tzinfo=None))
        connection.execute(f"create table publishing.customer_profiles as {profiles_query(SHOP, PROFILE_RELATIONS)}")
        keep_nightly_tables(place, connection)
        publish_training_set(connection, lab.settings, NOW, descriptions(published_tables(SHOP, manifest)))


def _land(lab: Lab) -> None:
    tables = {
        "customers": [{"customer_id": "C1", "consent_email": True, "age": 40}],
        "products": [{"product_id": "P1", "name": "Lens", "category_id": "photography", "price": 10}],
        "categories": [{"category_id": "photography", "name": "Photography"}],
        "offers": [{"offer_id": "F1", "name": "Ten percent", "starts_on": f"{date(2026, 4, 1)}"}],
        "campaigns": [{"campaign_id": "K1", "name": "Spring"}],
    }
    for table, rows in tables.items():
        folder = lab.landing / "reference" / table
        folder.mkdir(parents=True)
        (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    event = {"event_at": "2026-04-30T16:05:00Z", "customer_id": "C1", "product_id": "P1", "offer_id": "F1"}
    events = [
        {"event_id": "E1", "event_name": "view_item", **event},
        {"event_id": "E2", "event_name": "purchase", "order_id": "O1", "amount": 10, **event},
        {"event_id": "E3", "event_name": "view_promotion", **event},
    ]
    folder = lab.landing / "clicks" / "2026" / "04" / "30" / "1600"
    folder.mkdir(parents=True)
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in events), encoding="utf-8")
