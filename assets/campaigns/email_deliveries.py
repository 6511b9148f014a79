"""What became of the e-mails of a day, and of those before it that are still answered: from the ledger and the mail queue."""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
import pandas as pd

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.mail.breaker import BOUNCES, COMPLAINTS, LEFT, LIMITS, UNSUBSCRIBES, judged
from customer360.mail.deliveries import DELIVERIES, METRICS, WAITING, answered_days, deliveries, write_deliveries
from customer360.mail.queue import open_queue
from customer360.settings import Shop
from ml.markdown import table
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.partitions import DAYS, SHOP
from orchestration.resources import Platform

DELIVERIES_KEY, METRICS_KEY = dg.AssetKey(["campaigns", DELIVERIES]), dg.AssetKey(["campaigns", METRICS])
AGREE, ACCOUNTED, LOW = "queue_and_ledger_agree", "all_contacts_are_accounted_for", "{}_rate_is_low"
CHECKS = [
    dg.AssetCheckSpec(
        AGREE, asset=DELIVERIES_KEY, description="What the ledger says was sent, and what was not, is what the queue says."
    ),
    dg.AssetCheckSpec(
        ACCOUNTED,
        asset=DELIVERIES_KEY,
        description="Every contact of a day that has passed was accepted, or has a reason why not: none still waits.",
    ),
    *(
        dg.AssetCheckSpec(
            LOW.format(rate),
            asset=METRICS_KEY,
            description=f"Of the last 30 days' e-mails few {limit.words}: warns, or fails where sending stops by itself.",
        )
        for rate, limit in LIMITS.items()
    ),
]


def email_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of e-mails; none where shop.yaml has no ``email``."""
    if shop.email is None:
        return []

    @dg.multi_asset(
        name=DELIVERIES,
        specs=[
            dg.AssetSpec(
                key,
                deps=deps,
                group_name=groups.CAMPAIGNS,
                kinds={"duckdb", "parquet"},
                owners=[MARKETING_TEAM],
                tags=groups.tags("campaigns", TABLES[key.path[-1]].columns),
                description=TABLES[key.path[-1]].description,
            )
            for key, deps in ((DELIVERIES_KEY, [["campaigns", "campaign_ledger"]]), (METRICS_KEY, [DELIVERIES_KEY]))
        ],
        partitions_def=DAYS,
        check_specs=CHECKS,
    )
    def email_deliveries(
        context: dg.AssetExecutionContext, platform: Platform
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """The day of the partition, and the 30 before it: their messages still come back, and are still clicked."""
        place, days = platform.settings().place, answered_days(date.fromisoformat(context.partition_key))
        rows = deliveries(place, open_queue(place), days[0], days[-1])
        metrics = write_deliveries(place, rows, days)
        publish_files(place, platform.now())
        today = rows[rows["contact_date"].dt.date == days[-1]]
        states = rows.groupby(["campaign_id", "state"], observed=True).size().unstack(fill_value=0).reset_index()
        yield dg.MaterializeResult(
            asset_key=DELIVERIES_KEY,
            metadata={
                "dagster/row_count": len(today),
                "of_the_last_days": len(rows),
                "states": dg.MetadataValue.md(table(states)),
                "reasons": dg.MetadataValue.md(table(_reasons(rows))),
            },
        )
        yield dg.MaterializeResult(asset_key=METRICS_KEY, metadata={"dagster/row_count": metrics})
        yield _result(AGREE, rows[~rows["is_in_agreement"]])
        passed = platform.shop_now().astimezone(shop.zone).date() - timedelta(days=1)
        is_left = rows["state"].isin(WAITING) & (rows["contact_date"].dt.date < passed)
        yield _result(ACCOUNTED, rows[is_left])
        yield from _rate_results(rows)

    return [email_deliveries]


def _reasons(rows: pd.DataFrame) -> pd.DataFrame:
    """Why messages failed, were left out or came back: the most frequent reasons."""
    why = rows["reason"].where(rows["state"].isin(["failed", "left_out", "unknown"]), rows["bounce_reason"])
    found = rows.assign(reason=why).dropna(subset=["reason"]).groupby(["campaign_id", "state", "reason"], observed=True)
    return found.size().rename("contacts").reset_index().sort_values("contacts", ascending=False).head(20)


def _result(name: str, wrong: pd.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=DELIVERIES_KEY,
        check_name=name,
        passed=wrong.empty,
        metadata={"wrong": len(wrong), "contacts": ", ".join(wrong["contact_key"].head(10)) or "none"},
        severity=dg.AssetCheckSeverity.WARN,
    )


def _rate_results(rows: pd.DataFrame) -> Iterator[dg.AssetCheckResult]:
    left = rows[rows["state"].isin(LEFT)]
    events = {
        BOUNCES: left[left["bounce"] == "hard"],
        COMPLAINTS: left[left["complained_at"].notna()],
        UNSUBSCRIBES: left[left["unsubscribed_at"].notna()],
    }
    sent = _counts(left["provider"])
    for rate, found in events.items():
        verdict = judged(rate, sent, _counts(found["provider"]))
        is_error = verdict.level == "stop"
        yield dg.AssetCheckResult(
            asset_key=METRICS_KEY,
            check_name=LOW.format(rate),
            passed=verdict.level not in {"warn", "stop"},
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            description=verdict.reason,
            metadata={"messages": verdict.messages, "events": verdict.events, "low_end": verdict.low, "level": verdict.level},
        )


def _counts(values: "pd.Series[str]") -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().items()}


EMAIL_ASSETS = email_assets(SHOP)
