"""Answers are read over TLS from a real IMAP server, as it is set up in many ways, and once whatever fails when."""

from __future__ import annotations

import imaplib
import os
import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from customer360.mail.queue import MailQueue
from customer360.mail.reports.parts import MOST_BYTES
from customer360.mail.return_paths import return_path
from customer360.services.mailer import mailbox
from customer360.services.mailer.mailbox import Imap, MailboxError, MailboxSettings, opened, read_mailbox
from customer360.settings import Place
from tests.mail.answers_corpus import DSN, KEY, SECRET
from tests.mail.test_mailbox import NOW, content, queued, stopped
from tests.support.dovecot import PASSWORD, Dovecot, dovecot

FOLDERS = ("INBOX", "Handled", "Unclear")
LAYOUTS = {
    "slash": {},
    "dot": {"namespace": "separator = ."},
    "prefix": {"namespace": "separator = .\n  prefix = INBOX."},
    "mbox, as Debian sets it up": {"location": "mbox:~/mail:INBOX=~/inbox"},
}


class Account:
    """The account of a server, as this program reads it, and as another mail program sees it."""

    def __init__(self, server: Dovecot, root: Path) -> None:
        self.server, self.place = server, Place(root=root / "data")
        self.password = root / "password"
        self.password.write_text(f"{PASSWORD}\n", encoding="utf-8")
        self.authority = str(server.folder / "certificate.pem")
        self.queue: MailQueue = queued(self.place, KEY)

    def settings(self, **changes: Any) -> MailboxSettings:
        own = {"host": "localhost", "port": self.server.implicit, "user": "ada", "password_file": str(self.password)}
        return MailboxSettings(**{**own, "ca_file": self.authority, "timeout_seconds": 10.0, **changes})

    def read(self, **changes: Any) -> dict[str, int]:
        with opened(self.settings(**changes)) as box:
            return dict(read_mailbox(box, self.queue, self.place, [SECRET], NOW))

    @contextmanager
    def elsewhere(self) -> Iterator[imaplib.IMAP4]:
        context = ssl.create_default_context(cafile=self.authority)
        with imaplib.IMAP4_SSL("localhost", self.server.implicit, ssl_context=context) as other:
            other.authenticate("PLAIN", lambda _: f"\0ada\0{PASSWORD}".encode())
            yield other

    def logins(self) -> int:
        return len(self.log().split(" Login: ")) - 1

    def log(self) -> str:
        return (self.server.folder / "log").read_text(encoding="utf-8")

    def deliver(self, *mails: bytes) -> None:
        with self.elsewhere() as other:
            for mail in mails:
                assert other.append("INBOX", "", "", mail.replace(b"\n", b"\r\n"))[0] == "OK"

    def folders(self) -> dict[str, int]:
        """Mails by the last part of their folder's name."""
        with self.elsewhere() as other:
            names = [re.sub(rb'.* "?([^" ]+)"?$', rb"\1", line).decode() for line in other.list()[1] if isinstance(line, bytes)]
            found = {name: other.select(f'"{name}"', readonly=True) for name in {*names, "INBOX"}}
        return {re.split(r"[./]", name)[-1]: int(mails[0] or 0) for name, (status, mails) in found.items() if status == "OK"}


@contextmanager
def account(root: Path, **options: Any) -> Iterator[Account]:
    with dovecot(**options) as server:
        yield Account(server, root)


def bounces(*names: str) -> list[bytes]:
    """Bounces of messages of our own, one each."""
    form = "Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nTo: {}\nSubject: failure notice\n\n<a@b.example>: User unknown\n"
    return [form.format(return_path(SECRET, name, "bounces.shop.example")).encode() for name in names]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_are_counted_and_moved_however_folders_are_laid_out(tmp_path: Path, layout: str) -> None:
    with account(tmp_path, **LAYOUTS[layout]) as box:
        box.deliver(DSN, content("a person answers"))
        assert box.read() == {"hard": 1, "unclear": 1}
        assert {name: box.folders().get(name) for name in FOLDERS} == {"INBOX": 0, "Handled": 1, "Unclear": 1}
        assert stopped(box.queue) and box.read() == {}
        with opened(box.settings()) as again:
            assert again.count("Unclear") == 1


def test_nothing_is_said_to_a_server_that_is_not_the_one_that_is_named(tmp_path: Path) -> None:
    with account(tmp_path) as box:
        box.deliver(DSN)
        for tls, port in (("implicit", box.server.implicit), ("starttls", box.server.starttls)):
            refused = {"port": port, "tls": tls}
            with pytest.raises(MailboxError, match=r"certificate is not valid for '127\.0\.0\.1'"):
                box.read(**refused, host="127.0.0.1")
            with pytest.raises(MailboxError, match=r"self.signed certificate.*CA_FILE"):
                box.read(**refused, ca_file=None)
        assert box.logins() == 1  # that of the delivery


