"""The public pages as HTML: without a script, a picture or a cookie, for a screen reader as for a phone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from starlette.responses import HTMLResponse

from customer360.mail.texts import TEXTS

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 32rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
fieldset { border: 1px solid; border-radius: .5rem; margin: 0 0 1rem; padding: .5rem 1rem 1rem; }
label { display: block; min-height: 2.75rem; padding: .5rem 0; }
input { width: 1.25rem; height: 1.25rem; margin-right: .5rem; vertical-align: -.25rem; }
button { font: inherit; font-weight: 600; min-height: 3rem; padding: .5rem 1.5rem; border-radius: .5rem; cursor: pointer; }
a, button { text-underline-offset: .2em; }
:focus-visible { outline: 3px solid; outline-offset: 2px; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True)
class Choices:
    """What a customer chose: channels and topics by name whether they are wanted, and the frequency of e-mail."""

    channels: Mapping[str, bool]
    topics: Mapping[str, bool]
    frequency: str


class Pages:
    """The pages of a shop in one language. ``titles``: of topics, by name."""

    def __init__(self, shop: str, language: str, titles: Mapping[str, str]) -> None:
        self._language, self._titles = language, titles
        self._texts = {name: text.replace("{shop}", shop) for name, text in TEXTS[language].items()}

    def unsubscribe(self, preferences: str) -> HTMLResponse:
        """The page with the button; the form goes to the page's own address."""
        form = f'<form method="post"><button>{self._text("unsubscribe_button")}</button></form>'
        return self._page("unsubscribe_title", f"<p>{self._text('unsubscribe_question')}</p>{form}{self._change(preferences)}")

    def unsubscribed(self, preferences: str) -> HTMLResponse:
        """It is done."""
        return self._page("unsubscribed_title", f'<p role="status">{self._text("unsubscribed")}</p>{self._change(preferences)}')

    def preferences(self, choices: Choices, *, is_saved: bool = False) -> HTMLResponse:
        """What may be chosen, as it stands."""
        saved = f'<p role="status">{self._text("saved")}</p>' if is_saved else ""
        channels = {name: self._texts.get(name, name.capitalize()) for name in choices.channels}
        topics = {name: self._titles[name] for name in choices.topics}
        often = "".join(
            f'<label><input type="radio" name="frequency" value="{name}"{" checked" if name == choices.frequency else ""}>'
            f"{self._text(name)}</label>"
            for name in ("any", "weekly", "monthly")
        )
        form = (
            f'<form method="post">{self._boxes("channels", "channel", channels, choices.channels)}'
            f"{self._boxes('topics', 'topic', topics, choices.topics)}"
            f"<fieldset><legend>{self._text('frequency')}</legend>{often}</fieldset>"
            f"<button>{self._text('save')}</button></form>"
        )
        return self._page("preferences_title", saved + form)

    def confirm(self) -> HTMLResponse:
        """The page behind the link of a confirmation mail."""
        button = f'<form method="post"><button>{self._text("confirm_button")}</button></form>'
        return self._page("confirm_title", f"<p>{self._text('confirm_question')}</p>{button}")

    def confirmed(self) -> HTMLResponse:
        """It is done."""
        return self._page("confirmed_title", f'<p role="status">{self._text("confirmed")}</p>')

    def invalid(self) -> HTMLResponse:
        """For a link that was not signed by this shop."""
        return self._page("invalid_title", f"<p>{self._text('invalid')}</p>", 404)

    def _boxes(self, legend: str, name: str, titles: Mapping[str, str], chosen: Mapping[str, bool]) -> str:
        boxes = "".join(
            f'<label><input type="checkbox" name="{name}" value="{escape(value)}"{" checked" if chosen[value] else ""}>'
            f"{escape(title)}</label>"
            for value, title in titles.items()
        )
        return f"<fieldset><legend>{self._text(legend)}</legend>{boxes}</fieldset>" if boxes else ""

    def _change(self, preferences: str) -> str:
        return f'<p><a href="{escape(preferences)}">{self._text("change")}</a></p>'

    def _text(self, name: str) -> str:
        return escape(self._texts[name])

    def _page(self, title: str, content: str, status: int = 200) -> HTMLResponse:
        text = self._text(title)
        return HTMLResponse(
            f'<!doctype html><html lang="{self._language}"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{text}</title>'
            f"<style>{_STYLE}</style></head><body><main><h1>{text}</h1>{content}</main></body></html>",
            status,
            HEADERS,
        )


def wanted(values: Sequence[str], names: Sequence[str]) -> dict[str, bool]:
    """By name whether a form's values hold it; what the form should not have is left out."""
    return {name: name in values for name in names}
