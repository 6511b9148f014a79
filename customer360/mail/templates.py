"""Jinja in messages: in its sandbox, escaped in HTML, and of the language only what a message needs.

There are values, filters, conditions and one loop over recommendations; no calls, no arithmetic, no assignments, and no other
files. So what a template makes, and the time that it takes, are bounded by its length.

Values are written as the language does: numbers, amounts in the shop's currency, and dates. What has no value is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

FILTERS = ("upper", "lower", "capitalize", "title", "trim", "truncate", "length", "first", "last")
TESTS = ("odd", "even")
_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.If, nodes.For),
    *(nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Concat),
    *(nodes.Keyword,),
)


class Product(NamedTuple):
    """A recommended product: the price is in the shop's currency, ``link`` its page, ``picture`` that of it, ``reason`` why."""

    name: str
    price: Decimal
    picture: str
    link: str
    reason: str


class MissingVariable(LookupError):  # noqa: N818 (the field's word)
    """A value that the message writes is not there: the customer does not get it. Its argument names the variable."""


class Absent:
    """An optional variable without a value: false in conditions, equal to nothing, and never written."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __bool__(self) -> bool:
        """False: it has no value."""
        return False

    def __lt__(self, other: object) -> bool:
        """False: it is on no side of anything."""
        return False

    __gt__ = __le__ = __ge__ = __lt__

    def __str__(self) -> NoReturn:
        """Raises ``MissingVariable``."""
        raise MissingVariable(self.name)

    def __len__(self) -> int:
        """0: it has no characters."""
        return 0


@dataclass(frozen=True)
class Fault:
    """What is wrong in a line of a template or a body, and the remedy."""

    line: int
    message: str
    remedy: str


_PLAIN = frozenset({SimpleNamespace, Product})


class _Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox, which asks of values of our own types no more than whether they have the field."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field: of ours at once, of anything else as the sandbox allows it."""
        if type(obj) in _PLAIN and attribute[0] != "_":
            try:
                return getattr(obj, attribute)
            except AttributeError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


@lru_cache(maxsize=64)
def environment(language: str, currency: str, *, escapes: bool) -> ImmutableSandboxedEnvironment:
    """The environment of one language, shared by all who ask; ``escapes``: for HTML."""
    made = _Sandbox(
        autoescape=escapes,
        undefined=StrictUndefined,
        finalize=_writer(language, currency),
        trim_blocks=not escapes,
        lstrip_blocks=not escapes,
        auto_reload=False,
        cache_size=0,
    )
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in FILTERS}
    made.tests = {name: made.tests[name] for name in TESTS}
    return made


@lru_cache(maxsize=512)
def compile_template(made: ImmutableSandboxedEnvironment, text: str) -> Template:
    """The template of a text that ``faults`` has nothing against."""
    return made.from_string(text)


def faults(text: str, names: Mapping[str, Collection[str] | None], lists: Collection[str]) -> Iterator[Fault]:
    """What is wrong in a template: its syntax, what it may not do, and names that the message does not declare.

    ``names``: what a template may write, with the fields of each that has some. ``lists``: those that it may loop over: their
    entries have these fields.
    """
    try:
        tree = environment("en", "EUR", escapes=True).parse(text)
    except TemplateSyntaxError as error:
        yield Fault(error.lineno, f"it is no template: {error.message}", "see docs/email.md for what a template may hold")
        return
    except RecursionError:
        yield Fault(1, "it is no template: too much stands within one another", "take some out")
        return
    yield from _Judge(names, lists).of(tree, {}, is_in_loop=False)


def used_names(text: str) -> set[str]:
    """The names that a template reads, fields as ``name.field``, those of loops by the name of their list."""
    tree = environment("en", "EUR", escapes=True).parse(text)
    found = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
    return found | {
        f"{node.node.name}.{node.attr}" for node in tree.find_all(nodes.Getattr) if isinstance(node.node, nodes.Name)
    }


