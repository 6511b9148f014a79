"""What comes back is counted and moved, from a Maildir and over IMAP, once whatever dies when."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from answers_corpus import BOUNCES, DSN, KEY, OTHERS, SECRET

from customer360.mail.answers import SOFT_BOUNCES
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.return_paths import return_path
from customer360.services.mailer.mailbox import UNCLEAR, MailboxError, MailboxSettings, Maildir, opened, read_mailbox
from customer360.settings import Place, SettingsError

NOW = datetime(2026, 5, 5, 8, 0, tzinfo=UTC)


def queued(place: Place, *keys: str) -> MailQueue:
    """A queue with messages of customer C1, a campaign each."""
    queue = open_queue(place)
    frame = pd.DataFrame(
        {
            "contact_key": keys,
            "campaign_id": [f"campaign {number}" for number in range(len(keys))],
            "plan_version": "v1",
            "customer_id": "C1",
            "address_hash": "hash 1",
            "domain": "inbox.example",
            "send_at": pd.Timestamp("2026-05-05 07:00"),
            "due_at": pd.Timestamp(NOW).tz_localize(None),
            "contact_date": pd.Timestamp(NOW.date()),
            "value": 1.0,
        }
    )
    queue.enqueue(frame, NOW)
    return queue


def stopped(queue: MailQueue) -> str:
    frame = pd.DataFrame({"customer_id": ["C1"], "address_hash": ["hash 1"], "topic": ["offers"]})
    return queue.stopped(frame).fillna("").item()


def maildir(root: Path, *contents: bytes) -> Path:
    for name in ("new", "cur", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        (root / "new" / f"{number:04}.host").write_bytes(content)
    return root


def content(name: str) -> bytes:
    return next(answer.content for answer in [*BOUNCES, *OTHERS] if answer.name == name)


def test_a_maildir_is_counted_and_moved_and_the_rest_waits_for_a_person(tmp_path: Path) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    mails = [DSN, content("vacation"), content("spam to the mailbox")]
    forged = re.sub(rb"-[a-z2-7]{16}@", b"-" + b"a" * 16 + b"@", DSN)
    box = Maildir(maildir(tmp_path / "mail", *mails, forged))
    assert read_mailbox(box, queue, place, [SECRET], NOW) == {"hard": 1, "auto_reply": 1, "unclear": 1, "forged": 1}
    assert (box.ids(), box.count("Handled"), box.count(UNCLEAR)) == ([], 2, 2)
    assert stopped(queue) == "mail came back: there is no such mailbox (5.1.1)"
    assert (place.campaigns / "stops.parquet").exists()
    assert read_mailbox(box, queue, place, [SECRET], NOW) == {}


def test_a_forged_bounce_stops_nobody(tmp_path: Path) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    box = Maildir(maildir(tmp_path / "mail", DSN))
    assert read_mailbox(box, queue, place, ["y" * 40], NOW) == {"forged": 1}
    assert stopped(queue) == ""


def test_a_crash_between_counting_and_moving_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    box = Maildir(maildir(tmp_path / "mail", content("postfix, over quota")))
    with monkeypatch.context() as patch:
        patch.setattr(Maildir, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                read_mailbox(box, queue, place, [SECRET], NOW)
    assert read_mailbox(box, queue, place, [SECRET], NOW + timedelta(hours=1)) == {"soft": 1}
    assert queue.marks()["messages"].tolist() == [1]
    assert stopped(queue) == ""


def test_soft_bounces_stop_an_address_after_some_in_a_row(tmp_path: Path) -> None:
    place = Place(root=tmp_path / "data")
    keys = [f"{number}" * 32 for number in range(SOFT_BOUNCES)]
    queue = queued(place, *keys)
    full = "Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nTo: {}\nSubject: failure notice\n\n<a@b.example>: mailbox is full\n"
    mails = [full.format(return_path(SECRET, key, "bounces.shop.example")).encode() for key in keys]
    box = Maildir(maildir(tmp_path / "mail", *mails[:-1]))
    assert read_mailbox(box, queue, place, [SECRET], NOW) == {"soft": SOFT_BOUNCES - 1}
    assert stopped(queue) == ""
    maildir(tmp_path / "mail", mails[-1])
    read_mailbox(box, queue, place, [SECRET], NOW)
    assert stopped(queue).startswith(f"{SOFT_BOUNCES} messages in a row came back")


def test_a_message_that_did_not_come_back_ends_the_row(tmp_path: Path) -> None:
    queue = queued(Place(root=tmp_path), *(f"{number}" * 32 for number in range(4)))
    for number in (0, 1, 3):  # the last one's answer may still come; 2 stayed there
        queue.mark(f"{number}" * 32, "bounced_soft", NOW, "full", f"dsn-{number}")
    assert queue.soft_bounces_in_a_row("hash 1") == 1


class Server(socketserver.ThreadingTCPServer):
    """As much of an IMAP server as the mailbox asks for; folders by name, of mails by UID."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, capabilities: str) -> None:
        self.capabilities = capabilities
        self.folders: dict[str, dict[int, bytes]] = {"INBOX": {}}
        super().__init__(("127.0.0.1", 0), Session)


