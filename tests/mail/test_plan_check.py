"""A plan's message is judged for everybody whom the plan mails, in the variant that each gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb
import pandas as pd
from mail_shop import FOOTER, body, mail_shop, message_of

from customer360.campaigns.definition import Campaign
from customer360.mail.plan_check import message_faults
from customer360.settings import Shop

DEFINITION = """
title: Spring
subject: "Spring, {{ first_name }}"
preheader: Offers of spring
slots: {headline: Hello}
variables:
  first_name: {source: customer.first_name}
"""
GREETING = "<p>{{ slot.headline }} {{ first_name }}</p>"
CAMPAIGN = Campaign.model_validate(
    {
        "campaign_id": "k",
        "title": "K",
        "audience": "everyone",
        "value_per_conversion": 5,
        "channels": {"email": {}},
        "message": "spring",
    }
)


@dataclass
class Published:
    """What a snapshot gives of one published table, customer_profiles."""

    names: dict[str, str | None]
    shop: Shop = field(default_factory=mail_shop)
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)

    def __post_init__(self) -> None:
        self.connection.execute("create table customer_profiles (customer_id varchar, first_name varchar, language varchar)")
        self.connection.executemany("insert into customer_profiles values (?, ?, 'en')", list(self.names.items()))

    def has(self, table: str) -> bool:
        return table == "customer_profiles"

    def read(self, query: str, values: Any = None, *, of: Any = ()) -> pd.DataFrame:
        return self.connection.execute(query, values).df()


def plan(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    """Customer, decision and channel of each row."""
    return pd.DataFrame(rows, columns=["customer_id", "decision", "channel"]).assign(variant="A")


def faults(text: str, names: dict[str, str | None], rows: pd.DataFrame) -> list[str]:
    message = message_of({"message.yaml": DEFINITION, "body.mjml": body(text)})
    return message_faults(Published(names), CAMPAIGN, message, rows)  # type: ignore[arg-type]  # a part of a snapshot


def test_a_message_that_everybody_can_be_shown_has_no_fault() -> None:
    rows = plan(("C1", "contact", "email"), ("C2", "left out", None), ("C3", "contact", "sms"))
    assert faults(GREETING + FOOTER, {"C1": "Anna", "C2": None, "C3": None}, rows) == []


def test_who_is_mailed_and_cannot_be_shown_it_is_counted_and_not_named() -> None:
    rows = plan(("C1", "contact", "email"), ("C2", "contact", "email"))
    assert faults(GREETING + FOOTER, {"C1": "Anna", "C2": None}, rows) == [
        "1 message of 2 cannot be made: no value for first_name of the message"
    ]


def test_what_gmail_would_clip_is_a_fault() -> None:
    long = GREETING + "<p>{{ first_name }}</p>" + "<p>long words</p>" * 8_000
    (fault,) = faults(long + FOOTER, {"C1": "Anna"}, plan(("C1", "contact", "email")))
    assert "Gmail clips" in fault
    assert "Anna" not in fault


def test_a_message_without_a_link_to_unsubscribe_has_a_fault_before_anybody_is_mailed() -> None:
    found = faults(GREETING, {"C1": "Anna"}, plan())
    assert any("unsubscribe" in fault for fault in found)
    assert any("postal" in fault for fault in found)
