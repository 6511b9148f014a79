"""What became of each e-mail, by the day for which it was planned: the ledger says what was approved, the queue what followed.

Clicks and openings by machines, as their marks say, do not count.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
from sqlalchemy import select

from customer360.campaigns.drafts import approved_definitions
from customer360.campaigns.ledger import APPROVED, CONTACT, CONTACT_KEY, SENT, SUPPRESSED, entry_id, ledger_query
from customer360.lake.atomic import replacing
from customer360.lake.engine import connect, file_list, literal
from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import write_parquet
from customer360.mail.answers import BY_MACHINE
from customer360.mail.queue import MailQueue
from customer360.mail.queue.tables import MARKS, MESSAGES, QUEUED, SENDING, reading
from customer360.settings import MAIL_CHANNEL, Place

DELIVERIES, METRICS = "email_deliveries", "delivery_metrics"
ANSWERED_WITHIN = 30  # days: bounces, complaints and clicks that come later leave their day as it is
NOT_QUEUED = "not queued"
WAITING = ("planned", QUEUED, SENDING)
KEY = ", ".join(CONTACT_KEY)
MESSAGE_TYPES = {
    **dict.fromkeys(("contact_key", "provider", "state", "reply"), "str"),
    **{"attempt": "int64", "queued_at": "datetime64[us]", "changed_at": "datetime64[us]", "is_synced": "bool"},
}
MARK_TYPES = {"contact_key": "str", "kind": "str", "marked_at": "datetime64[us]", "detail": "str"}

# Of approved contacts with a message between two days. ``state`` is the queue's where it knows the contact.
_DELIVERIES = f"""
    with entries as ({{ledger}}),
    approved as (
        select * from entries
        where event = '{APPROVED}' and arm = '{CONTACT}' and channel = '{MAIL_CHANNEL}'
            and plan_version in (from with_message) and contact_date between ? and ?
    ),
    sent as (select {KEY} from entries where event = '{SENT}'),
    suppressed as (select {KEY}, min(detail) as detail from entries where event = '{SUPPRESSED}' group by all),
    found as (
        select contact_key(campaign_id, plan_version, customer_id) as contact_key, approved.*,
            sent.customer_id is not null as is_sent, suppressed.customer_id is not null as is_suppressed,
            suppressed.detail as suppressed_detail
        from approved
        left join sent using ({KEY})
        left join suppressed using ({KEY})
    ),
    followed as (
        select contact_key,
            min(marked_at) filter (kind = 'delivered') as delivered_at,
            min(marked_at) filter (kind in ('bounced_hard', 'bounced_soft')) as bounced_at,
            bool_or(kind = 'bounced_hard') as is_hard,
            arg_max(detail, kind = 'bounced_hard') filter (kind in ('bounced_hard', 'bounced_soft')) as bounce_reason,
            min(marked_at) filter (kind = 'complained') as complained_at,
            min(marked_at) filter (kind = 'unsubscribed') as unsubscribed_at,
            min(marked_at) filter (kind = 'opened' and not starts_with(coalesce(detail, ''), '{BY_MACHINE}')) as opened_at,
            min(marked_at) filter (kind = 'clicked' and not starts_with(coalesce(detail, ''), '{BY_MACHINE}')) as clicked_at
        from marks
        group by contact_key
    )
    select contact_key, found.campaign_id, found.plan_version, found.customer_id, found.variant, found.contact_date,
        found.send_at, coalesce(messages.provider, '{NOT_QUEUED}') as provider,
        case
            when messages.state is not null then messages.state
            when is_suppressed then 'left_out'
            when is_sent then 'unknown'
            else 'planned'
        end as state,
        case
            when messages.state is not null then messages.reply
            when is_suppressed then suppressed_detail
            when is_sent then 'the ledger says that it was sent, and the queue does not know it'
        end as reason,
        coalesce(messages.attempt, 0) as attempts, messages.queued_at, messages.changed_at, delivered_at, bounced_at,
        if(bounced_at is null, null, if(is_hard, 'hard', 'soft')) as bounce, bounce_reason, complained_at, unsubscribed_at,
        opened_at, clicked_at,
        case
            when messages.state is null then not (is_sent and not is_suppressed)
            when not messages.is_synced then true
            when messages.state in ('accepted', 'unknown') then is_sent
            when messages.state in ('failed', 'left_out') then is_suppressed and not is_sent
            else not is_sent
        end as is_in_agreement
    from found
    left join messages using (contact_key)
    left join followed using (contact_key)
    order by contact_date, campaign_id, customer_id
