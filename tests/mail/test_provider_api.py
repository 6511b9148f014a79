"""Messages through a provider's API: what it took is sent once, and what it did not answer is in doubt."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from customer360.mail.links import PreviewLinks
from customer360.mail.previews import as_mail
from customer360.mail.provider_api import PROVIDERS, ProviderApi
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.tables import ACCEPTED, FAILED, QUEUED, UNKNOWN
from customer360.mail.rendering import Renderer
from customer360.mail.smtp import LostConnectionError, RefusedError, Reply
from customer360.services.mailer.settings import MailerSettings
from customer360.services.mailer.worker import Worker
from customer360.settings import Place, SettingsError
from tests.mail.mail_shop import mail_shop, starter
from tests.mail.shown import VALUES
from tests.mail.test_mail_worker import KEYS, Canary, contacts, now, states
from tests.support.dovecot import dovecot
from tests.support.ports import free_port

TAKEN = {"To": "{}", "MessageID": "m-1", "ErrorCode": 0, "Message": "OK", "SubmittedAt": "2026-05-05T00:00:00Z"}
INACTIVE = {
    "ErrorCode": 406,
    "Message": "You tried to send to a recipient that has been marked as inactive.\nFound inactive addresses: {}.\n"
    "Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression.",
}
Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], tuple[int, Any] | None]


MESSAGE = b"From: The shop <news@shop.example>\r\nSubject: x\r\nMessage-ID: <m@shop.example>\r\n\r\nhello\r\n"


class Written(Canary):
    def build(self) -> bytes:
        return MESSAGE


class Provider:
    """As much of Postmark as sends a message: ``answer`` gives status and JSON, or None to close the connection."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.answer: Answer = lambda handler, message: (200, TAKEN)
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                message = json.loads(body) if body[:1] == b"{" else dict(parse_qsl(body.decode()))
                provider.messages.append({**message, "token": self.headers["X-Postmark-Server-Token"]})
                answered = provider.answer(self, message)
                if answered is None:
                    self.close_connection = True
                    return
                body = answered[1]
                if not isinstance(body, bytes):
                    body = json.dumps(body).replace("{}", message.get("To", "")).encode()
                self.send_response(answered[0])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.options = {"server_token": "t0ken", "api_url": f"http://127.0.0.1:{self._server.server_port}/"}

    def api(self, timeout: float = 5.0) -> ProviderApi:
        return ProviderApi("postmark", self.options, timeout)

    def __enter__(self) -> Provider:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as found:
        yield found


def send(api: ProviderApi, message: bytes = MESSAGE, recipient: str = "c@x.example") -> Reply:
    connection = api.connect()
    try:
        return connection.send("b+x@bounces.shop.example", recipient, message, lambda: None)
    finally:
        connection.quit()


def test_a_message_goes_as_it_was_made_and_its_provider_counts_nothing(provider: Provider) -> None:
    shop = mail_shop()
    made = Renderer(starter("offer"), shop).render("A", "en", VALUES, PreviewLinks("https://go.shop.example"))
    reply = send(provider.api(), as_mail(made, shop, now(), "tester@shop.example"), "tester@shop.example")
    assert (reply.is_accepted, reply.line) == (True, "250 m-1")
    (message,) = provider.messages
    assert message["HtmlBody"].split() == made.html.split() and message["TextBody"].split() == made.text.split()
    assert (message["To"], message["Subject"], message["token"]) == ("tester@shop.example", f"[Test] {made.subject}", "t0ken")
    headers = {header["Name"]: header["Value"] for header in message["Headers"]}
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click" and "/m/u/preview>" in headers["List-Unsubscribe"]
    assert message["Metadata"]["message_id"] == headers["Message-ID"].strip("<>")
    assert (message["TrackOpens"], message["TrackLinks"]) == (False, "None")


def test_mailgun_is_given_the_same(provider: Provider) -> None:
    provider.answer = lambda handler, message: (200, {"id": "<m-2@mg.shop.example>", "message": "Queued. Thank you."})
    options = {"api_key": "k3y", "sender_domain": "mg.shop.example", "api_url": f"{provider.options['api_url']}v3"}
    assert send(ProviderApi("mailgun", options, 5.0)).line.startswith("250 <")
    (message,) = provider.messages
    assert (message["to"], message["from"], message["text"]) == ("c@x.example", "The shop <news@shop.example>", "hello\r\n")
    assert (message["v:message_id"], message["o:tracking-opens"]) == ("m@shop.example", "no")


