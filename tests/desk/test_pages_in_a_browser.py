"""Every page in a real browser: axe-core finds nothing, the console stays empty, nothing is too wide, and no text of the
data comes to life."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from customer360.settings import Settings
from tests.desk.conftest import small_desk_shop
from tests.desk.desk_server import Commands, desk_server
from tests.desk.hostile_shop import MARKUP, PAGES, hostile_shop
from tests.desk.test_routes import NOT_THERE, ROUTES
from tests.support.chromium import chromium

pytestmark = pytest.mark.full  # a server and a browser
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FILLED = [*PAGES, "/campaigns/spring/what-if/?budget=much", f"/runs/{UUID(int=0)}/", "/nothing/"]
EMPTY = [address for (name, method), (address, _) in ROUTES.items() if method == "GET" and name not in {"checks", *NOT_THERE}]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
KINDS: list[Any] = [
    pytest.param({"color_scheme": "light", "viewport": DESKTOP}, id="desktop, light, then phone, dark"),
    pytest.param({"color_scheme": "dark", "viewport": PHONE}, id="phone, dark", marks=pytest.mark.exhaustive),
    pytest.param({"color_scheme": "dark", "viewport": DESKTOP}, id="desktop, dark", marks=pytest.mark.exhaustive),
    pytest.param({"color_scheme": "light", "viewport": PHONE}, id="phone, light", marks=pytest.mark.exhaustive),
]
BY_LOOK = ["color-contrast", "target-size", "scrollable-region-focusable"]  # what width and colours decide
ALIVE = """[...document.querySelectorAll("img[src=x], a")]
    .filter(each => each.tagName === "IMG" || /^\\/\\/evil/.test(each.getAttribute("href") ?? each.getAttribute("xlink:href")))
    .map(each => each.outerHTML)"""


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


@contextmanager
def desk_in_browser(settings: Settings, root: Path) -> Iterator[Served]:
    with chromium() as browser, desk_server(settings, root / "log") as (address, commands):
        yield Served(address, browser, commands, commands.add("anna", "admin"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    with desk_in_browser(hostile_shop(root).settings, root) as desk:
        yield desk


def problems(page: Page, rules: list[str] = RULES) -> list[str]:
    """What axe-core finds by these rules, or by those with these tags: rule, and the first elements that break it."""
    found = page.evaluate(f"{AXE}; axe.run(document, {{runOnly: {rules}}})")
    return [f"{each['id']}: {[node['html'][:200] for node in each['nodes'][:3]]}" for each in found["violations"]]


def too_wide(page: Page) -> list[str]:
    """Whether a page has to be scrolled to the side."""
    return ["wider than the window"] if page.evaluate("document.documentElement.scrollWidth > innerWidth") else []


def judged(page: Page, address: str) -> list[str]:
    """What is wrong with a page once its charts are drawn."""
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
    is_there = page.goto(address).ok  # type: ignore[union-attr]
    for figure in page.query_selector_all("[data-figure]"):
        figure.hover()
        figure.wait_for_selector(".main-svg")
    said += [*problems(page), *page.evaluate(ALIVE), *too_wide(page)]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="dark")
    page.evaluate("() => Promise.all(document.getAnimations().map(each => each.finished))")  # colours change by transitions
    said += [*problems(page, BY_LOOK), *too_wide(page)]
    return said if is_there else [line for line in said if "404 (Not Found)" not in line]


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_accessible_and_quiet(served: Served, kind: dict[str, Any]) -> None:
    found: dict[str, list[str]] = {}
    with served.context(**kind) as context:
        for address in FILLED:
            page = context.new_page()
            found[address] = judged(page, address)
            if address.startswith("/segments/"):
                assert MARKUP in "".join(page.locator(".main-svg text").all_text_contents())
            page.close()
    assert {address: said for address, said in found.items() if said} == {}


@pytest.mark.exhaustive
def test_pages_without_rows_are_accessible_and_quiet(tmp_path: Path) -> None:
    with desk_in_browser(small_desk_shop(tmp_path).settings, tmp_path) as desk, desk.context(**KINDS[1].values[0]) as context:
        found = {address: judged(context.new_page(), address) for address in EMPTY}
    assert {address: said for address, said in found.items() if said} == {}


def test_the_menu_of_a_phone_opens_and_closes_by_keyboard(served: Served) -> None:
    with served.context(viewport=PHONE) as context:
        page = context.new_page()
        page.goto("/")
        assert not page.is_visible("nav")
        for is_open in (True, False):
            page.focus(".menu")
            page.keyboard.press("Enter")
            assert page.is_visible("nav") == is_open
            assert page.get_attribute(".menu", "aria-expanded") == str(is_open).lower()


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
