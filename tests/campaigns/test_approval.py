"""A person approves a plan once, and no limit is broken by what was decided in between."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import customer360.campaigns.approval as approval_module
from customer360.campaigns.approval import Withdrawn, withdraw
from customer360.campaigns.drafts import approved_definitions, approved_file
from customer360.campaigns.ledger import ledger_parts, read_ledger
from customer360.campaigns.overview import campaign_overviews
from customer360.campaigns.standing import commitments, standing
from customer360.decisions import DecisionRefused, Request
from tests.campaigns.conftest import Desk, at, holdout

NO_TOUCHES = pd.DataFrame(columns=["customer_id", "campaign_id", "channel", "touched_at", "local_date"])


def contact(customer: str, **changes: object) -> dict[str, object]:
    return {"customer_id": customer, **changes}


def take_back(desk: Desk, now: str, *customers: str) -> Withdrawn:
    return withdraw(desk.settings, "spring", Request("wrong offer", at(now), "bert"), at(now), customers)


def test_an_approval_keeps_the_plan_and_records_both_arms(desk: Desk) -> None:
    left_out = {"customer_id": "C3", "decision": "left out", "reason": "no consent", "channel": None, "send_at": None}
    desk.draft(contact("C1"), holdout("C2", "global"), left_out, contact("C4", is_exploration=True))
    done = desk.approve()
    assert (done.contacts, done.holdouts, done.committed, done.cost, done.before) == (2, 1, 0, 1.0, None)
    ledger = read_ledger(desk.place)
    assert desk.events() == [(event, name) for event in ("planned", "approved") for name in ("C1", "C2", "C4")]
    assert list(ledger["arm"]) == ["contact", "holdout", "contact"] * 2
    assert list(ledger["event_at"].astype(str)) == ["2026-05-03 22:00:00"] * 3 + ["2026-05-04 12:00:00"] * 3
    assert ledger["detail"].iloc[1] == "held out of every campaign" and ledger["detail"].iloc[3] == "looks right"
    assert list(ledger["is_exploration"]) == [False, False, True] * 2
    assert set(ledger["model_version"]) == {"m1"} and set(ledger["expected_conversion"]) == {0.25}
    kept = pd.read_parquet(approved_file(desk.place, "spring", "spring-1"))
    assert list(kept["customer_id"]) == ["C1", "C2", "C3", "C4"]


def test_approving_twice_changes_nothing_and_says_so(desk: Desk) -> None:
    desk.draft(contact("C1"))
    desk.approve()
    file = approved_file(desk.place, "spring", "spring-1")
    before = [path.read_bytes() for path in [file, *ledger_parts(desk.place)]]
    again = desk.approve(now="2026-05-09 12:00")
    assert again.before == "approved by anna at 2026-05-04 12:00 UTC"
    assert (again.contacts, again.holdouts) == (0, 0)
    assert [path.read_bytes() for path in [file, *ledger_parts(desk.place)]] == before


def test_a_later_version_adds_only_who_is_not_committed_yet(desk: Desk) -> None:
    desk.draft(contact("C1"), holdout("C2"))
    desk.approve()
    desk.draft(contact("C1"), contact("C2"), contact("C3"), version="spring-2", day="2026-05-05")
    done = desk.approve("spring-2", now="2026-05-05 05:00")
    assert (done.contacts, done.committed) == (1, 2)
    approved = read_ledger(desk.place, ["approved"])
    assert list(zip(approved["customer_id"], approved["plan_version"], approved["arm"], strict=True)) == [
        ("C1", "spring-1", "contact"),
        ("C2", "spring-1", "holdout"),
        ("C3", "spring-2", "contact"),
    ]


@pytest.mark.parametrize(
    ("prepare", "version", "message"),
    [
        (lambda desk: None, "spring-1", "newest plan has no draft of spring; it has none"),
        (
            lambda desk: desk.draft(contact("C1"), version="spring-2"),
            "spring-1",
            "not the newest draft of spring: that is spring-2",
        ),
        (
            lambda desk: desk.draft(contact("C1", contact_date="2026-05-03")),
            "spring-1",
            "are for 2026-05-03 and it is 2026-05-04",
        ),
        (lambda desk: desk.draft(contact("C1"), contact("C1")), "spring-1", "a customer or a version twice"),
        (lambda desk: desk.draft(contact("C1", send_at=None)), "spring-1", "contacts without send_at"),
        (lambda desk: desk.draft(holdout("C1")), "spring-1", "nothing to approve"),
        (
            lambda desk: (desk.draft(contact("C1")), (desk.place.plans / "2026-05-04" / "spring-1.json").unlink()),
            "spring-1",
            "planned by an older version, which kept no copy of its campaign. Plan the day again",
        ),
    ],
)
def test_what_is_no_present_draft_is_refused_and_nothing_changes(
    desk: Desk, prepare: Callable[[Desk], object], version: str, message: str
) -> None:
    prepare(desk)
    with pytest.raises(DecisionRefused, match=message):
        desk.approve(version)
    assert not ledger_parts(desk.place) and not (desk.place.campaigns / "plans").exists()


def committed_elsewhere(desk: Desk, *rows: dict[str, object]) -> None:
    """Another campaign is approved after the draft of spring was made."""
    desk.campaign(name="other")
    drafts = pd.read_parquet(desk.place.plans / "2026-05-04" / "campaign_plan.parquet")
    desk.draft(*rows, version="other-1", campaign="other", day="2026-05-03")
    (desk.place.plans / "2026-05-04" / "campaign_plan.parquet").unlink()
    desk.approve("other-1", "other")
    drafts.to_parquet(desk.place.plans / "2026-05-04" / "campaign_plan.parquet", index=False)


@pytest.mark.parametrize(
    ("edit", "shown"),
    [
        (lambda desk: desk.campaign("budget: 0.4\npriority: 7\n"), ["budget", "priority"]),
        (lambda desk: desk.campaign("budget: lots\n"), []),
        (lambda desk: (desk.settings.campaign_folder / "spring.yaml").unlink(), []),
        (lambda desk: None, []),
    ],
)
def test_a_draft_is_approved_as_it_was_planned_whatever_its_file_says_now(
    desk: Desk, edit: Callable[[Desk], object], shown: list[str]
) -> None:
    desk.campaign("budget: 1.2\n")
    desk.draft(contact("C1"), contact("C2"))
    edit(desk)
    (overview,) = campaign_overviews(desk.settings)
    assert overview.draft is not None and overview.draft.changed == shown
    assert desk.approve().cost == 1.0
    assert approved_definitions(desk.place)["spring-1"].budget == 1.2
    (overview,) = campaign_overviews(desk.settings)
    assert overview.versions[0].changed == shown
    desk.draft(contact("C3"), version="spring-2")
    if shown:  # the next plan is made from the edited file
        with pytest.raises(DecisionRefused, match=r"budget: 1\.00 is committed and 0\.50 would be added, of 0\.40"):
            desk.approve("spring-2")


def test_a_definition_that_commit_8fc0e46_stored_is_read(desk: Desk) -> None:
    """Its windows are written as start and end, as the fields are named, and not as from and to."""
    file = desk.place.campaigns / "plans" / "spring" / "spring-0.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        """{"campaign_id": "spring", "title": "Spring", "kind": "general", "offer_id": null, "audience": "everyone",
        "starts_on": "2026-05-01", "ends_on": null, "value_per_conversion": 20.0, "budget": null,
        "channels": {"email": {"cost": 0.5, "capacity_per_day": null}},
        "send_windows": [{"days": [1, 2], "start": 8, "end": 20}],
        "frequency_caps": {"overall": {"contacts": 2, "days": 7}, "channels": {}},
        "minimum_gap_days": 0, "priority": 100, "holdout_share": 0.1, "exploration_share": 0.05}"""
    )
    definition = approved_definitions(desk.place)["spring-0"]
    assert definition.value_per_conversion == 20 and definition.send_windows[0].end == 20
    assert str(definition.starts_on) == "2026-05-01" and definition.frequency_caps.overall is not None


def test_a_plan_that_commit_8fc0e46_approved_is_listed_and_sent(desk: Desk) -> None:
    """Its definition lies beside the approved plan alone; the drafts of that commit have none."""
    desk.draft(contact("C1"), contact("C2"))
    desk.approve()
    desk.draft(contact("C1"), contact("C2"), version="spring-2", day="2026-05-05")
    for file in desk.place.plans.glob("*/*.json"):
        file.unlink()
    (overview,) = campaign_overviews(desk.settings)
    assert overview.draft is not None and overview.draft.changed == []
    assert [version.plan_version for version in overview.versions] == ["spring-1"]
    desk.campaign("budget: 3\n")
    assert campaign_overviews(desk.settings)[0].versions[0].changed == ["budget"]
    assert desk.send("2026-05-05 07:15").contacts == 2


def test_a_budget_that_was_spent_meanwhile_refuses(desk: Desk) -> None:
    desk.campaign("budget: 1.2\n")
    desk.draft(contact("C1"), contact("C2"))
    desk.approve()
    desk.draft(contact("C3"), version="spring-2")
    with pytest.raises(DecisionRefused, match=r"budget: 1\.00 is committed and 0\.50 would be added, of 1\.20"):
        desk.approve("spring-2")
    take_back(desk, "2026-05-04 13:00", "C1")  # what is withdrawn costs nothing
    assert desk.approve("spring-2").contacts == 1


def test_capacity_that_another_campaign_took_refuses(tmp_path: Path) -> None:
    desk = Desk(tmp_path, minimum_gap_days=0, capacity_per_day={"email": 2})
    desk.draft(contact("C1"), contact("C2"))
    committed_elsewhere(desk, contact("C3"))
    with pytest.raises(
        DecisionRefused, match="capacity of all campaigns: email on 2026-05-05 takes 2; 1 are committed and 2 would"
    ):
        desk.approve()


def test_the_campaigns_own_capacity_counts_its_own_contacts(desk: Desk) -> None:
    sms = {"channel": "sms", "cost": 2.0}
    desk.draft(*(contact(name, **sms) for name in ("C1", "C2", "C3", "C4")))
    with pytest.raises(
        DecisionRefused, match="capacity of this campaign: sms on 2026-05-05 takes 3; 0 are committed and 4 would"
    ):
        desk.approve()


def test_a_frequency_cap_and_a_gap_count_what_was_approved_meanwhile(tmp_path: Path) -> None:
    desk = Desk(tmp_path, minimum_gap_days=2, frequency_cap={"contacts": 1, "days": 7})
    desk.draft(contact("C1", contact_date="2026-05-06", send_at="2026-05-06 07:00"), contact("C2"))
    committed_elsewhere(desk, contact("C1"))
    with pytest.raises(DecisionRefused) as refused:
        desk.approve()
    assert "frequency cap of every campaign (shop.yaml): more than 1 contact in 7 days for 1 customer" in str(refused.value)
    assert "gap: less than 2 days between two contacts of 1 customer" in str(refused.value)


def test_contacts_as_far_apart_as_the_rules_ask_are_approved(tmp_path: Path) -> None:
    desk = Desk(tmp_path, minimum_gap_days=2, frequency_cap={"contacts": 2, "days": 3})
    desk.draft(contact("C1", contact_date="2026-05-07", send_at="2026-05-07 07:00"))
    committed_elsewhere(desk, contact("C1"))
    assert desk.approve().contacts == 1


def test_a_crash_between_the_plan_and_the_ledger_is_made_good_by_approving_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.draft(contact("C1"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(approval_module, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.approve()
    file = approved_file(desk.place, "spring", "spring-1")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert desk.events() == []
    assert desk.approve().contacts == 1
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


def test_a_version_that_stands_for_another_plan_is_refused(desk: Desk) -> None:
    desk.draft(contact("C1"))
    target = approved_file(desk.place, "spring", "spring-1")
    target.parent.mkdir(parents=True)
    pd.read_parquet(desk.place.plans / "2026-05-04" / "campaign_plan.parquet").assign(cost=9.0).to_parquet(target, index=False)
    with pytest.raises(DecisionRefused, match="never written again"):
        desk.approve()
    assert desk.events() == []


@pytest.mark.full
def test_a_withdrawn_plan_leaves_both_arms_and_may_be_planned_again(desk: Desk) -> None:
    late = {"contact_date": "2026-05-06", "send_at": "2026-05-06 07:00"}
    desk.draft(contact("C1"), contact("C2", **late), {**holdout("C3"), **late}, holdout("C4"))
    desk.approve()
    desk.send("2026-05-05 07:30")
    done = take_back(desk, "2026-05-05 08:00")
    assert (done.contacts, done.holdouts, done.sent) == (1, 1, 1)
    assert desk.events("suppressed") == [("suppressed", "C2"), ("suppressed", "C3")]
    assert set(read_ledger(desk.place, ["suppressed"])["detail"]) == {"withdrawn: wrong offer"}
    assert list(commitments(standing(read_ledger(desk.place)), NO_TOUCHES, desk.settings.shop)["customer_id"]) == ["C1"]
    desk.draft(contact("C1"), contact("C2", **late), {**holdout("C3"), **late}, version="spring-2", day="2026-05-05")
    again = desk.approve("spring-2", now="2026-05-05 09:00")
    assert (again.contacts, again.holdouts, again.committed) == (1, 1, 1)


def test_single_customers_are_withdrawn_and_stay_in_what_is_compared(desk: Desk) -> None:
    desk.draft(contact("C1"), contact("C2"), holdout("C3"))
    desk.approve()
    assert take_back(desk, "2026-05-04 13:00", "C1").contacts == 1
    assert set(read_ledger(desk.place, ["suppressed"])["detail"]) == {"withdrawn for this customer: wrong offer"}
    desk.draft(contact("C1"), contact("C2"), contact("C4"), version="spring-2", day="2026-05-05")
    assert desk.approve("spring-2", now="2026-05-05 05:00").committed == 2
    for name in ("C1", "C3", "nobody"):
        with pytest.raises(DecisionRefused, match=f"no contact of {name}"):
            take_back(desk, "2026-05-04 13:00", name)


def test_there_is_nothing_to_withdraw_twice(desk: Desk) -> None:
    desk.draft(contact("C1"))
    desk.approve()
    take_back(desk, "2026-05-04 13:00")
    parts = ledger_parts(desk.place)
    with pytest.raises(DecisionRefused, match="nothing to withdraw"):
        take_back(desk, "2026-05-04 14:00")
    assert ledger_parts(desk.place) == parts
