"""Links and pages of mail: nothing acts but a POST, no link leads where it should not, and a stop counts at once."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pandas as pd
import pytest

from customer360.lake.reference.customer_queries import suppressions_query
from customer360.mail.answers import BY_MACHINE
from customer360.mail.links import ContactLinks, link_secrets
from customer360.mail.preferences import too_soon
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.messages import Outcome
from customer360.mail.queue.tables import ACCEPTED, MARKS, reading
from customer360.services.api.app import create
from customer360.services.api.settings import ApiSettings
from customer360.services.spool import spool_folder
from customer360.settings import Settings
from tests.services.in_process import Client
from tests.services.served_shop import ServedShop
from tests.support.random_shop import EMAIL as OF_SHOPS

pytestmark = pytest.mark.full
NOW = datetime.now(UTC)
KEY, OTHER = "4f1c0a9be2d34f1c0a9b4f1c0a9be2d3", "0" * 32
EMAIL = {
    **OF_SHOPS,
    "public_url": "https://api.shop.example",
    "languages": ["en", "de"],
    "topics": {"offers": "Offers & promotions", "news": "News"},
}
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
}
TARGET = "https://shop.example/p/1?a=b&c=d"


class Mailed:
    """A shop with the messages of two customers, accepted an hour ago, and its API."""

    def __init__(self, root: Path, **email: Any) -> None:
        rules = {"email": {**EMAIL, **email}, "channels": ["email", "sms"], "attributes": {}}
        self.settings: Settings = ServedShop(root, customers={"C1": {}}, rules=rules).settings
        self.queue: MailQueue = open_queue(self.settings.place)
        sent = pd.Timestamp(NOW - timedelta(hours=1)).tz_localize(None)
        frame = pd.DataFrame(
            {
                "contact_key": [KEY, OTHER],
                "campaign_id": "spring",
                "plan_version": "spring-1",
                "customer_id": ["C1", "C2"],
                "address_hash": ["hash 1", "hash 2"],
                "domain": "inbox.example.com",
                "send_at": sent,
                "due_at": sent,
                "contact_date": pd.Timestamp(NOW.date()),
                "value": 1.0,
            }
        )
        self.queue.enqueue(frame, NOW)
        at = NOW - timedelta(hours=1)
        leased = self.queue.lease(10, "test", at, at + timedelta(minutes=5))
        for contact in leased:
            self.queue.record([Outcome(contact.contact_key, contact.attempt, ACCEPTED, at)])
        self.secrets = link_secrets(self.settings.place)
        self.links = ContactLinks(self.secrets, EMAIL["public_url"], KEY, "C1", "spring")
        self.api = create(self.settings, ApiSettings())

    def ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        client = Client(self.api, **BROWSER)
        return client.ask(method, url.removeprefix(EMAIL["public_url"]), follow_redirects=False, **options)

    def marks(self) -> list[tuple[str, str]]:
        with reading(self.queue.engine) as connection:
            return [(row.kind, row.detail) for row in connection.execute(MARKS.select().order_by(MARKS.c.at))]

    def stops(self) -> list[str]:
        frame = pd.DataFrame({"customer_id": ["C1", "C2"], "address_hash": ["hash 1", "hash 2"], "topic": "offers"})
        return self.queue.stopped(frame).fillna("").tolist()

    def events(self) -> list[dict[str, Any]]:
        files = sorted(spool_folder(self.settings, "clicks").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def mailed(tmp_path: Path) -> Mailed:
    return Mailed(tmp_path)


def test_a_click_leads_to_its_target_and_is_counted_once_a_link(mailed: Mailed) -> None:
    for _ in range(2):
        response = mailed.ask("GET", mailed.links.click(TARGET))
        assert (response.status_code, response.headers["location"]) == (302, TARGET)
        assert "set-cookie" not in response.headers
        assert response.headers["referrer-policy"] == "no-referrer"
    assert mailed.marks() == [("clicked", "a link was followed")]
    events = mailed.events()
    assert [(event["event_name"], event["customer_id"], event["campaign_id"], event["page_url"]) for event in events] == [
        ("campaign_clicked", "C1", "spring", TARGET)
    ] * 2
    assert len({event["event_id"] for event in events}) == 2


@pytest.mark.parametrize(
    ("method", "agent", "reason"),
    [
        ("HEAD", BROWSER["user-agent"], "asked for the head alone"),
        ("GET", "Mozilla/5.0 (compatible; BarracudaCentral)", "a program that names itself"),
        ("GET", "python-requests/2.32", "a program that names itself"),
        ("GET", "", "a program that names itself"),
    ],
)
def test_a_scanner_is_led_to_the_target_and_counted_apart(mailed: Mailed, method: str, agent: str, reason: str) -> None:
    response = mailed.ask(method, mailed.links.click(TARGET), headers={"user-agent": agent})
    assert response.status_code == 302
    assert mailed.marks() == [("clicked", BY_MACHINE + reason)]
    assert mailed.events() == []


def test_clicks_right_after_delivery_are_no_persons(mailed: Mailed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("customer360.services.api.mail.scanners.SCAN_SECONDS", 2 * 3600)
    mailed.ask("GET", mailed.links.click(TARGET))
    assert [detail.startswith(BY_MACHINE) for _, detail in mailed.marks()] == [True]


def test_who_opens_the_link_that_nobody_sees_is_no_person(mailed: Mailed) -> None:
    assert mailed.ask("GET", mailed.links.click("")).status_code == 204
    assert mailed.ask("GET", mailed.links.click(TARGET)).status_code == 302
    assert all(detail.startswith(BY_MACHINE) for _, detail in mailed.marks())
    assert mailed.events() == []


def test_no_link_leads_where_the_shop_does_not_let_it(mailed: Mailed) -> None:
    assert mailed.ask("GET", mailed.links.click("https://evil.example.com/")).status_code == 404
    assert mailed.ask("GET", mailed.links.click("javascript:alert(1)")).status_code == 404
    good = mailed.links.click(TARGET)
    forged = ContactLinks(["x" * 40], EMAIL["public_url"], KEY, "C1", "spring").click(TARGET)
    as_other_kind = mailed.links.page("open").replace("/m/o/", "/m/c/")
    for url in (
        forged,
        good[:-1],
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        as_other_kind,
        good.replace("/m/c/", "/m/c/x."),
    ):
        response = mailed.ask("GET", url, params={"url": "https://evil.example.com", "target": "https://evil.example.com"})
        assert response.status_code == 404
        assert "location" not in response.headers
    assert mailed.marks() == []


def test_a_get_never_unsubscribes_and_a_post_does_at_once(mailed: Mailed) -> None:
    url = mailed.links.page("unsubscribe")
    for method in ("GET", "HEAD"):
        assert mailed.ask(method, url).status_code == 200
    assert mailed.stops() == ["", ""]
    response = mailed.ask(
        "POST", url, content="List-Unsubscribe=One-Click", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert response.status_code == 200
    assert not {"set-cookie", "location"} & {*response.headers}
    assert mailed.stops() == ["unsubscribed", ""]
    assert mailed.ask("POST", url).status_code == 200  # again: nothing more
    assert [kind for kind, _ in mailed.marks()] == ["unsubscribed"]
    frame = duckdb.sql(f"select * from read_parquet('{mailed.settings.place.campaigns / 'stops.parquet'}')").df()
    assert frame[["customer_id", "channel"]].values.tolist() == [["C1", "email"]]
    assert "stops.parquet" in suppressions_query(mailed.settings.place, mailed.settings.shop)
    assert {event["event_name"] for event in mailed.events()} == {"consent_changed"}


def test_another_customers_link_stops_that_customer_alone_and_a_forged_one_nobody(mailed: Mailed) -> None:
    other = ContactLinks(mailed.secrets, EMAIL["public_url"], OTHER, "C2", "spring")
    forged = ContactLinks(["x" * 40], EMAIL["public_url"], KEY, "C1", "spring")
    assert mailed.ask("POST", forged.page("unsubscribe")).status_code == 404
    assert mailed.ask("POST", mailed.links.page("preferences").replace("/m/p/", "/m/u/")).status_code == 404
    assert mailed.ask("POST", other.page("unsubscribe")).status_code == 200
    assert mailed.stops() == ["", "unsubscribed"]


def test_of_two_campaigns_at_once_who_wants_mail_weekly_gets_one(mailed: Mailed) -> None:
    mailed.ask("POST", mailed.links.page("preferences"), data={"channel": ["email"], "frequency": "weekly"})
    later, moment = NOW + timedelta(days=8), pd.Timestamp(NOW).tz_localize(None)
    frame = pd.DataFrame(
        {
            **{"contact_key": ["a" * 32, "b" * 32, "c" * 32], "campaign_id": ["one", "two", "three"], "plan_version": "v1"},
            **{"customer_id": "C1", "address_hash": "hash 1", "domain": "inbox.example", "send_at": moment, "due_at": moment},
            **{"contact_date": moment.normalize(), "value": [1.0, 2.0, 3.0]},
        }
    )
    mailed.queue.enqueue(frame, NOW)
    together = mailed.queue.lease(2, "one", later, later + timedelta(minutes=5))
    (alone,) = mailed.queue.lease(2, "two", later + timedelta(seconds=1), later + timedelta(minutes=5))
    assert [contact.contact_key[0] for contact in [*together, alone]] == ["c", "b", "a"]
    assert too_soon(mailed.queue, together, later).keys() == {"b" * 32}
    assert too_soon(mailed.queue, [alone], later).keys() == {"a" * 32}


def test_preferences_are_kept_and_take_back_a_stop(mailed: Mailed) -> None:
    url = mailed.links.page("preferences")
    page = mailed.ask("GET", url, headers={"accept-language": "de-AT,de;q=0.9"})
    assert '<html lang="de">' in page.text
    assert "Offers &amp; promotions" in page.text
    assert page.text.count("checked") == 5  # two channels, two topics, a frequency
    assert "<script" not in page.text and "http" not in page.text.split("</style>")[1]
    saved = mailed.ask("POST", url, data={"channel": ["email", "fax"], "topic": ["news"], "frequency": "weekly"})
    assert saved.text.count("checked") == 3
    assert mailed.stops() == ["chose no offers any more", ""]
    contacts = [contact for key in (KEY, OTHER) if (contact := mailed.queue.contact(key))]
    assert too_soon(mailed.queue, contacts, NOW).keys() == {KEY}
    assert too_soon(mailed.queue, contacts, NOW + timedelta(days=8)) == {}
    mailed.ask("POST", mailed.links.page("unsubscribe"))
    assert mailed.stops() == ["unsubscribed", ""]
    mailed.ask("POST", url, data={"channel": ["email", "sms"], "topic": ["news", "offers"], "frequency": "any"})
    assert mailed.stops() == ["", ""]
    allowed = [event["page_url"].partition("#")[2] for event in mailed.events()]
    assert "channel=email&topic=offers&allowed=false" in allowed
    assert "channel=email&topic=&allowed=true" in allowed


def test_an_opening_counts_only_where_the_shop_asks_for_it_and_proxies_are_flagged(tmp_path: Path) -> None:
    silent, tracking = Mailed(tmp_path / "silent"), Mailed(tmp_path / "tracking", open_tracking=True)
    for mailed in (silent, tracking):
        for agent in (
            "Mozilla/5.0",
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            BROWSER["user-agent"],
        ):
            response = mailed.ask("GET", mailed.links.page("open"), headers={"user-agent": agent})
            assert response.headers["content-type"] == "image/gif"
    assert silent.marks() == [] and silent.events() == []
    assert sorted(detail.startswith(BY_MACHINE) for _, detail in tracking.marks()) == [False, True, True]
    assert [event.get("device") for event in tracking.events()] == ["proxy", "proxy", None]


def test_large_bodies_are_refused_and_nothing_is_logged_of_a_token(mailed: Mailed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = mailed.links.page("preferences")
    assert mailed.ask("POST", url, content=b"x" * 10_000_000).status_code == 413
    assert mailed.ask("POST", mailed.links.page("unsubscribe"), content=b"x" * 10_000_000).status_code == 413
    assert mailed.stops() == ["", ""]
    ours = [record for record in caplog.records if record.name.startswith("customer360")]
    assert not any(KEY in record.getMessage() or url in record.getMessage() for record in ours)


def test_a_shop_that_mails_nobody_has_no_pages_of_mail(shop: ServedShop) -> None:
    api = create(shop.settings, ApiSettings())
    assert Client(api).get("/m/u/x").status_code == 404
