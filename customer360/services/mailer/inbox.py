"""A page with the messages of the demo's sink: as a computer and as a telephone shows them, as text, and as they were sent."""

from __future__ import annotations

import mailbox
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import escape
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from customer360.loopback import LOOPBACK

MOST_SHOWN = 200
# Of a message: its styles and pictures, no scripts, no forms, and no address of its own.
OF_MESSAGE = "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; sandbox allow-popups"
OF_PAGE = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8886; overflow-wrap: anywhere; }
th { min-width: 8rem; }
a { color: LinkText; }
iframe { border: 1px solid #8886; background: #fff; height: 46rem; }
.frames { display: flex; gap: 1rem; flex-wrap: wrap; }
.wide { width: 620px; max-width: 100%; } .narrow { width: 340px; }
"""


@dataclass(frozen=True)
class Mail:
    """A message of the Maildir, and its key there."""

    key: str
    message: EmailMessage

    def header(self, name: str) -> str:
        """A header as HTML."""
        return escape(str(self.message.get(name, "")))

    def body(self, kind: str) -> str:
        """The part of this kind, ``html`` or ``plain``; empty without one."""
        part = self.message.get_body((kind,))
        return str(part.get_content()) if part is not None else ""


def newest_mails(folder: Path, count: int) -> list[Mail]:
    """The newest messages of a Maildir, the newest first."""
    return _newest(mailbox.Maildir(folder, factory=None, create=True), count)


def inbox(folder: Path) -> Starlette:
    """The application: the list of messages, and each of them."""
    kept = mailbox.Maildir(folder, factory=None, create=True)

    def listed(_request: Request) -> Response:
        mails = _newest(kept, MOST_SHOWN)
        rows = "".join(
            f"<tr><td>{mail.header('Date')}</td><td>{mail.header('To')}</td>"
            f'<td><a href="/message/{escape(mail.key)}">{mail.header("Subject") or "(no subject)"}</a></td></tr>'
            for mail in mails
        )
        words = f"{len(kept):,} messages, none of which left this machine. The newest {len(mails):,} are shown. "
        words += "Pictures and links of the demo are served by make api."
        table = f"<table><thead><tr><th>Date</th><th>To</th><th>Subject</th></tr></thead><tbody>{rows}</tbody></table>"
        return _page("Mailbox", f"<p>{words}</p>{table}")

    def shown(request: Request) -> Response:
        mail = _found(kept, request)
        if mail is None:
            return PlainTextResponse("There is no such message.\n", 404)
        names = ("From", "To", "Subject", "Date", "List-Unsubscribe", "Message-ID")
        head = "".join(f"<tr><th scope='row'>{name}</th><td>{mail.header(name)}</td></tr>" for name in names)
        views = f"/message/{escape(mail.key)}"
        frames = "".join(
            f'<iframe class="{width}" title="{title}" src="{views}/html"></iframe>'
            for width, title in (("wide", "As on a computer"), ("narrow", "As on a telephone"))
        )
        links = (
            f'<p><a href="/">All messages</a> · <a href="{views}/text">Plain text</a> · <a href="{views}/source">Source</a></p>'
        )
        return _page(mail.header("Subject"), f"{links}<table>{head}</table><div class='frames'>{frames}</div>")

    def part(request: Request) -> Response:
        mail, kind = _found(kept, request), request.path_params["part"]
        if mail is None or kind not in {"html", "text", "source"}:
            return PlainTextResponse("There is no such message.\n", 404)
        if kind == "html":
            return HTMLResponse(mail.body("html"), headers={"Content-Security-Policy": OF_MESSAGE})
        return PlainTextResponse(mail.body("plain") if kind == "text" else mail.message.as_string())

    return Starlette(
        routes=[Route("/", listed), Route("/message/{key}", shown), Route("/message/{key}/{part}", part)],
    )


async def serve_inbox(folder: Path, port: int) -> None:
    """Serve the page on this machine alone, until SIGTERM or Ctrl-C."""
    server = Server(inbox(folder), address=LOOPBACK, port=port, interface=Interfaces.ASGI, websockets=False, log_access=False)
    await server.serve()


def _page(title: str, body: str) -> HTMLResponse:
    head = (
        f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{title}</title><style>{STYLE}</style>"
    )
    text = f"<!doctype html><html lang='en'><head>{head}</head><body><main><h1>{title}</h1>{body}</main></body></html>"
    return HTMLResponse(text, headers={"Content-Security-Policy": OF_PAGE, "X-Content-Type-Options": "nosniff"})


def _newest(kept: mailbox.Maildir, count: int) -> list[Mail]:
    """Keys begin with the second of their arrival."""
    return [_read(kept, key) for key in sorted(kept.keys(), reverse=True)[:count]]


def _found(kept: mailbox.Maildir, request: Request) -> Mail | None:
    key = request.path_params["key"]
    return _read(kept, key) if key in kept else None


def _read(kept: mailbox.Maildir, key: str) -> Mail:
    message = message_from_bytes(kept.get_bytes(key), policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 (policy.default makes no other)
    return Mail(key, message)
