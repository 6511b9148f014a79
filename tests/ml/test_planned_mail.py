"""Plans of campaigns with a message: who can be mailed it, one customer an address, and the variant that each is sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from test_plan_rows import Desk, campaign, who

from customer360.campaigns.holdouts import draws
from customer360.mail.message import Message
from ml.planning.inputs import PlanningInputs
from ml.planning.mailing import Mail
from ml.planning.violations import ADDRESSES, violations

MESSAGE = Message.model_validate(
    {"name": "offer", "title": "Offer", "subject": "Hello", "files": {"body.mjml": "<mjml></mjml>"}}
)
SPLIT = Message.model_validate({**MESSAGE.model_dump(), "variants": {"A": {}, "B": {}}})
BOTH = {"email": {"cost": 1}, "sms": {"cost": 1}}


@dataclass(frozen=True)
class MailDesk(Desk):
    """A desk whose customers have these addresses (C000's first); an empty one is none. ``lacking``: who lacks a value."""

    addresses: tuple[str, ...] = ()
    lacking: dict[str, str] = field(default_factory=dict)
    message: Message = MESSAGE

    @cached_property
    def inputs(self) -> PlanningInputs:
        keys = {customer: address for customer, address in zip(self.ids, self.addresses, strict=True) if address}

        def unfilled(_message: Message, _campaign: Any, ids: pd.Index[str]) -> pd.Series[str]:
            return pd.Series([self.lacking.get(customer) for customer in ids], index=ids, dtype="object")

        return replace(super().inputs, mail=Mail({"offer": self.message}, pd.Series(keys, dtype="str"), unfilled))


def mailed(**changes: Any) -> Any:
    return campaign(message="offer", **changes)


def test_who_has_no_address_or_lacks_a_value_is_left_out_with_the_reason() -> None:
    lacks = {"C002": "no value for first_name of the message"}
    desk = MailDesk([0.5, 0.5, 0.5], addresses=("a@x.example", "", "c@x.example"), lacking=lacks)
    plan = desk.plan(mailed())
    assert who(plan) == ["C000"]
    assert who(plan, "left out", "no address") == ["C001"]
    assert who(plan, "left out", "message cannot be filled") == ["C002"]
    assert plan.rows["explanation"].iloc[2] == (
        "the message offer lacks a value that it needs, and no other channel is left: no value for first_name of the message"
    )
    assert list(desk.plan(campaign()).rows["decision"]) == ["contact"] * 3  # without a message other tools know the addresses


def test_another_channel_still_reaches_them() -> None:
    table = np.zeros((3, 7, 3))
    table[0], table[2] = 0.5, 0.4
    desk = MailDesk(
        [0.0] * 3, dict.fromkeys(["C000", "C001", "C002"], table), addresses=("", "same@x.example", "same@x.example")
    )
    rows = desk.plan(mailed(channels=BOTH)).rows
    assert sorted(rows["channel"]) == ["email", "sms", "sms"]
    assert rows["channel"].iloc[0] == "sms"
    assert rows["variant"].isna().tolist() == (rows["channel"] == "sms").tolist()


def test_of_one_address_the_customer_of_the_highest_value_is_mailed() -> None:
    desk = MailDesk([0.3, 0.5, 0.4, 0.2], addresses=("a@x.example", "a@x.example", "a@x.example", "b@x.example"))
    plan = desk.plan(mailed())
    assert who(plan) == ["C001", "C003"]
    assert who(plan, "left out", "address has a contact already") == ["C000", "C002"]


def test_an_address_of_an_earlier_version_is_not_mailed_again() -> None:
    before = (("C000", "k", "email", "2026-04-20", 1.0), ("C002", "other", "email", "2026-04-20", 1.0))
    addresses = ("a@x.example", "a@x.example", "c@x.example")
    plan = MailDesk([0.5, 0.5, 0.5], commitments=before, addresses=addresses).plan(mailed())
    assert who(plan, "left out", "address has a contact already") == ["C001"]
    assert who(plan, "left out", "frequency cap") == ["C000"]
    assert who(plan) == ["C002"]  # by another campaign


def test_what_is_held_back_from_one_owner_does_not_reach_the_mailbox_by_another() -> None:
    chance = [0.4] * 200
    addresses = tuple(f"{number // 2}@x.example" for number in range(200))
    rows = MailDesk(chance, addresses=addresses).plan(mailed(holdout_share=0.5)).rows
    by_address = rows.groupby([number // 2 for number in range(200)])["decision"].agg(set)
    assert rows["decision"].value_counts().to_dict()["left out"] == 100
    assert not [found for found in by_address if {"contact", "holdout"} <= found]
    assert (rows["decision"] == "holdout").sum() > 25


def test_variants_are_drawn_by_salt_campaign_and_customer_alone() -> None:
    count = 400
    addresses = tuple(f"{number}@x.example" for number in range(count))
    desk = MailDesk([0.5] * count, addresses=addresses, message=SPLIT)
    rows = desk.plan(mailed(holdout_share=0.2)).rows
    contacts = rows[rows["decision"] == "contact"]
    expected = np.where(draws(contacts["customer_id"], "salt", "k", "variant") < 0.5, "A", "B")
    assert list(contacts["variant"]) == list(expected)
    assert 0.4 < (contacts["variant"] == "A").mean() < 0.6
    assert rows.loc[rows["decision"] != "contact", "variant"].isna().all()


def test_the_version_covers_the_message() -> None:
    desk = MailDesk([0.5], addresses=("a@x.example",))
    other = replace(desk, message=MESSAGE.model_copy(update={"title": "Another"}))
    versions = {
        plan.version for plan in (desk.plan(mailed()), desk.plan(mailed()), other.plan(mailed()), desk.plan(campaign()))
    }
    assert len(versions) == 3


def test_the_check_of_plans_counts_addresses_by_itself() -> None:
    desk = MailDesk(
        [0.5] * 4, addresses=("a@x.example", "A@x.example".lower(), "", "d@x.example"), lacking={"C003": "no value"}
    )
    audience = {"k": pd.Index(desk.ids, dtype="str")}
    good = desk.plan(mailed()).rows
    assert violations(good, [mailed()], audience, desk.inputs, desk.shop) == []
    careless = desk.plan(campaign()).rows
    found = [(wrong.rule, wrong.detail) for wrong in violations(careless, [mailed()], audience, desk.inputs, desk.shop)]
    assert found == [
        (ADDRESSES, "1 contact without a valid address"),
        (ADDRESSES, "1 contact to an address that has another one"),
        (ADDRESSES, "1 contact by a message that lacks a value"),
    ]


def test_plans_of_one_campaign_ask_once_who_lacks_a_value() -> None:
    desk = MailDesk([0.5, 0.5], addresses=("a@x.example", "b@x.example"), lacking={"C001": "no value"})
    asked = []

    def unfilled(message: Message, campaign: Any, ids: pd.Index[str]) -> pd.Series[str]:
        asked.append(campaign.budget)
        return desk.inputs.mail.unfilled(message, campaign, ids)

    mail = replace(desk.inputs.mail, unfilled=unfilled).asked_once()
    for budget in (1.0, 5.0):
        found = mail.unfilled(MESSAGE, mailed(budget=budget), pd.Index(desk.ids))
        assert found.dropna().to_dict() == {"C001": "no value"}
    assert asked == [1.0]
