"""The pages that explain: why a customer got a campaign or did not, offers, and recommendations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from customer360.campaigns.ledger import APPROVED, SENT, SUPPRESSED, append
from customer360.lake.engine import literal, quoted
from customer360.lake.publishing.tables import TABLES
from tests.desk.in_django import Desk
from tests.services.served_shop import SHELVES

from customer360.services.desk.models import AuditEntry  # isort: skip  Django is set up by tests.desk.in_django

CAMPAIGN = """
title: <b>Spring</b>
kind: seasonal
audience: views_3d >= 20 and segment = 'Lost'
value_per_conversion: 20
channels: {email: {cost: 0.02}}
"""
LEFT_OUT = {
    **{"campaign_id": "spring", "plan_version": "spring-v2", "plan_date": "2026-05-01", "customer_id": "C3"},
    **{"decision": "left out", "reason": "gap", "explanation": "contacted less than 7 days ago"},
}


def one_row(table: str, **values: str) -> str:
    types = TABLES[table].duckdb_types.items()
    given = {name: literal(value) for name, value in values.items()}
    return "select " + ", ".join(f"cast({given.get(name, 'null')} as {kind}) as {quoted(name)}" for name, kind in types)


EXPLAINED = {
    "customer_features": "select 'C' || c as customer_id, 10 * c as views_3d from range(1, 4) as customers (c)",
    "rfm_segments": "select 'C' || c as customer_id, if(c = 3, 'Lost', 'Champions') as segment from range(1, 4) as c (c)",
    "campaign_plan": one_row("campaign_plan", **LEFT_OUT),
    "campaign_touch_history": """
        select 't1' as touch_id, 'k1' as campaign_id, 'C1' as customer_id, null::varchar as channel,
            timestamp '2026-04-01 10:00' as touched_at, true as is_time_known, false as is_converted,
            null::timestamp as converted_at, true as is_control
    """,
    "customer_orders": """
        select 'C2' as customer_id, 'O77' as order_id, timestamp '2026-04-29 12:00' as ordered_at,
            31.5::decimal(18, 2) as amount, 1 as lines union all
        select 'C2', 'O78', timestamp '2026-05-09', 9, 1
    """,
    "campaigns": "select 'k1' as campaign_id, 'Winter' as name",
}


@pytest.fixture
def explained(desk: Desk) -> Desk:
    folder = desk.shop.settings.campaign_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spring.yaml").write_text(CAMPAIGN, encoding="utf-8")
    desk.shop.tables |= SHELVES | EXPLAINED
    desk.shop.publish()
    return desk


def entered(desk: Desk, event: str, **more: Any) -> None:
    entry = {
        **{"event": event, "event_at": pd.Timestamp("2026-04-29 08:00"), "send_at": pd.Timestamp("2026-04-29 08:00")},
        **{"campaign_id": "spring", "plan_version": "spring-v1", "customer_id": "C2", "arm": "contact", "channel": "email"},
    }
    append(desk.shop.settings.place, pd.DataFrame([entry | more]), datetime(2026, 4, 29, 8, tzinfo=UTC), "ann")


def page(desk: Desk, customer: str, campaign: str = "spring") -> str:
    response = desk.client("viewer").get("/why/", {"customer": customer, "campaign": campaign})
    assert response.status_code == 200
    return response.content.decode()


def test_who_is_outside_the_audience_is_shown_which_condition_does_not_hold(explained: Desk) -> None:
    text = page(explained, "C2")
    assert "They are in no plan of this campaign." in text and "not in the audience" in text
    assert '<code>views_3d &gt;= 20</code></td><td>20</td><td class="good">' in text
    assert 'segment = &#x27;Lost&#x27;</code></td><td>Champions</td><td class="bad">' in text
    assert "&lt;b&gt;Spring" in text and "<b>Spring" not in text


@pytest.mark.parametrize(("role", "shown"), [("viewer", '•••</td><td class="warn">'), ("marketer", '41</td><td class="good">')])
def test_values_of_personal_columns_are_shown_to_those_alone_who_may_see_them(explained: Desk, role: str, shown: str) -> None:
    spring = CAMPAIGN.replace("views_3d >= 20", "age >= 30 and views_3d >= 20")
    (explained.shop.settings.campaign_folder / "spring.yaml").write_text(spring, encoding="utf-8")
    explained.shop.tables["customer_features"] = f"select *, 41 as age from ({EXPLAINED['customer_features']})"
    explained.shop.publish()
    text = explained.client(role).get("/why/", {"customer": "C3", "campaign": "spring"}).content.decode()
    assert f"<code>age &gt;= 30</code></td><td>{shown}" in text
    assert ("in the audience</span>" in text) == (role != "viewer")


def test_who_is_left_out_is_shown_the_reason_of_the_plan(explained: Desk) -> None:
    text = page(explained, "C3")
    assert "The newest draft says: contacted less than 7 days ago." in text
    assert "not in the audience" not in text


def test_a_contact_is_followed_from_the_approval_to_the_order_within_its_window(explained: Desk) -> None:
    entered(explained, APPROVED, detail="as planned")
    assert "It is approved and will be sent." in page(explained, "C2")
    entered(explained, SENT)
    text = page(explained, "C2")
    assert "They got it." in text and "O77" in text and "O78" not in text and "as planned" in text


def test_what_was_not_sent_and_who_was_held_out_say_so(explained: Desk) -> None:
    entered(explained, APPROVED)
    entered(explained, SUPPRESSED, detail="no consent for email")
    entered(explained, APPROVED, customer_id="C1", arm="holdout")
    assert "It was approved and then not sent: no consent for email." in page(explained, "C2")
    assert "They are held out" in page(explained, "C1")
    assert "Another tool held them back as a control." in page(explained, "C1", "k1")


def test_an_unknown_customer_is_no_error_and_each_look_is_audited(explained: Desk) -> None:
    assert "No customer of this id is published." in page(explained, "C'; drop table x --")
    looks = AuditEntry.objects.filter(action="personal data viewed").values_list("username", "subject")
    assert list(looks) == [("viewer", "C'; drop table x --")]


def test_the_offer_and_the_list_of_a_customer_are_shown_with_their_reasons(explained: Desk) -> None:
    explained.shop.tables |= {
        "current_offers": """
            select 'C1' as customer_id, 'o-loyal' as offer_id, 'for <i>champions</i>' as reason, 'priority list' as basis,
                'v1' as policy_version, 1.0 as propensity, 'o-loyal,o-all' as candidates
        """,
        "offer_activity": """
            select timestamp '2026-05-01 09:00' as event_slice, 'o-all' as offer_id, 40 as shown, 2 as clicked, 1 as purchases,
                9.5::decimal(18, 2) as revenue union all
            select timestamp '2026-01-01', 'o-all', 999, 0, 0, 0
        """,
    }
    explained.shop.publish()
    client = explained.client("viewer")
    text = client.get("/offers/", {"customer": "C1", "days": "7"}).content.decode()
    assert "5% off for champions" in text and "for &lt;i&gt;champions&lt;/i&gt;" in text
    rows = client.get("/offers/", {"csv": "totals", "days": "7"}).content.decode().splitlines()
    assert rows[1] == "The newsletter,40.0,2.0,0.05,1.0,9.5"
    text = client.get("/recommendations/", {"customer": "C2", "product": "p2"}).content.decode()
    assert "you viewed this lately" in text and "bought together with Guitar" in text
    looks = AuditEntry.objects.filter(action="personal data viewed").values_list("subject", "details__page")
    assert list(looks) == [("C2", "recommendations"), ("C1", "offers")]


def test_without_tables_the_pages_say_what_to_do(desk: Desk) -> None:
    client = desk.client("viewer")
    assert "No offer is published." in client.get("/offers/").content.decode()
    assert "No recommendation is published." in client.get("/recommendations/").content.decode()
    assert "Name a customer by id" in client.get("/why/").content.decode()
