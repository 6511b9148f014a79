"""A receiving server on this machine that keeps every message and delivers none: the demo's mail goes there alone."""

from __future__ import annotations

import asyncio
import mailbox
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session
from anyio.from_thread import start_blocking_portal

from customer360.loopback import LOOPBACK
from customer360.settings import Place

LARGEST = 2 * 1024 * 1024  # bytes of a message


def sink_folder(place: Place) -> Path:
    """The Maildir with what the sink was given."""
    return place.mail / "sink"


@contextmanager
def sink(place: Place) -> Iterator[int]:
    """Receive on a free port of this machine, which is given; each message is on disk before it is acknowledged.

    aiosmtpd's own controller needs to know its port beforehand.
    """
    keeper = _Keeper(sink_folder(place))
    with start_blocking_portal() as portal:
        server = portal.call(_listen, keeper)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            portal.call(server.close)


async def _listen(keeper: _Keeper) -> asyncio.Server:
    protocol = partial(SMTP, keeper, data_size_limit=LARGEST)
    return await asyncio.get_running_loop().create_server(protocol, LOOPBACK, 0)


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
