"""Sums of the ledger that pages and commands show. A part of it never changes, so each is counted once in a process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd

from customer360.campaigns.ledger import APPROVED, CONTACT, SENT, SUPPRESSED, ledger_folder, ledger_parts, parts_query
from customer360.campaigns.standing import WITHDRAWN
from customer360.kept import Kept, file_state
from customer360.lake.engine import connect, literal
from customer360.lake.slices import naive
from customer360.settings import Place

RECENT = timedelta(days=7)
GROUPS = "campaign_id, plan_version, event, arm, recorded_by, recorded_at"
COUNTS = f"""
select {GROUPS}, if(event = '{APPROVED}', detail, null) as detail, count(*) as entries, max(send_at) as send_until
from ({{ledger}}) group by all
"""
# The state of each contact as ``standing`` has it; sums of those that are open or recent.
RUNNING = f"""
with

contacts as (

    select
        campaign_id,
        plan_version,
        max(contact_date) filter (event = '{APPROVED}') as contact_date,
        max(send_at) filter (event = '{APPROVED}') as send_at,
        bool_or(event = '{SENT}') as is_sent,
        not is_sent and not bool_or(event = '{SUPPRESSED}') as is_open,
        bool_or(event = '{SUPPRESSED}' and starts_with(detail, '{WITHDRAWN}:')) is true as is_withdrawn

    from ({{ledger}})
    where plan_version in ({{versions}}) and event in ('{APPROVED}', '{SENT}', '{SUPPRESSED}')
    group by campaign_id, plan_version, customer_id
    having max(arm) filter (event = '{APPROVED}') = '{CONTACT}'

)

select
    campaign_id,
    plan_version,
    count(*) as contacts,
    count(*) filter (is_sent) as sent,
    count(*) filter (is_open) as open,
    count(*) filter (is_open and send_at <= $as_of) as due,
    max(contact_date) as until

from contacts
where not is_withdrawn and (is_open or send_at >= $since)
group by campaign_id, plan_version
order by campaign_id, plan_version
"""


@dataclass(frozen=True)
class _Counted:
    """The sums of the first ``parts`` parts; ``last`` is the state of the last of them."""

    parts: int
    last: Any
    counts: pd.DataFrame


_counted: dict[Path, _Counted] = {}
_counting = Lock()
_running: Kept[pd.DataFrame] = Kept(16)


def ledger_counts(place: Place) -> pd.DataFrame:
    """How many entries there are (``entries``) by campaign, version, event, arm, and who recorded them when; oldest first.

    ``detail`` is that of approvals, null for the others; ``send_until`` is the latest send_at (plain UTC). Change a copy.
    """
    folder, parts = ledger_folder(place), ledger_parts(place)
    with _counting:
        known = _counted.get(folder)
        if known is None or len(parts) < known.parts or file_state(parts[known.parts - 1]) != known.last:
            known = _Counted(0, None, _counts(place, []))
        if new := parts[known.parts :]:
            sums = pd.concat([known.counts, _counts(place, new)]) if known.parts else _counts(place, new)
            sums = sums.sort_values(["recorded_at", "campaign_id", "plan_version", "event", "arm"], ignore_index=True)
            known = _counted[folder] = _Counted(len(parts), file_state(parts[-1]), sums)
    return known.counts


def running_campaigns(place: Place, as_of: datetime) -> pd.DataFrame:
    """Approved versions with contacts that are open, or whose time came in the week before ``as_of`` (aware).

    Sums of these contacts: ``contacts``, ``sent``, ``open``, ``due`` by ``as_of``, and the last day, ``until``. Without
    withdrawn contacts, by campaign_id and plan_version. From the ledger as it is now; change a copy.
    """
    counts, since = ledger_counts(place), naive(as_of - RECENT)
    ours = counts[counts["arm"] == CONTACT]
    approved = ours[ours["event"] == APPROVED].groupby("plan_version").agg({"entries": "sum", "send_until": "max"})
    done = ours[ours["event"].isin([SENT, SUPPRESSED])].groupby("plan_version")["entries"].sum()
    is_open = approved["entries"] > done.reindex(approved.index, fill_value=0)
    live = approved.index[is_open | (approved["send_until"] >= pd.Timestamp(since))]
    if live.empty:
        return pd.DataFrame()
    parts = ledger_parts(place)
    sql = RUNNING.format(ledger=parts_query(parts), versions=", ".join(literal(str(version)) for version in live))

    def read() -> pd.DataFrame:
        with connect(place.scratch) as connection:
            return connection.execute(sql, {"as_of": naive(as_of), "since": since}).df()

    return _running.of((file_state(parts[-1]), len(parts), as_of, tuple(live)), read)


def _counts(place: Place, parts: list[Path]) -> pd.DataFrame:
    with connect(place.scratch) as connection:
        return connection.execute(COUNTS.format(ledger=parts_query(parts))).df()
