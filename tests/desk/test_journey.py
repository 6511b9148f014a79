"""A campaign from its audience to its results, by a marketer, two approvers and a viewer in browsers, over simulated weeks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from customer360.campaigns.ledger import APPROVED, SENT, read_ledger
from customer360.campaigns.sending import Sent, outbox, send
from customer360.lake.operations.clock import shop_now
from customer360.lake.publishing.publishing import publish
from customer360.settings import Settings
from tests.desk.desk_server import desk_server
from tests.desk.fake_dagster import dagster
from tests.desk.planned import judge, plan_day
from tests.desk.test_pages_in_a_browser import problems
from tests.services.api_server import write_shop
from tests.support.audience_shop import AS_OF, audience_shop
from tests.support.chromium import chromium
from tests.support.random_shop import write_slice

pytestmark = pytest.mark.full  # a server and a browser
WEEKS, CUSTOMERS = timedelta(weeks=4), 400


@dataclass
class Office:
    """A desk whose people sit at browsers of their own; ``quiet``: what their consoles said."""

    address: str
    browser: Browser
    passwords: dict[str, str]
    quiet: list[str] = field(default_factory=list)

    def seat(self, role: str) -> Page:
        """A page of a browser in which the account of that role has signed in."""
        context = self.browser.new_context(base_url=self.address, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("console", lambda line: self.quiet.append(line.text) if line.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.quiet.append(str(error)))
        page.goto("/login/?next=/password/")
        page.fill("#id_username", role)
        page.fill("#id_password", self.passwords[role])
        page.click("main button[type=submit]")
        page.wait_for_url("**/password/")
        return page


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = audience_shop(tmp_path_factory.mktemp("journey"), customers=CUSTOMERS).settings
    made.campaign_folder.mkdir(parents=True)
    write_shop(made)
    (made.place.root / "demo").touch()
    land(made, AS_OF)
    return made


@contextmanager
def office(settings: Settings, log: Path) -> Iterator[Office]:
    with (
        chromium() as browser,
        dagster(lambda: plan_day(settings)) as asked,
        desk_server(settings, log, dagster_url=asked) as (address, commands),
    ):
        made = commands.run("users", "demo").stdout
        passwords = dict(re.findall(r"^ +(\w+) +(\S+)$", made, re.MULTILINE))
        yield Office(address, browser, passwords)


def land(settings: Settings, start: datetime) -> None:
    """The shop's clock goes by the newest slice that landed."""
    event = {"event_id": f"e{start:%s}", "event_name": "page_view", "event_at": start.isoformat(), "visitor_id": "v"}
    write_slice(settings.place.landing, start, [event])


def figure(page: Page, name: str) -> int:
    """The number below a name among a page's figures."""
    found = page.locator(f"dt:text-is('{name}') + dd").first.inner_text()
    return int(re.match(r"[\d,]+", found).group().replace(",", ""))  # type: ignore[union-attr]


def hand_over_all(settings: Settings) -> list[Sent]:
    """Hand over what is due, day by day until nothing waits."""
    handed, due = [], AS_OF
    while due is not None:
        land(settings, due.replace(minute=0, second=0) + timedelta(hours=1))
        now = datetime.now(UTC)
        handed.append(send(settings, now, shop_now(settings, now), "a test"))
        due = handed[-1].next_due
    return handed


def orders_of(settings: Settings, known: datetime) -> set[str]:
    """Publish as of ``known``: of ten contacted customers seven order a day later, of ten held out one does. Who ordered."""
    rows = read_ledger(settings.place, [APPROVED]).drop_duplicates("customer_id").reset_index(drop=True)
    place = rows.groupby("arm").cumcount() % 10
    ordered = rows[place < rows["arm"].map({"contact": 7, "holdout": 1})]
    orders = pd.DataFrame({"customer_id": ordered["customer_id"], "ordered_at": ordered["send_at"] + timedelta(days=1)})
    orders = orders.assign(order_id="N" + orders["customer_id"], amount=25.0, lines=1)
    until = known.replace(tzinfo=None)
    with duckdb.connect() as connection:
        connection.register("orders", orders)
        sql = "select customer_id, order_id, ordered_at, amount::decimal(18, 2) as amount, lines"
        published = {"customer_orders": f"{sql}, timestamp '{until}' as as_of from orders"}
        publish(settings.place, connection, published, known, known)
    return set(orders["customer_id"])


