"""A message for a customer: its templates are compiled once, and only filled for each contact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from jinja2 import Template, UndefinedError

from customer360.mail.links import Links, is_allowed_target
from customer360.mail.message import Message, VariableType
from customer360.mail.mjml import compiled, with_slots
from customer360.mail.plain_text import plain_text, without_gaps
from customer360.mail.templates import MissingVariable, Product, compile_template, environment
from customer360.mail.values import filled
from customer360.settings import Email, SettingsError, Shop

PAGES = ("unsubscribe", "preferences")
PRODUCT_FIELDS = ("name", "price", "picture", "link", "reason")
OPENED = '<img src="{{ link.open }}" width="1" height="1" alt="" style="display:block;border:0;"/>'
# A person cannot follow this link: who does is a program that looks through messages.
UNSEEN = '<a href="{{ link.unseen }}" style="display:none;" tabindex="-1" aria-hidden="true"></a>'


@dataclass(frozen=True)
class Rendered:
    """What a customer gets: the subject and the preheader are single lines, without control characters."""

    subject: str
    preheader: str
    html: str
    text: str


@dataclass(frozen=True)
class _Templates:
    subject: Template
    preheader: Template
    html: Template
    text: Template


class Renderer:
    """Renders one message of one shop. What ``check_message`` finds nothing against compiles; the rest may raise.

    ``links`` gives each link's address: ``ContactLinks`` where it is sent, ``PreviewLinks`` where somebody else looks at it.
    """

    def __init__(self, message: Message, shop: Shop) -> None:
        self.message, self._shop, self._email = message, shop, email_of(shop)
        self._targets = {name: absolute(target, self._email) for name, target in message.links.items()}
        self._lists = [name for name, variable in message.variables.items() if variable.type is VariableType.PRODUCTS]
        self._fixed = {
            "shop": SimpleNamespace(title=shop.title),
            "email": SimpleNamespace(sender=self._email.sender.name, postal_address=self._email.postal_address),
        }
        self._pages = (*PAGES, "open") if self._email.open_tracking else PAGES
        self._compiled = {
            (variant, language): self._templates(variant, language)
            for variant in message.variant_names
            for language in message.languages
        }

    def render(self, variant: str, language: str, values: Mapping[str, Any], links: Links) -> Rendered:
        """The message for one customer; ``values`` by variable, as ``message_values`` has them.

        Raises ``MissingVariable`` where one that is written has none: the customer does not get the message.
        """
        templates = self._compiled[variant, language]
        context: dict[str, Any] = {**self._fixed, **filled(self.message, language, values)}
        clicks = {name: links.click(target) for name, target in self._targets.items()} | {"unseen": links.click("")}
        context["link"] = SimpleNamespace(**clicks, **{page: links.page(page) for page in self._pages})
        for name in self._lists:
            context[name] = [_linked(product, links) for product in context[name]]
        try:
            subject = " ".join(_fill(templates.subject, context).split())
            preheader = " ".join(_fill(templates.preheader, context).split())
            context |= {"subject": subject, "preheader": preheader}
            html, text = _fill(templates.html, context), _fill(templates.text, context)
        except UndefinedError as error:
            raise MissingVariable(str(error)) from error
        if not subject:
            raise MissingVariable("subject")
        return Rendered(subject, preheader, html, without_gaps(text))

    def _templates(self, variant: str, language: str) -> _Templates:
        message, words = self.message, self.message.words(variant, language)
        plain = environment(language, self._shop.currency, escapes=False)
        source = body_source(message, variant, language)
        added = UNSEEN + (OPENED if self._email.open_tracking else "")
        page = compiled(source).replace("</body>", f"{added}</body>")
        own = message.body(variant, language, "txt")
        return _Templates(
            subject=compile_template(plain, words.subject),
            preheader=compile_template(plain, words.preheader),
            html=compile_template(environment(language, self._shop.currency, escapes=True), page),
            text=compile_template(plain, message.files[own] if own else compiled(source, plain_text)),
        )


def _fill(template: Template, values: dict[str, Any]) -> str:
    """``template.render``, which would copy the values."""
    return "".join(template.root_render_func(template.new_context(values, shared=True)))


def body_source(message: Message, variant: str, language: str) -> str:
    """The MJML of a variant in a language, its slots filled."""
    file = message.body(variant, language)
    if file is None:
        raise KeyError(f"{message.name} has no body for variant {variant} in {language}")
    slots = {**message.words(variant, language).slots}
    return with_slots(message.files[file], slots, language)


def email_of(shop: Shop) -> Email:
    """How the shop sends e-mail. Raises ``SettingsError`` where shop.yaml does not say it."""
    if shop.email is None:
        raise SettingsError(f"shop.yaml of {shop.name} has no block email: a message needs its sender; see docs/email.md")
    return shop.email


def absolute(target: str, email: Email) -> str:
    """The target of a declared link. A path is on the public address where links may lead there, else on the first domain."""
    if not target.startswith("/") or target.startswith("//"):
        return target
    is_ours = is_allowed_target(email.public_url, email.link_domains)
    return f"{email.public_url if is_ours else 'https://' + email.link_domains[0]}{target}"


def _linked(product: Product, links: Links) -> Product:
    return Product(product.name, product.price, product.picture, links.click(product.link), product.reason)
