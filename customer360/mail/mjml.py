"""MJML to HTML by mrml, once per body, with what Jinja will fill kept exactly as it was written.

The compiler drops elements and texts that it does not know, without a word, and takes wrong endings; XML would also forbid a
``<`` in a condition. So a body is judged line by line first, and Jinja's parts pass through the compiler as placeholders, each
of which must come out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser

import mrml

from customer360.mail.templates import Fault

DEEPEST = 40  # elements within one another: the compiler ends the process on some thousands
MOST_FAULTS = 20  # that are named at once
VOID = frozenset({"br", "hr", "img", "meta", "mj-image", "mj-divider", "mj-spacer", "mj-all", "mj-class", "mj-breakpoint"})
HEAD = frozenset({"mj-head", "mj-attributes", "mj-title", "mj-preview", "mj-style"})
LAYOUT = frozenset({"mjml", "mj-body", "mj-wrapper", "mj-section", "mj-group", "mj-column", "mj-hero"})
CONTENT = frozenset({"mj-raw", "mj-text", "mj-button", "mj-table"})
TEXT = frozenset(
    [
        "a",
        "b",
        "strong",
        "em",
        "i",
        "u",
        "s",
        "p",
        "span",
        "div",
        "h1",
        "h2",
        "h3",
        "ul",
        "ol",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "td",
        "th",
        "sup",
        "sub",
        "small",
    ]
)
ELEMENTS = VOID | HEAD | LAYOUT | CONTENT | TEXT
FILLED = ("href", "src", "alt", "title")  # attributes that may hold values
JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_HIDDEN = re.compile(r"display:none|visibility:hidden|opacity:0(?![.\d]*[1-9])|font-size:[0-7](\.\d+)?(px|pt)")
_PLACEHOLDER = re.compile(r"zjz(\d+)zjz")


class MjmlError(ValueError):
    """The compiler refused a body."""


@dataclass(frozen=True)
class Target:
    """An ``href`` or ``src`` of a body, with the text of the link or what stands for the picture."""

    line: int
    attribute: str
    value: str
    text: str


@dataclass
class Judged:
    """The faults of a body and its targets."""

    faults: list[Fault] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    elements: set[str] = field(default_factory=set)


def judge(source: str) -> Judged:
    """What is wrong in a body, line by line, and where its links and pictures lead."""
    parts = [found[0] for found in JINJA.finditer(source)]
    numbers = iter(range(len(parts)))
    reader = _Reader(parts)
    with suppress(_TooManyFaults):
        reader.feed(JINJA.sub(lambda found: f"zjz{next(numbers)}zjz" + "\n" * found[0].count("\n"), source))
        reader.close()
        reader.finish()
    return reader.judged


class _TooManyFaults(Exception):  # noqa: N818  it ends the reading
    """A body has so many faults, or is nested so deeply, that more need not be read."""


class _Reader(HTMLParser):
    """Follows the elements of a body."""

    def __init__(self, parts: list[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.judged = Judged()
        self._parts = parts
        self._open: list[tuple[str, int]] = []
        self._links: list[tuple[str, int, str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs)
        written = self.get_starttag_text() or ""
        if tag in VOID:
            if not written.endswith("/>"):
                self._open.append((tag, self.getpos()[0]))
        else:
            self._open.append((tag, self.getpos()[0]))
        if len(self._open) == DEEPEST + 1:
            self._fault(f"more than {DEEPEST} elements stand within one another", "take some out")
            raise _TooManyFaults

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs)
        self._end(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            inner = f"<{self._open[-1][0]}> of line {self._open[-1][1]} is still open" if self._open else "nothing is open"
            self._fault(f"</{tag}> stands where {inner}", "close every element, the inner one first; write <br/> with a slash")
        if any(name == tag for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        self._end(tag)

    def handle_data(self, data: str) -> None:
        for *_, texts in self._links:
            texts.append(data)

    def handle_comment(self, data: str) -> None:
        if _PLACEHOLDER.search(data) or data.startswith("["):
            self._fault("a comment holds values or a condition", "take it out; {# this #} is no part of the message")

    def handle_decl(self, decl: str) -> None:
        self._fault("a declaration is no part of a body", "begin with <mjml>")

    def handle_pi(self, data: str) -> None:
        self._fault("an instruction is no part of a body", "take <? ... > out")

    def unknown_decl(self, data: str) -> None:
        self._fault("a declaration is no part of a body", "take <![ ... ]> out")

    def finish(self) -> None:
        """Judge what is open at the end."""
        for tag, line in self._open:
            wrong = f"<{tag}> is not closed"
            self.judged.faults.append(Fault(line, wrong, f"write </{tag}>, or <{tag} .../> where nothing is in it"))
        if "mjml" not in self.judged.elements:
            self.judged.faults.append(Fault(1, "it holds no <mjml>", "see docs/email.md for an example"))

    def _begin(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0]
        self.judged.elements.add(tag)
        if tag == "mj-include":
            self._fault("<mj-include> is refused: a message is all that it holds", "write what it has into the body")
        elif tag not in ELEMENTS:
            self._fault(f"there is no <{tag}> in a message", f"there are {', '.join(sorted(ELEMENTS))}")
        values = {name: _PLACEHOLDER.sub(lambda found: self._parts[int(found[1])], value or "") for name, value in attrs}
        for message, remedy in _attribute_faults(tag, values):
            self._fault(message, remedy)
        if any(name == "mj-attributes" for name, _ in self._open):
            return  # what elements have unless they say otherwise
        if "src" in values:
            self.judged.targets.append(Target(line, "src", values["src"], values.get("alt", "")))
            self.handle_data(values.get("alt", ""))
        if "href" in values:
            self._links.append((tag, line, values["href"], [values.get("alt", "")]))
        elif tag in ("a", "mj-button"):
            self._links.append((tag, line, "", []))

    def _end(self, tag: str) -> None:
        if self._links and self._links[-1][0] == tag:
            _, line, value, texts = self._links.pop()
            self.judged.targets.append(Target(line, "href", value, " ".join("".join(texts).split())))

    def _fault(self, message: str, remedy: str) -> None:
        self.judged.faults.append(Fault(self.getpos()[0], message, remedy))
        if len(self.judged.faults) == MOST_FAULTS:
            raise _TooManyFaults


def _attribute_faults(tag: str, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the attributes of an element."""
    for name, value in values.items():
        if name.startswith("on") or not re.fullmatch(r"[a-z][a-z-]*", name):
            yield f"<{tag}> has no attribute {name!r}", "take it out"
        elif name not in FILLED and JINJA.search(value):
            yield f"{name} of <{tag}> holds a value", f"values stand in texts and in {', '.join(FILLED)}"
        elif "<" in JINJA.sub("", value):
            yield f"{name} of <{tag}> holds markup", "write text of a single line"
        elif name in ("style", "background-url", "background") and ("url(" in value or name != "style"):
            yield f"{name} of <{tag}> loads a picture", "use <mj-image>: many mail programs show no other"
        elif name == "style" and _HIDDEN.search(value.replace(" ", "")):
            yield f"<{tag}> is hidden", "show it, or take it out: hidden words look like spam"
    if tag in ("img", "mj-image") and "alt" not in values:
        yield f"<{tag}> has no alt", 'say what it shows; alt="" for a mere ornament'
    if tag == "table" and values.get("role") != "presentation":
        yield "<table> has no role", 'write <table role="presentation">, so that it is not read aloud as a table'
    if tag == "mjml" and "lang" not in values:
        yield "<mjml> has no lang", 'write <mjml lang="{{ language }}">'


