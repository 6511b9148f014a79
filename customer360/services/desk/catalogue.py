"""The gettext catalogue of the desk and the library below it: ``python -m customer360.services.desk.catalogue`` updates it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from customer360.settings import REPOSITORY

HERE = Path(__file__).parent
CATALOGUE = HERE / "locale" / "en" / "LC_MESSAGES" / "django.po"
KEYWORDS = dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop")) | {"ngettext": (1, 2)}
LIBRARY = ("customer360", "ml/planning")  # where texts are marked that the desk shows
WIDTH = 120
Message = str | tuple[str, ...]


def messages_of(source: str) -> Iterator[Message]:
    """The texts that a module, or a template as ``templatize`` makes one, marks."""
    for _line, message, _comments, _context in extract("python", io.BytesIO(source.encode()), keywords=KEYWORDS):
        yield message


def marked_texts() -> Catalog:
    """Every text that is marked, in the order of the files."""
    catalogue = Catalog(locale="en")
    sources = {file: file.read_text(encoding="utf-8") for part in LIBRARY for file in sorted((REPOSITORY / part).rglob("*.py"))}
    templates = {file: templatize(file.read_text(encoding="utf-8")) for file in sorted(HERE.rglob("*.html"))}
    for source in (sources | templates).values():
        for message in messages_of(source):
            catalogue.add(message)
    return catalogue


def known_texts() -> Catalog:
    """The catalogue as it is on disk."""
    return read_po(io.BytesIO(CATALOGUE.read_bytes()), locale="en")


def main() -> None:
    """Bring the catalogue up to date; translations of texts that are still marked stay."""
    known, written = known_texts(), io.BytesIO()
    header, _blank, _texts = CATALOGUE.read_text(encoding="utf-8").partition("\n\n")
    known.update(marked_texts(), no_fuzzy_matching=True)
    known.obsolete.clear()
    write_po(written, known, width=WIDTH, no_location=True, omit_header=True)
    CATALOGUE.write_text(f"{header}\n\n{written.getvalue().decode()}", encoding="utf-8")


if __name__ == "__main__":
    main()
