"""DKIM signatures (RFC 6376): rsa-sha256 by OpenSSL, headers relaxed, body as it is: nobody changes quoted-printable.

dkimpy verifies them in tests. It does not sign here: its RSA takes 5.8 ms a message, OpenSSL's .24.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from customer360.settings import SettingsError

SIGNED = (
    *("from", "to", "reply-to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id"),
    *("mime-version", "content-type"),
)
ONCE = ("from", "subject", "to")  # signed once more than they occur: a second one breaks the signature
SHORTEST_KEY = 2048
_FOLD = re.compile(r"[ \t\r\n]+")
_PADDING, _HASH = PKCS1v15(), hashes.SHA256()


class Signer:
    """Signs messages of a domain by the private key whose public part is at ``<selector>._domainkey.<domain>``."""

    def __init__(self, key: RSAPrivateKey, domain: str, selector: str) -> None:
        self._key, self._domain, self._selector = key, domain, selector

    def sign(self, message: bytes, at: int) -> bytes:
        """The message (CRLF line ends) behind its DKIM-Signature; ``at``: seconds since 1970."""
        head, _, body = message.partition(b"\r\n\r\n")
        fields = [field.partition(":") for field in re.split(r"\r\n(?![ \t])", head.decode())]
        present = {name.lower(): value for name, _, value in fields}
        names = [name for name in SIGNED if name in present]
        digest = base64.b64encode(hashlib.sha256(body.rstrip(b"\r\n") + b"\r\n").digest()).decode()
        value = (
            f"v=1; a=rsa-sha256; c=relaxed/simple; d={self._domain}; s={self._selector}; t={at};\r\n"
            f" h={':'.join(names)}:\r\n {':'.join(ONCE)};\r\n bh={digest};\r\n b="
        )
        signed = "".join(f"{name}:{_relaxed(present[name])}\r\n" for name in names) + f"dkim-signature:{_relaxed(value)}"
        signature = base64.b64encode(self._key.sign(signed.encode(), _PADDING, _HASH)).decode()
        folded = "\r\n ".join(signature[start : start + 72] for start in range(0, len(signature), 72))
        return f"DKIM-Signature: {value}{folded}\r\n".encode() + message


def load_signer(file: Path, domain: str, selector: str) -> Signer:
    """The signer by a private key in PEM. Raises ``SettingsError`` where it cannot be read or is short."""
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{file} is no private key in PEM ({type(error).__name__}); openssl genrsa 2048 makes one"
        ) from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < SHORTEST_KEY:
        raise SettingsError(f"{file}: DKIM needs an RSA key of at least {SHORTEST_KEY} bits; openssl genrsa 2048 makes one")
    return Signer(key, domain, selector)


def _relaxed(value: str) -> str:
    return _FOLD.sub(" ", value).strip()
