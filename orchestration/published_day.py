"""The day of what is published: plans and drift reports are made of what is known now, never of another day."""

from datetime import UTC, date, datetime

import dagster as dg

from customer360.lake.publishing.version import current_publication
from orchestration.partitions import day_key
from orchestration.resources import Platform


def published_moment(platform: Platform) -> datetime:
    """The end of the last published slice, UTC. Raises ``Failure`` before the first publication."""
    current = current_publication(platform.settings().place)
    if current is None or current.as_of is None:
        raise dg.Failure("nothing is published yet: run history_job or a slice first", allow_retries=False)
    return current.as_of.replace(tzinfo=UTC)


def planned_day(context: dg.AssetExecutionContext, platform: Platform) -> date:
    """The partition's day. Raises ``Failure`` for any other day than the published one: a plan is made of what is known now."""
    shop, moment = platform.settings().shop, published_moment(platform)
    today = day_key(shop, moment)
    if context.partition_key != today:
        raise dg.Failure(
            f"{context.partition_key} is not the day of what is published ({today}): plans and drift reports are made of what "
            "is known now, and an earlier day's stays as it was decided then",
            allow_retries=False,
        )
    return moment.astimezone(shop.zone).date()
