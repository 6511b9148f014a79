"""What the settings are made of: a strict model, names, time zones, and validators whose errors hold the remedy."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from customer360.errors import OperatorError

# Names as Python's zoneinfo has them, by their lower-case form: DuckDB knows 40 more (PST, IST), and takes either letter case.
TIME_ZONES = {name.lower(): name for name in sorted(available_timezones() - {"localtime", "Factory"})}

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


class SettingsError(OperatorError, ValueError):
    """A setting is missing or wrong. The message names the file, the field and the remedy."""


def known_zone(text: str) -> str:
    """The IANA name of a time zone, in its own letter case. Raises ``ValueError`` for other names."""
    name = TIME_ZONES.get(text.strip().lower())
    if name is None:
        raise ValueError(f"{text!r} is not an IANA time zone such as Europe/Amsterdam")
    return name


TimeZone = Annotated[str, AfterValidator(known_zone)]


def matching(pattern: str, remedy: str) -> AfterValidator:
    """A validator of texts that match ``pattern`` as a whole; for others the error is the ``remedy``."""

    def match(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(remedy)
        return value

    return AfterValidator(match)


def one_of(names: tuple[str, ...], kind: str) -> AfterValidator:
    """A validator of texts that are among ``names``; the error calls others no ``kind``."""

    def find(value: str) -> str:
        if value not in names:
            raise ValueError(f"there is no such {kind}; there are {', '.join(names)}")
        return value

    return AfterValidator(find)


class Strict(BaseModel):
    """Unknown fields are errors: a misspelt setting must not be ignored. Errors do not repeat values: one may be a password."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


WITHOUT_SLASH = AfterValidator(lambda url: url.rstrip("/"))
