"""Keys of the API: ``c360_<id>_<secret>``. A file holds ids, scopes and SHA-256 hashes of the secrets, which are random.

A secret has 256 bits, so that a fast hash suffices; it is shown once, when the key is made. A server key stays on the shop's
servers and may ask for any customer. A browser key is in the shop's pages, where everybody can read it: it works from the
origins that it names, and for the browser's own visitor.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from customer360.errors import OperatorError
from customer360.lake.atomic import exclusive, write_text
from customer360.services.api.watched import WatchedFile
from customer360.settings import Place

Kind = Literal["server", "browser"]
SCOPES: dict[Kind, tuple[str, ...]] = {
    "server": ("profile", "score", "offers", "events", "metrics"),
    "browser": ("offers", "events"),
}
_KEY = re.compile(r"c360_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_ORIGIN = re.compile(r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?")


class KeysError(OperatorError, ValueError):
    """A key cannot be made, found or read. The message names the remedy, never a secret."""


class Key(msgspec.Struct, frozen=True):
    """A key as it is kept: without its secret. Times are UTC.

    ``origins``: of the pages that a browser key is for. ``requests_per_second``: null for the setting of the API.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    kind: Kind = "server"
    origins: tuple[str, ...] = ()
    requests_per_second: float | None = None


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


def add_key(
    file: Path,
    name: str,
    scopes: Sequence[str],
    now: datetime,
    *,
    origins: Sequence[str] = (),
    requests_per_second: float | None = None,
) -> str:
    """Make a key with these scopes, of a browser where it has origins; returns it entire, once.

    Raises ``KeysError`` on an unknown scope or none, on one that is not for browsers, and on an origin that is none.
    """
    kind: Kind = "browser" if origins else "server"
    wrong = [scope for scope in scopes if scope not in SCOPES[kind]]
    if wrong or not scopes:
        raise KeysError(f"{', '.join(wrong) or 'no scope'}: a {kind} key may have {', '.join(SCOPES[kind])}")
    no_origin = [origin for origin in origins if not _ORIGIN.fullmatch(origin)]
    if no_origin:
        raise KeysError(f"{no_origin[0]}: an origin is https, host and port alone, in lower case, or http on this machine")
    if requests_per_second is not None and requests_per_second <= 0:
        raise KeysError(f"{requests_per_second} requests per second: give a number above 0")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = Key(
        key_id,
        name,
        tuple(dict.fromkeys(scopes)),
        _hash(secret),
        now,
        kind=kind,
        origins=tuple(dict.fromkeys(origins)),
        requests_per_second=requests_per_second,
    )
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
    """The keys in force, as one process knows them: a change of the file counts after a second."""

    def __init__(self, file: Path) -> None:
        self._keys = WatchedFile(file, _in_force)
        self._proven: dict[str, tuple[bytes, Key]] = {}  # by id the text that a key was asked with: it is not hashed again
        self._proven_of: dict[str, Key] = {}

    def find(self, text: str, monotonic: float) -> Key | None:
        """The key in force that this text is; None for any other text. Raises ``KeysError`` where keys cannot be read.

        Secrets are compared in constant time, also for an unknown id.
        """
        keys = self._keys.content(monotonic)
        if keys is not self._proven_of:
            self._proven, self._proven_of = {}, keys
        asked = text.encode("utf-8", "surrogatepass")
        proven = self._proven.get(text[5:17])
        if proven is not None and hmac.compare_digest(asked, proven[0]):
            return proven[1]
        match = _KEY.fullmatch(text)
        key_id, secret = match.groups() if match else ("", "")
        key = keys.get(key_id, _NOBODY)
        if not hmac.compare_digest(_hash(secret), key.sha256) or key is _NOBODY:
            return None
        self._proven[key_id] = asked, key
        return key

    def has_origin(self, origin: str, monotonic: float) -> bool:
        """Whether some key in force is for pages of this origin. Raises ``KeysError`` where keys cannot be read."""
        return any(origin in key.origins for key in self._keys.content(monotonic).values())


def _in_force(file: Path) -> dict[str, Key]:
    return {key.id: key for key in read_keys(file) if key.revoked_at is None}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _write(file: Path, keys: tuple[Key, ...]) -> None:
    write_text(file, msgspec.json.format(msgspec.json.encode(keys)).decode() + "\n")
