"""Contacts are posted to the tool of their channel: once where it takes them, again where it does not, and signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from customer360.campaigns.hand_over import POSTED, post_outbox, waiting_files
from customer360.campaigns.sending import outbox
from customer360.settings import SettingsError, Shop
from tests.campaigns.conftest import Desk
from tests.support.random_shop import small_shop

MORNING = "2026-05-05 07:15"
SECRET = "a secret of the tool"
SECRETS = {"SMS_SECRET": SECRET}


class Tool(HTTPServer):
    """A tool that sends text messages: keeps what it is given, and answers with ``status``."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[dict[str, str], bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/contacts"


class _Handler(BaseHTTPRequestHandler):
    server: Tool

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def tool() -> Iterator[Tool]:
    with Tool() as tool:
        thread = threading.Thread(target=tool.serve_forever)
        thread.start()
        yield tool
        tool.shutdown()
        thread.join()


def handed_over(root: Path, tool: Tool) -> Desk:
    """Two contacts by sms, which are posted, and one by e-mail, which is not."""
    desk = Desk(root, hand_over={"sms": {"webhook": tool.address, "secret": "SMS_SECRET"}})
    rows = [{"customer_id": name, "channel": "sms", "cost": 2.0} for name in ("C1", "C2")]
    desk.customers(*(f"{name},true,true,Europe/Amsterdam" for name in ("C1", "C2", "C3")))
    desk.approve(desk.draft(*rows, {"customer_id": "C3"}))
    desk.send(MORNING)
    return desk


def test_contacts_are_posted_once_signed_and_with_a_key(tmp_path: Path, tool: Tool) -> None:
    desk = handed_over(tmp_path, tool)
    (file, _webhook), *others = waiting_files(desk.settings)
    assert not others and "-sms-" in file.name
    posted = post_outbox(desk.settings, SECRETS)
    assert (posted.files, posted.failed) == ({file: 2}, {})
    ((headers, body),) = tool.requests
    assert headers["X-Signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    contacts = json.loads(body)["contacts"]
    assert [contact["customer_id"] for contact in contacts] == ["C1", "C2"] and len(contacts[0]["contact_key"]) == 32
    assert not file.exists() and file.with_name(file.name + POSTED).exists()
    assert [path.name for path in outbox(desk.place).glob("*/*.csv") if "-email-" in path.name]
    post_outbox(desk.settings, SECRETS)
    assert len(tool.requests) == 1


def test_what_was_not_taken_is_posted_again_under_the_same_key(tmp_path: Path, tool: Tool) -> None:
    desk = handed_over(tmp_path, tool)
    tool.status = 503
    posted = post_outbox(desk.settings, SECRETS)
    assert list(posted.failed.values()) == ["its tool answered 503"] and posted.files == {}
    tool.status = 202
    assert sum(post_outbox(desk.settings, SECRETS).files.values()) == 2
    keys = [headers["Idempotency-Key"] for headers, _body in tool.requests]
    assert len(keys) == 2 and len(set(keys)) == 1


def test_without_the_secret_or_the_tool_nothing_is_lost(tmp_path: Path, tool: Tool) -> None:
    desk = handed_over(tmp_path, tool)
    with pytest.raises(SettingsError, match="SMS_SECRET is not set"):
        post_outbox(desk.settings, {})
    tool.server_close()
    (problem,) = post_outbox(desk.settings, SECRETS).failed.values()
    assert problem.startswith("its tool cannot be reached")
    assert len(list(waiting_files(desk.settings))) == 1 and tool.requests == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"fax": {"webhook": "https://tool.example/"}}, "campaigns.hand_over: fax is no channel"),
        ({"sms": {"webhook": "http://tool.example/"}}, "write https://host/path"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_remedy(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shop.model_validate(small_shop(channels=["email", "sms"], campaigns={"hand_over": rule}).model_dump(by_alias=True))
