"""Campaign files: every mistake names the file, the field and the remedy, and the other files are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from customer360.campaigns.definition import load_campaigns, read_campaign
from customer360.settings import Shop
from tests.support.random_shop import EMAIL, small_shop

SHOP = small_shop()
MAILING = small_shop(email=EMAIL, channels=["email", "sms"])
GOOD: dict[str, Any] = {
    "title": "Spring",
    "audience": "everyone",
    "value_per_conversion": 20,
    "channels": {SHOP.channels[0]: {"cost": 0.5}},
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channels": {"pigeon": {"cost": 1}}}, "channels.pigeon"),
        ({"channels": {}}, "channels"),
        ({"channels": {SHOP.channels[0]: {"cost": -1}}}, f"channels.{SHOP.channels[0]}.cost"),
        ({"frequency_caps": {"channels": {"pigeon": {"contacts": 1, "days": 1}}}}, "frequency_caps.channels.pigeon"),
        ({"frequency_caps": {"overall": {"contacts": 0, "days": 7}}}, "frequency_caps.overall.contacts"),
        ({"audience": "no_such_column = 1"}, "audience"),
        ({"value_per_conversion": 0}, "value_per_conversion"),
        ({"budget": -1}, "budget"),
        ({"budget": float("inf")}, "budget"),
        ({"bugdet": 10}, "bugdet"),
        ({"starts_on": 20260501}, "starts_on"),
        ({"starts_on": "2026-05-02", "ends_on": "2026-05-01"}, "(whole file)"),
        ({"offer_id": "no such offer"}, "offer_id"),
        ({"priority": 0}, "priority"),
        ({"holdout_share": 1}, "holdout_share"),
        ({"exploration_share": 1.1}, "exploration_share"),
        ({"minimum_gap_days": -1}, "minimum_gap_days"),
        ({"campaign_id": "another"}, "(whole file)"),
        ({"send_windows": [{"from": 12, "to": 9}]}, "send_windows.0"),
        ({"send_windows": [{"days": [8], "from": 9, "to": 12}]}, "send_windows.0.days.0"),
        ({"send_windows": []}, "send_windows"),
    ],
)
def test_each_mistake_is_named_and_the_other_campaign_is_read(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**GOOD, **changes}), encoding="utf-8")
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    campaigns, problems = load_campaigns(tmp_path, SHOP, offers=["O1"])
    assert [campaign.campaign_id for campaign in campaigns] == ["good"]
    assert [(problem.file, problem.field) for problem in problems] == [("bad.yaml", field)]
    assert problems[0].message
    assert problems[0].remedy


@pytest.mark.parametrize("missing", GOOD)
def test_a_field_that_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    left = {name: value for name, value in GOOD.items() if name != missing}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(left), encoding="utf-8")
    campaigns, problems = load_campaigns(tmp_path, SHOP)
    assert campaigns == []
    assert [(problem.field, problem.message) for problem in problems] == [(missing, "it is missing")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title: a\ntitle: b\n", "stands there twice"),
        (b"- a list", "holds no fields"),
        (b"title: [", "not valid YAML"),
        (b"\xff\xfe", "cannot be read"),
        (b"#" * 100_001, "100,001 characters"),
    ],
)
def test_a_file_without_fields_is_told_as_a_whole(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    campaigns, problems = load_campaigns(tmp_path, SHOP)
    assert campaigns == []
    assert [(problem.file, problem.field) for problem in problems] == [("bad.yaml", "(whole file)")]
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("shop", "changes", "wrong"),
    [
        (MAILING, {"message": "offer"}, None),
        (MAILING, {"message": "offers"}, "there is no message 'offers' that can be sent: did you mean 'offer'?"),
        (MAILING, {"message": "offer", "channels": {"sms": {}}}, "by the channel email, which the campaign does not use: add"),
        (SHOP, {"message": "offer"}, "shop.yaml does not say how the shop mails: add the block email to shop.yaml"),
    ],
)
def test_a_message_is_one_that_can_be_sent_by_email(shop: Shop, changes: dict[str, Any], wrong: str | None) -> None:
    text = yaml.safe_dump({**GOOD, **changes})
    campaign, problems = read_campaign("spring.yaml", text, shop, messages=["offer"])
    if wrong is None:
        assert campaign is not None
        assert (campaign.message, problems) == ("offer", [])
    else:
        (problem,) = problems
        assert problem.field == "message"
        assert wrong in f"{problem.message}: {problem.remedy}"
