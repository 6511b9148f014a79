"""Rates of bounces, complaints and unsubscribes: what a verdict says, and from when on it counts."""

from __future__ import annotations

import pytest

from customer360.mail.breaker import BOUNCES, COMPLAINTS, JUDGED_FROM, LIMITS, UNSUBSCRIBES, judged


@pytest.mark.parametrize(
    ("rate", "messages", "events", "level"),
    [
        (COMPLAINTS, 10_000, 0, "fine"),
        (COMPLAINTS, 10_000, 12, "fine"),  # .12%, whose interval begins below .1%
        (COMPLAINTS, 10_000, 20, "warn"),
        (COMPLAINTS, 10_000, 33, "warn"),  # .33%, whose interval begins below .3%
        (COMPLAINTS, 10_000, 45, "stop"),
        (BOUNCES, 1_000, 50, "fine"),
        (BOUNCES, 1_000, 70, "stop"),
        (BOUNCES, 999, 900, "too few"),
        (UNSUBSCRIBES, 1_000, 1_000, "warn"),  # never stops
    ],
)
def test_a_rate_counts_once_its_interval_leaves_the_limit_out(rate: str, messages: int, events: int, level: str) -> None:
    verdict = judged(rate, {"yahoo": messages}, {"yahoo": events})
    assert (verdict.level, verdict.messages, verdict.events) == (level, messages, events)
    assert LIMITS[rate].words in verdict.reason and 0 <= verdict.low <= events / messages


def test_providers_that_report_no_complaints_do_not_dilute_the_rate() -> None:
    accepted = {"gmail": 100_000, "yahoo": 2_000}
    verdict = judged(COMPLAINTS, accepted, {"yahoo": 20})
    assert (verdict.level, verdict.messages) == ("stop", 2_000)
    assert verdict.reason.endswith("100,000 messages went to providers that report no complaints")
    assert judged(BOUNCES, accepted, {"gmail": 20}).messages == 102_000


def test_without_messages_that_can_complain_the_verdict_is_blind() -> None:
    assert judged(COMPLAINTS, {"gmail": JUDGED_FROM}, {}).level == "blind"
    assert judged(COMPLAINTS, {}, {}).level == "too few"
