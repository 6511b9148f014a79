"""Schedules: the jobs that run by the clock. A sensor starts the slices.

A daily job of a live shop runs at a fixed local time. The days of a replay are shorter or longer than those of the wall clock:
its schedules check every 15 minutes whether the published data have reached the next day.
"""

import dagster as dg

from customer360.campaigns.hand_over import waiting_files
from customer360.campaigns.overview import waiting_contacts
from customer360.campaigns.sending import is_cut_off
from customer360.lake.publishing.version import current_publication
from orchestration.decision_jobs import send_job
from orchestration.jobs import daily_job, freshness_job, maintenance_job, training_job, warehouse_job
from orchestration.partitions import DAYS, SHOP, day_key, newest_slice
from orchestration.resources import Platform

PLAN = dg.AssetKey(["campaigns", "campaign_plan"])
REPLAY_CRON = "*/15 * * * *"


@dg.schedule(
    job=daily_job,
    cron_schedule="30 4 * * *" if SHOP.live else REPLAY_CRON,
    execution_timezone=SHOP.time_zone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Every morning of the shop (a replay: when its day has turned): reference tables, campaign plan, drift report, for the "
        "day of what is published."
    ),
)
def daily_schedule(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Request the published day once; a day of a replay that has a plan is not planned again."""
    settings = platform.settings()
    current = current_publication(settings.place)
    if current is None or current.as_of is None:
        return dg.SkipReason("nothing is published yet")
    key = day_key(settings.shop, current.as_of)
    if not DAYS.has_partition_key(key):
        return dg.SkipReason(f"what is published ends on {key}, before the first day that has plans")
    if not settings.shop.live and key in context.instance.get_materialized_partitions(PLAN):
        return dg.SkipReason(f"{key}, the day of what is published, has its plan")
    return dg.RunRequest(run_key=f"daily:{key}", partition_key=key)


@dg.schedule(
    job=warehouse_job,
    cron_schedule="45 3 * * *" if SHOP.live else REPLAY_CRON,
    execution_timezone=SHOP.time_zone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Every night of the shop (a replay: when its day has turned): every model and every data test, for the newest "
        "published slice."
    ),
)
def warehouse_schedule(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Request the newest published slice, once a day; not on the first day of a replay."""
    settings = platform.settings()
    current = current_publication(settings.place)
    if current is None or current.as_of is None:
        return dg.SkipReason("nothing is published yet")
    day = day_key(settings.shop, context.scheduled_execution_time if settings.shop.live else current.as_of)
    if not settings.shop.live and day <= day_key(settings.shop, settings.shop.slices_start):
        return dg.SkipReason(f"the first day of slices, {day}, has not turned")
    return dg.RunRequest(run_key=f"warehouse:{day}", partition_key=newest_slice(current.as_of))


@dg.schedule(
    job=send_job,
    cron_schedule="5 * * * *",
    execution_timezone=SHOP.time_zone,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every hour, once it is switched on: nothing leaves a shop that nobody switched on.",
)
def send_schedule(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Request a hand-over where an approved contact is due or a hand-over was interrupted."""
    settings = platform.settings()
    is_waiting = waiting_contacts(settings.place, platform.shop_now()) or any(waiting_files(settings))
    if not is_waiting and not is_cut_off(settings.place):
        return dg.SkipReason("no approved contact is due")
    return dg.RunRequest(run_key=f"send:{context.scheduled_execution_time:%Y-%m-%d-%H:%M}")


training_schedule = dg.ScheduleDefinition(
    name="training_schedule",
    job=training_job,
    cron_schedule="0 3 * * 1",
    execution_timezone=SHOP.time_zone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every Monday night, shop-local: a new training set and a challenger.",
)
maintenance_schedule = dg.ScheduleDefinition(
    name="maintenance_schedule",
    job=maintenance_job,
    cron_schedule="15 2 * * *",
    execution_timezone=SHOP.time_zone,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night, shop-local: old landing, raw, published versions, logs and temporary files go.",
)
freshness_schedule = dg.ScheduleDefinition(
    name="freshness_schedule",
    job=freshness_job,
    cron_schedule="7,37 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING if SHOP.live else dg.DefaultScheduleStatus.STOPPED,
    description="Twice an hour: is the last closed slice published? Runs also when no slice does.",
)
SCHEDULES = [warehouse_schedule, daily_schedule, send_schedule, training_schedule, maintenance_schedule, freshness_schedule]
