"""Decisions are published after their answer: the ledger has them, so nobody waits for the tables of many customers.

What is lost with the process is not lost for long: every slice publishes the ledger as it is then.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import duckdb

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.version import redacted
from customer360.settings import Place

LOG = logging.getLogger(__name__)
PUBLISHER = ThreadPoolExecutor(1, "publisher")  # its thread starts with the first decision; a server that stops waits for it


def publish_soon(place: Place, now: datetime) -> None:
    """Publish the plans, the ledger and the other files of the place, after what was asked for before. Failures are logged."""
    PUBLISHER.submit(_publish, place, now)


def _publish(place: Place, now: datetime) -> None:
    try:
        with redacted():
            publish_files(place, now)
    except (OSError, duckdb.Error) as error:
        LOG.error("A decision is in the ledger and not yet published; the next slice publishes it: %s", error)  # noqa: TRY400
