"""A message is a folder: ``message.yaml`` with its words, variables and links, and its body as MJML. No code.

The shop's own lie in ``shops/<name>/messages``; those that were made in the desk in ``DATA_DIR/campaigns/messages``.
``body.mjml`` serves every variant and language; ``body.B.mjml``, ``body.nl.mjml`` and ``body.B.nl.mjml`` take its place for
theirs. A ``body.txt``, of the same names, takes the place of the plain text that is made from the HTML.

What is wrong becomes a ``MessageProblem`` that names the file, the field, what is wrong and the remedy; the others
are sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from customer360.definition_files import LONGEST_NAME, NAME, FileProblem, UnreadableError, loaded_fields, validation_problems
from customer360.settings import Identifier, Settings, Strict

MANUAL = "docs/email.md"
DEFINITION = "message.yaml"
RESERVED = frozenset(
    {"language", "link", "email", "shop", "subject", "preheader", "slot", "loop"}
)  # what templates have beside
LONGEST_FILE = 200_000  # characters of a body
EVERY_LANGUAGE = ""
FIRST_VARIANT = "A"
_FILE = re.compile(r"body(\.[A-Z])?(\.[a-z]{2,3}(-[A-Z]{2})?)?\.(mjml|txt)")

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
# By language; a text alone is that of every language.
Texts = Annotated[
    dict[str, Annotated[str, Field(min_length=1)]], BeforeValidator(lambda v: {EVERY_LANGUAGE: v} if isinstance(v, str) else v)
]


class VariableType(StrEnum):
    """What a variable's values are, and so how they are written: numbers, money and dates as the language does."""

    TEXT = "text"
    NUMBER = "number"
    MONEY = "money"
    DATE = "date"
    BOOLEAN = "boolean"
    PRODUCTS = "products"


class Variable(Strict):
    """A value that differs by customer, and where it comes from.

    ``source``: ``customer.<column>`` of ``customer_profiles``, ``offer.<column>``, ``campaign.<field>`` or ``recommendations``.
    Who has no value gets the ``default``; without one they do not get the message, unless it is ``optional``: the words do
    without it by ``{% if %}``. Of ``recommendations`` there are at most
    ``most``, and who has fewer than ``least`` does not get the message.
    """

    source: Annotated[str, Field(pattern=r"^((customer|offer|campaign)\.[a-z][a-z0-9_]*|recommendations)$")]
    type: VariableType = VariableType.TEXT
    default: Texts | None = None
    optional: bool = False
    least: Annotated[int, Field(ge=0, le=12)] = 1
    most: Annotated[int, Field(ge=1, le=12)] = 4

    @model_validator(mode="before")
    @classmethod
    def _products_have_their_type(cls, value: Any) -> Any:
        is_list = isinstance(value, dict) and value.get("source") == "recommendations"
        return {"type": VariableType.PRODUCTS, **value} if is_list else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        is_list = self.type is VariableType.PRODUCTS
        if is_list != (self.source == "recommendations"):
            raise ValueError("the type products, and no other, is that of the source recommendations")
        if is_list and (self.default is not None or self.least > self.most):
            raise ValueError("recommendations have no default, and least is at most most; with least 0 the list may be empty")
        if self.optional and (is_list or self.default is not None):
            raise ValueError("optional is a variable without a default; recommendations have least: 0")
        if self.default is not None and self.type is not VariableType.TEXT:
            raise ValueError("only a text has a default; say optional: true, and leave it out of the words by {% if %}")
        return self


class Wording(Strict):
    """Words by language: the subject, the preheader (the line that inboxes show after it), and the body's slots."""

    subject: Texts | None = None
    preheader: Texts | None = None
    slots: dict[Identifier, Texts] = Field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """The words of one variant in one language."""

    subject: str
    preheader: str
    slots: Mapping[str, str]


