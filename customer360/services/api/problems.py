"""What went wrong, as problem documents (RFC 9457). They quote nothing of a request's body and nothing of a row."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457: ``type`` tells problems apart for programs, ``title`` and ``detail`` for people."""

    type: str
    title: str
    status: int
    detail: str = ""


class Problem(Exception):  # noqa: N818 (the RFC's word)
    """A request that cannot be answered: its status, a short name of the kind, and what to do about it."""

    def __init__(self, status: int, kind: str, title: str, detail: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(title)
        self.document = ProblemDocument(f"urn:customer360:problem:{kind}", title, status, detail)
        self.headers = headers or {}

    def response(self) -> Response:
        """The document as a response."""
        content = msgspec.json.encode(self.document)
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(content, self.document.status, headers, media_type=MEDIA_TYPE)
