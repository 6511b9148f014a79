"""How fast each mailbox provider is sent to: messages a second, a warm-up that grows by the day, and waits after refusals.

A token bucket for each lane (a large provider, or the domain of another one), kept in the queue's database, so that all senders
share it. A lane that may not be sent to is blocked until a time, and the queue leaves its messages out until then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from customer360.mail.providers import lane_of
from customer360.mail.queue.tables import PROVIDERS, insert_new
from customer360.settings import EmailRates

BURST_SECONDS = 5  # of a rate that may be sent at once, after a pause
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=4)


class Rates:
    """The rates of a shop, applied in the transaction that leases messages."""

    def __init__(self, rates: EmailRates | None = None) -> None:
        self._rates = rates or EmailRates()

    def take(self, connection: Connection, found: Sequence[Row[Any]], now: datetime) -> list[Row[Any]]:
        """Those of ``found`` (provider, domain; the most valuable first) that may be sent now (plain UTC), counted as sent."""
        by_lane: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for row in found:
            by_lane[lane_of(row.provider, row.domain)].append(row)
        limited = [lane for lane in sorted(by_lane) if self._rates.is_limited(lane)]
        dropped: set[str] = set()
        for lane, state in _states(connection, limited, now).items():
            rows = by_lane[lane]
            allowed = self._allowed(lane, state, len(rows), now)
            dropped |= {row.contact_key for row in rows[allowed:]}
            connection.execute(update(PROVIDERS).where(PROVIDERS.c.provider == lane).values(**state))
        return [row for row in found if row.contact_key not in dropped]

    def _allowed(self, lane: str, state: dict[str, Any], asked: int, now: datetime) -> int:
        """How many of ``asked`` messages may be sent, with ``state`` changed to what it is afterwards."""
        rate, today = self._rates.of(lane), f"{now:%Y-%m-%d}"
        if state["day"] != today:
            state.update(day=today, sent_today=0)
        allowed, blocked_until = asked, None
        if rate.per_second is not None:
            passed = max(0.0, (now - state["tokens_at"]).total_seconds())  # a clock that was set back gives nothing
            tokens = min(max(1.0, rate.per_second * BURST_SECONDS), state["tokens"] + passed * rate.per_second)
            allowed = min(allowed, int(tokens))
            state.update(tokens=tokens - allowed, tokens_at=now)
            if allowed < asked:
                blocked_until = now + timedelta(seconds=(1 - (tokens - allowed)) / rate.per_second)
        age = (now.date() - datetime.fromisoformat(state["first_day"]).date()).days
        most = self._rates.most_on_day(lane, max(0, age))
        if most is not None and state["sent_today"] + allowed > most:
            allowed = max(0, most - state["sent_today"])
            blocked_until = datetime.combine(now.date(), datetime.min.time()) + timedelta(days=1)
        state["sent_today"] += allowed
        if blocked_until is not None:
            state.update(blocked_until=blocked_until, reason="its rate is used up")
        return allowed


def blocked(connection: Connection, now: datetime) -> set[str]:
    """The lanes that may not be sent to now (plain UTC)."""
    return set(connection.execute(select(PROVIDERS.c.provider).where(PROVIDERS.c.blocked_until > now)).scalars())


def defer(connection: Connection, lane: str, now: datetime, reason: str) -> datetime:
    """Wait with a lane that refused for now (4xx): twice as long after each refusal in a row. Returns until when."""
    state = _states(connection, [lane], now)[lane]
    wait = min(FIRST_WAIT * 2 ** min(state["deferrals"], 20), LONGEST_WAIT)
    if state["blocked_until"] is None or state["blocked_until"] <= now:  # messages that were on their way count as one refusal
        state.update(deferrals=state["deferrals"] + 1, blocked_until=now + wait, reason=reason)
        connection.execute(update(PROVIDERS).where(PROVIDERS.c.provider == lane).values(**state))
    until: datetime = state["blocked_until"]
    return until


def recovered(connection: Connection, lanes: Collection[str]) -> None:
    """Lanes took a message: their next refusal is a first one again."""
    was_refused = PROVIDERS.c.provider.in_(sorted(lanes)) & (PROVIDERS.c.deferrals > 0)
    connection.execute(update(PROVIDERS).where(was_refused).values(deferrals=0))


def _states(connection: Connection, lanes: Iterable[str], now: datetime) -> dict[str, dict[str, Any]]:
    """What is kept of the lanes, locked; new ones begin with a full bucket."""
    lanes = list(lanes)
    if not lanes:
        return {}
    today = f"{now:%Y-%m-%d}"
    fresh = {"first_day": today, "day": today, "sent_today": 0, "tokens": 1e9, "tokens_at": now, "deferrals": 0}
    connection.execute(
        insert_new(connection, PROVIDERS).on_conflict_do_nothing(), [{"provider": lane, **fresh} for lane in lanes]
    )
    rows = connection.execute(
        select(PROVIDERS).where(PROVIDERS.c.provider.in_(lanes)).order_by(PROVIDERS.c.provider).with_for_update()
    )
    return {row.provider: {name: value for name, value in row._mapping.items() if name != "provider"} for row in rows}
