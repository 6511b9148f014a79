"""What forbids to send a message is found, by the line where it stands; what others reported of such compilers is among it."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from customer360.mail.checking import check_message
from customer360.mail.links import PreviewLinks
from customer360.mail.message import Message
from customer360.mail.rendering import Renderer
from customer360.mail.templates import Product
from tests.mail.mail_shop import DEFINITION, FOOTER, TEXT, body, mail_shop, spring, starter

_PRODUCTS = [Product(f"Lens {number}", Decimal(1), "", "https://shop.example/", "") for number in (1, 2)]
COLUMN = "<mj-section><mj-column>{}</mj-column></mj-section>"


def problems(message: Message) -> list[str]:
    return [str(problem) for problem in check_message(message, mail_shop())]


def problems_of(text: str, definition: str = DEFINITION) -> list[str]:
    return problems(spring(definition, body_mjml=text))


@pytest.mark.parametrize("name", ["offer", "win_back", "news", "recommendations"])
def test_a_starter_may_be_sent_as_it_is(name: str) -> None:
    assert problems(starter(name)) == []


def test_a_message_that_is_well_has_no_problems() -> None:
    assert problems(spring()) == []


@pytest.mark.parametrize(
    ("before", "after", "line", "expected"),
    [
        ("</h1>", "</h2>", 2, "</h2> stands where <h1> of line 2 is still open"),
        ("<h1>", "<h1><mj-foo/>", 2, "there is no <mj-foo> in a message"),
        ("<h1>", "<h1><script>alert(1)</script>", 2, "there is no <script> in a message"),
        ("<h1>", '<h1><a href="javascript:alert(1)">x</a>', 2, "a link leads to an address that is not declared"),
        ("<h1>", '<h1><a href="https://evil.example/">x</a>', 2, "a link leads to an address that is not declared"),
        (
            "<h1>",
            '<h1><a href="https://x.example/?u={{ link.shop }}">x</a>',
            2,
            "a link leads to an address that is not declared",
        ),
        ('"{{ link.shop }}"', '" {{ link.shop }}"', 4, "a link leads to an address that is not declared"),
        (">Shop<", "><", 4, "a link has no words"),
        ("<h1>", '<h1 onclick="x">', 2, "<h1> has no attribute 'onclick'"),
        ("<h1>", '<h1 style="color:{{ first_name }}">', 2, "style of <h1> holds a value"),
        ("<h1>", '<h1 style="display: none">', 2, "<h1> is hidden"),
        ("<h1>", '<h1 style="background:url(https://shop.example/a.png)">', 2, "style of <h1> loads a picture"),
        ("<h1>", '<h1><img src="https://shop.example/a.png"/>', 2, "<img> has no alt"),
        ("<h1>", '<h1><img src="https://cdn.example/a.png" alt="a"/>', 2, "a picture lies at no address of the shop's"),
        ("<h1>", "<h1><table><tr><td>a</td></tr></table>", 2, "<table> has no role"),
        ("<h1>", "<h1><!-- {{ first_name }} -->", 2, "a comment holds values or a condition"),
        ("<h1>", "<h1>{{ last_name }}", 2, "there is no 'last_name' here"),
        ("<h1>", "<h1>{{ first_name|safe }}", 2, "there is no filter 'safe'"),
        ("<h1>", "<h1>{{ first_name.__class__ }}", 2, "there is no 'first_name.__class__' here"),
        ("<h1>", "<h1>{{ first_name.upper() }}", 2, "a template holds no call"),
        ("<h1>", "<h1>{{ 'a' * 1000000000 }}", 2, "a template holds no mul"),
        ("<h1>", "<h1>{{ products[0] }}", 2, "a template holds no getitem"),
        ("<h1>", "<h1>{% for x in range(1000000000) %}x{% endfor %}", 2, "a loop goes through recommendations alone"),
        ("<h1>", "<h1>{% set x = 1 %}", 2, "a template holds no assign"),
        ("<h1>", "<h1>{% include 'message.yaml' %}", 2, "a template holds no include"),
        ("<h1>", "<h1>{% autoescape false %}{{ first_name }}{% endautoescape %}", 1, "a template holds no scope"),
        ("<h1>", "<h1>{% if first_name %}", 6, "it is no template"),
        ("<h1>", "<h1>{{ seen }}", 0, "it writes seen, which a customer may not have"),
        ("<h1>", "<h1>" + "<span>" * 50 + "</span>" * 50, 2, "more than 40 elements stand within one another"),
        ("{{ link.unsubscribe }}", "{{ link.shop }}", 0, "nobody can unsubscribe"),
        (">Stop<", ' style="font-size:1px">Stop<', 6, "<a> is hidden"),
        ("{{ email.postal_address }}", "", 0, "there is no postal address"),
        ("{{ link.preferences }}", "{{ link.shop }}", 0, "there is no link to preferences"),
        ("<mj-preview>{{ preheader }}</mj-preview>", "", 0, "the preheader is not shown"),
    ],
)
def test_a_fault_of_a_body_is_named_by_its_line(before: str, after: str, line: int, expected: str) -> None:
    text = body()
    assert before in text
    found = problems_of(text.replace(before, after, 1))
    where = f"spring/body.mjml, {f'line {line}' if line else '(whole file)'}: "
    assert any(problem.startswith(where) and expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("customer.first_name", "customer.firstname", "there is no customer.firstname; did you mean 'first_name'?"),
        ("links: {shop: /spring}", "links: {shop: https://evil.example/}", "it leads to no address of the shop's"),
        ("links: {shop: /spring}", "links: {shop: //evil.example/}", "it leads to no address of the shop's"),
        ("links: {shop: /spring}", "links: {shop: /spring, more: /a}", "links.more: nothing uses it"),
        ("  seen:", "  unused: {source: offer.name, optional: true}\n  seen:", "variables.unused: nothing uses it"),
        ("nl: klant}", "de: Kunde}", "variables.first_name.default: it has no nl"),
        ("Spring, {{ first_name }}", "Spring\\r\\nBcc: {{ first_name }}", "it holds line ends or control characters"),
        ("Spring, {{ first_name }}", "x" * 101, "it has 101 characters"),
        ("Spring, {{ first_name }}", "🎉🎉🎉🎉", "it has more than 3 pictograms"),
        ("Spring, {{ first_name }}", "{{ nobody }}", "there is no 'nobody' here"),
    ],
)
def test_a_fault_of_the_definition_is_named_by_its_field(before: str, after: str, expected: str) -> None:
    assert before in DEFINITION
    found = problems(spring(DEFINITION.replace(before, after)))
    assert any(expected in problem and problem.startswith("spring/message.yaml, ") for problem in found), found


def test_a_longer_message_than_gmail_shows_is_refused() -> None:
    found = problems_of(body("<p>" + "many words " * 10_000 + "</p>" + TEXT + FOOTER))
    assert found
    assert all("Gmail clips" in problem for problem in found)


def test_an_include_reads_no_file() -> None:
    for include in ('<mj-include path="/etc/passwd"/>', '<mj-include path="http://127.0.0.1/x" type="css"/>'):
        assert any(
            "<mj-include> is refused" in problem for problem in problems_of(body().replace("<mj-body>", f"<mj-body>{include}"))
        )


def test_a_text_of_ones_own_needs_what_the_law_requires_too() -> None:
    found = problems(spring(body_txt="Hello {{ first_name }}, see https://evil.example"))
    assert [problem.partition(": ")[2].partition(";")[0] for problem in found] == [
        "nobody can unsubscribe",
        "there is no link to preferences",
        "there is no postal address",
        "an address stands in it",
    ]


def html_of(text: str, seen: int = 9) -> str:
    """What a customer gets of this body; the message may be sent."""
    message = spring(body_mjml=text)
    assert problems(message) == []
    values = {"first_name": "Ann", "spent": 1, "seen": seen, "products": [*_PRODUCTS]}
    return Renderer(message, mail_shop()).render("A", "en", values, PreviewLinks("https://go.shop.example")).html


# Reported of compilers of MJML, templates or newsletters: conditions that stand outside of Outlook's tables (mjmlio/mjml 600)
# or are dropped between elements without a word (2608, 1265, premail/mjml-bullet-list 12), signs that become others (998).


@pytest.mark.parametrize("seen", [1, 9])
def test_a_condition_around_sections_and_columns_leaves_outlooks_tables_whole(seen: int) -> None:
    within = COLUMN.format("<mj-text>not seen</mj-text>")
    column = "<mj-column><mj-text>not seen</mj-text></mj-column>"
    raw = "<mj-raw>{{% if seen > 3 %}}</mj-raw>{}<mj-raw>{{% endif %}}</mj-raw>"
    parts = [
        raw.format(within),
        f"<mj-wrapper>{raw.format(within)}</mj-wrapper>",
        f"<mj-section>{raw.format(column)}</mj-section>",
        f"<mj-section><mj-group>{raw.format(column)}</mj-group></mj-section>",
        COLUMN.format(raw.format("<mj-text>not seen</mj-text>")),
    ]
    for part in parts:
        html = html_of(body().replace("<mj-body>", f"<mj-body>{part}"), seen)
        assert html.count("not seen") == (2 if seen > 3 else 0)
        assert html.count("<!--[if") == html.count("<![endif]")
        for tag in ("table", "tr", "td", "div"):
            assert html.count(f"<{tag} ") + html.count(f"<{tag}>") == html.count(f"</{tag}>"), (part, tag)


@pytest.mark.parametrize(
    "dropped",
    [
        "<mj-section>{% if seen > 3 %}<mj-column><mj-text>x</mj-text></mj-column>{% endif %}</mj-section>",
        "{{ first_name }}",
        "<mj-section><mj-column>{{ first_name }}</mj-column></mj-section>",
    ],
)
def test_what_the_compiler_drops_or_keeps_is_decided_before_anything_is_sent(dropped: str) -> None:
    text = body().replace("<mj-body>", f"<mj-body>{dropped}")
    found = problems_of(text)
    if found:
        assert all("spring/body.mjml, line 1: {" in problem and "the compiler drops it" in problem for problem in found)
    else:
        assert "Ann" in html_of(text) or "{% if" in dropped


def test_signs_and_quotes_in_conditions_stay_what_they_are() -> None:
    text = "{% if seen < 30 and seen >= 9 and first_name != '<b>' and first_name == \"Ann\" %}R&amp;D kept{% endif %}"
    assert "R&amp;D kept" in html_of(body(text + TEXT + FOOTER))


# Tables that are not rendered (pentacent/keila 543), and bodies that give nothing without an error (jdrouet/mrml 51).


def test_a_table_of_products_is_rendered_row_by_row() -> None:
    rows = "<mj-table>{% for product in products %}<tr><td>{{ product.name }}</td></tr>{% endfor %}</mj-table>"
    html = html_of(body().replace("<mj-body>", f"<mj-body>{COLUMN.format(rows)}"))
    assert [html.count(f"<td>Lens {number}</td>") for number in (1, 2)] == [1, 1]


@pytest.mark.parametrize("text", ["", "hello", "<mjml></mjml>", "<html><body>x</body></html>", "<?xml version='1.0'?><mjml/>"])
def test_a_body_that_would_show_nothing_is_refused(text: str) -> None:
    assert problems_of(text)


# Links with an entity twice (censusbv/DitsNews 15), with a blank before them (sendgrid/docs 5994) or led through the counter of
# clicks (Ecodev/newsletter 50, 59); subjects with entities (mitodl/open-discussions 611); columns without a width of their own.


def test_an_ampersand_of_a_target_arrives_once_escaped() -> None:
    message = spring(DEFINITION.replace("/spring", "'https://shop.example/?a=1&b=2'"))
    assert problems(message) == []
    values = {"first_name": "Ann", "spent": 1, "seen": 9, "products": [*_PRODUCTS]}
    html = Renderer(message, mail_shop()).render("A", "en", values, PreviewLinks("https://go.shop.example")).html
    assert 'href="https://shop.example/?a=1&amp;b=2"' in html


def test_no_body_and_no_template_keeps_the_compiler_busy() -> None:
    began = time.process_time()
    for text in ("<div>" * 30_000, "<mj-wrapper>" * 16_000, "{{ " + "(" * 60_000, "{% if seen %}" * 15_000, "<" * 190_000):
        assert problems_of(body(text))
    assert time.process_time() - began < 60
