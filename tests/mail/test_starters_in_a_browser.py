"""Starters in Chromium as on a phone and a desk, light and dark: nothing overflows, and axe-core finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from playwright.sync_api import Browser

from tests.mail.shown import SOLD, STARTER_NAMES, starter_page
from tests.support.chromium import chromium

pytestmark = pytest.mark.full  # a browser of its own
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("name", STARTER_NAMES)
def test_a_starter_is_whole_readable_and_asks_for_nothing(browser: Browser, name: str) -> None:
    for width, dark in ((320, False), (320, True), (600, False), (600, True)):
        page, asked = starter_page(browser, name, width, dark=dark, language="de")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = page.evaluate(f"{AXE}; axe.run(document, {{runOnly: ['wcag2a', 'wcag2aa']}})")["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == [], (width, dark)
        assert page.get_by_role("link", name="Abmelden").is_visible()
        assert asked == []
        page.context.close()


def test_each_product_has_its_picture_name_price_and_reason(browser: Browser) -> None:
    page, _ = starter_page(browser, "recommendations", 600)
    pictures = page.locator("img")
    assert [pictures.nth(place).get_attribute("alt") for place in range(pictures.count())] == list(SOLD)
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.get_by_text("€249.90").count() == len(SOLD)
    page.context.close()
