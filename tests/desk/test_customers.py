"""The pages of customers: found by what the role may see, and one customer's profile with its timeline."""

from __future__ import annotations

import re

from tests.desk.conftest import whole
from tests.desk.in_django import Desk
from tests.services.served_shop import SHELVES

from customer360.services.desk.models import AuditEntry  # isort: skip  Django is set up by tests.desk.in_django

LIFETIME = whole(
    "customer_lifetime",
    "select 'C1' as customer_id, 4 as orders, 80.5 as spend_to_date, .875 as probability_alive, 33.25 as expected_spend_90d, "
    "'trees and past rate' as method_90d, '365 days: too young' as reason, timestamp '2026-05-01 10:15' as as_of",
)
ORDERS = (
    "select 'C' || n as customer_id, 'O<b>' || n as order_id, timestamp '2026-04-30 08:00' as ordered_at, "
    "20.50::decimal(18, 2) as amount, 1 as lines from range(1, 3) as customers (n)"
)


def viewed() -> list[tuple[str, str]]:
    return [(entry.username, entry.subject) for entry in AuditEntry.objects.filter(action="personal data viewed")]


def test_a_profile_shows_what_is_known_and_escapes_it(desk: Desk) -> None:
    desk.shop.tables |= {"customer_lifetime": LIFETIME, "customer_orders": ORDERS, "interactions": SHELVES["interactions"]}
    desk.shop.publish()
    text = desk.client("marketer").get("/customers/C1/").content.decode()
    for shown in (
        "4 views of garden &amp; home in 3 days",
        "O&lt;b&gt;1",
        "someone@example.org",
        "trees and past rate",
        "87.5%",
    ):
        assert shown in text, shown
    assert "365 days: too young" in text and "O<b>" not in text and "O&lt;b&gt;2" not in text
    assert viewed() == [("marketer", "C1")]


def test_a_viewer_neither_sees_nor_finds_by_personal_attributes(desk: Desk) -> None:
    viewer, marketer = desk.client("viewer"), desk.client("marketer")
    assert "someone@example.org" not in viewer.get("/customers/C1/").content.decode()
    assert "C1/" not in viewer.get("/customers/", {"q": "someone@example.org"}).content.decode()
    assert viewed() == [("viewer", "C1")]
    assert "/customers/C1/" in marketer.get("/customers/", {"q": "SOMEONE@example.org"}).content.decode()
    assert viewed() == [("marketer", ""), ("viewer", "C1")]


def test_customers_are_found_by_id_and_attribute_and_others_are_not_there(desk: Desk) -> None:
    client = desk.client("viewer")
    assert client.get("/customers/", {"q": "zürich"}).content.decode().count('href="/customers/C') == 1
    assert client.get("/customers/", {"q": "C"}).content.decode().count('href="/customers/C') == 3
    assert "&lt;script&gt;" in client.get("/customers/", {"q": "<script>' or 1=1"}).content.decode()
    assert client.get("/customers/C9/").status_code == 404
    assert client.get("/customers/C1' or 1=1/").status_code == 404


def test_the_timeline_has_contacts_and_what_became_of_them_of_our_campaigns_and_of_other_tools(desk: Desk) -> None:
    desk.shop.tables |= {
        "campaign_ledger": whole(
            "campaign_ledger",
            "select 'C1' as customer_id, 'spring' as campaign_id, unnest(['sent', 'opened']) as event, 'email' as channel, "
            "timestamp '2026-04-28 08:00' as event_at",
        ),
        "campaign_activity": (
            "select unnest(['spring', 'winter']) as campaign_id, 'C1' as customer_id, unnest(['opened', 'clicked']) "
            "as activity, timestamp '2026-04-28 09:00' as event_at"
        ),
        "campaign_touch_history": (
            "select 'T1' as touch_id, 'winter' as campaign_id, 'C1' as customer_id, 'sms' as channel, "
            "timestamp '2026-04-27' as touched_at, true as is_time_known, false as is_control"
        ),
        "offers": SHELVES["offers"],
        "offer_decisions": whole(
            "offer_decisions",
            "select 'C1' as customer_id, 'o-all' as offer_id, 'for everybody' as reason, timestamp '2026-04-29' as decided_at, "
            "true as is_clicked, false as is_bought",
        ),
    }
    desk.shop.publish()
    text = desk.client("viewer").get("/customers/C1/").content.decode()
    rows = re.findall(r"<tr><td>[^<]*</td><td>(\w+)</td><td>([^<]*)</td><td>([^<]*)</td>", text[text.index('id="timeline"') :])
    assert rows[0] == ("offer", "The newsletter", "for everybody, clicked")
    assert sorted(rows[1:]) == [
        ("clicked", "winter", "-"),
        ("contact", "winter", "sms, by another tool"),
        ("opened", "spring", "email"),
        ("sent", "spring", "email"),
    ]
