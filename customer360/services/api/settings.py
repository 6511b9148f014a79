"""Settings of the API: environment variables that begin with ``CUSTOMER360_API_``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from customer360.settings import SettingsError

PREFIX = "CUSTOMER360_API_"


class ApiSettings(msgspec.Struct, frozen=True):
    """Where it listens, how many processes answer, and what a client may ask for.

    ``cors_origins``: origins of browsers that may call it, by commas; none by default. ``body_bytes``: of one request.
    ``body_seconds``: in which a body must be there. ``requests_per_second`` and ``burst``: of one key, over all workers.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8360
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    cors_origins: str = ""
    body_bytes: Annotated[int, Meta(ge=1024)] = 1024 * 1024
    body_seconds: Annotated[float, Meta(gt=0)] = 10.0
    requests_per_second: Annotated[float, Meta(gt=0)] = 1000.0
    burst: Annotated[int, Meta(ge=1)] = 2000

    @property
    def origins(self) -> list[str]:
        """The origins of ``cors_origins``."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ApiSettings:
        """Raises ``SettingsError`` naming a variable that is unknown or has no such value."""
        given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
        unknown = sorted(given.keys() - {*cls.__struct_fields__})
        if unknown:
            known = ", ".join(PREFIX + name.upper() for name in cls.__struct_fields__)
            raise SettingsError(f"{PREFIX}{unknown[0].upper()} is no setting of the API; there are {known}")
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"a variable {PREFIX}... cannot be used: {error}") from error
