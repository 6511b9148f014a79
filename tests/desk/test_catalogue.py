"""The gettext catalogue has every text of the desk and of the library below it, and no other; the library's are translated."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils.translation.template import templatize

from customer360 import translation
from customer360.audiences.forms import condition_of
from customer360.campaigns.audience import AudienceError, audience_columns, parse_audience
from customer360.services.desk.catalogue import known_texts, marked_texts, messages_of
from customer360.settings import REPOSITORY, load_shop
from customer360.translation import gettext, ngettext, translate_by

SHOP = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")
SHOWN = ("customer360/campaigns", "customer360/audiences", "customer360/offers", "customer360/decisions.py")
REFUSALS = {"AudienceError", "DecisionRefused", "CampaignProblem", "UnreadableError", "BrokenLimit"}


def test_the_catalogue_has_the_texts_of_library_code_and_templates() -> None:
    marked, known = ({message.id for message in catalogue if message.id} for catalogue in (marked_texts(), known_texts()))
    assert (marked - known, known - marked) == (set(), set()), "update it: python -m customer360.services.desk.catalogue"


def test_texts_that_a_page_marks_are_found() -> None:
    page = '{% trans "Menu" %}{% blocktrans with n=x|number %}{{ n }} of them{% endblocktrans %}'
    assert set(messages_of(templatize(page))) == {"Menu", "%(n)s of them"}
    assert set(messages_of('title = _("Today")\nnot_one("of ours")')) == {"Today"}


def unmarked(source: str) -> Iterator[str]:
    """Texts of errors, problems and remedies, of three words or more, that are written out and not marked."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFUSALS:
            for argument in node.args:
                if isinstance(argument, ast.JoinedStr | ast.Constant) and ast.unparse(argument).count(" ") > 1:
                    yield ast.unparse(argument)


def test_what_the_library_refuses_is_marked() -> None:
    files = [file for part in SHOWN for file in [*(REPOSITORY / part).rglob("*.py"), REPOSITORY / part] if file.is_file()]
    found = {file.name: [*unmarked(file.read_text(encoding="utf-8"))] for file in files}
    assert len(files) > 20 and {name: texts for name, texts in found.items() if texts} == {}
    assert [*unmarked('raise AudienceError(f"no column {name}", _("there is no such thing"))')] == ["f'no column {name}'"]


@pytest.fixture
def _backwards() -> Iterator[None]:
    """A language in which every text says what it is."""
    said: Any = SimpleNamespace(gettext=lambda text: f"<{text}>", ngettext=lambda one, many, n: f"<{one if n == 1 else many}>")
    before = translation._translations
    translate_by(said)
    yield
    translate_by(before)


@pytest.mark.usefixtures("_backwards")
def test_errors_and_remedies_are_in_the_language_of_whoever_asks() -> None:
    with pytest.raises(AudienceError) as wrong:
        parse_audience("segmnt = 'Lost'", SHOP)
    assert (wrong.value.message, wrong.value.remedy) == (
        "<at character 1, there is no column segmnt>",
        "<did you mean segment?>",
    )
    with pytest.raises(AudienceError) as wrong:
        condition_of("age", "<", "old", audience_columns(SHOP))
    assert wrong.value.message == "<age is a number, not old>"
    assert (gettext("100%"), ngettext("%(count)s day", "%(count)s days", 1_000)) == ("<100%>", "<1,000 days>")
