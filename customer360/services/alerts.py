"""Alerts about jobs that fail for good and are well again, as one JSON document to one address.

Open incidents are kept in ``DATA_DIR/alerts.json``, so that a restart repeats no alert, and ``customer360 status`` shows it.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.request
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from customer360.lake.atomic import exclusive, write_text
from customer360.settings import Place
from customer360.text import without_markup

TIMEOUT_SECONDS = 10
LONGEST = 300
FAILED, RECOVERED = "failed", "recovered"
# Python's own message quotes the address, which holds a password or token.
NO_ADDRESS = "the webhook is not an address: look for stray blanks, line ends, and a password that is not percent-encoded"
FAILED_MODEL = re.compile(r"^dbt failed: (?P<model>\w+): (?P<cause>.*)")
# The runbook's section by a text in the cause, else by the job.
PAGE_OF_CAUSE = (
    (r"no room to|no space left|offload data block|disk of .* is full", "disk-full"),
    (r"is held by|conflicting lock", "stuck-lock"),
    (r"cannot be listed|the store does not|is not that of the listing", "object-store-cannot-be-reached"),
)
PAGE_OF_JOB = {
    "slice_job": "failed-slice",
    "daily_job": "no-plan-today",
    "campaign_job": "no-plan-today",
    "send_job": "approved-contacts-do-not-leave",
}
PAGE_OF_STEP = {"raw__": "broken-reference-table", "marts__training_features": "a-feature-sees-the-future"}


class AlertError(RuntimeError):
    """An alert was not delivered."""


@dataclass(frozen=True)
class Alert:
    """A job, or slices of it, that failed for good or recovered, with the cause and the next step.

    ``message`` is the first line of the error, which quotes no row, ``next_step`` what happens without anybody. An error
    may name files and categories, which producers name: chat tools must not take them for mentions or links.
    """

    job: str
    partition: str
    run_id: str
    steps: list[str] = field(default_factory=list)
    message: str = ""
    next_step: str = ""
    status: str = FAILED

    @property
    def model(self) -> str:
        """The dbt model or test that failed; empty where another step did."""
        found = FAILED_MODEL.match(self.message)
        return found["model"] if found else ""

    @property
    def runbook(self) -> str:
        """The page of the runbook."""
        pages = [page for pattern, page in PAGE_OF_CAUSE if re.search(pattern, self.message, re.IGNORECASE)]
        if self.job != "slice_job":
            pages += [page for prefix, page in PAGE_OF_STEP.items() if any(step.startswith(prefix) for step in self.steps)]
        return f"docs/runbook.md#{[*pages, PAGE_OF_JOB.get(self.job, 'first-look')][0]}"

    @property
    def text(self) -> str:
        """What chat tools show."""
        where = f" for {self.partition}" if self.partition else ""
        if self.status == RECOVERED:
            return f"{self.job}{where} is well again."
        first = next((line.strip() for line in self.message.splitlines() if line.strip()), "no message")
        found = FAILED_MODEL.match(first)
        model = f", model {found['model']}" if found else ""
        failed = f" at {', '.join(self.steps)}" if self.steps else ""
        cause = without_markup(found["cause"] if found else first, LONGEST)
        follows = f" | Next: {self.next_step}" if self.next_step else ""
        return f"{self.job}{where} failed{failed}{model}: {cause}{follows} | See {self.runbook}"


@dataclass(frozen=True)
class Incident:
    """A job that failed for good and is not well again; ``slices`` are the keys of those concerned (none: the job itself)."""

    job: str
    partition: str
    slices: tuple[str, ...]
    since: str
    run_id: str
    message: str
    runbook: str
    is_announced: bool = False


Deliver = Callable[[Alert], bool]


def incidents_file(place: Place) -> Path:
    """Where open incidents are kept, as JSON."""
    return place.root / "alerts.json"


def open_incidents(place: Place) -> list[Incident]:
    """Incidents that are not over, oldest first."""
    file = incidents_file(place)
    if not file.exists():
        return []
    entries = json.loads(file.read_text(encoding="utf-8"))["open"]
    return [Incident(**{**entry, "slices": tuple(entry["slices"])}) for entry in entries]


def report_failure(place: Place, alert: Alert, slices: Collection[str], now: datetime, deliver: Deliver) -> bool:
    """Open an incident for a job or for those ``slices`` that have none yet, and deliver its alert, once.

    An alert that was not delivered is tried again when the job or slice fails again. Returns whether one was delivered.
    """
    with exclusive(place.root / ".alerts.lock"):
        incidents = open_incidents(place)
        matching = [incident for incident in incidents if incident.job == alert.job and _covers(incident, slices)]
        new = set(slices) - {key for incident in matching for key in incident.slices}
        if (matching and not new) and all(incident.is_announced for incident in matching):
            return False
        is_announced = deliver(alert)
        updated = [replace(incident, is_announced=incident.is_announced or is_announced) for incident in matching]
        if new or not matching:
            message = without_markup(alert.message, LONGEST)
            at = now.isoformat(timespec="seconds")
            updated.append(
                Incident(alert.job, alert.partition, tuple(sorted(new)), at, alert.run_id, message, alert.runbook, is_announced)
            )
        _write(place, [*(incident for incident in incidents if incident not in matching), *updated])
        return is_announced


def report_success(place: Place, job: str, run_id: str, is_well: Callable[[str], bool], deliver: Deliver) -> list[Incident]:
    """Close the incidents that ended with a run of ``job``; send one alert of recovery where the failure was announced.

    An incident of slices is over when ``is_well`` of each (by key), that of another job when the job succeeds. Returns the
    closed incidents.
    """
    if not open_incidents(place):
        return []
    with exclusive(place.root / ".alerts.lock"):
        still_open, closed = [], []
        for incident in open_incidents(place):
            failing = tuple(key for key in incident.slices if not is_well(key))
            if failing or (not incident.slices and incident.job != job):
                still_open.append(replace(incident, slices=failing))
            else:
                closed.append(incident)
        for incident in closed:
            if incident.is_announced:
                deliver(Alert(incident.job, incident.partition, run_id, status=RECOVERED))
        _write(place, still_open)
    return closed


def _covers(incident: Incident, slices: Collection[str]) -> bool:
    return bool(set(incident.slices) & set(slices)) or not (incident.slices or slices)


def _write(place: Place, incidents: list[Incident]) -> None:
    write_text(incidents_file(place), json.dumps({"open": [asdict(incident) for incident in incidents]}, indent=2))


def send(webhook: str, alert: Alert) -> None:
    """POST the alert; ``text`` is what chat tools show. Raises ``AlertError`` when it is not taken."""
    try:
        scheme = urlsplit(webhook).scheme
    except ValueError:
        raise AlertError(NO_ADDRESS) from None
    if scheme not in {"http", "https"}:
        raise AlertError("the webhook is not an http or https address")
    document = {"text": alert.text, **asdict(alert), "message": without_markup(alert.message, LONGEST)}
    body = json.dumps({**document, "model": alert.model, "runbook": alert.runbook}).encode()
    request = urllib.request.Request(webhook, data=body, headers={"Content-Type": "application/json"})  # noqa: S310  scheme checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310  scheme checked above
            return
    except (http.client.InvalidURL, ValueError):
        raise AlertError(NO_ADDRESS) from None
    except (OSError, http.client.HTTPException) as error:  # also a connection that is closed without an answer
        raise AlertError(str(error)) from error
