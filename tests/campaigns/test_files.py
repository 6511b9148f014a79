"""Campaign files that are made in the desk: beside the shop's own, which stay as they are, and never over each other's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from customer360.campaigns.definition import load_shop_campaigns, read_campaign
from customer360.campaigns.files import (
    CampaignRefused,
    campaign_text,
    fields_of,
    fields_text,
    made_file,
    remove_campaign,
    write_campaign,
)
from customer360.campaigns.overview import campaign_overviews
from customer360.decisions import DecisionRefused
from tests.campaigns.conftest import CAMPAIGN, Desk


def test_a_campaign_that_is_made_here_is_planned_beside_the_shops_own(desk: Desk) -> None:
    made = write_campaign(desk.settings, "summer", CAMPAIGN.replace("Spring", "Summer") + "priority: 1\n", None)
    campaigns, problems = load_shop_campaigns(desk.settings)
    assert ([campaign.campaign_id for campaign in campaigns], problems) == (["summer", "spring"], [])
    assert campaigns[0] == made
    assert [overview.campaign_id for overview in campaign_overviews(desk.settings)] == ["summer", "spring"]
    assert campaign_text(desk.settings, "spring") == (CAMPAIGN, False)
    text, is_ours = campaign_text(desk.settings, "summer")
    assert is_ours
    remove_campaign(desk.settings, "summer", str(text))
    assert campaign_text(desk.settings, "summer") == (None, True)


def test_the_shops_own_file_is_not_written_and_counts(desk: Desk) -> None:
    with pytest.raises(DecisionRefused, match="which is not written here"):
        write_campaign(desk.settings, "spring", CAMPAIGN, CAMPAIGN)
    with pytest.raises(DecisionRefused, match="not removed here"):
        remove_campaign(desk.settings, "spring", CAMPAIGN)
    write_campaign(desk.settings, "later", CAMPAIGN, None)
    desk.campaign("priority: 7\n", name="later")
    campaigns, problems = load_shop_campaigns(desk.settings)
    assert [campaign.priority for campaign in campaigns if campaign.campaign_id == "later"] == [7]
    assert [(problem.file, problem.remedy) for problem in problems] == [("later.yaml", "give this one another name")]


@pytest.mark.parametrize("name", ["../spring", "Spring", "a/b", "", "a" * 61, "x.yaml", "a\n"])
def test_what_is_no_name_reaches_no_file(desk: Desk, name: str) -> None:
    with pytest.raises(DecisionRefused, match="a campaign's name has small letters"):
        write_campaign(desk.settings, name, CAMPAIGN, None)


def test_what_is_wrong_is_not_written_and_says_how_to_mend_it(desk: Desk) -> None:
    with pytest.raises(CampaignRefused) as refused:
        write_campaign(desk.settings, "summer", CAMPAIGN.replace("everyone", "agee > 3") + "budgets: 3\n", None)
    assert [(problem.field, problem.remedy) for problem in refused.value.problems] == [("budgets", "did you mean 'budget'?")]
    with pytest.raises(CampaignRefused, match="there is no column agee"):
        write_campaign(desk.settings, "summer", CAMPAIGN.replace("everyone", "agee > 3"), None)
    assert not made_file(desk.settings, "summer").exists()


def test_of_two_people_who_edit_the_same_file_only_the_first_writes_it(desk: Desk) -> None:
    write_campaign(desk.settings, "summer", CAMPAIGN, None)

    def edit(priority: int) -> str:
        try:
            write_campaign(desk.settings, "summer", f"{CAMPAIGN}priority: {priority}\n", CAMPAIGN)
        except DecisionRefused as refused:
            return str(refused)
        return f"priority: {priority}"

    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(edit, range(1, 9)))
    won = [answer for answer in answers if answer.startswith("priority")]
    assert len(won) == 1
    assert campaign_text(desk.settings, "summer")[0] == f"{CAMPAIGN}{won[0]}\n"
    assert set(answers) - set(won) == {"the file of summer was changed meanwhile. Open it again, and repeat your edit"}


def test_a_campaigns_fields_come_back_from_the_text_of_its_file(desk: Desk) -> None:
    more = """
kind: reactivation
starts_on: 2026-05-01
send_windows: [{days: [1, 2], from: 9, to: 20}]
frequency_caps: {overall: {contacts: 3, days: 14}}
holdout_share: 0.2
"""
    campaign, problems = read_campaign("summer.yaml", CAMPAIGN + more, desk.settings.shop)
    assert campaign is not None, problems
    text = fields_text(fields_of(campaign))
    assert read_campaign("summer.yaml", text, desk.settings.shop) == (campaign, [])
