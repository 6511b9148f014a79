"""A shop that mails, and messages of it, for tests of messages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from customer360.mail import message as messages
from customer360.mail.message import Message, load_message, read_message
from customer360.settings import Attribute, Shop, load_shop
from tests.support.random_shop import EMAIL as OF_SHOPS

STARTERS = Path(messages.__file__).parent / "starters"
EMAIL = {**OF_SHOPS, "public_url": "https://go.shop.example", "languages": ["en", "nl", "de"]}
FOOTER = (
    '<p><a href="{{ link.unsubscribe }}">Stop</a> <a href="{{ link.preferences }}">Choose</a> {{ email.postal_address }}</p>'
)
DEFINITION = """
title: Spring
languages: [en, nl]
subject: "Spring, {{ first_name }}"
preheader: Offers of spring
slots: {headline: {en: Hello, nl: Hallo}}
variables:
  first_name: {source: customer.first_name, default: {en: there, nl: klant}}
  spent: {source: customer.monetary, type: money}
  seen: {source: customer.recency_days, type: number, optional: true}
  products: {source: recommendations, most: 3}
links: {shop: /spring}
"""
TEXT = """<h1>{{ slot.headline }} {{ first_name }}</h1>
<p>{{ spent }}{% if seen > 3 %} not seen for {{ seen }} days{% endif %}</p>
<p><a href="{{ link.shop }}">Shop</a></p>
{% for product in products %}<p><a href="{{ product.link }}">{{ product.name }}</a> {{ product.price }}</p>{% endfor %}
"""


@cache
def mail_shop() -> Shop:
    """The synthetic shop with a block email and the attributes first_name and language."""
    shop = load_shop(Path("shops/synthetic/shop.yaml"))
    attributes = {**shop.attributes, "first_name": Attribute(personal=True), "language": Attribute(feature=False)}
    return Shop.model_validate({**shop.model_dump(by_alias=True), "email": EMAIL, "attributes": attributes})


def body(text: str = TEXT + FOOTER, head: str = "<mj-preview>{{ preheader }}</mj-preview>") -> str:
    """A body with this text in its only column."""
    column = f"<mj-section><mj-column><mj-text>\n{text}\n</mj-text></mj-column></mj-section>"
    return f'<mjml lang="{{{{ language }}}}"><mj-head>{head}</mj-head><mj-body>{column}</mj-body></mjml>'


def spring(definition: str = DEFINITION, **files: str) -> Message:
    """The message above with other files: ``body_mjml`` is body.mjml."""
    named = {name.replace("_", "."): text for name, text in files.items()}
    return message_of({"body.mjml": body(), "message.yaml": definition, **named})


def message_of(files: Mapping[str, str]) -> Message:
    """The message of these files."""
    message, problems = read_message("spring", files)
    assert message is not None, problems
    return message


def starter(name: str) -> Message:
    """A message that comes with the product."""
    message, problems = load_message(STARTERS / name)
    assert message is not None, problems
    return message
