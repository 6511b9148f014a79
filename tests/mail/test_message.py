"""Messages as folders: what is read, what is refused and with which remedy, and the copy that is kept of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from customer360.mail.message import Message, load_messages, read_message
from customer360.settings import Place, Settings, load_shop

BODY = "<mjml><mj-body></mj-body></mjml>"
YAML = """
title: Spring
languages: [en, nl]
subject: {en: "Spring, {{ first_name }}", nl: Lente}
preheader: {en: Offers, nl: Aanbiedingen}
slots: {headline: {en: Hello, nl: Hallo}}
variants:
  A: {}
  B: {subject: {en: It is spring}}
variables:
  first_name: {source: customer.first_name, default: {en: there, nl: klant}}
  products: {source: recommendations, most: 3}
links: {shop: /spring}
"""
FILES = {"message.yaml": YAML, "body.mjml": BODY, "body.B.nl.mjml": "<mjml/>"}


def spring(**files: str) -> Message:
    message, problems = read_message("spring", {**FILES, **files})
    assert message is not None, problems
    return message


def problems_of(old: str, new: str) -> list[str]:
    message, problems = read_message("spring", {**FILES, "message.yaml": YAML.replace(old, new)})
    assert message is None
    return [str(problem) for problem in problems]


def test_a_variant_says_what_differs_and_keeps_the_other_words() -> None:
    message = spring()
    assert message.variant_names == ("A", "B")
    assert message.words("A", "en").subject == "Spring, {{ first_name }}"
    assert message.words("B", "en").subject == "It is spring"
    assert message.words("B", "nl").subject == "Lente"
    assert message.words("B", "nl").slots == {"headline": "Hallo"}
    assert (message.body("A", "nl"), message.body("B", "nl")) == ("body.mjml", "body.B.nl.mjml")


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("nl", "nl"), ("nl-BE", "nl"), ("NL_be", "nl"), ("de", "en"), (None, "en"), ("", "en")]
)
def test_a_customer_gets_the_nearest_language(wanted: str | None, chosen: str) -> None:
    assert spring().language_for(wanted) == chosen


def test_a_copy_is_the_same_message_and_any_change_gives_another_hash() -> None:
    message = spring()
    copy = Message.model_validate_json(message.to_json())
    assert copy == message
    assert copy.content_hash == message.content_hash
    others = [spring(**{"body.mjml": BODY + " "}), spring(**{"message.yaml": YAML.replace("/spring", "/autumn")})]
    assert len({message.content_hash, *(other.content_hash for other in others)}) == 3


def test_a_text_alone_is_that_of_every_language() -> None:
    message = spring(**{"message.yaml": YAML.replace("{headline: {en: Hello, nl: Hallo}}", "{headline: OK}")})
    assert [message.words("A", language).slots["headline"] for language in message.languages] == ["OK", "OK"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("title: Spring", "titel: Spring", "titel: there is no such field; did you mean 'title'?"),
        ("source: customer.first_name", "source: clients.first_name", "variables.first_name.source"),
        ("nl: Aanbiedingen", "de: Angebote", "preheader: variant A has none in nl; add it as preheader: {nl: ...}"),
        ("  A: {}\n", "", "variants are A and B"),
        ("title: Spring", "title: Spring\ntitle: Summer", "'title' stands there twice"),
        ("source: recommendations, most: 3", "source: recommendations, least: 5, most: 3", "least is at most most"),
        ("source: recommendations, most: 3", "source: offer.name, type: products", "recommendations"),
        ("default: {en: there, nl: klant}", "type: money, default: '0'", "only a text has a default"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(old: str, new: str, expected: str) -> None:
    problems = problems_of(old, new)
    assert any(expected in problem and problem.startswith("spring/message.yaml, ") for problem in problems), problems


def test_a_file_of_another_name_is_refused_rather_than_overlooked() -> None:
    message, problems = read_message("spring", {**FILES, "Body.nl.mjml": BODY})
    assert message is None
    assert [problem.file for problem in problems] == ["spring/Body.nl.mjml"]


def test_of_two_messages_of_a_name_the_shops_own_counts(tmp_path: Path) -> None:
    shop = load_shop(Path("shops/synthetic/shop.yaml"))
    settings = Settings(shop=shop, place=Place(root=tmp_path / "data"), shop_folder=tmp_path / "shop")
    for folder, title in [(settings.message_folder, "Spring"), (settings.made_message_folder, "Made")]:
        for name in ["spring", *(["made"] if title == "Made" else [])]:
            (folder / name).mkdir(parents=True)
            (folder / name / "message.yaml").write_text(YAML.replace("title: Spring", f"title: {title}"))
            (folder / name / "body.mjml").write_text(BODY)
    messages, problems = load_messages(settings)
    assert {message.name: message.title for message in messages} == {"made": "Made", "spring": "Spring"}
    assert [problem.name for problem in problems] == ["spring"]