def test_what_an_answer_means(provider: Provider) -> None:
    api = provider.api(timeout=0.3)
    provider.answer = lambda handler, message: (422, {"ErrorCode": 400, "Message": "Sender signature not found"})
    assert send(api)[::2] == (421, "mail")  # nothing was taken yet: it is the account's fault
    provider.answer = lambda handler, message: (200, TAKEN)
    assert send(api).is_accepted
    provider.answer = lambda handler, message: (422, {"ErrorCode": 300, "Message": "Invalid 'ada@x.example'"})
    refused = send(api)
    assert (refused.is_final, refused.is_accepted) == (True, False) and "ada@" not in refused.line
    provider.answer = lambda handler, message: (422, INACTIVE)
    assert send(api).step == "rcpt"
    for status in (401, 429):
        provider.answer = lambda handler, message, status=status: (status, {"Message": "no"})  # type: ignore[misc]
        assert send(api)[::2] == (421, "mail")
    nowhere = ProviderApi("postmark", {**provider.options, "api_url": f"http://127.0.0.1:{free_port()}/"}, 1.0)
    assert send(nowhere).line.startswith("421 it cannot be reached")


@pytest.mark.parametrize("failure", ["timeout", "closed", "server", "busy", "no JSON", "nothing of the recipient"])
def test_what_was_not_answered_is_in_doubt_and_nothing_follows_for_a_while(provider: Provider, failure: str) -> None:
    answers: dict[str, Answer] = {
        "timeout": lambda handler, message: time.sleep(0.5),  # type: ignore[func-returns-value]
        "closed": lambda handler, message: None,
        "server": lambda handler, message: (500, {}),
        "busy": lambda handler, message: (503, {}),
        "no JSON": lambda handler, message: (200, b"<html>"),
        "nothing of the recipient": lambda handler, message: (200, {**TAKEN, "To": "d@x.example"}),
    }
    provider.answer = answers[failure]
    api = provider.api(timeout=0.2)
    with pytest.raises(LostConnectionError) as lost:
        send(api)
    assert lost.value.is_in_doubt
    with pytest.raises(RefusedError, match="in doubt"):
        api.connect()


def test_a_mailer_sends_each_message_once_by_an_api(provider: Provider, tmp_path: Path) -> None:
    queue: MailQueue = open_queue(Place(root=tmp_path))
    queue.enqueue(contacts(KEYS[:4], value=[4.0, 3.0, 2.0, 1.0]), now())
    by_place: list[tuple[int, Any] | None] = [(200, TAKEN), (422, INACTIVE), None, (200, TAKEN)]
    provider.answer = lambda handler, message: by_place[len(provider.messages) - 1]
    for _ in range(2):
        Worker(queue, provider.api(), Written(), connections=1).run(is_once=True)
    assert states(queue) == {ACCEPTED: 1, FAILED: 1, UNKNOWN: 1, QUEUED: 1}
    assert len({message["To"] for message in provider.messages}) == len(provider.messages) == 3
    logs = "".join(path.read_text() for path in (queue.folder / "transport").glob("*.log"))
    assert "canary" not in logs


def test_every_provider_that_is_named_is_there(tmp_path: Path) -> None:
    for name in PROVIDERS:
        with pytest.raises(SettingsError, match=f"options of {name}"):
            ProviderApi(name, {}, 1.0)


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    own = MailerSettings(provider="postmark", provider_file=str(file), host="")
    with pytest.raises(SettingsError, match="PROVIDER_FILE"):
        own.transport("x")
    file.write_text('{"server_token": "t0ken", "api_url": "http://api.example/"}')
    with pytest.raises(SettingsError, match="https"):
        own.transport("x")
    file.write_text('{"server_token": "t0ken"}')
    assert "t0ken" not in repr(own.transport("x")) and not own.is_sink
    with pytest.raises(SettingsError, match="no provider"):
        ProviderApi("amazon", {}, 1.0)


def test_nothing_is_given_to_a_server_whose_certificate_is_not_known(tmp_path: Path) -> None:
    with dovecot() as server:  # any server that speaks TLS by a certificate of its own
        api = ProviderApi("postmark", {"server_token": "x", "api_url": f"https://localhost:{server.implicit}/"}, 5.0)
        assert send(api).line.startswith("421 it cannot be reached")
