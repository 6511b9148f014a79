"""Texts of the library that people read: English, or translated by whoever shows them.

A text is marked where it is written, ``_("there is no column %(name)s", name=name)``, so that one gettext catalogue
(``services/desk/locale``) has all of them.
"""

from __future__ import annotations

import gettext as catalogues
from typing import Any, Protocol


class Translations(Protocol):
    """What ``django.utils.translation`` and the standard library's ``gettext`` have."""

    def gettext(self, message: str) -> str:
        """The translation of a text."""

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The translation of the form that a number needs."""


_translations: Translations = catalogues.NullTranslations()


def translate_by(translations: Translations) -> None:
    """Have texts translated into the language of whoever asks."""
    global _translations  # noqa: PLW0603  one a process, as gettext itself has
    _translations = translations


def gettext_noop(text: str) -> str:
    """The text, marked for the catalogue, where it is translated later by ``gettext``."""
    return text


def gettext(text: str, /, **values: Any) -> str:
    """The translation of a text, with the values that it names by ``%(name)s``."""
    translated = _translations.gettext(text)
    return translated % values if values else translated


def ngettext(singular: str, plural: str, number: int) -> str:
    """The translation of the form that a number needs, with the number where it names ``%(count)s``."""
    return _translations.ngettext(singular, plural, number) % {"count": f"{number:,}"}
