"""A small shop with one campaign: its customers, its drafts and its clock are what a test says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from customer360.campaigns.approval import Approved, approve
from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.drafts import write_definition
from customer360.campaigns.ledger import read_ledger
from customer360.campaigns.sending import Sent, outbox, send
from customer360.decisions import Request
from customer360.mail.message import load_messages
from customer360.settings import Place, Settings
from customer360.snapshot import published_touches
from tests.support.random_shop import EMAIL, small_shop

CAMPAIGN = """
title: Spring
audience: everyone
value_per_conversion: 20
channels:
  email: {cost: 0.5}
  sms: {cost: 2.0, capacity_per_day: 3}
"""
# Monday to Friday; the shop is in Amsterdam, two hours ahead of UTC.
PLANNED = "2026-05-04"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Desk:
    """The shop of a test, and what its marketing people do."""

    def __init__(self, root: Path, email: dict[str, Any] | None = None, **rules: Any) -> None:
        folder = root / "shop"
        (folder / "campaigns").mkdir(parents=True)
        shop = small_shop(channels=["email", "sms"], campaigns={"minimum_gap_days": 0, **rules}, email=email)
        fields = shop.model_dump(mode="json", by_alias=True, exclude_none=True)
        (folder / "shop.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
        self.settings = Settings(shop=shop, place=Place(root=root / "data"), shop_folder=folder)
        self.place = self.settings.place
        self.campaign()

    def campaign(self, more: str = "", name: str = "spring") -> None:
        (self.settings.shop_folder / "campaigns" / f"{name}.yaml").write_text(CAMPAIGN + more, encoding="utf-8")

    def message(self, subject: str = "Hello", name: str = "offer") -> None:
        folder = self.settings.message_folder / name
        folder.mkdir(parents=True, exist_ok=True)
        words = {"title": "Offer", "subject": subject, "preheader": "For you"}
        (folder / "message.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")
        (folder / "body.mjml").write_text("<mjml><mj-body></mj-body></mjml>", encoding="utf-8")

    def reference(self, table: str, text: str) -> None:
        folder = self.place.landing / "reference" / table
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{table}.csv").write_text(text, encoding="utf-8")

    def customers(self, *rows: str) -> None:
        """Each row: id,consent_email,consent_sms,time_zone."""
        self.reference("customers", "\n".join(["customer_id,consent_email,consent_sms,time_zone", *rows]) + "\n")

    def draft(
        self,
        *rows: dict[str, Any],
        version: str = "spring-1",
        campaign: str = "spring",
        day: str = PLANNED,
        faults: Sequence[str] = (),
    ) -> str:
        """Make these rows the newest draft; other columns are those of a contact by e-mail on Tuesday at 9:00 in Amsterdam.

        The draft is made from the campaign as its file is now.
        """
        base: dict[str, Any] = {
            "campaign_id": campaign,
            "plan_version": version,
            "plan_date": pd.Timestamp(day),
            "decision": "contact",
            "reason": None,
            "channel": "email",
            "contact_date": pd.Timestamp("2026-05-05"),
            "daypart": "morning",
            "send_at": pd.Timestamp("2026-05-05 07:00"),
            "offer_id": "O1",
            "expected_conversion": 0.25,
            "expected_value": 5.0,
            "cost": 0.5,
            "is_exploration": False,
            "holdout": None,
            "model_version": "m1",
            "value_basis": "incremental",
        }
        frame = pd.DataFrame([{**base, **row} for row in rows])
        for column in ("contact_date", "send_at"):
            frame[column] = pd.to_datetime(frame[column])
        target = self.place.plans / day / "campaign_plan.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        campaigns, _ = load_shop_campaigns(self.settings)
        by_name = {known.campaign_id: known for known in campaigns}
        if campaign in by_name:
            messages = {message.name: message for message in load_messages(self.settings)[0]}
            planned = by_name[campaign]
            write_definition(target.parent, version, planned, messages.get(planned.message or ""), faults)
        frame.to_parquet(target, index=False)
        return version

    def approve(self, version: str = "spring-1", campaign: str = "spring", now: str = "2026-05-04 12:00") -> Approved:
        request = Request("looks right", at(now), "anna")
        return approve(self.settings, campaign, version, request, at(now), touches=published_touches(self.settings))

    def send(self, now: str, **more: Any) -> Sent:
        return send(self.settings, at(now), at(now), "run 1", **more)

    def handed_over(self) -> pd.DataFrame:
        """All that the tools find in the outbox."""
        files = sorted(outbox(self.place).glob("[0-9]*/*.csv"))
        return pd.concat([pd.read_csv(file, dtype=str) for file in files], ignore_index=True) if files else pd.DataFrame()

    def events(self, *names: str) -> list[tuple[str, str]]:
        """Event and customer of each entry, in the order in which they were recorded."""
        frame = read_ledger(self.place, names)
        return list(zip(frame["event"], frame["customer_id"], strict=True))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Four customers who may be mailed; C4 may also be texted, and lives in New York."""
    desk = Desk(tmp_path)
    desk.customers("C1,true,,", "C2,true,false,", "C3,true,,Europe/Amsterdam", "C4,true,true,America/New_York")
    return desk


@pytest.fixture
def mailing_desk(tmp_path: Path) -> Desk:
    """Two customers of a shop that mails, whose campaign has the message offer."""
    desk = Desk(tmp_path, email=EMAIL)
    desk.customers("C1,true,,", "C2,true,,")
    desk.message()
    desk.campaign("message: offer\n")
    return desk


def holdout(customer: str, kind: str = "campaign") -> dict[str, Any]:
    return {"customer_id": customer, "decision": "holdout", "holdout": kind, "cost": 0.0}
