"""What past campaigns measured: who counts as contact or control of a campaign that is planned, and the difference."""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from customer360.settings import CampaignRules
from ml.effects.evidence import Evidence, campaign_outcomes, evidence_for

SHOP = small_shop().model_copy(update={"campaigns": CampaignRules(attribution_days=3)})
KNOWN_AT = datetime(2026, 4, 30)  # noqa: DTZ001 (published timestamps are plain UTC)
KINDS = pd.DataFrame({"campaign_id": ["letter", "calls", "plain"], "kind": ["newsletter", "win_back", None]}, dtype=object)


def arm(campaign: str, size: int, converted: int, channel: str | None = "email", at: str = "2026-04-20") -> pd.DataFrame:
    """Contacts of a campaign through a channel; controls where there is none."""
    return pd.DataFrame(
        {
            "campaign_id": campaign,
            "channel": pd.Series([channel] * size, dtype=object),
            "touched_at": pd.Timestamp(at),
            "is_converted": np.arange(size) < converted,
            "is_control": channel is None,
        }
    )


def evidence(*arms: pd.DataFrame, kind: str = "newsletter", channels: tuple[str, ...] = ("email",)) -> Evidence:
    touches = pd.concat([*arms, arm("letter", 0, 0)], ignore_index=True)
    return evidence_for(campaign_outcomes(touches, KINDS, KNOWN_AT, SHOP), kind, channels)


def test_without_touches_there_is_none() -> None:
    assert evidence() == Evidence(0, 0, 0.0, math.inf)


def test_contacts_whose_outcome_is_not_known_yet_do_not_count() -> None:
    found = evidence(arm("letter", 50, 5), arm("letter", 70, 7, at="2026-04-28"), arm("letter", 30, 3, at="2026-04-27"))
    assert found == Evidence(80, 0, 0.0, math.inf)


def test_the_difference_of_one_campaign_is_that_of_its_shares() -> None:
    found = evidence(arm("letter", 900, 45), arm("letter", 100, 2, None))
    assert (found.contacts, found.controls) == (900, 100)
    assert found.difference == pytest.approx(0.05 - 0.02)
    # two shares by themselves: sqrt(.05 * .95 / 900 + .02 * .98 / 100) = .0158; the interval of a small arm is wider
    assert 0.0158 < found.error < 0.025


def test_without_an_order_among_few_controls_the_error_is_not_zero() -> None:
    assert evidence(arm("letter", 100, 0), arm("letter", 20, 0, None)).error > 0.03


def test_campaigns_that_held_back_other_shares_in_other_times_are_compared_each_with_its_own_controls() -> None:
    # In a season 20% order anyway and half are held back; after it 2%, and a tenth. No contact adds anything. Pooled, contacts
    # would seem to order 11 percentage points less than controls.
    season = (arm("plain", 500, 100), arm("plain", 500, 100, None))
    after = (arm("letter", 900, 18), arm("letter", 100, 2, None))
    assert evidence(*season, *after).difference == pytest.approx(0)


def test_campaigns_of_another_kind_or_of_none_of_the_channels_are_no_evidence() -> None:
    calls = (arm("calls", 400, 80, "call"), arm("calls", 200, 10, None))
    letters = (arm("letter", 300, 30), arm("letter", 100, 5, None))
    assert evidence(*calls).contacts == 0
    assert evidence(*calls, *letters).contacts == 300
    assert evidence(*calls, *letters, kind="win_back", channels=("call", "sms")).contacts == 400
    assert evidence(*calls, *letters, kind="win_back", channels=("email",)).contacts == 0


def test_an_unknown_kind_or_channel_and_the_kind_of_files_that_name_none_are_like_any() -> None:
    unknown = (arm("plain", 300, 30), arm("not in the table", 100, 10), arm("letter", 50, 1))
    assert evidence(*unknown).contacts == 450
    assert evidence(*unknown, kind="win_back").contacts == 400
    assert evidence(*unknown, kind="general").contacts == 450
    no_channel = arm("letter", 60, 6).assign(channel=None)
    assert evidence(no_channel).contacts == 60
