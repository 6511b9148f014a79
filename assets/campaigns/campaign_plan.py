"""The daily campaign plan, made from the published version so that it blocks no slice."""

from datetime import UTC, date

import dagster as dg

from customer360.lake.publishing.profiles import with_next_contact
from customer360.lake.publishing.publications import file_tables
from customer360.lake.publishing.publishing import current_publication, reader, republish
from customer360.lake.reference.consents import consents_query
from customer360.lake.warehouse.frames import write_parquet
from ml.markdown import table
from ml.planning.plan_inputs import PlanInputs
from ml.planning.planning import plan_campaign
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.partitions import DAYS, day_key
from orchestration.resources import Platform

INPUTS = {
    "customers": "select customer_id, segment from rfm_segments",
    "touches": "select * from campaign_touch_history",
    "purchase_times": "select * from customer_purchase_times",
    "campaigns": "select * from campaigns",
    "offers": "select * from offers",
    "scores": "select * from customer_scores",
}

HEAD = ["channel", "contact_date", "daypart", "offer_id", "expected_conversion", "reason"]


@dg.asset(
    key=["campaigns", "campaign_plan"],
    deps=[["publishing", "published"], ["raw", "customers"]],
    group_name=groups.CAMPAIGNS,
    kinds={"pandas", "parquet"},
    owners=[MARKETING_TEAM],
    tags={"domain": "campaigns", "personal_data": "yes"},
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec(
            "every_customer_once",
            asset=["campaigns", "campaign_plan"],
            description="Every known customer has exactly one decision, with a reason.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "consent_is_respected",
            asset=["campaigns", "campaign_plan"],
            description="No contact goes through a channel that the customer has not allowed.",
            blocking=True,
        ),
    ],
)
def campaign_plan(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Who is contacted, through which channel, on which day and daypart, and why others are not. One row per customer."""
    settings = platform.settings()
    place = settings.place
    plan_date = planned_day(context, platform)
    with reader(place) as connection:
        frames = {name: connection.execute(query).df() for name, query in INPUTS.items()}
        frames["consents"] = connection.execute(consents_query(place, settings.shop)).df()
    plan = plan_campaign(PlanInputs(**frames), settings.shop, plan_date)
    allowed = frames["consents"][frames["consents"]["is_allowed"].fillna(value=False)]
    contacts = plan[plan["decision"] == "contact"]
    consented = contacts.merge(allowed, on=["customer_id", "channel"], how="inner")
    is_whole = plan["customer_id"].is_unique and len(plan) == len(frames["customers"]) and bool(plan["reason"].notna().all())
    write_parquet(place.plans / f"{plan_date:%Y-%m-%d}" / "campaign_plan.parquet", plan)
    tables = file_tables(place)
    profiles = with_next_contact("select * from published.main.customer_profiles", f"({tables['campaign_plan']})")
    republish(place, {"campaign_plan": tables["campaign_plan"], "customer_profiles": profiles}, platform.now())
    decisions = plan["decision"].value_counts()
    head = contacts.sort_values("expected_conversion", ascending=False).head(10)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": len(plan),
            **{f"decision_{str(name).replace(' ', '_')}": int(count) for name, count in decisions.items()},
            "mean_expected_conversion": float(contacts["expected_conversion"].mean()) if len(contacts) else 0.0,
            "head": dg.MetadataValue.md(table(head[HEAD])),
        },
        check_results=[
            dg.AssetCheckResult(check_name="every_customer_once", passed=bool(is_whole), metadata={"rows": len(plan)}),
            dg.AssetCheckResult(
                check_name="consent_is_respected",
                passed=len(consented) == len(contacts),
                metadata={"contacts": len(contacts), "with_consent": len(consented)},
            ),
        ],
    )


def planned_day(context: dg.AssetExecutionContext, platform: Platform) -> date:
    """The partition's day. Raises ``Failure`` for any other day than the published one: a plan is made of what is known now."""
    settings = platform.settings()
    current = current_publication(settings.place)
    if current is None or current.as_of is None:
        raise dg.Failure("nothing is published yet: run history_job or a slice first", allow_retries=False)
    today = day_key(settings.shop, current.as_of)
    if context.partition_key != today:
        raise dg.Failure(
            f"{context.partition_key} is not the day of what is published ({today}): plans and drift reports are made of what "
            "is known now, and an earlier day's stays as it was decided then",
            allow_retries=False,
        )
    return current.as_of.replace(tzinfo=UTC).astimezone(settings.shop.zone).date()