class _Judge:
    """Walks through a template."""

    def __init__(self, names: Mapping[str, Collection[str] | None], lists: Collection[str]) -> None:
        self._names, self._lists = names, lists

    def of(self, node: nodes.Node, loops: Mapping[str, str], is_in_loop: bool) -> Iterator[Fault]:
        """The faults in a node; ``loops``: by the name of each loop's entry its list."""
        if not isinstance(node, _ALLOWED):
            wrong = f"a template holds no {type(node).__name__.lower()}"
            yield Fault(node.lineno or 1, wrong, "there are values, filters, {% if %} and {% for %} over recommendations")
            return
        yield from self._own(node, loops, is_in_loop)
        if isinstance(node, nodes.For):
            entry, over = getattr(node.target, "name", ""), getattr(node.iter, "name", "")
            within = {**loops, entry: over, "loop": "loop"}
            for child in [*node.body, *node.else_, *([node.test] if node.test else [])]:
                yield from self.of(child, within, is_in_loop=True)
            return
        children = [] if isinstance(node, nodes.Getattr) else node.iter_child_nodes()
        for child in children:
            yield from self.of(child, loops, is_in_loop)

    def _own(self, node: nodes.Node, loops: Mapping[str, str], is_in_loop: bool) -> Iterator[Fault]:
        if isinstance(node, nodes.For):
            yield from self._loop(node, is_in_loop)
        elif isinstance(node, nodes.Getattr):
            yield from self._field(node, loops)
        elif isinstance(node, nodes.Name):
            if node.name in loops or self._names.get(node.name, ()) is not None:
                yield self._unknown(node.lineno, node.name, {*self._names, *loops})
        elif isinstance(node, nodes.Filter) and node.name not in FILTERS:
            yield Fault(node.lineno, f"there is no filter {node.name!r}", f"there are {', '.join(FILTERS)}")
        elif isinstance(node, nodes.Test) and node.name not in TESTS:
            yield Fault(node.lineno, f"there is no test {node.name!r}", f"there are {', '.join(TESTS)}")

    def _loop(self, node: nodes.For, is_in_loop: bool) -> Iterator[Fault]:
        remedy = "write {% for product in NAME %}, with a variable whose source is recommendations"
        is_list = isinstance(node.iter, nodes.Name) and node.iter.name in self._lists
        if not is_list or not isinstance(node.target, nodes.Name) or node.recursive:
            yield Fault(node.lineno, "a loop goes through recommendations alone", remedy)
        if is_in_loop:
            yield Fault(node.lineno, "a loop stands within another", "close the first by {% endfor %}")

    def _field(self, node: nodes.Getattr, loops: Mapping[str, str]) -> Iterator[Fault]:
        name = getattr(node.node, "name", "")
        known = ("index", "first", "last", "length") if loops.get(name) == "loop" else self._names.get(loops.get(name, name))
        if known is None or node.attr not in known:
            yield self._unknown(
                node.lineno, f"{name}.{node.attr}", {f"{name}.{attr}" for attr in known or ()} or {*self._names}
            )

    @staticmethod
    def _unknown(line: int, name: str, known: Collection[str]) -> Fault:
        return Fault(line, f"there is no {name!r} here", f"declare it in message.yaml; there are {', '.join(sorted(known))}")


def _writer(language: str, currency: str) -> Callable[[Any], Any]:
    """How values are written in a language."""

    def write(value: Any) -> Any:
        if type(value) is str or isinstance(value, Markup):
            return value
        if isinstance(value, Decimal):
            return _money(value, currency, language)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _number(value, language)
        if isinstance(value, date):
            return _date(value, language)
        raise MissingVariable(getattr(value, "name", None) or f"a value of type {type(value).__name__}")

    return write


@lru_cache
def _locale(language: str) -> Locale:
    return Locale.parse(language, sep="-")


@lru_cache(maxsize=65_536)
def _money(value: Decimal, currency: str, language: str) -> str:
    return str(format_currency(value, currency, locale=_locale(language)))


@lru_cache(maxsize=65_536)
def _number(value: float, language: str) -> str:
    return str(format_decimal(value, locale=_locale(language)))


@lru_cache(maxsize=4096)
def _date(value: date, language: str) -> str:
    return str(format_date(value, "long", locale=_locale(language)))
