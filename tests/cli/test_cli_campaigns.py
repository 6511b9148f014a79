"""``customer360 campaigns``: what a person at the terminal is told, and what it leaves behind."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from customer360.campaigns.approval import approve
from customer360.campaigns.attribution import record_outcomes
from customer360.campaigns.ledger import read_ledger
from customer360.decisions import Request
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import open_version
from customer360.snapshot import published_touches
from tests.campaigns.conftest import Desk, holdout
from tests.cli.conftest import Ran, Shop

AS_OF = datetime(2026, 5, 12, tzinfo=UTC)


class Terminal(Desk):
    """The desk of a replayed shop, at a terminal: its clock stands at the slice that was landed last."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(root)
        path = self.settings.shop_folder / "shop.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace("live: true", "live: false"), encoding="utf-8")
        self.shop = Shop(self.settings.shop_folder, self.place.root, capsys)

    def __call__(self, *arguments: str) -> Ran:
        return self.shop("campaigns", *arguments)

    def clock(self, key: str) -> None:
        self.shop.land(key, "a.jsonl", [])

    def publish(self, **tables: str) -> None:
        with duckdb.connect() as connection:
            publish(self.place, connection, tables, AS_OF, AS_OF)


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    terminal = Terminal(tmp_path, capsys)
    terminal.customers("C1,true,,", "C2,true,,", "C3,true,,")
    terminal.clock("2026-05-04-12:00")
    yield terminal


def drafted(terminal: Terminal) -> None:
    left_out = {"customer_id": "C4", "decision": "left out", "reason": "no consent", "channel": None, "contact_date": None}
    terminal.draft({"customer_id": "C1"}, {"customer_id": "C2"}, holdout("C3"), {**left_out, "send_at": None, "cost": 0.0})


def test_check_names_file_field_and_remedy_and_counts_audiences(terminal: Terminal) -> None:
    first = terminal("check")
    assert (first.code, first.out) == (
        0,
        "spring: well; its audience is counted once something is published (customer360 start)\n",
    )
    terminal.publish(customer_features="select 'C1' as customer_id", offers="select 'O1' as offer_id")
    assert terminal("check").out == "spring: well; 1 customer in its audience\n"
    terminal.publish(customer_features="select 'C1' as customer_id where false", offers="select 'O1' as offer_id")
    assert terminal("check").out == "spring: well; but nobody is in its audience: widen it\n"
    terminal.publish(customer_features="select 'C1' as customer_id", offers="select 'O1' as offer_id")
    terminal.campaign("budjet: 5\n", name="autumn")
    terminal.campaign("offer_id: O9\n", name="winter")
    wrong = terminal("check")
    assert wrong.code == 1
    assert "autumn.yaml, budjet: there is no such field\n  -> did you mean 'budget'?" in wrong.out
    assert "winter.yaml, offer_id: there is no offer 'O9'" in wrong.out
    assert "spring: well" in wrong.out


def test_check_says_where_there_are_no_campaigns(terminal: Terminal) -> None:
    (terminal.settings.shop_folder / "campaigns" / "spring.yaml").unlink()
    assert "has no campaigns: put a file <campaign>.yaml there" in terminal("check").out


def test_check_tells_an_audience_that_asks_for_what_is_not_published(terminal: Terminal) -> None:
    path = terminal.settings.shop_folder / "campaigns" / "spring.yaml"
    path.write_text(path.read_text().replace("everyone", "segment = 'Champions'"))
    terminal.publish(customer_features="select 'C1' as customer_id")
    found = terminal("check")
    assert found.code == 1 and "spring: wrong; audience:" in found.out and "rfm_segments is not published yet" in found.out


def test_list_and_show_tell_draft_and_approval(terminal: Terminal) -> None:
    assert terminal("list").out == "spring: Spring\n"
    drafted(terminal)
    assert terminal("list").out == "spring: Spring\n  draft spring-1: 2 to contact, 1 to hold out, 1 left out\n"
    began = datetime.now(UTC)
    approved = terminal("approve", "spring", "spring-1", "--reason", "looks right")
    minutes = {f"{moment:%Y-%m-%d %H:%M}" for moment in (began, datetime.now(UTC))}
    assert approved.code == 0
    assert approved.out.startswith("spring-1 is approved: 2 contacts for 1.00 EUR, 1 held out.\n")
    _, *shown = terminal("show", "spring").out.splitlines()
    assert shown.pop(2) in {f"  spring-1 by anna, {minute} UTC: looks right" for minute in minutes}
    assert shown == [
        "  newest plan spring-1: 2 to contact, 1 to hold out, 1 left out",
        "  approved spring-1: 2 contacts, 1 held out",
        "  spring-1 costs 1.00 EUR for an expected value of 10.00 EUR",
        "    2 by email on 2026-05-05",
        "    1 left out: no consent",
    ]
    assert set(read_ledger(terminal.place)["recorded_by"]) == {"anna"}


