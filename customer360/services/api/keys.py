"""Keys of the API: ``c360_<id>_<secret>``. A file holds ids, scopes and SHA-256 hashes of the secrets, which are random.

A secret has 256 bits, so that a fast hash suffices; it is shown once, when the key is made.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from customer360.errors import OperatorError
from customer360.lake.atomic import exclusive, write_text
from customer360.settings import Place

SCOPES = ("profile", "score", "metrics")
_KEY = re.compile(r"c360_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class KeysError(OperatorError, ValueError):
    """A key cannot be made, found or read. The message names the remedy, never a secret."""


class Key(msgspec.Struct, frozen=True):
    """A key as it is kept: without its secret. Times are UTC."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None


_keys = msgspec.json.Decoder(tuple[Key, ...])
_NOBODY = Key("", "", (), hashlib.sha256(b"").hexdigest(), datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))


def keys_file(place: Place) -> Path:
    """Where the keys of a place are kept."""
    return Path(place.serving) / "keys.json"


def read_keys(file: Path) -> tuple[Key, ...]:
    """All keys, also revoked ones, the oldest first. Raises ``KeysError`` where the file cannot be read."""
    try:
        return _keys.decode(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise KeysError(
            f"{file} cannot be read ({type(error).__name__}): restore it, or delete it and make new keys"
        ) from error


def add_key(file: Path, name: str, scopes: Sequence[str], now: datetime) -> str:
    """Make a key with these scopes; returns it whole, once. Raises ``KeysError`` on an unknown scope or none."""
    wrong = [scope for scope in scopes if scope not in SCOPES]
    if wrong or not scopes:
        raise KeysError(f"{', '.join(wrong) or 'no scope'}: name one or more of {', '.join(SCOPES)}")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = Key(key_id, name, tuple(dict.fromkeys(scopes)), _hash(secret), now)
    with exclusive(file.with_name(".keys.lock")):
        _write(file, (*read_keys(file), key))
    return f"c360_{key_id}_{secret}"


def revoke_key(file: Path, key_id: str, now: datetime) -> None:
    """Refuse a key from the next second on. Raises ``KeysError`` where there is no such key, or it is revoked already."""
    with exclusive(file.with_name(".keys.lock")):
        keys = read_keys(file)
        if key_id not in {key.id for key in keys if key.revoked_at is None}:
            raise KeysError(f"there is no key {key_id} in force; customer360 api keys list shows them")
        changed = (msgspec.structs.replace(key, revoked_at=now) if key.id == key_id else key for key in keys)
        _write(file, tuple(changed))


class KeyRing:
    """The keys in force for one process; the file is read again when it has changed, looked at once a second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys: dict[str, Key] = {}
        self._state: tuple[int, int] | None = None
        self._next_look = 0.0

    def find(self, text: str, monotonic: float) -> Key | None:
        """The key in force that this text is; None for any other text. Raises ``KeysError`` where keys cannot be read."""
        self._look(monotonic)
        match = _KEY.fullmatch(text)
        key_id, secret = match.groups() if match else ("", "")
        key = self._keys.get(key_id, _NOBODY)
        is_equal = hmac.compare_digest(_hash(secret), key.sha256)  # in constant time, also for an unknown id
        return key if is_equal and key.revoked_at is None else None

    def _look(self, monotonic: float) -> None:
        if monotonic < self._next_look:
            return
        try:
            status = self._file.stat()
            state = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            state = (0, 0)
        if state != self._state:
            self._keys = {key.id: key for key in read_keys(self._file)}
        self._state, self._next_look = state, monotonic + 1


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _write(file: Path, keys: tuple[Key, ...]) -> None:
    write_text(file, msgspec.json.format(msgspec.json.encode(keys)).decode() + "\n")
