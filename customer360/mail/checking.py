"""Whether a message may be sent: what mailbox providers and the law require, and that everybody who gets it can be shown it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd

from customer360.definition_files import nearest_remedy
from customer360.mail.links import ContactLinks, is_allowed_target
from customer360.mail.message import DEFINITION, Message, MessageProblem, Variable, VariableType
from customer360.mail.mjml import JINJA, MjmlError, Target, judge, lost_parts
from customer360.mail.rendering import PAGES, PRODUCT_FIELDS, Rendered, Renderer, absolute, body_source, email_of
from customer360.mail.templates import MissingVariable, Product, faults, used_names
from customer360.mail.values import reason_without
from customer360.mail.variables import LANGUAGE, known_sources
from customer360.settings import Shop

CLIPPED_BYTES = 102 * 1024  # Gmail cuts longer HTML off, and with it the link to unsubscribe
LONGEST_SUBJECT = 100  # characters beside values
MOST_EMOJI = 3
_EMOJI = re.compile("[\U0001f1e6-\U0001faff\u2600-\u27bf]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SAMPLES: dict[VariableType, Any] = {
    VariableType.NUMBER: 12,
    VariableType.MONEY: Decimal("12.50"),
    VariableType.DATE: date(2026, 5, 31),
    VariableType.BOOLEAN: True,
}
_LINKS = ContactLinks(["0" * 32], "", "0" * 32, "0" * 12, "campaign")  # as long as those of a contact are


def check_message(message: Message, shop: Shop) -> list[MessageProblem]:
    """Everything that forbids to send a message; none where it may be sent. Raises ``SettingsError`` without a block email."""
    email = email_of(shop)
    found = [*_source_problems(message, shop), *_link_problems(message, shop)]
    used: set[str] = set()
    for variant in message.variant_names:
        for language in message.languages:
            found += _word_problems(message, variant, language, used)
            found += _body_problems(message, variant, language, used, email.link_domains)
    if not found:
        found = [*_unused(message, used), *_sample_problems(message, shop)]
    return list(dict.fromkeys(found))


def sample_values(message: Message, shop: Shop, *, with_optional: bool = True) -> dict[str, Any]:
    """Made-up values of a message's variables, for a look at it before anything is published."""
    return {
        name: _sample(name, variable, email_of(shop).link_domains[0])
        for name, variable in message.variables.items()
        if with_optional or not variable.optional
    }


def _sample(name: str, variable: Variable, domain: str) -> Any:
    if variable.type is VariableType.PRODUCTS:
        page = f"https://{domain}/products"
        return [
            Product(f"Product {number}", Decimal("49.90"), f"{page}/{number}.png", f"{page}/{number}", "you looked at it")
            for number in range(1, variable.most + 1)
        ]
    return _SAMPLES.get(variable.type, name.replace("_", " ").capitalize())


class Failure(NamedTuple):
    """A customer whose message could not be made, and why."""

    customer_id: str
    reason: str


@dataclass(frozen=True)
class RenderCheck:
    """How a message came out for a whole audience.

    ``left_out``: customers by the reason for which they do not get it. ``failures``: the first of those whose message may not
    be sent, of ``failed`` in all. Sizes are bytes of HTML, lengths characters; the customers are those of the extremes.
    """

    rendered: int
    left_out: Mapping[str, int]
    failed: int
    failures: tuple[Failure, ...]
    largest_bytes: int
    largest_customer_id: str | None
    longest_subject: int

    @property
    def is_well(self) -> bool:
        """Whether everybody who is not left out gets a message that may be sent."""
        return self.failed == 0


def render_check(
    message: Message, shop: Shop, values: pd.DataFrame, variants: pd.Series[str] | None = None, shown: int = 10
) -> RenderCheck:
    """Render the message for every row of ``message_values``; ``variants``: of each customer, else the first.

    About 10,000 customers in a second and a half. Links are as long as those that will be sent.
    """
    renderer = Renderer(message, shop)
    links = ContactLinks(_LINKS.secrets, email_of(shop).public_url, *[_LINKS.contact_key, _LINKS.customer_id, "c" * 20])
    left: Counter[str] = Counter()
    failures: list[Failure] = []
    sizes, longest = {}, 0
    chosen = {} if variants is None else variants.to_dict()
    for row in values.reset_index().to_dict("records"):
        customer_id = str(row["customer_id"])
        try:
            variant = chosen.get(customer_id, message.variant_names[0])
            made = renderer.render(variant, row[LANGUAGE], {str(name): value for name, value in row.items()}, links)
        except MissingVariable as error:
            left[reason_without(str(error.args[0]))] += 1
            continue
        sizes[customer_id] = len(made.html.encode())
        longest = max(longest, len(made.subject))
        failures += [Failure(customer_id, wrong) for wrong in _rendered_faults(made)]
    largest = max(sizes, key=lambda customer_id: sizes[customer_id], default=None)
    failed = len({failure.customer_id for failure in failures})
    size = 0 if largest is None else sizes[largest]
    return RenderCheck(len(sizes), dict(left.most_common()), failed, tuple(failures[:shown]), size, largest, longest)


