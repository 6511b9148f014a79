"""Campaigns in the desk: made, planned, approved by somebody else, withdrawn; one decision, one version."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from django.conf import settings as django_settings
from django.test import override_settings
from msgspec.structs import replace

from customer360.campaigns.approval import Approved, approve
from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.files import campaign_text
from customer360.campaigns.ledger import APPROVED, read_ledger
from customer360.decisions import DecisionRefused, Request
from customer360.lake.publishing.version import open_version
from customer360.services.desk.models import AuditEntry
from customer360.services.desk.publications import PUBLISHER
from customer360.snapshot import published_touches
from tests.desk.in_django import Desk, desk_of
from tests.desk.planned import plan_day
from tests.services.api_server import write_shop
from tests.support.audience_shop import AS_OF, AudienceShop, audience_shop

pytestmark = pytest.mark.full
CAMPAIGN = """title: Spring <b>
audience: segment in ('Loyal', 'Lost', 'Champions')
value_per_conversion: 20
channels: {email: {cost: 0.5}, sms: {cost: 0.1, capacity_per_day: 3}}
holdout_share: 0.2
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> AudienceShop:
    made = audience_shop(tmp_path_factory.mktemp("campaigns"), customers=80)
    made.settings.campaign_folder.mkdir(parents=True)
    (made.settings.campaign_folder / "spring.yaml").write_text(CAMPAIGN, encoding="utf-8")
    write_shop(made.settings)
    plan(made)
    return made


def plan(shop: AudienceShop, budget: str = "") -> str:
    """Make the newest draft of the day as the asset does, and publish it; the draft's version."""
    (shop.settings.campaign_folder / "spring.yaml").write_text(CAMPAIGN + budget, encoding="utf-8")
    return plan_day(shop.settings)["spring"]


@pytest.fixture
def shop(published: AudienceShop, tmp_path: Any) -> AudienceShop:
    """A copy of the planned shop."""
    shutil.copytree(published.settings.place.root.parent, tmp_path / "copy", symlinks=True)
    settings = published.settings.model_copy(
        update={
            "place": published.settings.place.model_copy(update={"root": tmp_path / "copy" / "data"}),
            "shop_folder": tmp_path / "copy" / "shop",
        }
    )
    return AudienceShop(settings, published.values)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop's time is that of what is published."""
    monkeypatch.setattr("customer360.services.desk.pages.campaigns.shop_now", lambda *_: AS_OF)


@pytest.fixture
def desk(_database: None, shop: AudienceShop) -> Iterator[Desk]:
    with desk_of(cast("Any", shop)) as opened:
        yield opened


def page(desk: Desk, address: str, role: str = "approver") -> str:
    answer = desk.client(role).get(address)
    assert answer.status_code == 200
    return html.unescape(re.sub(r"\s+", " ", answer.content.decode()))


def version_of(desk: Desk) -> str:
    found = re.search(r'name="version" value="([^"]+)"', page(desk, "/campaigns/spring/"))
    assert found is not None
    return found[1]


def approved(desk: Desk, version: str, role: str = "approver", **more: str) -> str:
    data = {"version": version, "reason": "looks right", **more}
    return desk.client(role).post("/campaigns/spring/approve/", data, follow=True).content.decode()


def test_the_list_and_the_draft_say_what_a_plan_would_do(desk: Desk, shop: AudienceShop) -> None:
    assert "draft waits for approval" in page(desk, "/campaigns/", "viewer")
    answer = desk.client("viewer").get("/campaigns/spring/").content.decode()
    assert "Spring &lt;b&gt;" in answer
    assert "Spring <b>" not in answer
    text = page(desk, "/campaigns/spring/")
    draft = pd.read_parquet(shop.settings.place.plans / "2026-05-04" / "campaign_plan.parquet")
    contacts = draft[draft["decision"] == "contact"]
    assert f"<dt>To contact</dt><dd>{len(contacts)}</dd>" in text
    for reason, count in draft.loc[draft["decision"] == "left out", "reason"].value_counts().items():
        assert f'<th scope="row">{reason}</th><td class="number">{count}</td>' in text
    assert "Contacts by channel, day and daypart" in text
    rows = desk.client("viewer").get("/campaigns/spring/?csv=calendar").content.decode().splitlines()[1:]
    assert sum(int(row.rsplit(",", 1)[1]) for row in rows) == len(contacts)