def build_audience(marketer: Page) -> int:
    """Describe who is loyal in the form, and save it; how many they are."""
    marketer.goto("/audiences/")
    marketer.click("button:text-is('Add a group')")
    marketer.select_option("#column-0-0", "segment")
    marketer.wait_for_selector("#values-0-0", state="attached")
    marketer.fill("#value-0-0", "Loyal")
    marketer.wait_for_selector("#size input[name=text][value=\"segment = 'Loyal'\"]", state="attached")
    size = figure(marketer, "Customers")
    marketer.fill("#name", "Loyal ones")
    marketer.click("button:text-is('Save')")
    marketer.wait_for_selector("text=Loyal ones is saved")
    assert problems(marketer) == []
    return size


def make_campaign(marketer: Page, size: int) -> None:
    """Make a campaign of the audience that is shown, and have all campaigns planned."""
    marketer.click("a:text-is('Make a campaign of it')")
    assert marketer.input_value("#id_audience") == "segment = 'Loyal'"
    values = {"campaign_id": "summer", "title": "Summer", "value_per_conversion": "20", "holdout_share": "0.4"}
    for name, value in {**values, "cost_email": "0.05"}.items():
        marketer.fill(f"#id_{name}", value)
    marketer.check("#id_uses_email")
    marketer.click("button:text-is('Check, and preview the file')")
    assert f"{size} customers are in its audience" in marketer.inner_text(".message.good")
    marketer.click("button:text-is('Save')")
    marketer.wait_for_selector("text=summer is saved")
    marketer.goto("/campaigns/")
    marketer.click("button:text-is('Plan all campaigns')")
    marketer.wait_for_selector(".tag.good:text-is('SUCCESS')")


def approve_at_once(seats: list[Page]) -> list[str]:
    """Each finds the draft among what waits, and approves it without waiting for another's answer; what each is told."""
    for seat in seats:
        seat.goto("/")
        seat.click("section[aria-labelledby=waiting] a:text-is('summer')")
        seat.fill("#approve-reason", "as agreed")
        if box := seat.query_selector("[name=without_evidence]"):
            box.check()
    for seat in seats:
        seat.evaluate("setTimeout(() => document.querySelector('form[action$=\"/approve/\"]').submit())")
    return [seat.locator(".message[role=status]").first.inner_text() for seat in seats]


def read_results(viewer: Page) -> str:
    """From the list of campaigns to what this one brought, with its chart."""
    viewer.goto("/campaigns/")
    viewer.click("section:has(h2:text-is('What campaigns brought')) a:text-is('summer')")
    viewer.hover("[data-figure]")
    viewer.wait_for_selector("[data-figure] .main-svg")
    assert problems(viewer) == []
    return viewer.inner_text("main")


def test_a_campaign_goes_from_its_audience_to_its_results(settings: Settings, tmp_path: Path) -> None:
    with office(settings, tmp_path / "log") as people:
        marketer = people.seat("marketer")
        size = build_audience(marketer)
        assert 0 < size < CUSTOMERS
        make_campaign(marketer, size)
        marketer.goto("/campaigns/summer/")
        planned, held = figure(marketer, "To contact"), figure(marketer, "Held out")
        draft = pd.read_parquet(settings.place.plans / "2026-05-04" / "campaign_plan.parquet")
        assert (len(draft), draft["decision"].value_counts()["contact"]) == (size, planned)
        assert problems(marketer) == []
        assert not marketer.query_selector("#approve-reason")

        answers = approve_at_once([people.seat("approver"), people.seat("admin")])
        assert sorted("already" in answer for answer in answers) == [False, True], answers
        approved = read_ledger(settings.place, [APPROVED])
        assert approved["arm"].value_counts().to_dict() == {"contact": planned, "holdout": held}
        assert approved["recorded_by"].nunique() == 1

        handed = hand_over_all(settings)
        left = sum(count for each in handed for count in each.suppressed.values())
        files = pd.concat([pd.read_csv(file) for file in sorted(outbox(settings.place).glob("*/*.csv"))])
        assert len(files) == len(read_ledger(settings.place, [SENT])) == planned - left > 0
        assert not files["customer_id"].duplicated().any()

        ordered = orders_of(settings, AS_OF + WEEKS)
        judge(settings)
        viewer = people.seat("viewer")
        text = read_results(viewer)
        assert "closed" in text and f"of {planned:,} planned" in text
        rates = approved["customer_id"].isin(ordered).groupby(approved["arm"]).mean()
        assert f"Lift\n{rates['contact'] - rates['holdout']:.2%}" in text, text
        customer = next(name for name in files["customer_id"] if name in ordered)
        viewer.goto(f"/why/?customer={customer}&campaign=summer")
        text = viewer.inner_text("main")
        assert "They got it." in text and f"N{customer}" in text
        assert people.quiet == []
