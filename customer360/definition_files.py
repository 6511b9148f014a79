"""YAML files in which people define campaigns and messages: no code, and whatever is wrong in one is named with its remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml
from pydantic import ValidationError

from customer360.text import nearest
from customer360.translation import gettext as _
from customer360.translation import gettext_noop

MOST_CHARACTERS = 100_000
WHOLE_FILE = gettext_noop("(whole file)")
NAME, LONGEST_NAME = r"^[a-z0-9][a-z0-9_-]*$", 60


@dataclass(frozen=True)
class FileProblem:
    """Why a definition does not count: the file's name, the field's path in it, what is wrong, and the remedy."""

    file: str
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.file}, {self.field}: {self.message}; {self.remedy}"


class UnreadableError(ValueError):
    """A file that holds no fields; its arguments are the message and the remedy."""


def is_name(name: str) -> bool:
    """Whether a campaign or a message may have this name."""
    return re.fullmatch(NAME, name) is not None and len(name) <= LONGEST_NAME


def loaded_fields(text: str, manual: str) -> dict[Hashable, Any]:
    """The fields of a file; ``manual`` is the page with an example. Raises ``UnreadableError``."""
    example = _("see %(manual)s for an example", manual=manual)
    if len(text) > MOST_CHARACTERS:
        wrong = _("it has %(count)s characters", count=f"{len(text):,}")
        raise UnreadableError(wrong, _("at most %(most)s are read", most=f"{MOST_CHARACTERS:,}"))
    try:
        loaded = deepcopy(_loaded(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnreadableError(_("it is not valid YAML: %(error)s", error=" ".join(str(error).split())), example) from error
    if not isinstance(loaded, dict):
        raise UnreadableError(_("it holds no fields"), example)
    return loaded


@lru_cache(maxsize=512)  # pages and planning read the same files again and again, of which each takes some 5 ms
def _loaded(text: str) -> Any:
    return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  a SafeLoader


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which no field may stand twice: otherwise the last budget would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _value in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, _("%(name)s stands there twice", name=repr(name)), key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def validation_problems(
    error: ValidationError, fields: Callable[[Sequence[int | str]], Sequence[str]], manual: str
) -> Iterator[tuple[str, str, str]]:
    """The field, message and remedy of each fault; ``fields``: those that exist where one stands that does not."""
    details = error.errors()
    # A list whose only entry is wrong has none left and is reported as too short: only the entry's own error is shown.
    within = {detail["loc"][:-1] for detail in details} | {detail["loc"][:-2] for detail in details}
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in within:
            continue
        place = ".".join(str(part) for part in detail["loc"]) or _(WHOLE_FILE)
        if detail["type"] == "extra_forbidden":
            yield place, _("there is no such field"), nearest_remedy(str(detail["loc"][-1]), fields(detail["loc"]))
        elif detail["type"] == "missing":
            yield place, _("it is missing"), _("add it; %(manual)s explains every field", manual=manual)
        else:
            text = re.sub(r"^Value error, ", "", detail["msg"])
            yield place, text, _("correct it; %(manual)s explains every field", manual=manual)


def nearest_remedy(name: str, known: Sequence[str]) -> str:
    """What a wrong name probably meant, or which names there are."""
    close = nearest(name, known, cutoff=0.6)
    return _("did you mean %(name)s?", name=repr(close)) if close else _("there are %(names)s", names=", ".join(known))
