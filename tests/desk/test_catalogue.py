"""The gettext catalogue has every text of the desk's code and templates, and no other."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

from babel.messages.extract import extract
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

DESK = Path(str(find_spec("customer360.services.desk").submodule_search_locations[0]))  # type: ignore[union-attr, index]
KEYWORDS = dict.fromkeys(("_", "gettext", "gettext_lazy")) | {"ngettext": (1, 2)}
UPDATE = "(cd customer360/services/desk && django-admin makemessages --locale en --no-location)"


def texts_of(source: str) -> set[str]:
    found = extract("python", io.BytesIO(source.encode()), keywords=KEYWORDS)
    return {message[0] if isinstance(message, tuple) else message for _line, message, _comments, _context in found}


def test_the_catalogue_has_the_texts_of_code_and_templates() -> None:
    marked = set()
    for file in [*DESK.rglob("*.py"), *DESK.rglob("*.html")]:
        source = file.read_text(encoding="utf-8")
        marked |= texts_of(source if file.suffix == ".py" else templatize(source))
    catalogue = read_po(io.BytesIO((DESK / "locale" / "en" / "LC_MESSAGES" / "django.po").read_bytes()))
    known = {message.id[0] if isinstance(message.id, tuple) else message.id for message in catalogue if message.id}
    assert (marked - known, known - marked) == (set(), set()), f"update it: {UPDATE}"


def test_texts_that_a_page_marks_are_found() -> None:
    page = '{% trans "Menu" %}{% blocktrans with n=x|number %}{{ n }} of them{% endblocktrans %}'
    assert texts_of(templatize(page)) == {"Menu", "%(n)s of them"}
    assert texts_of('title = _("Today")\nnot_one("of ours")') == {"Today"}