class Message(Wording):
    """A message as its folder describes it; ``files``: the text of its bodies by the file's name.

    ``variants``: by letter what differs from the words above. ``links``: by name the target, an address of one of the shop's
    link_domains; one that begins with ``/`` is on the public address where that is one of them, else on the first.
    """

    name: Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en",)
    variants: dict[Annotated[str, Field(pattern=r"^[A-Z]$")], Wording] = Field(default_factory=dict)
    variables: dict[Identifier, Variable] = Field(default_factory=dict)
    links: dict[Identifier, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    files: dict[str, Annotated[str, Field(max_length=LONGEST_FILE)]]

    @field_validator("variables")
    @classmethod
    def _free_names(cls, value: dict[str, Variable]) -> dict[str, Variable]:
        taken = sorted(RESERVED & value.keys())
        if taken:
            raise ValueError(f"templates have {', '.join(taken)} already; give the variable another name")
        return value

    @field_validator("links")
    @classmethod
    def _free_links(cls, value: dict[str, str]) -> dict[str, str]:
        taken = sorted({"unsubscribe", "preferences", "open", "unseen"} & value.keys())
        if taken:
            raise ValueError(f"every message has the link {', '.join(taken)}; take it out")
        return value

    @field_validator("variants")
    @classmethod
    def _lettered(cls, value: dict[str, Wording]) -> dict[str, Wording]:
        letters = [chr(ord(FIRST_VARIANT) + place) for place in range(len(value))]
        if len(value) == 1 or sorted(value) != letters:
            raise ValueError("variants are A and B, or A, B, C and so on, with what differs in each; {} where nothing does")
        return value

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The variants in the order of their letters; one, A, where the message has none."""
        return tuple(sorted(self.variants)) or (FIRST_VARIANT,)

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that the message is. Defaults do not count: a later version may have more fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The whole message, so that a copy of it is what was approved."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, ensure_ascii=False, indent=1)

    def language_for(self, wanted: str | None) -> str:
        """The message's language for a customer of this one: the same, else that of another country, else the first."""
        known = {language.lower(): language for language in self.languages}
        asked = (wanted or "").replace("_", "-").lower()
        alike = [name for code, name in known.items() if code.partition("-")[0] == asked.partition("-")[0]]
        return known.get(asked) or next(iter(alike), self.languages[0])

    def words(self, variant: str, language: str) -> Words:
        """The words of a variant in a language. Raises ``KeyError`` that names a field without any."""
        own = self.variants.get(variant, Wording())
        subject = _in_language("subject", language, own.subject, self.subject)
        preheader = _in_language("preheader", language, own.preheader, self.preheader)
        names = sorted({*self.slots, *own.slots})
        slots = {name: _in_language(f"slots.{name}", language, own.slots.get(name), self.slots.get(name)) for name in names}
        return Words(subject, preheader, slots)

    def body(self, variant: str, language: str, ending: str = "mjml") -> str | None:
        """The name of the file that has the body of a variant in a language, None where there is none."""
        names = (f"body.{variant}.{language}", f"body.{variant}", f"body.{language}", "body")
        return next((f"{name}.{ending}" for name in names if f"{name}.{ending}" in self.files), None)


def _in_language(field: str, language: str, *texts: Mapping[str, str] | None) -> str:
    """The first of the texts that has the language."""
    for by_language in texts:
        found = (by_language or {}).get(language) or (by_language or {}).get(EVERY_LANGUAGE)
        if found:
            return found
    raise KeyError(field)


@dataclass(frozen=True)
class MessageProblem(FileProblem):
    """Why a message cannot be sent; ``file`` is ``<name>/message.yaml`` or that of a body, ``field`` may be a line of it."""

    @property
    def name(self) -> str:
        """The message that the file is of."""
        return Path(self.file).parts[0]


def load_messages(settings: Settings) -> tuple[list[Message], list[MessageProblem]]:
    """The messages of both folders of a shop by name, and what is wrong with others. Of two of a name the shop's counts."""
    own, made = _folders(settings.message_folder), _folders(settings.made_message_folder)
    messages, problems = [], []
    for folder in [*own.values(), *(path for name, path in made.items() if name not in own)]:
        message, wrong = load_message(folder)
        problems += wrong
        if message is not None:
            messages.append(message)
    taken = f"{settings.message_folder} has a message of this name"
    twice = sorted(own.keys() & made.keys())
    problems += [MessageProblem(f"{name}/{DEFINITION}", "(whole file)", taken, "give this one another name") for name in twice]
    return sorted(messages, key=lambda message: message.name), problems


def _folders(parent: Path) -> dict[str, Path]:
    """The folders of messages below a folder, by name; none where it does not exist."""
    found = sorted(parent.iterdir()) if parent.is_dir() else []
    return {path.name: path for path in found if path.is_dir() and not path.name.startswith((".", "_"))}


def load_message(folder: Path) -> tuple[Message | None, list[MessageProblem]]:
    """The message in a folder; None where anything of it is wrong."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name != DEFINITION and path.suffix not in (".mjml", ".txt", ".yml", ".yaml"):
            continue
        try:
            files[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            remedy = "write it as UTF-8 text that the service may read"
            return None, [MessageProblem(f"{folder.name}/{path.name}", "(whole file)", f"it cannot be read: {error}", remedy)]
    return read_message(folder.name, files)


def read_message(name: str, files: Mapping[str, str]) -> tuple[Message | None, list[MessageProblem]]:
    """The message of this name that the texts of its files say; None where anything of it is wrong."""
    definition = f"{name}/{DEFINITION}"
    bodies = {file: text for file, text in files.items() if file != DEFINITION}
    strange = [file for file in bodies if not _FILE.fullmatch(file)]
    if strange:
        remedy = (
            "name it body.mjml or body.txt, with a variant or a language between: body.B.mjml, body.nl.mjml, body.B.nl.mjml"
        )
        return None, [
            MessageProblem(f"{name}/{file}", "(whole file)", "a message has no such file", remedy) for file in strange
        ]
    try:
        fields = loaded_fields(files.get(DEFINITION, ""), MANUAL)
        message = Message.model_validate({**fields, "name": name, "files": bodies})
    except UnreadableError as error:
        return None, [MessageProblem(definition, "(whole file)", *error.args)]
    except ValidationError as error:
        return None, [MessageProblem(definition, *problem) for problem in validation_problems(error, _fields, MANUAL)]
    problems = list(dict.fromkeys(problem for pair in _pairs(message) for problem in _lacking(message, *pair)))
    return None if problems else message, problems


def _pairs(message: Message) -> list[tuple[str, str]]:
    return [(variant, language) for variant in message.variant_names for language in message.languages]


def _lacking(message: Message, variant: str, language: str) -> list[MessageProblem]:
    """Words and bodies that a variant has not in a language."""
    found = []
    try:
        message.words(variant, language)
    except KeyError as error:
        wrong = f"variant {variant} has none in {language}"
        remedy = f"add it as {error.args[0]}: {{{language}: ...}}"
        found.append(MessageProblem(f"{message.name}/{DEFINITION}", error.args[0], wrong, remedy))
    if message.body(variant, language) is None:
        wrong = f"there is no body for variant {variant} in {language}"
        found.append(MessageProblem(f"{message.name}/body.mjml", "(whole file)", wrong, "add body.mjml, which serves all"))
    return found


def _fields(location: Sequence[int | str]) -> list[str]:
    """The fields that exist where a wrong one stands."""
    models: dict[str, type[Strict]] = {"variables": Variable, "variants": Wording}
    model = models.get(str(location[0]), Message) if len(location) > 1 else Message
    return [name for name in model.model_fields if name not in ("name", "files")]
