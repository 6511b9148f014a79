"""Secrets in a file, one a line and the newest first, and the signatures that are made by them.

All signatures are HMAC-SHA256 (RFC 2104). A new secret signs from the moment it stands first; texts that earlier ones signed
stay good while those stand in the file.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path

from customer360.lake.atomic import exclusive, write_text
from customer360.settings import SettingsError

SHORTEST_SECRET = 32  # characters


def make_secret(file: Path, *, forget: bool = False) -> None:
    """Sign with a new secret from the next second on. What earlier ones signed stays good, unless those are forgotten."""
    with _locked(file):
        _prepend(file, [] if forget or not file.exists() else read_secrets(file))


def made_secrets(file: Path) -> list[str]:
    """The secrets of a file, which gets its first where there is none. Raises as ``read_secrets``."""
    if not file.exists():
        with _locked(file):
            if not file.exists():
                _prepend(file, [])
    return read_secrets(file)


def read_secrets(file: Path) -> list[str]:
    """The secrets of a file, one a line. Raises ``SettingsError`` on a short one, none, and a file that cannot be read."""
    try:
        return parse_secrets(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: its secrets cannot be read ({type(error).__name__})") from error


def parse_secrets(text: str, where: str) -> list[str]:
    """Secrets by white space. Raises ``SettingsError`` that names ``where``, never a secret."""
    found = text.split()
    if not found or min(map(len, found)) < SHORTEST_SECRET:
        raise SettingsError(f"{where}: a secret has at least {SHORTEST_SECRET} characters; openssl rand -hex 32 makes one")
    return found


@lru_cache(maxsize=64)
def secret_id(secret: str) -> str:
    """What a signed text may show of the secret that signed it: 8 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def signature(secret: str, payload: str) -> str:
    """The signature of a payload, hexadecimal."""
    return hmac.digest(secret.encode(), payload.encode(), "sha256").hex()


def is_signed(secret: str, payload: str, signed: str) -> bool:
    """Whether the secret made this signature of the payload, compared in constant time."""
    return hmac.compare_digest(signature(secret, payload).encode(), signed.encode())


def _locked(file: Path) -> AbstractContextManager[None]:
    return exclusive(file.with_name(f".{file.name}.lock"))


def _prepend(file: Path, earlier: list[str]) -> None:
    write_text(file, "\n".join([secrets.token_urlsafe(32), *earlier]) + "\n", mode=0o600)