def test_an_approver_approves_and_withdraws_and_both_are_audited(desk: Desk, shop: AudienceShop) -> None:
    version = version_of(desk)
    assert "is approved" in approved(desk, version)
    assert "already" in approved(desk, version)
    entries = read_ledger(shop.settings.place, [APPROVED])
    assert set(entries["plan_version"]) == {version}
    assert set(entries["recorded_by"]) == {"approver"}
    text = page(desk, "/campaigns/spring/")
    assert "Newest plan, approved" in text
    assert (
        "are withdrawn"
        in desk.client("approver").post("/campaigns/spring/withdraw/", {"reason": "wrong"}, follow=True).content.decode()
    )
    actions = AuditEntry.objects.filter(action__startswith="campaign").order_by("id").values_list("action", "reason")
    assert list(actions) == [
        ("campaign approved: asked", "looks right"),
        ("campaign approved", "looks right"),
        ("campaign approved: asked", "looks right"),
        ("campaign withdrawn: asked", "wrong"),
        ("campaign withdrawn", "wrong"),
    ]


def published_entries(shop: AudienceShop) -> int:
    """Entries of the published ledger, once all decisions so far are published."""
    PUBLISHER.submit(lambda: None).result()
    with open_version(shop.settings.place) as version:
        return version.publication.rows.get("campaign_ledger", 0)


def test_a_decision_is_published_after_its_answer(desk: Desk, shop: AudienceShop) -> None:
    before = published_entries(shop)
    approved(desk, version_of(desk))
    assert published_entries(shop) == len(read_ledger(shop.settings.place)) > before


def test_a_decision_whose_publication_fails_is_kept_and_logged(
    desk: Desk, shop: AudienceShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("customer360.services.desk.publications.publish_files", fail)
    assert "is approved" in approved(desk, version_of(desk))
    assert published_entries(shop) < len(read_ledger(shop.settings.place))
    assert "no space left" in caplog.text
    assert AuditEntry.objects.filter(action="campaign approved").count() == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"reason": " "}, "a decision needs its reason"), ({"version": "spring-2026-05-04-0"}, "is not the newest draft")],
)
def test_what_is_refused_says_why_and_leaves_no_entry(
    desk: Desk, shop: AudienceShop, changes: dict[str, str], said: str
) -> None:
    assert said in approved(desk, **{"version": version_of(desk), **changes})
    assert read_ledger(shop.settings.place, [APPROVED]).empty
    assert not AuditEntry.objects.filter(action="campaign approved").exists()


def test_who_planned_or_wrote_a_campaign_does_not_approve_it_unless_a_setting_allows_it(desk: Desk, shop: AudienceShop) -> None:
    version = version_of(desk)
    AuditEntry.objects.create(username="approver", action="plan requested", subject="2026-05-04")
    assert "somebody else has to approve it" in approved(desk, version)
    assert read_ledger(shop.settings.place, [APPROVED]).empty
    AuditEntry.objects.create(username="admin", action="campaign saved", subject="spring")
    AuditEntry.objects.create(username="marketer", action="campaign saved", subject="spring")
    assert "somebody else has to approve it" in approved(desk, version, "admin")
    with override_settings(DESK=replace(django_settings.DESK, four_eyes=False)):
        assert "is approved" in approved(desk, version, "admin")
    plan(shop, "budget: 2\n")
    assert "made or planned" not in page(desk, "/campaigns/spring/", "admin")  # of what was approved
    AuditEntry.objects.create(username="admin", action="campaign saved", subject="spring")
    assert "made or planned" in page(desk, "/campaigns/spring/", "admin")