def _rendered_faults(made: Rendered) -> Iterator[str]:
    size = len(made.html.encode())
    if size > CLIPPED_BYTES:
        yield f"its HTML has {size:,} bytes: Gmail clips what is longer than {CLIPPED_BYTES:,}"
    if _CONTROL.search(made.subject):
        yield "its subject holds control characters"


def _source_problems(message: Message, shop: Shop) -> Iterator[MessageProblem]:
    known = known_sources(shop)
    for name, variable in message.variables.items():
        origin, _, column = variable.source.partition(".")
        if column and column not in known[origin]:
            place, near = f"variables.{name}.source", nearest_remedy(column, known[origin])
            yield MessageProblem(f"{message.name}/{DEFINITION}", place, f"there is no {variable.source}", near)
        if variable.default is not None and (lacks := _lacking(message, variable)):
            remedy = f"add {lacks}: ..., or write one text for all languages"
            yield MessageProblem(f"{message.name}/{DEFINITION}", f"variables.{name}.default", f"it has no {lacks}", remedy)


def _lacking(message: Message, variable: Variable) -> str:
    """The first language of a message that a default has not."""
    default = variable.default or {}
    return next((language for language in message.languages if not (default.get(language) or default.get(""))), "")


def _link_problems(message: Message, shop: Shop) -> Iterator[MessageProblem]:
    email = email_of(shop)
    for name, target in message.links.items():
        if not is_allowed_target(absolute(target, email), email.link_domains):
            wrong = "it leads to no address of the shop's"
            remedy = f"write /page, or https:// and one of email.link_domains of shop.yaml: {', '.join(email.link_domains)}"
            yield MessageProblem(f"{message.name}/{DEFINITION}", f"links.{name}", wrong, remedy)


def _names(message: Message) -> tuple[dict[str, Any], list[str]]:
    """What templates may write, with the fields of each, and the lists among them."""
    lists = [name for name, variable in message.variables.items() if variable.type is VariableType.PRODUCTS]
    names: dict[str, Any] = dict.fromkeys([*message.variables, "subject", "preheader"])
    names |= dict.fromkeys(lists, PRODUCT_FIELDS)
    names |= {"link": (*message.links, *PAGES), "shop": ("title",), "email": ("sender", "postal_address")}
    return names, lists


def _word_problems(message: Message, variant: str, language: str, used: set[str]) -> Iterator[MessageProblem]:
    names, lists = _names(message)
    words = message.words(variant, language)
    for field, text in (("subject", words.subject), ("preheader", words.preheader)):
        where = (f"{message.name}/{DEFINITION}", f"{field} of {variant} in {language}")
        wrong = [(fault.message, fault.remedy) for fault in faults(text, names, lists)]
        yield from (MessageProblem(*where, *fault) for fault in [*wrong, *_word_faults(text)])
        if not wrong:
            used |= used_names(text)


def _word_faults(text: str) -> Iterator[tuple[str, str]]:
    words = JINJA.sub("", text).strip()
    if _CONTROL.search(words):
        yield "it holds line ends or control characters", "write it on one line"
    if len(words) > LONGEST_SUBJECT:
        yield f"it has {len(words)} characters", f"write at most {LONGEST_SUBJECT}: inboxes show about 60"
    if len(_EMOJI.findall(words)) > MOST_EMOJI:
        yield f"it has more than {MOST_EMOJI} pictograms", "take some out: it looks like spam"