class Session(socketserver.StreamRequestHandler):
    """Answers commands line by line."""

    server: Server

    def handle(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        for line in iter(self.rfile.readline, b""):
            tag, command, *arguments = line.decode().split()
            name = arguments.pop(0).upper() if command.upper() == "UID" else command.upper()
            untagged, status = self._answers(name, arguments)
            self.wfile.write(b"".join(b"* " + one + b"\r\n" for one in untagged) + f"{tag} {status} done\r\n".encode())
            if name == "LOGOUT":
                return

    def _answers(self, name: str, arguments: list[str]) -> tuple[list[bytes], str]:  # noqa: C901, PLR0911
        folders, inbox = self.server.folders, self.server.folders["INBOX"]
        target = arguments[-1].strip('"') if arguments else ""
        if name == "CAPABILITY":
            return [f"CAPABILITY IMAP4rev1 {self.server.capabilities}".encode()], "OK"
        if name == "LOGIN":
            return [], "OK" if arguments == ["ada", '"secret"'] else "NO"
        if name == "LIST":
            return [b'LIST (\\Noselect) "/" ""'], "OK"
        if name == "SELECT":
            return [f"{len(inbox)} EXISTS".encode()], "OK" if target in folders else "NO"
        if name == "SEARCH":
            return [b"SEARCH " + " ".join(map(str, inbox)).encode()], "OK"
        if name == "FETCH":
            mail = inbox[int(arguments[0])]
            return [b"1 FETCH (UID %s BODY[]<0> {%d}\r\n%s)" % (arguments[0].encode(), len(mail), mail)], "OK"
        if name == "CREATE":
            return [], "NO" if target in folders else ("OK" if folders.setdefault(target, {}) == {} else "NO")
        if name in {"COPY", "MOVE"}:
            folders[target][int(arguments[0])] = inbox[int(arguments[0])]
        if name in {"MOVE", "EXPUNGE"}:
            inbox.pop(int(arguments[0]))
        if name == "STATUS":
            folder = arguments[0].strip('"')
            return [
                f'STATUS "{folder}" (MESSAGES {len(folders.get(folder, {}))})'.encode()
            ], "OK" if folder in folders else "NO"
        return ([b"BYE"] if name == "LOGOUT" else []), "OK"


@contextmanager
def imap_server(capabilities: str) -> Iterator[Server]:
    with Server(capabilities) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("capabilities", ["MOVE UIDPLUS", "UIDPLUS"])
def test_an_imap_mailbox_is_counted_and_moved(tmp_path: Path, capabilities: str) -> None:
    place = Place(root=tmp_path / "data")
    queue = queued(place, KEY)
    (tmp_path / "password").write_text("secret\n")
    with imap_server(capabilities) as server:
        server.folders["INBOX"] = {7: DSN, 9: content("a person answers")}
        own = MailboxSettings(
            host="127.0.0.1", port=server.server_address[1], tls="none", user="ada", password_file=f"{tmp_path}/password"
        )
        with opened(own) as box:
            assert read_mailbox(box, queue, place, [SECRET], NOW) == {"hard": 1, "unclear": 1}
            assert box.count(UNCLEAR) == 1
            assert box.ids() == []
        assert {name: [*mails] for name, mails in server.folders.items()} == {
            "INBOX": [],
            "INBOX/Handled": [7],
            "INBOX/Unclear": [9],
        }
        (tmp_path / "password").write_text("wrong\n")
        with pytest.raises(MailboxError, match="PASSWORD_FILE"), opened(own):
            pass
    assert stopped(queue)


def test_a_mailbox_elsewhere_needs_tls_and_one_place() -> None:
    with pytest.raises(SettingsError, match="TLS"):
        MailboxSettings.from_environment({"CUSTOMER360_MAILBOX_HOST": "mail.example", "CUSTOMER360_MAILBOX_TLS": "none"})
    with pytest.raises(SettingsError, match="one of the two"):
        MailboxSettings.from_environment({})