def test_starttls_reads_as_implicit_tls_does_and_a_wrong_password_is_named(tmp_path: Path) -> None:
    with account(tmp_path) as box:
        box.deliver(DSN)
        assert box.read(port=box.server.starttls, tls="starttls") == {"hard": 1}
        with pytest.raises(MailboxError, match="cannot be read"):
            box.read(port=box.server.starttls)  # TLS is spoken at once to one that waits for STARTTLS
        box.password.write_text("wrong\n", encoding="utf-8")
        with pytest.raises(MailboxError, match="USER and PASSWORD_FILE") as refused:
            box.read()
        assert "wrong" not in str(refused.value)


def test_a_connection_that_is_lost_repeats_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}" * 32 for number in range(3)]
    with account(tmp_path) as box:
        queue = box.queue = queued(Place(root=tmp_path / "other"), *names)
        box.deliver(*bounces(*names))
        moved = Imap.move

        def kill(self: Imap, mail: str, folder: str) -> None:
            """After it was moved the server's process for this session dies."""
            moved(self, mail, folder)
            os.kill(int(re.findall(r"mpid=(\d+)", box.log())[-1]), signal.SIGKILL)

        for left in (2, 1, 0):
            monkeypatch.setattr(Imap, "move", kill)
            with pytest.raises(MailboxError, match="cannot be read") if left else nullcontext():
                box.read()
            monkeypatch.undo()
            assert box.folders()["INBOX"] == left
            assert len(queue.marks()) == 3 - left
            assert (box.place.campaigns / "stops.parquet").exists()


def test_a_full_mailbox_is_counted_and_named(tmp_path: Path) -> None:
    with account(tmp_path, quota="20K", capability="IMAP4rev1 UIDPLUS") as box:
        names = [f"{number}" * 32 for number in range(3)]
        queue = box.queue = queued(Place(root=tmp_path / "other"), *names)
        box.deliver(*[bounce + b"x" * 6000 for bounce in bounces(*names)])
        for _ in range(2):
            with pytest.raises(MailboxError, match=r"(?i)quota"):
                box.read()
        assert queue.marks()["messages"].sum() == 3
        assert stopped(queue).startswith("mail came back")


def test_a_huge_mailbox_and_a_huge_mail_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with account(tmp_path) as box:
        box.deliver(DSN + b"x" * 3_000_000, *[content("vacation")] * 40)
        with opened(box.settings()) as found:
            monkeypatch.setattr(imaplib, "_MAXLINE", 100)  # which 41 UIDs fill, as 140,000 do the real one
            with pytest.raises(imaplib.IMAP4.error, match="got more than 100 bytes"):
                found.ids()
        monkeypatch.undo()
        with opened(box.settings()) as found:
            monkeypatch.setattr(imaplib, "_MAXLINE", 100)
            monkeypatch.setattr(mailbox, "SEARCHED", 7)
            assert len(found.content(found.ids()[0])) == MOST_BYTES
            assert read_mailbox(found, box.queue, box.place, [SECRET], NOW) == {"hard": 1, "auto_reply": 40}


@pytest.mark.parametrize(("capability", "left"), [("IMAP4rev1 MOVE UIDPLUS", 1), ("IMAP4rev1 UIDPLUS", 1), ("IMAP4rev1", 2)])
def test_what_others_marked_as_deleted_stays(tmp_path: Path, capability: str, left: int) -> None:
    with account(tmp_path, capability=capability) as box:
        box.deliver(content("vacation"), DSN)
        with box.elsewhere() as other:
            other.select()
            other.store("1", "+FLAGS", "(\\Deleted)")
        for counted in ({"hard": 1}, {}):
            assert box.read() == counted
            assert {name: box.folders().get(name) for name in FOLDERS[:2]} == {"INBOX": left, "Handled": 1}


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    with account(tmp_path, namespace="separator = /") as box:
        with box.elsewhere() as other:
            assert other.create('"R&APw-ckl&AOQ-ufer &- \\"Co\\""')[0] == "OK"
            other.append('"R&APw-ckl&AOQ-ufer &- \\"Co\\""', "", "", DSN)
        assert box.read(folder='Rückläufer & "Co"') == {"hard": 1}
        with pytest.raises(MailboxError, match="no folder Missing"):
            box.read(folder="Missing")
