"""A day's plan on a small published place: for the published day only, with the consents of this very run.

The assets of ``daily_job`` are materialized here without dbt's; ``asset_graph.json`` pins that the job holds just these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
import yaml

from assets.campaigns.campaign_plan import campaign_plan
from assets.monitoring.drift_report import drift
from assets.raw.reference import REFERENCE_ASSETS
from customer360.lake.publishing.publishing import current_publication, publish, reader
from customer360.lake.reference.reference import load_reference
from customer360.settings import REPOSITORY, Settings
from orchestration.resources import Platform

TINY = REPOSITORY / "tests" / "shops" / "tiny" / "shop.yaml"
AS_OF = datetime(2026, 5, 1, 22, 30, tzinfo=UTC)
DAY = "2026-05-02"  # half past midnight in Amsterdam
PLAN, DRIFT = dg.AssetKey(["campaigns", "campaign_plan"]), dg.AssetKey(["monitoring", "drift_report"])
REFERENCE = [asset.key for asset in REFERENCE_ASSETS]
# C1 has withdrawn email since what is published was made; C3 allows nothing; nothing is known of C4.
BEFORE = "customer_id,consent_email,consent_call,consent_sms\nC1,true,true,false\nC2,false,false,true\nC3,,,\n"
NOW = BEFORE.replace("C1,true", "C1,false")
PUBLISHED = {
    "rfm_segments": "select unnest(['C1', 'C2', 'C3', 'C4']) as customer_id, 'Loyal' as segment",
    "customer_scores": "select null::varchar as customer_id, null::varchar as category_id, null::double as probability, "
    "null::integer as rank, null::varchar as model_version where false",
    # Email would be the best channel, were it allowed.
    "campaign_touch_history": "select 'C1' as customer_id, 'K0' as campaign_id, 'email' as channel, "
    "null::integer as day_of_week, null::integer as local_hour, true as is_converted, "
    "timestamp '2026-04-01' as touched_at from range(50)",
    "customer_purchase_times": "select unnest(['C1', 'C2']) as customer_id, 3 as day_of_week, 19 as local_hour, 2 as orders",
    "campaigns": "select 'K1' as campaign_id, 'Spring' as name, null::varchar as kind, 'F1' as offer_id, "
    "date '2026-04-01' as starts_on, date '2026-06-01' as ends_on",
    "offers": "select 'F1' as offer_id, 'Ten percent' as name, null::varchar as category_id, null::varchar as product_id, "
    "null::varchar as condition, 1 as priority, date '2026-04-01' as starts_on, date '2026-06-01' as ends_on",
    # C3 still shows a contact of the last plan.
    "customer_profiles": "select customer_id, 'Loyal' as segment, date '2026-04-29' as next_contact_on, "
    "'email' as next_contact_channel, 'morning' as next_contact_daypart, 'K0' as next_contact_campaign_id "
    "from unnest(['C1', 'C2', 'C3', 'C4']) as t (customer_id)",
    "customer_features": "select 'C1' as customer_id",
    "training_features": "select 1 as cutoff_no, 'C1' as customer_id",
    "traffic": "select 7 as views",
}


@dataclass
class Day:
    """A place, and runs of the daily assets on it."""

    settings: Settings

    def land_customers(self, text: str) -> None:
        folder = self.settings.place.landing / "reference" / "customers"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "customers.csv").write_text(text, encoding="utf-8")

    def load_customers(self) -> None:
        load_reference(self.settings, "customers", AS_OF)

    def publish(self) -> None:
        with duckdb.connect() as connection:
            publish(self.settings.place, connection, PUBLISHED, AS_OF, AS_OF)

    def run(self, *keys: dg.AssetKey, day: str = DAY) -> dg.ExecuteInProcessResult:
        platform = Platform(shop_folder=str(self.settings.shop_folder), data_dir=str(self.settings.place.root))
        return dg.materialize(
            [*REFERENCE_ASSETS, campaign_plan, drift],
            selection=dg.AssetSelection.assets(*keys),
            partition_key=day,
            resources={"platform": platform},
            raise_on_error=False,
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with reader(self.settings.place) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Day:
    """The tiny shop without a holdout, so that every customer with a consent is contacted."""
    shop = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    shop["contact_rules"]["holdout_share"] = 0
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    return Day(Settings.load(tmp_path / "shop", tmp_path / "data"))


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Words of the one failed step."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


CONTACTS = "select customer_id, next_contact_channel, next_contact_campaign_id from customer_profiles order by 1"


def test_a_run_loads_the_consents_then_plans_and_shows_the_next_contacts(place: Day) -> None:
    place.land_customers(BEFORE)
    place.load_customers()
    place.publish()
    place.land_customers(NOW)
    result = place.run(*REFERENCE, PLAN, DRIFT)

    # Without a champion there is nothing to compare with; the plan does not wait for that.
    assert not result.success
    assert failure(result) == "there is no champion to compare with yet: run training_job first"
    assert checks(result) == {"every_customer_once": True, "consent_is_respected": True}

    assert place.rows("select customer_id, decision, channel from campaign_plan order by 1") == [
        ("C1", "contact", "call"),
        ("C2", "contact", "sms"),
        ("C3", "left out", None),
        ("C4", "left out", None),
    ]
    assert place.rows("select distinct plan_date from campaign_plan") == [(date(2026, 5, 2),)]
    assert place.rows(CONTACTS) == [("C1", "call", "K1"), ("C2", "sms", "K1"), ("C3", None, None), ("C4", None, None)]
    days = [day for (day,) in place.rows("select next_contact_on from customer_profiles order by customer_id")]
    assert all(date(2026, 5, 3) <= day <= date(2026, 5, 9) for day in days[:2])
    assert days[2:] == [None, None]
    assert metadata(result, PLAN)["decision_contact"] == metadata(result, PLAN)["decision_left_out"] == 2
    # Everything else is published as it was.
    assert place.rows("select * from traffic") == [(7,)]
    publication = current_publication(place.settings.place)
    assert publication is not None
    assert (publication.version, publication.as_of) == (2, AS_OF)

    kept = pd.read_parquet(place.settings.place.plans / DAY / "campaign_plan.parquet")
    assert place.run(PLAN).success
    pd.testing.assert_frame_equal(pd.read_parquet(place.settings.place.plans / DAY / "campaign_plan.parquet"), kept)


@pytest.mark.parametrize("key", [PLAN, DRIFT], ids=["plan", "drift"])
def test_another_day_than_the_published_one_is_refused(place: Day, key: dg.AssetKey) -> None:
    place.publish()
    for day in ("2026-05-01", "2026-05-03"):
        result = place.run(key, day=day)
        assert not result.success
        assert failure(result).startswith(f"{day} is not the day of what is published (2026-05-02): ")
    assert not place.settings.place.plans.exists()
    publication = current_publication(place.settings.place)
    assert publication is not None
    assert publication.version == 1


@pytest.mark.parametrize("key", [PLAN, DRIFT], ids=["plan", "drift"])
def test_before_the_first_publication_the_run_says_what_to_do_first(place: Day, key: dg.AssetKey) -> None:
    assert failure(place.run(key)) == "nothing is published yet: run history_job or a slice first"


@pytest.mark.parametrize("text", [None, "customer_id\nC1\nC2\n"], ids=["no table", "no answers"])
def test_without_consents_nobody_is_contacted(place: Day, text: str | None) -> None:
    keys: Sequence[dg.AssetKey] = [PLAN]
    if text:
        place.land_customers(text)
        keys = [dg.AssetKey(["raw", "customers"]), PLAN]
    place.publish()
    result = place.run(*keys)
    assert result.success
    assert checks(result) == {"every_customer_once": True, "consent_is_respected": True}
    assert place.rows("select distinct decision, reason from campaign_plan") == [("left out", "no consent for any channel")]
    assert {row[1:] for row in place.rows(CONTACTS)} == {(None, None)}


def test_a_broken_customer_table_stops_the_plan_before_it_relies_on_old_consents(place: Day) -> None:
    place.land_customers(BEFORE)
    place.load_customers()
    place.publish()
    place.land_customers(NOW + "C1,true,true,true\n")
    result = place.run(*REFERENCE, PLAN)
    assert not result.success
    assert "1 keys (customer_id) appear more than once" in failure(result)
    assert not place.settings.place.plans.exists()
