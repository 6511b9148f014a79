"""A day's plan on a small published place: for the published day only, with the consents of this very run.

The assets of ``daily_job`` are materialized here without dbt's; ``asset_graph.json`` pins that the job holds just these.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
import yaml

from assets.campaigns import campaign_plan
from assets.campaigns.campaign_ledger import campaign_ledger
from assets.campaigns.campaign_plan import campaign_plans
from assets.campaigns.campaign_results import campaign_results
from assets.monitoring.drift_report import CHECKS as DRIFT_CHECKS
from assets.monitoring.drift_report import drift
from assets.raw.reference import REFERENCE_ASSETS
from customer360.campaigns.approval import approve
from customer360.campaigns.definition import load_campaigns
from customer360.campaigns.drafts import definition_of, message_of
from customer360.campaigns.overview import campaign_overviews
from customer360.campaigns.sending import send
from customer360.decisions import DecisionRefused, Request
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import current_publication, open_version
from customer360.lake.reference.reference import load_reference
from customer360.mail.message import load_messages
from customer360.settings import REPOSITORY, Settings
from customer360.snapshot import published_touches
from ml.planning.violations import RULES
from orchestration.decision_jobs import approve_campaign
from orchestration.resources import Platform

TINY = REPOSITORY / "tests" / "shops" / "tiny" / "shop.yaml"
AS_OF = datetime(2026, 5, 1, 22, 30, tzinfo=UTC)
DAY = "2026-05-02"  # half past midnight in Amsterdam
PLAN, BRIEFS = dg.AssetKey(["campaigns", "campaign_plan"]), dg.AssetKey(["campaigns", "campaign_briefs"])
LEDGER, RESULTS = dg.AssetKey(["campaigns", "campaign_ledger"]), dg.AssetKey(["campaigns", "campaign_results"])
PLANS = (PLAN, BRIEFS)
DRIFT = dg.AssetKey(["monitoring", "drift_report"])
REFERENCE = [asset.key for asset in REFERENCE_ASSETS]
# C1 has withdrawn email since what is published was made; C3 allows nothing; nothing is known of C4.
BEFORE = "customer_id,consent_email,consent_call,consent_sms\nC1,true,true,false\nC2,false,false,true\nC3,,,\n"
NOW = BEFORE.replace("C1,true", "C1,false")
PUBLISHED = {
    "rfm_segments": "select unnest(['C1', 'C2', 'C3', 'C4']) as customer_id, 'Loyal' as segment",
    "customer_time_zones": "select unnest(['C1', 'C2', 'C3', 'C4']) as customer_id, 'Europe/Amsterdam' as time_zone",
    # Email would be the best channel, were it allowed. Every contact converted, and none of as many controls.
    "campaign_touch_history": "select range::varchar as touch_id, 'K0' as campaign_id, 'C1' as customer_id, "
    "if(range < 50, 'email', null) as channel, "
    "timestamp '2026-04-01' as touched_at, true as is_time_known, date '2026-04-01' as local_date, "
    "null::integer as day_of_week, null::integer as local_hour, range < 50 as is_converted, "
    "if(range < 50, timestamp '2026-04-01', null) as converted_at, range >= 50 as is_control, false as is_randomised "
    "from range(100)",
    "customer_purchase_times": "select unnest(['C1', 'C2']) as customer_id, 3 as day_of_week, 19 as local_hour, 2 as orders",
    "customer_orders": "select 'C1' as customer_id, 'O1' as order_id, timestamp '2026-04-20 10:00' as ordered_at, "
    "10.00::decimal(18, 2) as amount, 1 as lines, timestamp '2026-05-01 22:30' as as_of",
    "campaign_activity": "select null::varchar as campaign_id, null::varchar as customer_id, null::varchar as activity, "
    "null::timestamp as event_at where false",
    "campaigns": "select 'K0' as campaign_id, 'Old' as name, null::varchar as kind, null::varchar as offer_id, "
    "date '2026-04-01' as starts_on, date '2026-06-01' as ends_on",
    "offers": "select 'F1' as offer_id, 'Ten percent' as name, null::varchar as category_id, null::varchar as product_id, "
    "null::varchar as condition, 1 as priority, date '2026-04-01' as starts_on, date '2026-06-01' as ends_on",
    # C3 still shows a contact of the last plan.
    "customer_profiles": "select customer_id, timestamp '2026-05-01 22:30' as as_of, 'Loyal' as segment, "
    "date '2026-04-29' as next_contact_on, 'email' as next_contact_channel, 'morning' as next_contact_daypart, "
    "'K0' as next_contact_campaign_id from unnest(['C1', 'C2', 'C3', 'C4']) as t (customer_id)",
    "customer_features": "select unnest(['C1', 'C2', 'C3', 'C4']) as customer_id, unnest([40, 20, 50, null]) as age",
    "training_features": "select 1 as cutoff_no, 'C1' as customer_id",
    "traffic": "select 7 as views",
}
SPRING = """
title: Spring
offer_id: F1
audience: everyone
value_per_conversion: 30
budget: 10
channels: {email: {cost: 0.02}, call: {cost: 2, capacity_per_day: 3}, sms: {cost: 0.1}}
send_windows: [{from: 8, to: 20}]
holdout_share: 0
exploration_share: 0
"""


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

    def publish(self, **changes: str) -> None:
        with duckdb.connect() as connection:
            publish(self.settings.place, connection, {**PUBLISHED, **changes}, AS_OF, AS_OF)

    def run(self, *keys: dg.AssetKey, day: str = DAY) -> dg.ExecuteInProcessResult:
        platform = Platform(shop_folder=str(self.settings.shop_folder), data_dir=str(self.settings.place.root))
        return dg.materialize(
            [*REFERENCE_ASSETS, campaign_ledger, campaign_plans, campaign_results, drift],
            selection=dg.AssetSelection.assets(*keys),
            partition_key=day if {*keys} - {LEDGER, RESULTS} else None,
            resources={"platform": platform},
            raise_on_error=False,
        )

    def files(self) -> dict[str, pd.DataFrame]:
        """The plan of the day and its briefs, as they were written."""
        folder = self.settings.place.plans / DAY
        return {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with open_version(self.settings.place) as version:
            return version.connection.execute(sql).fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Day:
    """The tiny shop with one campaign and without a holdout, so that every customer with a consent is contacted."""
    shop = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    shop["campaigns"]["global_holdout_share"] = 0
    (tmp_path / "shop" / "campaigns").mkdir(parents=True)
    (tmp_path / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    (tmp_path / "shop" / "campaigns" / "spring.yaml").write_text(SPRING, encoding="utf-8")
    return Day(Settings.load(tmp_path / "shop", tmp_path / "data"))


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The message of the one failed step."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


CONTACTS = (
    "select customer_id, next_contact_channel, next_contact_campaign_id, next_contact_status from customer_profiles order by 1"
)
# Every rule of plans, valid files, the gap and the holdouts. A holdout of nobody can measure nothing.
WELL = {**dict.fromkeys([*RULES, "campaign_files_are_valid", "plans_are_close_to_the_best"], True)}


def test_a_run_loads_the_consents_then_plans_and_shows_the_next_contacts(place: Day) -> None:
    place.land_customers(BEFORE)
    place.load_customers()
    place.publish()
    place.land_customers(NOW)
    result = place.run(*REFERENCE, LEDGER, *PLANS, RESULTS, DRIFT)

    # Without a champion there is nothing to compare with: the report says so and warns, and the run succeeds.
    assert result.success
    assert str(metadata(result, DRIFT)["report"]).startswith("No report: no affinity model serves")
    assert checks(result).items() >= dict.fromkeys(DRIFT_CHECKS, False).items()
    assert WELL.items() <= checks(result).items()

    assert place.rows('select customer_id, decision, reason, channel, "cost" from campaign_plan order by 1') == [
        ("C1", "contact", "contact", "call", 2),
        ("C2", "contact", "contact", "sms", 0.1),
        ("C3", "left out", "no consent", None, None),
        ("C4", "left out", "no consent", None, None),
    ]
    assert place.rows("select distinct plan_date, offer_id from campaign_plan where decision = 'contact'") == [
        (date(2026, 5, 2), "F1")
    ]
    nobody = (None, None, None)
    assert place.rows(CONTACTS) == [
        ("C1", "call", "spring", "draft"),
        ("C2", "sms", "spring", "draft"),
        ("C3", *nobody),
        ("C4", *nobody),
    ]
    days = [day for (day,) in place.rows("select next_contact_on from customer_profiles order by customer_id")]
    assert all(date(2026, 5, 3) <= day <= date(2026, 5, 9) for day in days[:2])
    assert days[2:] == [None, None]
    shown = metadata(result, PLAN)
    assert shown["decision_contact"] == shown["decision_left_out"] == 2
    assert shown["cost"] == 2.1
    assert shown["expected_value"] == round(shown["expected_value"], 2) > 0
    assert shown["values"].startswith("no response model serves, so responses are smoothed rates")
    assert "data:image/png;base64," in shown["contacts_by_channel_and_day"]
    assert place.rows('select campaign_id, contacts, left_out_reasons, "cost" from campaign_briefs') == [
        ("spring", 2, "no consent 2", 2.1)
    ]
    # Everything else is published as it was.
    assert place.rows("select * from traffic") == [(7,)]
    publication = current_publication(place.settings.place)
    assert publication is not None
    assert publication.as_of == AS_OF

    kept = pd.read_parquet(place.settings.place.plans / DAY / "campaign_plan.parquet")
    assert place.run(*PLANS).success
    pd.testing.assert_frame_equal(pd.read_parquet(place.settings.place.plans / DAY / "campaign_plan.parquet"), kept)


# The functions of the plan's asset that run between its first read and its last one.
BETWEEN = ["load_shop_campaigns", "served_predictions", "plan_campaigns", "briefs"]


@pytest.mark.parametrize("step", BETWEEN)
def test_a_version_that_is_published_while_a_plan_is_made_is_no_part_of_it(
    place: Day, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    place.land_customers(NOW)
    place.load_customers()
    place.publish()
    assert place.run(*PLANS).success
    expected = place.files()
    later = {
        "rfm_segments": "select unnest(['C1', 'C5']) as customer_id, 'Champions' as segment",
        "customer_time_zones": "select unnest(['C1', 'C5']) as customer_id, 'Asia/Tokyo' as time_zone",
        "customer_features": "select unnest(['C1', 'C5']) as customer_id, unnest([40, 20]) as age",
        "customer_orders": PUBLISHED["customer_orders"].replace("2026-04-20", "2026-04-22").replace("'C1'", "'C2'"),
        "campaign_touch_history": PUBLISHED["campaign_touch_history"].replace("'email'", "'call'"),
    }
    original = getattr(campaign_plan, step)

    def publishing_first(*arguments: Any, **named: Any) -> Any:
        with duckdb.connect() as connection:
            publish(place.settings.place, connection, {**PUBLISHED, **later}, AS_OF + timedelta(days=2), AS_OF)
        return original(*arguments, **named)

    monkeypatch.setattr(campaign_plan, step, publishing_first)
    result = place.run(*PLANS)
    assert result.success, failure(result)
    for name, frame in place.files().items():
        pd.testing.assert_frame_equal(frame, expected[name])
    # What was published meanwhile is not gone back on.
    assert place.rows("select distinct segment from rfm_segments") == [("Champions",)]


def test_a_draft_keeps_the_definition_that_it_was_made_from(place: Day) -> None:
    place.land_customers(NOW)
    place.load_customers()
    place.publish()
    assert place.run(*PLANS).success
    file = place.settings.campaign_folder / "spring.yaml"
    versions = []
    for budget in (10.0, 5.0):
        file.write_text(SPRING.replace("budget: 10", f"budget: {budget}"), encoding="utf-8")
        assert place.run(*PLANS).success
        [(version,)] = place.rows("select distinct plan_version from campaign_plan")
        versions.append(version)
        kept = definition_of(place.settings.place, "spring", version)
        assert kept is not None
        assert kept == load_campaigns(file.parent, place.settings.shop)[0][0]
        assert kept.budget == budget
    # The definition of the draft before is still there: somebody may be reading it.
    assert versions[0] != versions[1]
    assert definition_of(place.settings.place, "spring", versions[0]) is not None


def test_a_time_zone_that_python_does_not_know_warns_and_stops_no_plan(place: Day) -> None:
    place.land_customers(NOW)
    place.load_customers()
    place.publish(customer_time_zones="select unnest(['C1', 'C2']) as customer_id, unnest(['PST', 'Asia/Tokyo']) as time_zone")
    result = place.run(*PLANS)
    assert result.success
    assert WELL.items() <= checks(result).items()
    assert checks(result)["time_zones_are_known"] is False
    (found,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "time_zones_are_known"]
    assert {name: entry.value for name, entry in found.metadata.items()} == {"customers": 4, "with_unknown_zone": 1}
    # From eight o'clock on, two hours ahead of UTC in the shop, nine in Tokyo.
    hours = dict(place.rows("select customer_id, hour(send_at) from campaign_plan where decision = 'contact'"))
    assert hours["C1"] in {6, 10, 16}
    assert hours["C2"] in {23, 3, 9}


def test_a_bad_campaign_file_is_reported_and_leaves_the_others_running(place: Day) -> None:
    place.land_customers(NOW)
    place.load_customers()
    place.publish()
    (place.settings.campaign_folder / "broken.yaml").write_text("title: Broken\naudience: agee > 3\n", encoding="utf-8")
    (place.settings.campaign_folder / "unpublished.yaml").write_text(
        SPRING.replace("everyone", "label = 'fitness'"), encoding="utf-8"
    )
    result = place.run(*PLANS)
    assert result.success
    assert checks(result)["campaign_files_are_valid"] is False
    assert place.rows("select distinct campaign_id from campaign_plan") == [("spring",)]
    (found,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "campaign_files_are_valid"]
    problems = str(found.metadata["problems"].value)
    assert "broken.yaml" in problems
    assert "value\\_per\\_conversion" in problems or "value_per_conversion" in problems
    assert "customer_scores" in problems or "customer\\_scores" in problems


def test_what_is_approved_is_sent_counted_and_judged(place: Day) -> None:
    place.land_customers(NOW)
    place.load_customers()
    place.publish()
    assert place.run(*PLANS).success
    settings = place.settings
    [(version,)] = place.rows("select distinct plan_version from campaign_plan")
    request = Request("looks right", AS_OF, "a test")
    approve(settings, "spring", version, request, AS_OF, touches=published_touches(settings))
    assert {row[3] for row in place.rows(CONTACTS) if row[0] in {"C1", "C2"}} == {"approved"}
    contacts = place.rows("select customer_id, send_at from campaign_plan where decision = 'contact' order by 1")
    for send_at in sorted({moment for _, moment in contacts}):
        assert send(settings, AS_OF, send_at.replace(tzinfo=UTC), "a test").suppressed == {}
    # C1 orders a day after the call, C2 four days after the message: too late.
    orders = " union all ".join(
        f"select '{customer}' as customer_id, 'after' as order_id, timestamp '{send_at + later}' as ordered_at, "
        "50.00::decimal(18, 2) as amount, 1 as lines, timestamp '2026-06-01' as as_of"
        for (customer, send_at), later in zip(contacts, (timedelta(days=1), timedelta(days=4)), strict=True)
    )
    with duckdb.connect() as connection:
        publish(settings.place, connection, {**PUBLISHED, "customer_orders": orders}, AS_OF, AS_OF)
    result = place.run(LEDGER, *PLANS, RESULTS)
    assert result.success
    assert WELL.items() <= checks(result).items()
    assert place.rows("select customer_id, event from campaign_ledger where event in ('sent', 'converted') order by 1, 2") == [
        ("C1", "converted"),
        ("C1", "sent"),
        ("C2", "sent"),
    ]
    assert place.rows("select customer_id, decision, reason from campaign_plan order by 1") == [
        ("C1", "left out", "frequency cap"),
        ("C2", "left out", "frequency cap"),
        ("C3", "left out", "no consent"),
        ("C4", "left out", "no consent"),
    ]
    assert place.rows(
        'select arm, customers, contacted, converted, revenue, "cost", is_closed from campaign_results order by arm'
    ) == [("contact", 2, 2, 1, 50.0, 2.1, True), ("holdout", 0, 0, 0, None, 0.0, True)]
    ledger = place.rows("select count(*) from campaign_ledger")
    assert place.run(LEDGER).success
    assert place.rows("select count(*) from campaign_ledger") == ledger


class AtThePlan(Platform):
    """A shop whose clocks show the moment of the plan."""

    def now(self) -> datetime:
        return AS_OF

    def shop_now(self) -> datetime:
        return AS_OF


def approval(place: Day, version: str, **more: bool) -> dg.ExecuteInProcessResult:
    """The run of approve_campaign as somebody starts it in the launchpad."""
    config = {"campaign": "spring", "version": version, "reason": "to find out", **more}
    platform = AtThePlan(shop_folder=str(place.settings.shop_folder), data_dir=str(place.settings.place.root))
    return approve_campaign.execute_in_process(
        resources={"platform": platform}, run_config={"ops": {"approve_plan": {"config": config}}}, raise_on_error=False
    )


# 600 customers of whom 5% order in three days, and none of whom was ever contacted.
PEOPLE = "select 'P' || lpad(n::varchar, 3, '0') as customer_id, {0} from range(600) as numbers (n)"
PURCHASES_ONLY = {
    **{name: f"{PUBLISHED[name]} limit 0" for name in ("campaign_touch_history", "campaigns")},
    "rfm_segments": PEOPLE.format("'Loyal' as segment"),
    "customer_time_zones": PEOPLE.format("'Europe/Amsterdam' as time_zone"),
    "customer_features": PEOPLE.format("40 as age"),
    "customer_purchase_times": PEOPLE.format("3 as day_of_week, 19 as local_hour, 2 as orders"),
    "customer_orders": PEOPLE.format(
        "'O' || n as order_id, timestamp '2026-05-01 12:00' - interval 1 day * (n % 27) as ordered_at, "
        "10.00::decimal(18, 2) as amount, 1 as lines, timestamp '2026-05-01 22:30' as as_of"
    )
    + " where n < 270",
}


def test_without_past_contacts_a_plan_supposes_says_so_and_is_approved_only_where_that_is_known(place: Day) -> None:
    place.land_customers(
        "customer_id,consent_email,consent_call,consent_sms\n" + "".join(f"P{n:03},true,true,true\n" for n in range(600))
    )
    place.load_customers()
    file = place.settings.shop_folder / "campaigns" / "spring.yaml"
    file.write_text(SPRING.replace("budget: 10", "budget: 1000"), encoding="utf-8")
    place.publish(**PURCHASES_ONLY)
    result = place.run(LEDGER, *PLANS, RESULTS)
    assert result.success
    # 270 orders in 9 windows of 3 days, of 600 customers, no two in one window: 5% order anyway. A contact is supposed to add
    # .5 percentage points, by .5 * sqrt(.05 * .95 / (.0057 * .9943)) = 1.45 of standard deviation.
    [row] = place.rows(
        "select value_basis, base_rate, expected_effect, contacts, holdouts, explorers, expected_profit, profit_low, "
        'profit_high, "cost", is_measurable from campaign_briefs'
    )
    assert row[0] == "prior: no contacts with known outcome"
    assert row[1:3] == (pytest.approx(0.05, rel=0.1), pytest.approx(0.005, rel=0.1))
    contacts, holdouts, explorers, profit, low, high, costs, is_measurable = row[3:]
    assert 240 <= contacts <= 360 and contacts + holdouts == 600  # half of them: no holdout finds so little of so few
    assert 100 <= explorers <= 200
    assert profit == pytest.approx(contacts * 0.005 * 30 - costs, rel=0.1)
    assert high - low > 2 * 1.96 * 0.0145 * contacts * 30
    assert low < 0 and is_measurable is False
    assert checks(result)["effects_can_be_measured"] is False
    assert place.rows("select count(*) from campaign_plan where decision = 'contact' and channel = 'call'") == [(0,)]
    shown = metadata(result, BRIEFS)["briefs"]
    assert "What a contact adds is unknown (prior: no contacts with known outcome)" in shown
    assert "supposed, not measured" in shown
    assert "expected_profit" not in metadata(result, BRIEFS)
    assert metadata(result, RESULTS)["profit"] == "no effect is measured yet"

    [(version,)] = place.rows("select distinct plan_version from campaign_plan")
    refused = approval(place, version)
    assert not refused.success
    assert "was not measured (prior: no contacts with known outcome)" in failure(refused)
    assert place.rows("select count(*) from campaign_ledger where event = 'approved'") == [(0,)]
    assert approval(place, version, without_evidence=True).success
    assert place.rows("select distinct detail from campaign_ledger where event = 'approved'") == [
        ("without evidence (prior: no contacts with known outcome): to find out",)
    ]
    (overview,) = campaign_overviews(place.settings)
    assert overview.versions[0].is_unproven

    # A third of the contacted orders within a day, nobody of those held out: the next plan counts on what was measured.
    ends = place.rows("select customer_id, decision, send_at from campaign_plan where send_at is not null order by 1")
    for moment in sorted({send_at for _, decision, send_at in ends if decision == "contact"}):
        send(place.settings, AS_OF, moment.replace(tzinfo=UTC), "a test")
    bought = [(who, at) for who, decision, at in ends if decision == "contact" and int(who[1:]) % 3 == 0]
    rows = ", ".join(f"('{who}', timestamp '{at + timedelta(hours=20)}')" for who, at in bought)
    orders = (
        "select customer_id, 'new' || customer_id as order_id, ordered_at, 10.00::decimal(18, 2) as amount, 1 as lines, "
        f"timestamp '2026-06-01' as as_of from (values {rows}) as t (customer_id, ordered_at)"
    )
    later = datetime(2026, 5, 31, 22, 30, tzinfo=UTC)
    with duckdb.connect() as connection:
        publish(place.settings.place, connection, {**PUBLISHED, **PURCHASES_ONLY, "customer_orders": orders}, later, later)
    file.with_stem("summer").write_text(SPRING.replace("budget: 10", "budget: 1000"), encoding="utf-8")
    assert place.run(LEDGER, *PLANS, RESULTS, day="2026-06-01").success
    [(basis, effect, held)] = place.rows(
        "select value_basis, expected_effect, holdouts from campaign_briefs where campaign_id = 'summer'"
    )
    assert (basis, held) == ("incremental", 0)  # the file's own holdout_share
    [(lift,)] = place.rows("select lift from campaign_results where arm = 'contact'")
    assert lift == pytest.approx(1 / 3, abs=0.05)
    assert effect == pytest.approx(lift, rel=0.15)


@pytest.mark.parametrize("keys", [PLANS, (DRIFT,)], ids=["plan", "drift"])
def test_another_day_than_the_published_one_is_refused(place: Day, keys: Sequence[dg.AssetKey]) -> None:
    place.publish()
    for day in ("2026-05-01", "2026-05-03"):
        result = place.run(*keys, day=day)
        assert not result.success
        assert failure(result).startswith(f"{day} is not the day of what is published (2026-05-02): ")
    assert not place.settings.place.plans.exists()
    publication = current_publication(place.settings.place)
    assert publication is not None
    assert publication.version == 1


@pytest.mark.parametrize("keys", [PLANS, (DRIFT,), (LEDGER,), (RESULTS,)], ids=["plan", "drift", "ledger", "results"])
def test_before_the_first_publication_the_run_says_what_to_do_first(place: Day, keys: Sequence[dg.AssetKey]) -> None:
    assert failure(place.run(*keys)) == "nothing is published yet: run history_job or a slice first"


@pytest.mark.parametrize("text", [None, "customer_id\nC1\nC2\n"], ids=["no table", "no answers"])
def test_without_consents_nobody_is_contacted(place: Day, text: str | None) -> None:
    keys: Sequence[dg.AssetKey] = PLANS
    if text:
        place.land_customers(text)
        keys = [dg.AssetKey(["raw", "customers"]), *PLANS]
    place.publish()
    result = place.run(*keys)
    assert result.success
    assert WELL.items() <= checks(result).items()
    assert place.rows("select distinct decision, reason from campaign_plan") == [("left out", "no consent")]
    assert {row[1:] for row in place.rows(CONTACTS)} == {(None, None, None)}


def test_a_broken_customer_table_stops_the_plan_before_it_relies_on_old_consents(place: Day) -> None:
    place.land_customers(BEFORE)
    place.load_customers()
    place.publish()
    place.land_customers(NOW.replace("true", "perhaps"))  # two of three rows, so that the table is broken and not a row of it
    result = place.run(*REFERENCE, *PLANS)
    assert not result.success
    assert "customers" in failure(result)
    assert not place.settings.place.plans.exists()


def test_a_plan_that_breaks_a_rule_is_not_published(place: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    place.land_customers(NOW)
    place.load_customers()
    place.publish()
    planned = campaign_plan.plan_campaigns

    def careless(*arguments: Any) -> Any:
        made = planned(*arguments)
        made.plans[0].rows.loc[made.plans[0].rows["customer_id"] == "C1", "channel"] = "email"
        return made

    monkeypatch.setattr(campaign_plan, "plan_campaigns", careless)
    result = place.run(*PLANS)
    assert not result.success
    assert checks(result)["consent_is_respected"] is False
    assert "a contact by email without consent" in failure(result)
    assert not place.settings.place.plans.exists()


def test_a_campaign_with_a_message_mails_an_address_once_and_is_approved_with_words_that_may_be_sent(place: Day) -> None:
    folder, synthetic = place.settings.shop_folder, REPOSITORY / "shops" / "synthetic"
    email = yaml.safe_load((synthetic / "shop.yaml").read_text(encoding="utf-8"))["email"]
    shop = yaml.safe_load((folder / "shop.yaml").read_text(encoding="utf-8"))
    (folder / "shop.yaml").write_text(yaml.safe_dump({**shop, "email": email}), encoding="utf-8")
    shutil.copytree(synthetic / "messages" / "offer", folder / "messages" / "offer")
    channels = "channels: {email: {cost: 0.02}, call: {cost: 2, capacity_per_day: 3}, sms: {cost: 0.1}}"
    by_mail = SPRING.replace(channels, "channels: {email: {cost: 0.02}}") + "message: offer\n"
    (folder / "campaigns" / "spring.yaml").write_text(by_mail, encoding="utf-8")
    place = Day(Settings.load(folder, place.settings.place.root))
    place.land_customers(
        "customer_id,consent_email,email\nC1,true,anna@example.com\nC2,true,Anna@example.com\nC3,true,nobody@localhost\nC4,true,\n"
    )
    place.load_customers()
    place.publish()

    result = place.run(*PLANS)
    assert result.success, failure(result)
    assert WELL.items() <= checks(result).items()
    rows = place.rows("select reason, variant, count(*) from campaign_plan group by all order by all")
    assert rows == [("address has a contact already", None, 1), ("contact", "A", 1), ("no address", None, 2)]
    [(version,)] = place.rows("select distinct plan_version from campaign_plan")
    (planned,), _ = load_messages(place.settings)
    assert message_of(place.settings.place, "spring", version) == planned

    body = folder / "messages" / "offer" / "body.mjml"
    body.write_text(body.read_text(encoding="utf-8").replace("{{ link.unsubscribe }}", "{{ link.shop }}"), encoding="utf-8")
    result = place.run(*PLANS)
    assert result.success, failure(result)
    assert checks(result)["campaign_files_are_valid"] is False
    [(unsendable,)] = place.rows("select distinct plan_version from campaign_plan")
    request, touches = Request("looks right", AS_OF, "a test"), published_touches(place.settings)
    with pytest.raises(DecisionRefused, match="may not be sent"):
        approve(place.settings, "spring", unsendable, request, AS_OF, touches=touches)
