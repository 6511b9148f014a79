"""A message for a customer: values are escaped and written as the language does, and links are signed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from customer360.mail.checking import sample_values
from customer360.mail.links import ContactLinks, LinkToken, PreviewLinks, read_link
from customer360.mail.message import Message, Variable, VariableType
from customer360.mail.rendering import Rendered, Renderer, absolute
from customer360.mail.templates import MissingVariable, Product
from customer360.mail.values import cleaned, fillable
from tests.mail.mail_shop import FOOTER, body, mail_shop, spring, starter

SECRET = "s" * 40
LINKS = ContactLinks([SECRET], "https://go.shop.example", "k1", "customer 1", "spring")
LENS = Product("Lens & Co <b>", Decimal("1234.5"), "https://shop.example/1.png", "https://shop.example/1?a=b&c=d", "seen")
VALUES: dict[str, Any] = {"first_name": "Ann", "spent": 1234.5, "seen": 12345, "products": [LENS]}


def rendered(message: Message | None = None, language: str = "en", links: Any = LINKS, **values: Any) -> Rendered:
    return Renderer(message or spring(), mail_shop()).render("A", language, {**VALUES, **values}, links)


def test_amounts_numbers_and_dates_are_written_as_the_language_does() -> None:
    english, dutch = rendered(), rendered(language="nl")
    assert "€1,234.50 not seen for 12,345 days" in english.text
    assert "€\xa01.234,50 not seen for 12.345 days" in dutch.text
    definition = """
