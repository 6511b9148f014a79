"""Alerts about failed runs, as one JSON document to one address."""

from __future__ import annotations

import http.client
import json
import urllib.request
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from customer360.text import without_markup

TIMEOUT_SECONDS = 10
LONGEST = 300
# Python's own words quote the address, which holds a password or token.
NO_ADDRESS = "the webhook is not an address: look for stray blanks, line ends, and a password that is not percent-encoded"


class AlertError(RuntimeError):
    """An alert was not delivered."""


@dataclass(frozen=True)
class Alert:
    """A failed run: its job and partition, the steps that failed, and the error's first words.

    An error may name files and categories, which producers name: chat tools must not take them for mentions or links.
    """

    job: str
    partition: str
    run_id: str
    steps: list[str]
    message: str

    @property
    def text(self) -> str:
        """One sentence for people."""
        where = f" for {self.partition}" if self.partition else ""
        failed = f" at {', '.join(self.steps)}" if self.steps else ""
        first = next((line.strip() for line in self.message.splitlines() if line.strip()), "no message")
        return f"{self.job}{where} failed{failed}: {without_markup(first, LONGEST)}"


def send(webhook: str, alert: Alert) -> None:
    """POST the alert; ``text`` is what chat tools show. Raises ``AlertError`` when it is not taken."""
    try:
        scheme = urlsplit(webhook).scheme
    except ValueError:
        raise AlertError(NO_ADDRESS) from None
    if scheme not in {"http", "https"}:
        raise AlertError("the webhook is not an http or https address")
    body = json.dumps({"text": alert.text, **asdict(alert), "message": without_markup(alert.message, LONGEST)}).encode()
    request = urllib.request.Request(webhook, data=body, headers={"Content-Type": "application/json"})  # noqa: S310  scheme checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310  scheme checked above
            return
    except (http.client.InvalidURL, ValueError):
        raise AlertError(NO_ADDRESS) from None
    except (OSError, http.client.HTTPException) as error:  # also a connection that is closed without an answer
        raise AlertError(str(error)) from error
