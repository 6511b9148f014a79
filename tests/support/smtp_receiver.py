"""A receiver of mail for tests and benchmarks: takes messages at speed, and loses connections or refuses where it is told to.

It answers every command in the order of the text that it gets, so that clients may pipeline. As a program
(``python -m tests.support.smtp_receiver PORT FOLDER [--drop SHARE]``) it appends a line per message to ``FOLDER/messages``:
the contact key of its return path, ``taken`` or the step at which the connection was lost, and its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

STEPS = ("connect", "ehlo", "mail", "rcpt", "data", "content", "end", "reply")
DROP = "drop"
KEY = re.compile(rb"<b\+([a-z0-9]+)-")


class Message(NamedTuple):
    """A message with its envelope. ``is_told``: the client was told that it was taken."""

    sender: str
    recipient: str
    content: bytes
    is_told: bool


# What to answer at a step (one of STEPS) to a recipient: a reply, DROP, or None for what a server says that takes all. At
# ``content`` the connection is lost in the middle of the message, at ``end`` before it is taken, at ``reply`` after that.
Behaviour = Callable[[str, str], str | None]


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, keep: Callable[[Message], None], behaviour: Behaviour, pipelining: bool) -> None:
        self._keep, self._behaviour, self._pipelining = keep, behaviour, pipelining
        self._buffer, self._in_content, self._is_refused = bytearray(), False, False
        self._sender = self._recipient = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answer("connect", "220 receiver.test ESMTP")

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._transport.is_closing() and self._step():
            pass

    def _step(self) -> bool:
        if self._in_content:
            if self._behaviour("content", self._recipient) == DROP:
                self._transport.abort()
                return False
            end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            content = bytes(self._buffer[:end])
            del self._buffer[: end + (5 if end else 3)]
            self._in_content = False
            self._take(content + b"\r\n")
            return True
        line, found, _ = self._buffer.partition(b"\r\n")
        if not found:
            return False
        del self._buffer[: len(line) + 2]
        self._command(line.decode())
        return True

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        if verb == "EHLO":
            self._answer(
                "ehlo", "250-receiver.test\r\n250-8BITMIME" + ("\r\n250 PIPELINING" if self._pipelining else "\r\n250 SIZE")
            )
        elif verb == "MAIL":
            self._sender = line.partition("<")[2].partition(">")[0]
            self._is_refused = not self._answer("mail", "250 2.1.0 Ok")
        elif verb == "RCPT":
            self._recipient = line.partition("<")[2].partition(">")[0]
            self._is_refused |= not self._answer("rcpt", "250 2.1.5 Ok")
        elif verb == "DATA":
            if self._is_refused:
                self._transport.write(b"503 5.5.1 no recipient\r\n")
            else:
                self._in_content = self._answer("data", "354 go on")
        elif verb == "QUIT":
            self._transport.write(b"221 2.0.0 Bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 2.0.0 Ok\r\n")

    def _take(self, content: bytes) -> None:
        reply = self._behaviour("end", self._recipient)
        if reply == DROP:
            self._transport.abort()
        elif reply:
            self._transport.write(f"{reply}\r\n".encode())
        else:
            is_lost = self._behaviour("reply", self._recipient) == DROP
            self._keep(Message(self._sender, self._recipient, content.replace(b"\r\n..", b"\r\n."), not is_lost))
            if is_lost:
                self._transport.abort()
            else:
                self._transport.write(b"250 2.0.0 Ok: queued\r\n")

    def _answer(self, step: str, usual: str) -> bool:
        reply = self._behaviour(step, self._recipient)
        if reply == DROP:
            self._transport.abort()
            return False
        self._transport.write(f"{reply or usual}\r\n".encode())
        return reply is None


@contextmanager
def smtp_receiver(
    port: int, behaviour: Behaviour = lambda step, recipient: None, *, pipelining: bool = True
) -> Iterator[list[Message]]:
    """A receiver in a thread of this process; gives the list that its messages are appended to."""
    taken: list[Message] = []
    sessions: list[Session] = []

    def session() -> Session:
        sessions.append(Session(taken.append, behaviour, pipelining))
        return sessions[-1]

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(session, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))  # connections that just began
        for opened in sessions:
            opened.abort()
        loop.run_until_complete(asyncio.sleep(0))  # transports close in the loop
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def at_random(share: float, generator: random.Random) -> Behaviour:
    """Lose the connection at each step with the same small probability."""
    return lambda step, recipient: DROP if generator.random() < share else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drop", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    descriptor = os.open(asked.folder / "messages", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    behaviour: Behaviour = at_random(asked.drop, random.Random(asked.seed)) if asked.drop else lambda step, recipient: None

    def keep(message: Message) -> None:
        key = KEY.search(f"<{message.sender}>".encode())
        os.write(descriptor, b"%b taken %d\n" % (key[1] if key else b"-", len(message.content)))

    def noted(step: str, recipient: str) -> str | None:
        """Keep for whom a connection was lost while the client could wait for the last reply."""
        answer = behaviour(step, recipient)
        if answer == DROP and step in {"content", "end", "reply"}:
            os.write(descriptor, f"{recipient.partition('@')[0]} {step} 0\n".encode())
        return answer

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Session(keep, noted, True), "127.0.0.1", asked.port)
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