title: Until
languages: [en, nl, de]
subject: "{{ ends }}"
preheader: "-"
variables: {ends: {source: offer.ends_on, type: date}}
"""
    until = spring(definition, body_mjml=body(FOOTER))
    subjects = [rendered(until, language, ends=pd.Timestamp("2026-03-09")).subject for language in until.languages]
    assert subjects == ["March 9, 2026", "9 maart 2026", "9. März 2026"]


def test_markup_in_values_is_text_in_html_and_itself_in_text_and_subject() -> None:
    made = rendered(first_name='<script>alert("1")</script> & O\'Neil')
    assert "<script" not in made.html
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; O&#39;Neil" in made.html
    assert made.subject == 'Spring, <script>alert("1")</script> & O\'Neil'
    assert "Lens &amp; Co &lt;b&gt;" in made.html
    assert "Lens & Co <b>" in made.text


def test_template_syntax_in_values_is_text() -> None:
    made = rendered(first_name="{{ spent }}{% for x in y %}")
    assert made.subject == "Spring, {{ spent }}{% for x in y %}"


@pytest.mark.parametrize(
    "name", ["Ann\r\nBcc: x@y.example", "Ann\n\nBody", "A\x00nn", "Ann\u2028x", "Ann\u202eexe", "Ann\x85x"]
)
def test_no_value_ends_the_subjects_line_or_turns_its_direction(name: str) -> None:
    made = rendered(first_name=name)
    assert made.subject.isprintable()
    assert "\n" not in made.subject + made.preheader


@pytest.mark.parametrize(
    "value",
    [
        None,
        np.nan,
        pd.NA,
        pd.NaT,
        "",
        "  ",
        "None",
        "nan",
        "NULL",
        "n/a",
        "-",
        "x" * 201,
        "\u00a0\n",
        "Win at www.evil",
        "a.com",
    ],
)
def test_a_name_that_is_none_is_never_written(value: Any) -> None:
    made = rendered(first_name=value)
    assert made.subject == "Spring, there"
    assert rendered(language="nl", first_name=value).subject == "Spring, klant"


@pytest.mark.parametrize("name", ["Nan Goldin", "Ng", "O", "José-María", "李", "St. John", "Null-Smith", "محمد"])
def test_an_unusual_name_is_a_name(name: str) -> None:
    assert rendered(first_name=name).subject == f"Spring, {name}"


@pytest.mark.parametrize(
    ("name", "value"), [("spent", None), ("spent", "x"), ("spent", np.inf), ("products", []), ("products", None)]
)
def test_who_lacks_a_value_gets_no_message_and_the_audience_is_told_so_beforehand(name: str, value: Any) -> None:
    with pytest.raises(MissingVariable, match=name):
        rendered(**{name: value})
    frame = pd.DataFrame([VALUES, {**VALUES, name: value}, VALUES], index=["1", "2", "3"])
    assert fillable(spring(), frame).dropna().to_dict() == {"2": f"no value for {name} of the message"}


def test_an_optional_value_is_left_out_by_a_condition_and_never_written() -> None:
    assert "not seen" not in rendered(seen=None).text
    message = spring(body_mjml=body("{{ seen }} {{ spent }} {{ products|length }} {{ first_name }} {{ link.shop }}" + FOOTER))
    with pytest.raises(MissingVariable, match="seen"):
        rendered(message, seen=None)


def test_each_link_is_the_contacts_own_and_leads_where_the_message_says() -> None:
    made = rendered()
    tokens = {read_link(part.split('"')[0].rpartition("/")[2], [SECRET]) for part in made.html.split('href="')[1:]}
    expected = [
        ("click", ""),
        ("click", "https://shop.example/spring"),
        ("click", LENS.link),
        ("unsubscribe", ""),
        ("preferences", ""),
    ]
    assert tokens == {LinkToken(kind, "k1", "customer 1", "spring", target) for kind, target in expected}
    assert all(link in made.text for link in (LINKS.page("unsubscribe"), LINKS.click(LENS.link)))


def test_a_preview_has_no_link_that_stops_the_customers_messages() -> None:
    made = rendered(links=PreviewLinks("https://go.shop.example"))
    assert 'href="https://shop.example/1?a=b&amp;c=d"' in made.html
    assert "https://go.shop.example/m/u/preview" in made.html
    assert read_link("preview", [SECRET]) is None


def test_openings_are_counted_only_where_the_shop_says_so() -> None:
    shop = mail_shop()
    assert shop.email is not None
    counting = shop.model_copy(update={"email": shop.email.model_copy(update={"open_tracking": True})})
    pictures = [Renderer(spring(), which).render("A", "en", VALUES, LINKS).html.count("/m/o/") for which in (shop, counting)]
    assert pictures == [0, 1]


def test_a_text_of_ones_own_takes_the_place_of_the_made_one() -> None:
    message = spring(body_txt="Hi {{ first_name }}\n{% for product in products %}\n- {{ product.name }}\n{% endfor %}\n")
    assert rendered(message).text == "Hi Ann\n- Lens & Co <b>\n"


@pytest.mark.parametrize("name", ["offer", "win_back", "news", "recommendations"])
def test_a_starters_text_says_what_its_html_says(name: str) -> None:
    message = starter(name)
    made = rendered(message, **sample_values(message, mail_shop()))
    for words in ("Dear First name,", "Unsubscribe", "1 Main Street", LINKS.page("unsubscribe")):
        assert words in made.text
    assert made.text.isascii() or "€" in made.text or "·" in made.text
    assert "{{" not in made.html + made.text
    assert "zjz" not in made.html + made.text


def test_a_hundred_thousand_customers_are_judged_column_by_column() -> None:
    names = pd.Series(["Ann", None, "None", "Bob"] * 25_000)
    frame = pd.DataFrame(
        {"first_name": names, "spent": [1.5, np.nan] * 50_000, "seen": None, "products": [[LENS], []] * 50_000}
    )
    found = fillable(spring(), frame)
    assert found.isna().sum() == 50_000
    assert set(found.dropna()) == {"no value for spent of the message"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (VariableType.DATE, date(2026, 1, 2), date(2026, 1, 2)),
        (VariableType.DATE, "2026-01-02", date(2026, 1, 2)),
        (VariableType.DATE, "soon", None),
        (VariableType.NUMBER, np.float64(3.0), 3),
        (VariableType.NUMBER, "3.25", 3.25),
        (VariableType.MONEY, "12.30", Decimal("12.30")),
        (VariableType.MONEY, "NaN", None),
        (VariableType.BOOLEAN, np.bool_(True), True),
        (VariableType.BOOLEAN, "yes", None),
    ],
)
def test_values_have_the_type_that_is_declared(kind: VariableType, value: Any, expected: Any) -> None:
    assert cleaned(value, Variable(source="customer.x", type=kind)) == expected


def test_a_path_is_on_the_public_address_where_links_may_lead_there_else_on_the_first_domain() -> None:
    email = mail_shop().email
    assert email is not None
    local = email.model_copy(update={"public_url": "http://localhost:8360", "link_domains": ["localhost"]})
    assert absolute("/a", email) == "https://shop.example/a"
    assert absolute("/a", local) == "http://localhost:8360/a"
    assert absolute("//evil.example/a", local) == "//evil.example/a"
