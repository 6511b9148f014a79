"""Settings of a service from the environment: one variable for each field, behind the service's prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from customer360.settings import SettingsError

SettingsType = TypeVar("SettingsType", bound=msgspec.Struct)


def settings_of(kind: type[SettingsType], prefix: str, service: str, environment: Mapping[str, str]) -> SettingsType:
    """The settings that the variables with this prefix give. Raises ``SettingsError`` naming a wrong variable."""
    given = {name.removeprefix(prefix).lower(): value for name, value in environment.items() if name.startswith(prefix)}
    unknown = sorted(given.keys() - {*kind.__struct_fields__})
    if unknown:
        known = ", ".join(prefix + name.upper() for name in kind.__struct_fields__)
        raise SettingsError(f"{prefix}{unknown[0].upper()} is no setting of {service}; there are {known}")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"a variable {prefix}... cannot be used: {error}") from error