"""
_METRICS = f"""
    select contact_date, campaign_id, variant, provider,
        count(*) as planned,
        count(*) filter (state in {WAITING}) as waiting,
        count(*) filter (state = 'accepted') as accepted,
        count(*) filter (state = 'failed') as failed,
        count(*) filter (state = 'unknown') as unknown,
        count(*) filter (state = 'left_out') as left_out,
        count(delivered_at) as delivered,
        count(*) filter (bounce = 'hard') as bounced_hard,
        count(*) filter (bounce = 'soft') as bounced_soft,
        count(complained_at) as complained,
        count(unsubscribed_at) as unsubscribed,
        count(opened_at) as opened,
        count(clicked_at) as clicked
    from ({{deliveries}})
    group by all
    order by all
"""


def deliveries_folder(place: Place) -> Path:
    """One Parquet file per day: ``day_key=<day>/part.parquet``."""
    return place.mail / "deliveries"


def deliveries(place: Place, queue: MailQueue, first: date, last: date) -> pd.DataFrame:
    """``email_deliveries`` of the contacts that were planned for the days ``first`` to ``last``, and ``is_in_agreement``.

    That is false where ledger and queue contradict each other about a contact.
    """
    versions = [version for version, campaign in approved_definitions(place).items() if campaign.message is not None]
    messages, marks = _queued(queue, first, last)
    with connect(place.scratch) as connection:
        connection.create_function("contact_key", _contact_key, [str, str, str], str)
        connection.register("with_message", pd.DataFrame({"plan_version": pd.Series(versions, dtype="str")}))
        connection.register("messages", messages)
        connection.register("marks", marks)
        events = [APPROVED, SENT, SUPPRESSED]
        found = connection.execute(_DELIVERIES.format(ledger=ledger_query(place, events)), [first, last]).df()
    return TABLES[DELIVERIES].typed(found).assign(is_in_agreement=found["is_in_agreement"].astype(bool))


def write_deliveries(place: Place, frame: pd.DataFrame, days: Collection[date]) -> int:
    """Write the file of each of ``days``, and ``delivery_metrics`` of all files. Returns the rows of the metrics."""
    folder = deliveries_folder(place)
    rows = frame.drop(columns="is_in_agreement")
    written = dict(list(rows.groupby(rows["contact_date"].dt.date)))
    for day in days:
        of_day = pa.Table.from_pandas(written.get(day, rows.iloc[:0]), TABLES[DELIVERIES].arrow_schema, preserve_index=False)
        write_parquet(folder / f"day_key={day}" / "part.parquet", of_day)
    files = sorted(folder.glob("day_key=*/part.parquet"))
    with connect(place.scratch) as connection, replacing(place.mail / f"{METRICS}.parquet") as temporary:
        source = f"from read_parquet({file_list(files)}, hive_partitioning = false)"
        query = f"select {TABLES[METRICS].casts} from ({_METRICS.format(deliveries=source)})"
        (count,) = connection.execute(
            f"copy ({query}) to {literal(str(temporary))} (format parquet, compression zstd)"
        ).fetchone() or (0,)
    return int(count)


def answered_days(day: date) -> list[date]:
    """The days whose messages may still be answered on ``day``, it included."""
    return [day - timedelta(days=back) for back in range(ANSWERED_WITHIN, -1, -1)]


def _queued(queue: MailQueue, first: date, last: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The messages of the queue that were planned for some days, and their marks."""
    is_near = MESSAGES.c.contact_date.between(first, last)
    messages = select(*(MESSAGES.c[name] for name in MESSAGE_TYPES)).where(is_near)
    marks = select(MARKS.c.contact_key, MARKS.c.kind, MARKS.c.at, MARKS.c.detail).join(
        MESSAGES, MESSAGES.c.contact_key == MARKS.c.contact_key
    )
    with reading(queue.engine) as connection:
        return (
            pd.DataFrame(map(tuple, connection.execute(messages)), columns=list(MESSAGE_TYPES)).astype(MESSAGE_TYPES),
            pd.DataFrame(map(tuple, connection.execute(marks.where(is_near))), columns=list(MARK_TYPES)).astype(MARK_TYPES),
        )


def _contact_key(campaign_id: str, plan_version: str, customer_id: str) -> str:
    return entry_id(SENT, [campaign_id, plan_version, customer_id])
