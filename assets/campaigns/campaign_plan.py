"""The daily plans of all campaigns and their briefs, made from the published version so that they block no slice."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from customer360.campaigns.definition import Campaign, CampaignProblem, load_shop_campaigns
from customer360.campaigns.drafts import MEASURED, write_definition
from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import write_parquet
from customer360.mail.plan_check import message_faults
from customer360.settings import Shop
from ml.markdown import picture_in_text, table
from ml.planning.briefs import briefs, contact_calendar, heat_map, to_markdown
from ml.planning.campaign_planning import Planning, plan_campaigns
from ml.planning.inputs import audiences_of, planning_inputs
from ml.planning.serving import Served, served_predictions
from ml.planning.violations import RULES, Violation, violations
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.partitions import DAYS, published_day
from orchestration.resources import Platform

PLAN, BRIEFS = dg.AssetKey(["campaigns", "campaign_plan"]), dg.AssetKey(["campaigns", "campaign_briefs"])
FILES_ARE_VALID, ZONES_ARE_KNOWN = "campaign_files_are_valid", "time_zones_are_known"
CLOSE_TO_BEST, MEASURABLE = "plans_are_close_to_the_best", "effects_can_be_measured"
MONEY = ("expected_value", "cost")
MOST_GAP = 0.005
HEAD = ["campaign_id", "customer_id", "channel", "contact_date", "daypart", "expected_conversion", "expected_value", "cost"]
SHOWN = 10
NEEDED = [
    ["publishing", "published"],
    *(["raw", name] for name in ("customers", "suppressions", "offers", "campaigns")),
    ["predictions", "response_model"],
    ["predictions", "organic_response_model"],
    ["campaigns", "campaign_ledger"],
]


@dg.multi_asset(
    name="campaign_plans",
    specs=[
        dg.AssetSpec(
            PLAN,
            deps=NEEDED,
            description=(
                "Who is contacted, through which channel, on which day and when, with which offer; who is held out; and why "
                "the others are left out. One row per campaign and customer of its audience. A draft until it is approved."
            ),
            group_name=groups.CAMPAIGNS,
            kinds={"highs", "parquet"},
            owners=[MARKETING_TEAM],
            tags=groups.tags("campaigns", TABLES["campaign_plan"].columns),
        ),
        dg.AssetSpec(
            BRIEFS,
            deps=NEEDED,
            description=(
                "What each draft costs and may earn, with an interval, whether its holdout can tell what it brings, and what "
                "more budget or capacity would bring. One row per campaign."
            ),
            group_name=groups.CAMPAIGNS,
            kinds={"parquet"},
            owners=[MARKETING_TEAM],
            tags={"domain": "campaigns"},
        ),
    ],
    partitions_def=DAYS,
    check_specs=[
        *(dg.AssetCheckSpec(rule, asset=PLAN, description=text, blocking=True) for rule, text in RULES.items()),
        dg.AssetCheckSpec(
            FILES_ARE_VALID,
            asset=PLAN,
            description="Warns of campaign files that are wrong or could not be planned. The other campaigns are planned.",
        ),
        dg.AssetCheckSpec(
            ZONES_ARE_KNOWN,
            asset=PLAN,
            description="Warns of customers whose time zone is no IANA name. Their plans use the time zone of the shop.",
        ),
        dg.AssetCheckSpec(
            CLOSE_TO_BEST,
            asset=PLAN,
            description=f"Warns of a plan where, by the solver's bound, more than {MOST_GAP:.1%} more could be possible.",
        ),
        dg.AssetCheckSpec(
            MEASURABLE,
            asset=BRIEFS,
            description=(
                "Warns of campaigns whose holdout is too small to find the effect that is expected of them, or supposed. "
                "Passes where it is not known yet how many customers order without a contact."
            ),
        ),
    ],
)
def campaign_plans(
    context: dg.AssetExecutionContext, platform: Platform
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Plan every campaign of the shop for the published day; nothing is published that breaks a rule."""
    with platform.snapshot() as snapshot:
        settings, place, shop = snapshot.settings, snapshot.place, snapshot.shop
        plan_date = published_day(context.partition_key, shop, snapshot.as_of)
        campaigns, file_problems = load_shop_campaigns(settings, list(snapshot.offers["offer_id"]))
        audiences, audience_problems = audiences_of(snapshot, campaigns)
        inputs = planning_inputs(snapshot, platform.now(), f"run {context.run.run_id}")
        served = served_predictions(snapshot, inputs.customers)
        context.log.info(f"{len(campaigns)} campaigns; {served.basis}")
        planning = plan_campaigns(campaigns, inputs, audiences, served.predict, shop)
        unknown_zones = snapshot.unknown_zones
        rows, planned = planning.rows, [plan.campaign for plan in planning.plans]
        planned_audiences = {campaign.campaign_id: audiences[campaign.campaign_id] for campaign in planned}
        broken = violations(rows, planned, planned_audiences, inputs, shop)
        faults = {
            plan.version: message_faults(snapshot, plan.campaign, plan.message, plan.rows)
            for plan in planning.plans
            if plan.message
        }
    problems = [*file_problems, *audience_problems, *planning.problems]
    problems += [
        CampaignProblem(f"{plan.campaign.campaign_id}.yaml", "message", fault, "mend the message: this plan cannot be approved")
        for plan in planning.plans
        for fault in faults.get(plan.version, ())
    ]
    for problem in problems:
        context.log.warning(str(problem))
    yield from rule_checks(broken, len(rows))
    if broken:
        raise dg.Failure(
            f"the plan breaks {len(broken)} rules, so nothing was published: {broken[0].detail}", allow_retries=False
        )
    brief = briefs(planning.plans, served.base_rate, shop)
    folder = place.plans / f"{plan_date:%Y-%m-%d}"
    write_parquet(folder / "campaign_briefs.parquet", brief)
    for plan in planning.plans:
        if len(plan.rows):
            write_definition(folder, plan.version, plan.campaign, plan.message, faults.get(plan.version, ()))
    write_parquet(folder / "campaign_plan.parquet", rows)
    publish_files(place, platform.now())
    yield dg.MaterializeResult(asset_key=PLAN, metadata=plan_metadata(planning, served, shop))
    yield dg.MaterializeResult(asset_key=BRIEFS, metadata=brief_metadata(brief))
    yield files_check(problems, campaigns)
    yield zones_check(unknown_zones, len(inputs.customers))
    yield gap_check(planning)
    yield measurable_check(brief)


