"""Contacts beside those that are committed: the limits that they break, each counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from customer360.campaigns.definition import Campaign
from customer360.campaigns.limits import broken_limits
from customer360.settings import Shop
from tests.support.random_shop import small_shop

COLUMNS = ["customer_id", "campaign_id", "channel", "contact_date", "cost"]


def campaign(**fields: object) -> Campaign:
    channels = {"email": {"cost": 0.5}, "sms": {"cost": 2.0, "capacity_per_day": 1}}
    base = {"campaign_id": "spring", "title": "Spring", "audience": "everyone", "value_per_conversion": 20}
    return Campaign.model_validate({**base, "channels": channels, **fields})


def shop(**rules: object) -> Shop:
    return small_shop(channels=["email", "sms"], campaigns={"minimum_gap_days": 0, **rules})


def contacts(*rows: tuple[str, str], campaign_id: str = "spring", channel: str = "email", cost: float = 0.5) -> pd.DataFrame:
    """Each row: customer, day of May."""
    frame = pd.DataFrame([(name, campaign_id, channel, f"2026-05-{day}", cost) for name, day in rows], columns=COLUMNS)
    return frame.assign(contact_date=pd.to_datetime(frame["contact_date"]))


NOBODY = contacts()


@pytest.mark.parametrize(
    ("added", "committed", "fields", "rules", "broken"),
    [
        (contacts(("C1", "05")), NOBODY, {}, {}, []),
        # 2 x 0.50 of this campaign; what another one spent does not count.
        (contacts(("C1", "05"), ("C2", "05")), contacts(("C3", "05"), campaign_id="other", cost=9), {"budget": 1}, {}, []),
        (contacts(("C1", "05"), ("C2", "05")), contacts(("C3", "04")), {"budget": 1.4}, {}, ["budget"]),
        # A budget that was cut below what is committed does not refuse contacts that cost nothing.
        (contacts(("C1", "05"), cost=0), contacts(("C3", "04")), {"budget": 0.1}, {}, []),
        (contacts(("C1", "05"), channel="sms"), contacts(("C2", "05"), channel="sms"), {}, {}, ["capacity"]),
        (contacts(("C1", "05"), channel="sms"), contacts(("C2", "06"), channel="sms"), {}, {}, []),
        (contacts(("C1", "05"), channel="sms"), contacts(("C2", "05"), channel="sms", campaign_id="other"), {}, {}, []),
        (
            contacts(("C1", "05")),
            contacts(("C2", "05"), campaign_id="other"),
            {},
            {"capacity_per_day": {"email": 1}},
            ["capacity"],
        ),
        # Two days lie between the 5th and the 8th: a gap of three is kept, one of four is not.
        (contacts(("C1", "08")), contacts(("C1", "05"), campaign_id="other"), {"minimum_gap_days": 3}, {}, []),
        (contacts(("C1", "08")), contacts(("C1", "05"), campaign_id="other"), {"minimum_gap_days": 4}, {}, ["gap"]),
        (contacts(("C1", "05")), contacts(("C1", "08"), campaign_id="other"), {}, {"minimum_gap_days": 4}, ["gap"]),
        (
            contacts(("C1", "07")),
            contacts(("C1", "05"), ("C1", "06"), campaign_id="other"),
            {},
            {"frequency_cap": {"contacts": 2, "days": 3}},
            ["frequency cap"],
        ),
        (
            contacts(("C1", "08")),
            contacts(("C1", "05"), ("C1", "06"), campaign_id="other"),
            {},
            {"frequency_cap": {"contacts": 2, "days": 3}},
            [],
        ),
        # What was broken before, without an added contact, is not held against the added one.
        (
            contacts(("C1", "20")),
            contacts(("C1", "05"), ("C1", "06"), campaign_id="other"),
            {},
            {"frequency_cap": {"contacts": 1, "days": 3}},
            [],
        ),
        (
            contacts(("C1", "06"), channel="sms"),
            contacts(("C1", "05"), campaign_id="other"),
            {"frequency_caps": {"channels": {"sms": {"contacts": 1, "days": 7}}}},
            {},
            [],
        ),
        (
            contacts(("C1", "06"), channel="sms"),
            contacts(("C1", "05"), campaign_id="other", channel="sms"),
            {"frequency_caps": {"channels": {"sms": {"contacts": 1, "days": 7}}}},
            {},
            ["frequency cap"],
        ),
        # A campaign contacts nobody twice, however long ago.
        (contacts(("C1", "28")), contacts(("C1", "01")), {}, {}, ["frequency cap"]),
        (contacts(("C1", "28")), contacts(("C1", "01"), campaign_id="other"), {}, {}, []),
    ],
)
def test_a_limit_is_broken_by_what_is_added_beside_what_is_committed(
    added: pd.DataFrame, committed: pd.DataFrame, fields: dict[str, object], rules: dict[str, object], broken: list[str]
) -> None:
    found = broken_limits(added, committed, campaign(**fields), shop(**rules))
    assert [limit.kind for limit in found] == broken
    assert not any("C1" in limit.message for limit in found)