def test_a_marketer_makes_a_campaign_in_the_form_and_edits_it_as_text(desk: Desk, shop: AudienceShop) -> None:
    client = desk.client("marketer")
    fields = {
        "by": "form",
        "campaign_id": "summer",
        "title": "Summer",
        "audience": "segment = 'Loyal'",
        "value_per_conversion": "12.5",
    }
    fields |= {"uses_email": "on", "cost_email": "0.02", "days_0": ["1", "2"], "from_0": "9", "to_0": "18"}
    shown = html.unescape(client.post("/campaign-new/", {**fields, "preview": "1"}).content.decode())
    assert "title: Summer\naudience: segment = 'Loyal'\n" in shown
    assert "The file is well" in shown
    assert campaign_text(shop.settings, "summer") == (None, True)
    saved = client.post("/campaign-new/", {**fields, "save": "1"}, follow=True).content.decode()
    assert "summer is saved" in saved
    text, _ = campaign_text(shop.settings, "summer")
    campaigns, problems = load_shop_campaigns(shop.settings)
    (summer,) = [campaign for campaign in campaigns if campaign.campaign_id == "summer"]
    assert (problems, summer.send_windows[0].days, summer.channels["email"].cost) == ([], (1, 2), 0.02)
    mark = re.search(r'name="mark" value="(\w+)"', client.get("/campaigns/summer/edit/").content.decode())
    assert mark is not None
    edit = {"by": "text", "mark": mark[1], "save": "1"}
    wrong = client.post("/campaigns/summer/edit/", {**edit, "text": f"{text}budgets: 3\n"}).content.decode()
    assert "did you mean" in wrong
    assert "budgets" in wrong
    assert (
        "summer is saved"
        in client.post("/campaigns/summer/edit/", {**edit, "text": f"{text}budget: 3\r\n"}, follow=True).content.decode()
    )
    stale = client.post("/campaigns/summer/edit/", {**edit, "text": f"{text}budget: 9\n"}).content.decode()
    assert "Somebody else changed this file" in stale
    assert campaign_text(shop.settings, "summer")[0] == f"{text}budget: 3\n"
    client.post("/campaigns/summer/remove/")
    assert campaign_text(shop.settings, "summer") == (None, True)


def test_the_shops_own_file_is_shown_and_copied_but_never_written(desk: Desk, shop: AudienceShop) -> None:
    client = desk.client("marketer")
    assert "is the shop's own" in html.unescape(client.get("/campaigns/spring/edit/").content.decode())
    client.post("/campaigns/spring/edit/", {"by": "text", "text": "title: x", "save": "1", "mark": ""})
    client.post("/campaigns/spring/remove/")
    assert campaign_text(shop.settings, "spring") == (CAMPAIGN, False)
    copy = client.get("/campaign-new/?copy=spring").content.decode()
    assert 'value="spring-copy"' in copy
    assert client.get("/campaign-new/?copy=../shop").status_code == 200


def test_what_if_plans_again_and_saves_nothing(desk: Desk, shop: AudienceShop) -> None:
    files = files_of(shop)
    text = page(desk, "/campaigns/spring/what-if/?budget=0&capacity-sms=&capacity-email=4", "marketer")
    assert re.search(r'To contact</th><td class="number">[1-9]\d*</td><td class="number">0</td>', text)
    assert 'name="capacity-sms" inputmode="numeric" value=""' in text
    assert "is no number" in page(desk, "/campaigns/spring/what-if/?budget=much", "marketer")
    assert "is no limit" in page(desk, "/campaigns/spring/what-if/?budget=-1", "marketer")
    assert files_of(shop) == files