def _body_problems(
    message: Message, variant: str, language: str, used: set[str], domains: list[str]
) -> Iterator[MessageProblem]:
    names, lists = _names(message)
    source = body_source(message, variant, language)
    file = f"{message.name}/{message.body(variant, language)}"
    judged = judge(source)
    found = [(fault.line, fault.message, fault.remedy) for fault in [*judged.faults, *faults(source, names, lists)]]
    found += [fault for target in judged.targets for fault in _target_faults(target, domains)]
    if not found:
        try:
            found += [(fault.line, fault.message, fault.remedy) for fault in lost_parts(source)]
        except MjmlError as error:
            found.append((1, f"it cannot be compiled: {error}", "see docs/email.md for what a body may hold"))
    yield from (MessageProblem(file, f"line {line}", wrong, remedy) for line, wrong, remedy in found)
    if found:
        return
    in_body = used_names(source)
    used |= in_body
    yield from (MessageProblem(file, "(whole file)", *fault) for fault in _required(in_body, judged.targets))
    own = message.body(variant, language, "txt")
    if own is not None:
        yield from _text_problems(message, own, used)


def _text_problems(message: Message, file: str, used: set[str]) -> Iterator[MessageProblem]:
    text = message.files[file]
    wrong = [(f"line {fault.line}", fault.message, fault.remedy) for fault in faults(text, *_names(message))]
    if not wrong:
        in_text = used_names(text)
        used |= in_text
        wrong = [("(whole file)", *fault) for fault in _required({*in_text, "preheader"}, None)]
        if re.search(r"https?://", JINJA.sub("", text)):
            wrong.append(("(whole file)", "an address stands in it", "declare it as a link, and write {{ link.NAME }}"))
    yield from (MessageProblem(f"{message.name}/{file}", *fault) for fault in wrong)


def _required(used: set[str], targets: list[Target] | None) -> Iterator[tuple[str, str]]:
    """What every message must show; ``targets`` of HTML, whose link to unsubscribe needs words."""
    links = {target.value.strip("{} ") for target in targets or [] if target.text}
    shows_stop = "link.unsubscribe" in (used if targets is None else links)
    if not shows_stop:
        yield "nobody can unsubscribe", 'write <a href="{{ link.unsubscribe }}">Unsubscribe</a> where it is seen'
    if "link.preferences" not in used:
        yield "there is no link to preferences", 'write <a href="{{ link.preferences }}">Preferences</a>'
    if "email.postal_address" not in used:
        yield "there is no postal address", "write {{ email.postal_address }}"
    if "preheader" not in used:
        yield "the preheader is not shown", "write <mj-preview>{{ preheader }}</mj-preview> in <mj-head>"


def _target_faults(target: Target, domains: list[str]) -> Iterator[tuple[int, str, str]]:
    """What is wrong with where a link leads or a picture lies."""
    field = r"\{\{ *[a-z_]+\." + ("link" if target.attribute == "href" else "picture") + r" *\}\}"
    if target.attribute == "href":
        if not re.fullmatch(rf"\{{\{{ *link\.[a-z0-9_]+ *\}}\}}|{field}|mailto:[^{{}}\s?]+|tel:[+0-9 -]+", target.value):
            remedy = 'declare it in message.yaml and write href="{{ link.NAME }}", or href="{{ product.link }}"'
            yield target.line, "a link leads to an address that is not declared", remedy
        elif not target.text:
            yield target.line, "a link has no words", "write what it leads to, or the alt of its picture"
    elif not re.fullmatch(field, target.value) and not is_allowed_target(target.value, domains):
        remedy = f"write https:// and one of email.link_domains ({', '.join(domains)}), or {{{{ product.picture }}}}"
        yield target.line, "a picture lies at no address of the shop's", remedy


def _unused(message: Message, used: set[str]) -> Iterator[MessageProblem]:
    """What is declared and not used, which is mostly a mistake in a name."""
    for kind, names, prefix in (("variables", message.variables, ""), ("links", message.links, "link.")):
        for name in names:
            if prefix + name not in used:
                remedy = "use it, or take it out"
                yield MessageProblem(f"{message.name}/{DEFINITION}", f"{kind}.{name}", "nothing uses it", remedy)


def _sample_problems(message: Message, shop: Shop) -> Iterator[MessageProblem]:
    """What shows once it is rendered: values that are written though they may be missing, and the size."""
    renderer = Renderer(message, shop)
    for variant in message.variant_names:
        for language in message.languages:
            file = f"{message.name}/{message.body(variant, language)}"
            try:
                made = renderer.render(variant, language, sample_values(message, shop), _LINKS)
                renderer.render(variant, language, sample_values(message, shop, with_optional=False), _LINKS)
            except MissingVariable as error:
                wrong = f"it writes {error.args[0]}, which a customer may not have"
                yield MessageProblem(
                    file, "(whole file)", wrong, f"write {{% if {error.args[0]} %}} ... {{% endif %}} around it"
                )
                continue
            for wrong in _rendered_faults(made):
                yield MessageProblem(file, "(whole file)", wrong, "take something out")
