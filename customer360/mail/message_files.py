"""Messages that people make in the desk, in ``DATA_DIR/campaigns/messages``. The shop's own are never written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from customer360.campaigns.ledger import deciding
from customer360.decisions import DecisionRefused
from customer360.lake.atomic import TEMPORARY_PREFIX, write_text
from customer360.mail.checking import check_message
from customer360.mail.message import DEFINITION, EVERY_LANGUAGE, Message, MessageProblem, load_message, read_message
from customer360.mail.previews import STARTERS, begin_message, starter_names
from customer360.settings import Settings
from customer360.translation import gettext as _

SHARED = ""  # in place of a variant: words of all of them


class MessageRefused(DecisionRefused):
    """A message was not written, since something in it is wrong: ``problems`` say what, each with its remedy."""

    def __init__(self, problems: list[MessageProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Slot:
    """A text that a marketer writes: ``name`` is subject, preheader or a slot; of one variant, or shared, in one language."""

    variant: str
    name: str
    language: str
    text: str

    @property
    def key(self) -> str:
        """Its name in a form."""
        return f"{self.variant}:{self.name}:{self.language}"


def slots_of(message: Message) -> list[Slot]:
    """The texts of a message in the order in which they are read."""
    return [
        Slot(variant, name, language, text)
        for variant, wording in ((SHARED, message), *sorted(message.variants.items()))
        for name, texts in (("subject", wording.subject), ("preheader", wording.preheader), *wording.slots.items())
        for language, text in (texts or {}).items()
    ]


def with_texts(message: Message, texts: Mapping[str, str]) -> str:
    """The definition of a message, as YAML, with other texts by the keys of its slots; what is not named stays."""
    fields: dict[str, Any] = message.model_dump(mode="json", exclude_defaults=True, exclude={"name", "files"})
    for slot in slots_of(message):
        wording = fields["variants"][slot.variant] if slot.variant else fields
        holder = wording if slot.name in {"subject", "preheader"} else wording["slots"]
        holder[slot.name][slot.language] = texts.get(slot.key, slot.text)
    return yaml.safe_dump(_plain(fields), sort_keys=False, allow_unicode=True, width=120)


def made_folder(settings: Settings, name: str) -> Path:
    """Where a message that is made in the desk lies."""
    return settings.made_message_folder / name


def is_made(settings: Settings, name: str) -> bool:
    """Whether a message may be written here: the shop has none of this name."""
    return made_folder(settings, name).is_dir() and not (settings.message_folder / name).exists()


def copy_message(settings: Settings, name: str, source: str) -> Path:
    """Begin a message in the desk as a copy of a starter or of another message. Raises ``DecisionRefused``."""
    folders = [settings.message_folder / source, made_folder(settings, source)]
    found = next((folder for folder in folders if folder.is_dir()), None) if "/" not in source and source else None
    if found is None and source in starter_names():
        found = STARTERS / source
    if found is None:
        raise DecisionRefused(
            _("there is no message or starter %(name)s; there are %(names)s", name=source, names=", ".join(starter_names()))
        )
    with deciding(settings.place):
        return begin_message(settings, name, found, made_folder(settings, name))


def write_texts(settings: Settings, name: str, texts: Mapping[str, str], before: str) -> Message:
    """Write other texts of a message that was made here; ``before`` is its content hash when the edit began.

    Raises ``MessageRefused`` where it may not be sent so, ``DecisionRefused`` where it is the shop's own, or somebody else
    wrote it since; nothing is written then.
    """
    with deciding(settings.place):
        if not is_made(settings, name):
            raise DecisionRefused(
                _("%(name)s is a message of the shop's own, which is not written here. Make a copy of it", name=name)
            )
        known, _problems = load_message(made_folder(settings, name))
        if known is None or known.content_hash != before:
            raise DecisionRefused(
                _("the message %(name)s was changed meanwhile. Open it again, and repeat your edit", name=name)
            )
        text = with_texts(known, texts)
        message, problems = read_message(name, {**known.files, DEFINITION: text})
        problems = problems if message is None else check_message(message, settings.shop)
        if message is None or problems:
            raise MessageRefused(problems)
        write_text(made_folder(settings, name) / DEFINITION, text)
    return message


def remove_message(settings: Settings, name: str, before: str) -> None:
    """Remove a message that was made here; approved plans keep their copy. Raises ``DecisionRefused`` as ``write_texts``."""
    with deciding(settings.place):
        known = load_message(made_folder(settings, name))[0] if is_made(settings, name) else None
        if known is None or known.content_hash != before:
            raise DecisionRefused(
                _("%(name)s is no message that was made here, or was changed meanwhile. Look at it again", name=name)
            )
        gone = made_folder(settings, f"{TEMPORARY_PREFIX}{name}")
        made_folder(settings, name).rename(gone)
        shutil.rmtree(gone)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Texts of every language as a text alone, as people write them."""
    return {name: _plain_value(value) for name, value in fields.items()}


def _plain_value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return value[EVERY_LANGUAGE] if set(value) == {EVERY_LANGUAGE} else _plain(value)
