"""Every rule that takes options away, and which of them is named: expectations by hand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from customer360.settings import CampaignRules, FrequencyCap
from ml.planning.contact_days import ContactDays
from ml.planning.eligibility import Contacts, Eligibility, Permissions, eligibility

TODAY = date(2026, 5, 1)  # a Friday; day 1 of a plan is Saturday
EMAIL, CALL, SMS = range(3)
AHEAD = 7
Before = tuple[str, int, str, str]  # customer, days after today, channel, campaign


def campaign(**changes: Any) -> Campaign:
    base = {"title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": {"email": {}, "sms": {}}}
    return Campaign.model_validate({"campaign_id": "k", **base, **changes})


def contacts(*rows: Before) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "ahead", "channel", "campaign_id"])
    dates = [pd.Timestamp(TODAY + timedelta(days=int(ahead))) for ahead in frame["ahead"]]
    return frame.assign(contact_date=pd.Series(dates, dtype="datetime64[us]"))


def found(
    *,
    committed: tuple[Before, ...] = (),
    planned: tuple[Before, ...] = (),
    of: Campaign | None = None,
    ids: tuple[str, ...] = ("C1",),
    no: tuple[tuple[str, str], ...] = (),
    barred: tuple[tuple[str, str | None], ...] = (),
    **rules: Any,
) -> Eligibility:
    """Customers who allow e-mail, calls and SMS, but for those in ``no``."""
    of = of or campaign()
    shop = small_shop().model_copy(
        update={"campaigns": CampaignRules.model_validate({"minimum_gap_days": 0, "days_ahead": AHEAD, **rules})}
    )
    index = pd.Index(ids, dtype="str")
    consents = pd.DataFrame(
        [(customer, channel, (customer, channel) not in no) for customer in ids for channel in shop.channels],
        columns=["customer_id", "channel", "is_allowed"],
    )
    suppressions = pd.DataFrame(barred, columns=["customer_id", "channel"], dtype=object)
    return eligibility(
        Permissions.of(consents, suppressions, index, shop),
        committed=Contacts.of(contacts(*committed), index, of, shop, TODAY),
        planned=Contacts.of(contacts(*planned), index, of, shop, TODAY),
        days=ContactDays.of(of, shop, TODAY),
        campaign=of,
        shop=shop,
    )


def open_days(result: Eligibility, channel: int = EMAIL, customer: int = 0) -> list[int]:
    """Days after today on which a contact may be."""
    return [int(day) + 1 for day in np.flatnonzero(result.allowed[customer, channel].any(axis=1))]


ALL_DAYS = [1, 2, 3, 4, 5, 6, 7]


def test_without_anything_against_it_the_campaigns_channels_are_open_on_every_day() -> None:
    result = found()
    assert result.reason.tolist() == [None]
    assert open_days(result, EMAIL) == open_days(result, SMS) == ALL_DAYS
    assert open_days(result, CALL) == []  # the campaign does not use it


def test_consent_is_of_a_channel_and_a_missing_or_contradicted_answer_is_no() -> None:
    result = found(no=(("C1", "sms"),))
    assert (open_days(result, EMAIL), open_days(result, SMS)) == (ALL_DAYS, [])
    shop, ids = small_shop(), pd.Index(["C1", "C2"], dtype="str")
    answers = Permissions.of(
        pd.DataFrame(
            {
                "customer_id": ["C1", "C1", "C2", "C9", "C2"],
                "channel": ["email", "email", "sms", "sms", "pigeon"],
                "is_allowed": pd.array([True, False, None, True, True], dtype="boolean"),
            }
        ),
        pd.DataFrame({"customer_id": ["C1", "C2", "C9"], "channel": ["sms", None, None]}),
        ids,
        shop,
    )
    assert not answers.consent.any()
    assert answers.suppressed.tolist() == [[False, False, True], [True, True, True]]


STEPS: list[tuple[str, dict[str, Any]]] = [
    ("suppressed", {"barred": (("C1", None),)}),
    ("no consent", {"no": (("C1", "email"), ("C1", "sms"))}),
    ("outside send window", {"of": campaign(ends_on="2026-04-30")}),
    ("frequency cap", {"frequency_cap": FrequencyCap(contacts=1, days=28)}),
    ("gap", {"minimum_gap_days": 20}),
    ("other campaign first", {"planned": (("C1", 4, "sms", "other"),)}),
]
EARLIER: tuple[Before, ...] = (("C1", -1, "email", "old"),)


@pytest.mark.parametrize("first", range(len(STEPS)))
def test_of_all_reasons_the_first_in_order_is_named(first: int) -> None:
    """With every rule from ``first`` on broken, the reason is that of ``first``."""
    changes: dict[str, Any] = {}
    for _, step in STEPS[first:]:
        changes |= step
    committed = EARLIER if first < 5 else ()
    if first == 5:
        changes["minimum_gap_days"] = 20
    result = found(committed=committed, **changes)
    assert result.reason.tolist() == [STEPS[first][0]]
    assert not result.allowed.any()


def test_what_is_suppressed_by_one_channel_and_not_allowed_by_the_other_is_told_by_the_rule_that_took_the_last() -> None:
    result = found(barred=(("C1", "email"),), no=(("C1", "sms"),))
    assert result.reason.tolist() == ["no consent"]


def test_each_customer_has_their_own_reason() -> None:
    ids = ("C1", "C2", "C3", "C4")
    result = found(
        ids=ids,
        barred=(("C1", None),),
        no=(("C2", "email"), ("C2", "sms")),
        committed=(("C3", -2, "email", "k"),),
    )
    # C3 was contacted by this very campaign before: once is enough.
    assert result.reason.tolist() == ["suppressed", "no consent", "frequency cap", None]
    assert open_days(result, customer=3) == ALL_DAYS


def test_the_gap_holds_on_both_sides_of_a_contact() -> None:
    # Day 4 is taken; days 3, 5 are one off, 2 and 6 two: at least two days is 2 and 6, at least three is 1 and 7.
    taken = (("C1", 4, "call", "old"),)
    assert open_days(found(committed=taken, minimum_gap_days=1)) == [1, 2, 3, 5, 6, 7]
    assert open_days(found(committed=taken, minimum_gap_days=2)) == [1, 2, 6, 7]
    assert open_days(found(committed=taken, minimum_gap_days=3)) == [1, 7]
    # of two gaps the longer one counts
    assert open_days(found(committed=taken, minimum_gap_days=1, of=campaign(minimum_gap_days=3))) == [1, 7]


def test_contacts_before_and_after_the_planned_days_count_towards_the_gap() -> None:
    around = (("C1", -1, "email", "old"), ("C1", 9, "email", "old"))
    assert open_days(found(committed=around, minimum_gap_days=4)) == [3, 4, 5]
    assert open_days(found(committed=(("C1", 0, "email", "old"),), minimum_gap_days=2)) == [2, 3, 4, 5, 6, 7]


def test_a_cap_counts_any_days_in_a_row_that_hold_the_contact() -> None:
    # At most 2 within 4 days; contacts on -1 and 2: days -1..2 are full, so 0, 1 and 2 are closed, and with 5 taken 2..5 too.
    cap = FrequencyCap(contacts=2, days=4)
    pair = (("C1", -1, "email", "old"), ("C1", 2, "sms", "old"))
    assert open_days(found(committed=pair, frequency_cap=cap)) == [3, 4, 5, 6, 7]
    assert open_days(found(committed=(*pair, ("C1", 5, "sms", "old")), frequency_cap=cap)) == [6, 7]
    # after the plan's days: 7 and 9 close what lies within four days of both
    assert open_days(found(committed=(("C1", 7, "sms", "old"), ("C1", 9, "sms", "old")), frequency_cap=cap)) == [1, 2, 3, 4, 5]


def test_a_cap_of_a_channel_counts_that_channel_alone_of_all_campaigns() -> None:
    caps = campaign(frequency_caps={"channels": {"sms": {"contacts": 1, "days": 3}}})
    taken = (("C1", 3, "sms", "old"), ("C1", 6, "email", "old"))
    result = found(committed=taken, of=caps)
    assert open_days(result, SMS) == [6, 7]  # 3 less two days to 3 plus two are closed
    assert open_days(result, EMAIL) == ALL_DAYS


def test_a_contact_by_an_unknown_channel_counts_towards_caps_of_all_channels_only() -> None:
    caps = campaign(frequency_caps={"channels": {"sms": {"contacts": 1, "days": 3}}})
    assert open_days(found(committed=(("C1", 3, "fax", "old"),), of=caps), SMS) == ALL_DAYS
    capped = campaign(frequency_caps={"overall": {"contacts": 1, "days": 3}})
    assert open_days(found(committed=(("C1", 3, "fax", "old"),), of=capped), SMS) == [6, 7]


def test_campaigns_that_come_first_take_days_and_are_named_only_where_they_took_the_last() -> None:
    first = (("C1", 4, "email", "other"),)
    short_gap = found(planned=first, minimum_gap_days=2)
    assert (short_gap.reason.tolist(), open_days(short_gap)) == ([None], [1, 2, 6, 7])
    long_gap = found(planned=first, minimum_gap_days=5)
    assert long_gap.reason.tolist() == ["other campaign first"]
    # caps hold over both together: one before, one of the other campaign
    both = found(committed=EARLIER, planned=first, frequency_cap=FrequencyCap(contacts=2, days=12))
    assert both.reason.tolist() == ["other campaign first"]


def test_windows_close_days_and_dayparts() -> None:
    weekend = campaign(send_windows=[{"days": [6, 7], "from": 13, "to": 17}])
    result = found(of=weekend)
    assert open_days(result) == [1, 2]
    assert result.allowed[0, EMAIL, 0].tolist() == [False, True, False]
    # a gap that leaves only weekdays takes the last of them
    assert found(of=weekend, committed=EARLIER, minimum_gap_days=4).reason.tolist() == ["gap"]


def test_contacts_of_strangers_are_nobodys() -> None:
    assert open_days(found(committed=(("C9", 3, "email", "old"),), minimum_gap_days=20)) == ALL_DAYS
    empty = found(ids=())
    assert empty.allowed.shape == (0, 3, AHEAD, 3)
