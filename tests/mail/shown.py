"""Starters in a browser, with values and pictures as a customer might have them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from playwright.sync_api import Browser, Page, Route

from customer360.mail.links import PreviewLinks
from customer360.mail.rendering import Renderer
from customer360.mail.templates import Product
from tests.mail.mail_shop import mail_shop, starter

STARTER_NAMES = ("offer", "win_back", "news", "recommendations")
COLOURS = ("#b08968", "#457b9d", "#6a994e", "#bc4749")
SOLD = ("Zoom lens 18-55 mm", "Tripod of carbon", "Camera bag with a very long name that takes two lines", "Memory card 128 GB")
REASONS = ("bought with what you bought last", "you looked at it twice", "often bought by customers like you", "popular now")
VALUES: dict[str, Any] = {
    "first_name": "Ann",
    "offer_name": "30% off on zoom lenses",
    "offer_ends": "2026-05-31",
    "products": [
        Product(name, Decimal("249.90"), f"https://shop.example/{number}.svg", f"https://shop.example/{number}", reason)
        for number, (name, reason) in enumerate(zip(SOLD, REASONS, strict=True))
    ],
}


def _picture(route: Route) -> None:
    """A picture of a product, drawn here: nothing is fetched."""
    number = int(route.request.url.rpartition("/")[2].split(".")[0])
    colour = COLOURS[number]
    drawn = f'<rect width="300" height="200" fill="{colour}"/><circle cx="150" cy="100" r="58" fill="#fff" opacity=".85"/>'
    ring = f'<circle cx="150" cy="100" r="30" fill="{colour}"/>'
    body = f'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200">{drawn}{ring}</svg>'
    route.fulfill(content_type="image/svg+xml", body=body)


def starter_page(
    browser: Browser, name: str, width: int, *, dark: bool = False, language: str = "en"
) -> tuple[Page, list[str]]:
    """A page with a starter at this width, and the addresses beside its pictures that it asked for: none is answered."""
    html = Renderer(starter(name), mail_shop()).render("A", language, VALUES, PreviewLinks("https://go.shop.example")).html
    asked: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 400}, color_scheme="dark" if dark else "light")
    page = context.new_page()

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route("**/*", refuse)
    page.route("https://shop.example/*.svg", _picture)
    page.set_content(html, wait_until="load")
    return page, asked
