"""A webhook on this machine that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

NO_ANSWER = 0


@dataclass
class Webhook:
    """Its address, and the documents and content types that were posted to it."""

    url: str
    documents: list[dict[str, Any]] = field(default_factory=list)
    content_types: list[str | None] = field(default_factory=list)


@contextmanager
def webhook(status: int = 204) -> Iterator[Webhook]:
    """Answers every post with ``status``; with ``NO_ANSWER`` it closes the connection instead."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.content_types.append(self.headers["Content-Type"])
            kept.documents.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if status != NO_ANSWER:
                self.send_response(status)
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Webhook(f"http://127.0.0.1:{server.server_port}/alerts")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def dead_address() -> str:
    """An address on this machine where nobody listens any more."""
    with webhook() as gone:
        return gone.url
