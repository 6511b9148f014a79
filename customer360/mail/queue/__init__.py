"""The durable queue of messages: what is to be sent, by whom it is being sent, and what became of it.

``tables`` declares its tables and opens the database, ``messages`` moves messages from state to state, ``stops`` keeps what
follows a message (marks) and who is to get none (stops). The queue decides what is sent; the ledger gets its facts in batches.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from customer360.mail.queue.messages import Messages
from customer360.mail.queue.stops import Stops, export_stops
from customer360.mail.queue.tables import queue_engine
from customer360.settings import Place

__all__ = ["URL_VARIABLE", "MailQueue", "export_stops", "open_queue"]

URL_VARIABLE = "CUSTOMER360_MAIL_QUEUE_URL"


class MailQueue(Messages, Stops):
    """The queue of a shop. Safe for several processes at once, and for the threads of each."""


def open_queue(place: Place, url: str | None = None) -> MailQueue:
    """The queue of a place: SQLite in ``DATA_DIR/mail``, or the PostgreSQL database of ``url``, else of ``URL_VARIABLE``.

    Makes its tables where there are none. Raises ``QueueError`` where the database cannot be used.
    """
    return _opened(place.mail, url or os.environ.get(URL_VARIABLE) or f"sqlite:///{place.mail / 'mail.sqlite3'}", os.getpid())


@cache  # one that was dropped would leave its connections open
def _opened(folder: Path, url: str, process: int) -> MailQueue:
    """One pool of connections a process: a connection must not outlive a fork."""
    queue = MailQueue(queue_engine(url), folder)
    queue.is_open()  # a new database notes where it was made, before it holds a message
    return queue
