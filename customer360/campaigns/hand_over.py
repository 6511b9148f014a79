"""Files of the outbox are posted to the tool of their channel, where shop.yaml names its address: each until it is taken.

A file that was taken ends in ``.posted``. A crash between answer and rename posts it again, under the same ``Idempotency-Key``.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from customer360.campaigns.sending import outbox
from customer360.lake.atomic import fsync_path
from customer360.settings import Place, Settings, SettingsError, Webhook

TIMEOUT_SECONDS = 30
POSTED = ".posted"


@dataclass(frozen=True)
class Posted:
    """Contacts by file that was taken, and by file that was not, why: it is posted again with the next hand-over."""

    files: dict[Path, int] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)


def waiting_files(settings: Settings) -> Iterator[tuple[Path, Webhook]]:
    """The files of the outbox that are to be posted, oldest first, and where to."""
    webhooks = settings.shop.campaigns.hand_over
    for file in sorted(outbox(settings.place).glob("[0-9]*/*.csv")) if webhooks else []:
        channel = str(_contacts(file, 1)["channel"].iloc[0])
        if channel in webhooks:
            yield file, webhooks[channel]


def post_outbox(settings: Settings, environment: Mapping[str, str]) -> Posted:
    """Post what waits, as JSON; ``environment`` holds the secrets that requests are signed with.

    Raises ``SettingsError`` where a secret is not there; nothing was posted then.
    """
    waiting = [(file, webhook, _secret(webhook, environment)) for file, webhook in waiting_files(settings)]
    posted = Posted()
    refusing: set[str] = set()
    for file, webhook, secret in waiting:
        if webhook.webhook in refusing:
            posted.failed[file] = "its tool did not take the file before it"
            continue
        rows = _contacts(file)
        problem = _post(webhook.webhook, secret, _key(settings.place, file), rows)
        if problem:
            refusing.add(webhook.webhook)
            posted.failed[file] = problem
        else:
            file.rename(file.with_name(file.name + POSTED))
            fsync_path(file.parent)
            posted.files[file] = len(rows)
    return posted


def _contacts(file: Path, most: int | None = None) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False, nrows=most)


def _key(place: Place, file: Path) -> str:
    """The same for a file however often it is posted."""
    return hashlib.sha256(file.relative_to(outbox(place)).as_posix().encode()).hexdigest()[:32]


def _secret(webhook: Webhook, environment: Mapping[str, str]) -> bytes | None:
    if webhook.secret is None:
        return None
    if not environment.get(webhook.secret):
        raise SettingsError(f"{webhook.secret} is not set: it holds the secret that hand-overs are signed with")
    return environment[webhook.secret].encode()


def _post(address: str, secret: bytes | None, key: str, rows: pd.DataFrame) -> str:
    """Post the contacts; why they were not taken, empty where they were. No answer is quoted: it may hold any text."""
    body = json.dumps({"contacts": rows.to_dict("records")}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if secret is not None:
        headers["X-Signature"] = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
    request = urllib.request.Request(address, data=body, headers=headers)  # noqa: S310 (the scheme is checked by Webhook)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        return f"its tool answered {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"its tool cannot be reached ({type(error).__name__})"