def files_of(shop: AudienceShop) -> dict[Path, int]:
    """When each file of the place was written, but for the folders of connections."""
    root = shop.settings.place.root
    return {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file() and ".tmp" not in file.parts}


def test_planning_is_asked_of_dagster_for_the_published_day(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    client = desk.client("marketer")
    assert "Nothing was planned" in client.post("/campaign-plans/", follow=True).content.decode()
    assert AuditEntry.objects.filter(action="plan requested").count() == 1
    asked: list[tuple[str, ...]] = []
    run = "2f1d7cbc-6b5a-4f4e-9a0c-0d1f2a3b4c5d"
    monkeypatch.setattr("customer360.services.desk.pages.campaigns.launch", lambda *of: asked.append(of) or run)
    assert client.post("/campaign-plans/").headers["Location"] == f"/runs/{run}/"
    assert asked == [("campaign_job", "marketer", "2026-05-04")]
    monkeypatch.setattr("customer360.services.desk.pages.runs.launch", lambda *_: run)
    desk.client("admin").post("/runs/", {"job": "daily_job"})
    planned = AuditEntry.objects.filter(action="plan requested", subject="2026-05-04").values_list("username", flat=True)
    assert list(planned) == ["admin", "marketer", "marketer"]


def test_of_two_approvers_at_once_one_decides(shop: AudienceShop) -> None:
    settings, place = shop.settings, shop.settings.place
    version = str(pd.read_parquet(place.plans / "2026-05-04" / "campaign_plan.parquet")["plan_version"].iloc[0])
    touches = published_touches(settings)

    def decide(name: str) -> Approved:
        return approve(settings, "spring", version, Request("at once", AS_OF, name), AS_OF, touches=touches)

    with ThreadPoolExecutor(4) as people:
        decisions = list(people.map(decide, ["anna", "ben", "carla", "dirk"]))
    assert [decision.before is None for decision in decisions].count(True) == 1
    entries = read_ledger(place, [APPROVED])
    assert entries["recorded_by"].nunique() == 1
    assert not entries["customer_id"].duplicated().any()


def test_an_approval_while_the_day_is_planned_again_is_of_one_version_as_a_whole(shop: AudienceShop) -> None:
    settings, place = shop.settings, shop.settings.place
    file = place.plans / "2026-05-04" / "campaign_plan.parquet"
    plans = {}
    for budget in ("", "budget: 2\n"):
        plans[plan(shop, budget)] = pd.read_parquet(file)
    assert len(plans) == 2
    touches = published_touches(settings)

    def again(turn: int) -> None:
        rows = list(plans.values())[turn % 2]
        written = file.with_suffix(f".{turn}")
        rows.to_parquet(written, index=False)
        written.replace(file)

    def decide(version: str) -> Approved | str:
        try:
            return approve(settings, "spring", version, Request("meanwhile", AS_OF, "anna"), AS_OF, touches=touches)
        except DecisionRefused as refused:
            return str(refused)

    with ThreadPoolExecutor(3) as people:
        planning = [people.submit(again, turn) for turn in range(12)]
        answers = list(people.map(decide, [*plans] * 3))
    assert all(task.exception() is None for task in planning)
    entries = read_ledger(place, [APPROVED])
    for answer in answers:
        assert isinstance(answer, Approved) or "is not the newest draft" in answer or "nothing to approve" in answer
    for version, rows in entries.groupby("plan_version"):
        planned = plans[str(version)]
        chosen = planned[planned["decision"].isin(["contact", "holdout"])]
        assert set(rows["customer_id"]) <= set(chosen["customer_id"])
    first = entries["plan_version"].iloc[0]
    chosen = plans[str(first)][plans[str(first)]["decision"].isin(["contact", "holdout"])]
    assert set(entries.loc[entries["plan_version"] == first, "customer_id"]) == set(chosen["customer_id"])
    assert not entries["customer_id"].duplicated().any()
