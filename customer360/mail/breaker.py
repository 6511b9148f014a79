"""When sending must stop by itself: too many messages come back, or are called spam.

A rate is the share of the messages that left (``LEFT``) that came back, were called spam or led to an unsubscribe. Those that a
relay refused are among them: it refuses addresses that are gone, which is a bounce. The breaker, the desk, ``customer360 email
status``, the checks of the asset ``email_deliveries`` and the charts of ``delivery_metrics`` count the same.

Google and Yahoo ask bulk senders to stay below .1% of complaints and never to reach .3% (sender guidelines, 2024). More than 5%
of hard bounces is a list that nobody keeps. A rate counts once its 95% interval leaves the limit out, from 1,000 messages on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scipy.stats import binomtest

from customer360.mail.providers import WITHOUT_COMPLAINTS
from customer360.mail.queue.tables import ACCEPTED, FAILED, UNKNOWN

LEFT = (ACCEPTED, FAILED, UNKNOWN)  # states of the messages of which rates are shares, as in delivery_metrics
JUDGED_FROM = 1_000  # messages
Level = Literal["fine", "too few", "blind", "warn", "stop"]


@dataclass(frozen=True)
class Limit:
    """Shares of the messages that left above which a rate warns, and stops (None: never); ``words`` say what is counted."""

    words: str
    warn: float | None = None
    stop: float | None = None


BOUNCES, COMPLAINTS, UNSUBSCRIBES = "hard_bounce", "complaint", "unsubscribe"
LIMITS = {
    BOUNCES: Limit("came back from an address that is gone", stop=0.05),
    COMPLAINTS: Limit("were called spam", warn=0.001, stop=0.003),
    UNSUBSCRIBES: Limit("led to an unsubscribe", warn=0.01),
}


@dataclass(frozen=True)
class Verdict:
    """What a rate means: ``events`` of ``messages``, the lower end of the rate's 95% interval, and a sentence."""

    rate: str
    level: Level
    messages: int
    events: int
    low: float
    reason: str


def judged(rate: str, left: Mapping[str, int], events: Mapping[str, int]) -> Verdict:
    """A rate (of ``LIMITS``) over all providers: messages that ``left`` and ``events`` by provider.

    Messages to providers that report no complaints say nothing about complaints: they are left out. Where there are no others,
    the verdict is ``blind``.
    """
    is_seen = {name: rate != COMPLAINTS or name not in WITHOUT_COMPLAINTS for name in left}
    messages = sum(count for name, count in left.items() if is_seen[name])
    found = min(sum(events.get(name, 0) for name in left if is_seen[name]), messages)
    unseen = sum(left.values()) - messages
    blind = f"; {unseen:,} messages went to providers that report no complaints" if unseen else ""
    if not messages:
        return Verdict(rate, "blind" if unseen else "too few", 0, 0, 0.0, f"no message was sent that could tell{blind}")
    low = float(binomtest(found, messages).proportion_ci(method="wilson").low)
    words = f"{found:,} of {messages:,} messages ({found / messages:.2%}) {LIMITS[rate].words}{blind}"
    return Verdict(rate, _level(LIMITS[rate], messages, low), messages, found, low, words)


def _level(limit: Limit, messages: int, low: float) -> Level:
    if messages < JUDGED_FROM:
        return "too few"
    if limit.stop is not None and low > limit.stop:
        return "stop"
    return "warn" if limit.warn is not None and low > limit.warn else "fine"
