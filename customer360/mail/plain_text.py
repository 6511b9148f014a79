"""The plain text of a message, made from its HTML once: Jinja's parts stand in it, and are filled for each contact."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset(["p", "div", "h1", "h2", "h3", "ul", "ol", "li", "table", "tr", "br", "hr"])
_SKIPPED = frozenset({"head", "style", "script", "title"})
_VOID = frozenset({"br", "hr", "img", "meta"})


def plain_text(html: str) -> str:
    """The words of HTML, a block a line, with the address of each link after its words; hidden blocks are left out."""
    reader = _Words()
    reader.feed(html)
    reader.close()
    lines = "".join(reader.parts).split("\n")
    return without_gaps("\n".join(" ".join(line.split()) for line in lines))


def without_gaps(text: str) -> str:
    """Text with at most one empty line between two."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0  # depth within a block that is not shown
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        is_hidden = tag in _SKIPPED or "display:none" in (values.get("style") or "").replace(" ", "")
        if self._hidden or is_hidden:
            self._hidden += tag not in _VOID
            return
        if tag in _BLOCKS:
            self.parts.append("\n\n" if tag in ("p", "h1", "h2", "h3") else "\n")
        if tag == "li":
            self.parts.append("- ")
        if tag == "a":
            self._links.append(values.get("href") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if self._hidden:
            self._hidden -= 1
            return
        if tag == "a" and self._links and (link := self._links.pop()) and self._says_something():
            self.parts.append(f" {link}")
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _says_something(self) -> bool:
        """False for a link around a picture alone: the text has it elsewhere, or not at all."""
        last = "".join(self.parts[-2:])
        return bool(last.strip()) and not last.endswith("\n")