def test_show_of_an_unknown_campaign_names_the_known_ones(terminal: Terminal) -> None:
    found = terminal("show", "sprung")
    assert found.code == 2 and found.err == "customer360: there is no campaign sprung; there are: spring\n"


def test_a_campaign_whose_file_went_wrong_is_still_listed_with_what_was_approved(terminal: Terminal) -> None:
    drafted(terminal)
    terminal("approve", "spring", "spring-1", "--reason", "looks right")
    terminal.campaign("budget: lots\n")
    found = terminal("list")
    assert found.code == 1
    assert "spring: its file is wrong\n  budget: Input should be a valid number" in found.out
    assert "approved spring-1: 2 contacts" in found.out
    (terminal.settings.shop_folder / "campaigns" / "spring.yaml").unlink()
    assert terminal("list").out.startswith("spring: its file is gone\n")


def test_a_draft_without_evidence_is_approved_only_where_that_is_said_and_is_shown_as_such(terminal: Terminal) -> None:
    basis = "prior: no contacts with known outcome"
    terminal.draft({"customer_id": "C1", "value_basis": basis}, {**holdout("C3"), "value_basis": basis})
    assert terminal("list").out.endswith(f"draft spring-1: 1 to contact, 1 to hold out; {basis}\n")
    assert f"if contacts do what documented ones did ({basis})" in terminal("show", "spring").out
    refused = terminal("approve", "spring", "spring-1", "--reason", "to find out")
    assert refused.code == 2 and "--without-evidence" in refused.err
    assert read_ledger(terminal.place).empty
    done = terminal("approve", "spring", "spring-1", "--reason", "to find out", "--without-evidence")
    assert done.out.startswith(f"spring-1 is approved, without evidence ({basis}): 1 contact for 0.50 EUR, 1 held out.\n")
    assert terminal("list").out.endswith("  approved spring-1: 1 contact, 1 held out; without evidence\n")
    assert f"UTC: without evidence ({basis}): to find out" in terminal("show", "spring").out


def test_approve_says_why_not_and_that_it_was_done_before(terminal: Terminal) -> None:
    drafted(terminal)
    refused = terminal("approve", "spring", "spring-0", "--reason", "looks right")
    assert refused.code == 2 and "spring-0 is not the newest draft of spring: that is spring-1" in refused.err
    assert terminal("approve", "spring", "spring-1", "--reason", " ").code == 2
    assert terminal("approve", "spring", "spring-1").code == 2
    assert read_ledger(terminal.place).empty
    terminal("approve", "spring", "spring-1", "--reason", "looks right")
    again = terminal("approve", "spring", "spring-1", "--reason", "to be sure")
    assert again.code == 0 and again.out.endswith("UTC already. Nothing was changed.\n")


def test_send_hands_over_what_is_due_by_the_shops_clock(terminal: Terminal) -> None:
    drafted(terminal)
    terminal("approve", "spring", "spring-1", "--reason", "looks right")
    assert terminal("send").out == "No approved contact is due.\nThe next contact is due at 2026-05-05 07:00 UTC.\n"
    assert terminal("send", "--until", "2026-05-05").code == 2
    assert "more than 24 hours ahead" in terminal("send", "--until", "2026-05-07T00:00Z").err
    terminal.clock("2026-05-05-07:30")
    terminal.customers("C1,true,,", "C2,false,,", "C3,true,,")
    sent = terminal("send").out.splitlines()
    assert sent[0].startswith("1 contact sent: 2026-05-05/spring-email-")
    assert sent[1:] == ["1 contact not sent, no consent for email"]
    assert list(terminal.handed_over()["customer_id"]) == ["C1"]
    assert "1 sent, 1 suppressed" in terminal("list").out