def compiled(source: str, convert: Callable[[str], str] = str) -> str:
    """The HTML of a body with Jinja's parts as they were written; ``convert`` makes something else of the HTML before.

    Raises ``MjmlError`` where the compiler refuses the body, or drops or repeats a part that decides what is shown.
    """
    parts: list[str] = []

    def keep(found: re.Match[str]) -> str:
        if found[0].startswith("{#"):
            return ""
        parts.append(found[0])
        return f"zjz{len(parts) - 1}zjz"

    made = convert(_html(JINJA.sub(keep, source)))
    return _PLACEHOLDER.sub(lambda found: parts[int(found[1])], made)


def lost_parts(source: str) -> Iterator[Fault]:
    """Jinja's parts that the compiler would drop, or conditions that it would write twice: they stand where no text may."""
    parts = [found for found in JINJA.finditer(source) if not found[0].startswith("{#")]
    kept = _PLACEHOLDER.findall(_html(JINJA.sub(_numbered(), source)))
    for number, found in enumerate(parts):
        count = kept.count(str(number))
        if count == 0 or (count > 1 and found[0].startswith("{%")):
            line = source.count("\n", 0, found.start()) + 1
            remedy = "between sections and columns write it as <mj-raw>{% ... %}</mj-raw>, in texts within <mj-text>"
            yield Fault(line, f"{found[0]} stands where the compiler {'repeats' if count else 'drops'} it", remedy)


def _numbered() -> Callable[[re.Match[str]], str]:
    numbers = iter(range(1_000_000))
    return lambda found: "" if found[0].startswith("{#") else f"zjz{next(numbers)}zjz"


def _html(source: str) -> str:
    """What the compiler makes. It reads no other file and no address, and adds no fonts."""
    options = mrml.ParserOptions(include_loader=mrml.noop_loader())
    try:
        made: str = mrml.to_html(source, options, mrml.RenderOptions(disable_comments=True, fonts={})).content
    except Exception as error:
        raise MjmlError(str(error)) from error
    return made


def with_slots(source: str, slots: Mapping[str, str], language: str) -> str:
    """A body with its language and its slots filled: text, in which values stay and everything else is no markup."""

    def fill(found: re.Match[str]) -> str:
        text = slots.get(found[1])
        return found[0] if text is None else _as_markup(text.strip())

    named = re.sub(r"\{\{\s*language\s*\}\}", language, source)
    return re.sub(r"\{\{\s*slot\.([a-z][a-z0-9_]*)\s*\}\}", fill, named)


def _as_markup(text: str) -> str:
    parts = re.split(f"({JINJA.pattern})", text, flags=re.DOTALL)
    marked = (part if JINJA.fullmatch(part) else html.escape(part).replace("\n", "<br/>") for part in parts)
    return "".join(marked)
