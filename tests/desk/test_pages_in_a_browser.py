"""Every page in a real browser: axe-core finds nothing, the console stays empty, and nothing is wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.desk.conftest import small_desk_shop
from tests.desk.desk_server import Commands, desk_server
from tests.desk.test_routes import NOT_THERE, ROUTES
from tests.support.chromium import chromium

pytestmark = pytest.mark.full  # a server and a browser
PARTS = {"checks", "audience_column", "audience_overlap"}  # what htmx sets into a page
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ADDRESSES = {
    name: address for (name, method), (address, _) in ROUTES.items() if method == "GET" and name not in {*PARTS, *NOT_THERE}
}
KINDS: list[dict[str, Any]] = [
    {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
]


@dataclass
class Served:
    """The address of a desk, a browser, and the password of ``anna``, who is an admin."""

    address: str
    browser: Browser
    commands: Commands
    password: str

    def context(self, **kind: Any) -> BrowserContext:
        """A browser in which ``anna`` has signed in."""
        context = self.browser.new_context(base_url=self.address, **kind)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto("/login/")
        page.fill("#id_username", "anna")
        page.fill("#id_password", self.password)
        page.click("main button[type=submit]")
        page.wait_for_selector(".who")
        page.close()
        return context


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    shop = small_desk_shop(root)
    with chromium() as browser, desk_server(shop.settings, root / "log") as (address, commands):
        yield Served(address, browser, commands, commands.add("anna", "admin"))


def problems(page: Page) -> list[str]:
    """What axe-core finds: rule, and the first elements that break it."""
    found = page.evaluate(f"{AXE}; axe.run(document, {{runOnly: {RULES}}})")
    return [f"{each['id']}: {[node['html'][:200] for node in each['nodes'][:3]]}" for each in found["violations"]]


@pytest.mark.parametrize("kind", KINDS, ids=["desktop, light", "phone, dark"])
def test_every_page_is_accessible_and_quiet(served: Served, kind: dict[str, Any]) -> None:
    found: dict[str, list[str]] = {}
    with served.context(**kind) as context:
        for name, address in ADDRESSES.items():
            page, said = context.new_page(), found.setdefault(name, [])
            page.on(
                "console",
                lambda message, said=said: said.append(message.text) if message.type in {"error", "warning"} else None,
            )
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.goto(address)
            for figure in page.query_selector_all("[data-figure]"):
                figure.scroll_into_view_if_needed()
                figure.wait_for_selector(".main-svg")
            said += problems(page)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                said.append("wider than the window")
            page.close()
    assert {name: said for name, said in found.items() if said} == {}


def test_the_login_is_accessible_and_says_what_is_wrong(served: Served) -> None:
    with served.browser.new_context(base_url=served.address) as context:
        page = context.new_page()
        page.goto("/login/")
        assert problems(page) == []
        page.fill("#id_username", "anna")
        page.fill("#id_password", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert problems(page) == []


def test_pages_are_reached_by_keyboard_and_a_chart_shows_its_table(served: Served) -> None:
    with served.context() as context:
        page = context.new_page()
        page.goto("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#content"
        page.focus("#views details summary")
        page.keyboard.press("Enter")
        assert page.is_visible("#views table")
        with page.expect_download() as download:
            page.click("#views .links a")
        assert download.value.suggested_filename == "views.csv"


def test_the_server_lists_its_accounts_and_django_finds_nothing_to_deploy_it(served: Served) -> None:
    assert served.commands.accounts() == {"anna": "admin"}
    public = Commands(served.commands.settings, {"origin": "https://desk.shop.example"})
    checked = public.run("manage", "check", "--deploy", "--fail-level", "INFO")
    assert (checked.returncode, checked.stdout) == (0, "System check identified no issues (0 silenced).\n"), checked.stderr
    assert (served.commands.settings.place.desk / "secret_key").stat().st_mode & 0o777 == 0o600