@pytest.mark.full
def test_readers_see_a_decision_and_a_hand_over_at_once(terminal: Terminal) -> None:
    terminal.publish(other="select 1 as n")
    drafted(terminal)

    def published() -> dict[str, int]:
        with open_version(terminal.place) as version:
            assert version.connection.execute("select n from other").fetchall() == [(1,)]
            return dict(version.connection.execute("select event, count(*) from campaign_ledger group by event").fetchall())

    terminal("approve", "spring", "spring-1", "--reason", "looks right")
    assert published() == {"planned": 3, "approved": 3}
    terminal("withdraw", "spring", "--customer", "C1", "--reason", "asked us")
    assert published() == {"planned": 3, "approved": 3, "suppressed": 1}
    terminal.clock("2026-05-05-07:30")
    terminal("send")
    assert published() == {"planned": 3, "approved": 3, "suppressed": 1, "sent": 1}


def test_withdraw_takes_back_all_or_single_customers(terminal: Terminal) -> None:
    drafted(terminal)
    terminal("approve", "spring", "spring-1", "--reason", "looks right")
    single = terminal("withdraw", "spring", "--customer", "C1", "--reason", "asked us")
    assert (single.code, single.out) == (0, "1 contact of spring withdrawn, and 0 who were held out.\n")
    others = terminal("withdraw", "spring", "--reason", "wrong offer")
    assert others.out == "1 contact of spring withdrawn, and 1 who were held out.\n"
    assert terminal("withdraw", "spring", "--reason", "again").code == 2


@pytest.mark.full
def test_results_tell_what_was_brought_or_that_it_is_not_known(terminal: Terminal) -> None:
    assert "no orders are published yet" in terminal("results").err
    orders = (
        "select 'c' || n as customer_id, 'O' || n as order_id, timestamp '2026-05-06 10:00' as ordered_at, "
        "cast(10 as decimal(18, 2)) as amount, 1 as lines, timestamp '{}' as as_of from range(30) as r(n)"
    )
    terminal.publish(customer_orders=orders.format("2026-05-08 06:59"))
    assert terminal("results").out == "No plan is approved yet.\n"
    names = [f"c{number}" for number in range(60)]
    terminal.customers(*(f"{name},true,," for name in names))
    terminal.draft(*({"customer_id": name} for name in names), *(holdout(f"h{number}") for number in range(40)))
    moment = datetime(2026, 5, 4, 12, tzinfo=UTC)
    touches = published_touches(terminal.settings)
    approve(terminal.settings, "spring", "spring-1", Request("looks right", moment, "anna"), moment, touches=touches)
    terminal.send("2026-05-05 07:00")
    terminal.publish(customer_orders=f"select * from ({orders.format('2026-05-12')}) where false")
    assert terminal("results").out == "spring: No customer's window has passed yet.\n  60 planned, none judged yet\n"
    terminal.publish(customer_orders=orders.format("2026-05-08 06:59"))
    assert terminal("results").out.startswith("spring: No customer's window has passed yet.\n")  # by the orders, not the slice
    terminal.publish(
        customer_orders=orders.format("2026-05-08 07:00"),
        campaign_activity="select 'spring' as campaign_id, 'c1' as customer_id, 'opened' as activity, "
        "timestamp '2026-05-05 09:00' as event_at",
    )
    found = terminal("results").out.splitlines()
    assert found[0].startswith("spring: 50.00% of 60 converted, 0.00% of 40 held out: +50.00 percentage points (95% interval ")
    assert found[0].endswith("about +30 conversions, 600.00 for 30.00 of cost.")
    assert found[1] == "  60 contacted of 60 judged and 60 planned, for 30.00 EUR"
    # None of the 40 held out bought, so how much their amounts vary is not known.
    assert found[2] == "  revenue a customer: +5.00 EUR (no interval: in one arm all spent alike, or there is one customer)"
    assert found[4].startswith("  profit: +570.00 EUR")
    assert found[5] == "  decile 6: 25.00% expected, 50.00% of 60 converted"
    assert terminal("results", "autumn").out == "autumn has no approved plan yet.\n"
    with open_version(terminal.place) as version:
        counts = record_outcomes(terminal.place, terminal.settings.shop, version.connection, AS_OF, "run 1")
    assert counts == {"opened": 1, "converted": 30}
    assert pd.Timestamp("2026-05-12") == read_ledger(terminal.place, ["converted"])["recorded_at"].max()
