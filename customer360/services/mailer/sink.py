"""A receiving server on this machine that keeps every message and delivers none: the demo's mail goes there alone."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from customer360.settings import Place

LOOPBACK = "127.0.0.1"
LARGEST = 2 * 1024 * 1024  # bytes of a message


def sink_folder(place: Place) -> Path:
    """The Maildir with what the sink was given."""
    return place.mail / "sink"


@contextmanager
def sink(place: Place) -> Iterator[int]:
    """Receive on a free port of this machine, which is given; each message is on disk before it is acknowledged."""
    controller = Controller(_Keeper(sink_folder(place)), hostname=LOOPBACK, port=0, data_size_limit=LARGEST)
    controller.start()
    try:
        yield controller.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    finally:
        controller.stop()


class _Keeper:
    """Keeps messages in a Maildir, with the envelope in the headers that receiving servers add."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._kept = mailbox.Maildir(folder, create=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        recipients = "".join(f"Delivered-To: {address}\r\n" for address in envelope.rcpt_tos)
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        self._kept.add(f"Return-Path: <{envelope.mail_from}>\r\n{recipients}".encode() + content)
        return "250 kept"