def plan_metadata(planning: Planning, served: Served, shop: Shop) -> dict[str, Any]:
    """Counts, the most valuable contacts, and the calendar as a heat map."""
    rows = planning.rows
    contacts = rows[rows["decision"] == "contact"]
    best = contacts.sort_values(["expected_value", "customer_id"], ascending=[False, True]).head(SHOWN)
    reasons = rows.groupby(["campaign_id", "decision", "reason"], observed=True).size().rename("customers").reset_index()
    calendar = contact_calendar(rows, shop)
    return {
        "dagster/partition_row_count": len(rows),
        "campaigns": len(planning.plans),
        **{
            f"decision_{name.replace(' ', '_')}": int((rows["decision"] == name).sum())
            for name in ("contact", "holdout", "left out")
        },
        "cost": round(float(contacts["cost"].astype("float64").sum()), 2),
        "expected_value": round(float(contacts["expected_value"].astype("float64").sum()), 2),
        "values": served.basis,
        "value_basis": dict(Counter(rows.drop_duplicates("campaign_id")["value_basis"])),
        "model_version": served.model_version or "none: smoothed rates",
        "decisions": dg.MetadataValue.md(table(reasons)),
        "contacts_by_channel_and_day": dg.MetadataValue.md(picture_in_text("contacts by channel and day", heat_map(calendar))),
        "head": dg.MetadataValue.md(table(best[HEAD], MONEY)),
    }


def brief_metadata(brief: pd.DataFrame) -> dict[str, Any]:
    """Each campaign's brief in words, and sums to plot over time, of those with contacts; what is only supposed has its own."""
    has_contacts, is_measured = brief["contacts"] > 0, brief["value_basis"] == MEASURED
    profits = {"expected_profit": brief[has_contacts & is_measured], "supposed_profit": brief[has_contacts & ~is_measured]}
    text = "\n\n---\n\n".join(to_markdown(row) for _, row in brief.iterrows())
    return {
        "dagster/partition_row_count": len(brief),
        **{name: round(float(rows["expected_profit"].sum()), 2) for name, rows in profits.items() if len(rows)},
        **({"largest_gap": float(brief["gap"].max())} if len(brief) else {}),
        "briefs": dg.MetadataValue.md(text or "no campaign was planned"),
    }


def rule_checks(broken: list[Violation], rows: int) -> Iterator[dg.AssetCheckResult]:
    """One result a rule."""
    for rule in RULES:
        found = [violation for violation in broken if violation.rule == rule]
        counts = Counter(violation.campaign_id for violation in found)
        yield dg.AssetCheckResult(
            asset_key=PLAN,
            check_name=rule,
            passed=not found,
            metadata={
                "rows": rows,
                "broken": len(found),
                **({"first": found[0].detail, "by_campaign": dict(counts)} if found else {}),
            },
        )


def files_check(problems: list[CampaignProblem], campaigns: list[Campaign]) -> dg.AssetCheckResult:
    """A bad file is a warning: the other campaigns run."""
    rows = [
        {"file": problem.file, "field": problem.field, "problem": problem.message, "remedy": problem.remedy}
        for problem in problems
    ]
    return dg.AssetCheckResult(
        asset_key=PLAN,
        check_name=FILES_ARE_VALID,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "campaigns": len(campaigns),
            **({"problems": dg.MetadataValue.md(table(pd.DataFrame(rows)))} if rows else {}),
        },
    )


def zones_check(unknown: int, customers: int) -> dg.AssetCheckResult:
    """A customer whose zone is not known is planned by the shop's clock."""
    return dg.AssetCheckResult(
        asset_key=PLAN,
        check_name=ZONES_ARE_KNOWN,
        passed=not unknown,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"customers": customers, "with_unknown_zone": unknown},
    )


def gap_check(planning: Planning) -> dg.AssetCheckResult:
    """By the bound that each plan's prices prove."""
    gaps = {plan.campaign.campaign_id: plan.gap for plan in planning.plans}
    return dg.AssetCheckResult(
        asset_key=PLAN,
        check_name=CLOSE_TO_BEST,
        passed=max(gaps.values(), default=0.0) <= MOST_GAP,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={name: float(gap) for name, gap in gaps.items()},
    )


def measurable_check(brief: pd.DataFrame) -> dg.AssetCheckResult:
    """Passes where it is not known how many order without a contact."""
    small = brief[~brief["is_measurable"].fillna(value=True)]
    return dg.AssetCheckResult(
        asset_key=BRIEFS,
        check_name=MEASURABLE,
        passed=small.empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"too_small_a_holdout": ", ".join(small["campaign_id"]) or "none"},
    )
