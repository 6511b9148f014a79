"""An SMTP server that answers as a test says, also what no server should."""

from __future__ import annotations

import itertools
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

USUAL = {
    "": b"220 script ESMTP\r\n",
    "EHLO": b"250-script\r\n250 PIPELINING\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": None,
}
OK = b"250 2.0.0 Ok\r\n"
# What to answer in a connection of this number (from 0) to a verb ("" at its begin, "." at a message's end): bytes, a list of
# them with a tenth of a second between, or None to close the connection.
Answer = bytes | list[bytes] | None
Script = Callable[[int, str], Answer]


@dataclass
class Scripted:
    """The server's port, and the recipient of each message that it called accepted."""

    port: int
    taken: list[str] = field(default_factory=list)


def usual(verb: str) -> Answer:
    """What a server answers that takes all."""
    return USUAL.get(verb, OK)


@contextmanager
def scripted_smtp(script: Script) -> Iterator[Scripted]:
    """A running server, each connection in a thread of its own."""
    numbers = itertools.count()
    found = Scripted(0)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            number, recipient, in_content = next(numbers), "", False
            if not self._say(script(number, "")):
                return
            for line in self.rfile:
                text = line.decode().rstrip("\r\n")
                if in_content and text != ".":
                    continue
                verb = text if in_content else text[:4].upper()
                recipient = text.partition("<")[2].partition(">")[0] if verb == "RCPT" else recipient
                answer = script(number, verb)
                in_content = isinstance(answer, bytes) and answer.startswith(b"354")
                if verb == "." and isinstance(answer, bytes) and answer.startswith(b"250"):
                    found.taken.append(recipient)
                if not self._say(answer):
                    return

        def _say(self, answer: Answer) -> bool:
            try:
                for place, part in enumerate(answer if isinstance(answer, list) else [answer or b""]):
                    time.sleep(0.1 if place else 0)
                    self.wfile.write(part)
            except OSError:
                return False
            return answer is not None

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
