"""The mailbox to which answers come back: a Maildir or a folder of an IMAP server.

Each mail is counted first and moved after: one that was counted before a crash is counted again and changes nothing. What
says something of a message, or is an automatic reply, goes to ``Handled``; what could not be understood, is of no message that
the queue knows, or is forged goes to ``Unclear``, which a person looks through.
"""

from __future__ import annotations

import base64
import imaplib
import re
import ssl
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from customer360.errors import OperatorError
from customer360.loopback import is_loopback
from customer360.mail.answers import OF_KINDS, Answer, source_id, take
from customer360.mail.queue import MailQueue, export_stops
from customer360.mail.reports import Report, parse_report
from customer360.mail.reports.parts import MOST_BYTES
from customer360.mail.smtp import without_addresses
from customer360.services.environment import settings_of
from customer360.settings import Place, SettingsError

PREFIX = "CUSTOMER360_MAILBOX_"
HANDLED, UNCLEAR = "Handled", "Unclear"
SEARCHED = 10_000  # mails of a folder whose UIDs are asked for at once


class MailboxError(OperatorError):
    """The mailbox cannot be read. The message names it and the remedy, and no mail."""


class MailboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where answers come back: ``maildir``, a folder, or an IMAP server.

    ``tls``: implicit, starttls, or none on this machine. ``password_file``: the account's password.
    """

    maildir: str = ""
    host: str = ""
    port: int = 993
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    user: str = ""
    password_file: str = ""
    ca_file: str | None = None
    folder: str = "INBOX"
    timeout_seconds: float = 60.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> MailboxSettings:
        """Raises ``SettingsError`` naming a variable that is unknown, wrong or missing."""
        settings = settings_of(cls, PREFIX, "the mailbox", environment)
        if bool(settings.maildir) == bool(settings.host):
            raise SettingsError(f"give {PREFIX}MAILDIR, a folder, or {PREFIX}HOST, an IMAP server: one of the two")
        if settings.host and settings.tls == "none" and not is_loopback(settings.host):
            raise SettingsError(f"{PREFIX}TLS=none is for this machine alone: use implicit or starttls")
        return settings


class Mailbox(Protocol):
    """Mails by an id, which are moved into another folder one by one."""

    def ids(self) -> Sequence[str]:
        """The ids of what is there now."""

    def content(self, mail: str) -> bytes:
        """The beginning of a mail."""

    def move(self, mail: str, folder: str) -> None:
        """Move a mail; nothing is lost whenever the process dies."""

    def count(self, folder: str) -> int:
        """How many mails a folder has."""


class Maildir:
    """A Maildir (maildir++: folders are subfolders with a dot)."""

    def __init__(self, root: Path) -> None:
        if not (root / "new").is_dir():
            raise MailboxError(f"{root} is no Maildir: it has no folder new")
        self._root = root

    def ids(self) -> Sequence[str]:
        """Of new mails, and of those that somebody saw."""
        return [f"{folder}/{path.name}" for folder in ("new", "cur") for path in sorted((self._root / folder).glob("[!.]*"))]

    def content(self, mail: str) -> bytes:
        """Empty for a mail that somebody moved meanwhile."""
        try:
            with (self._root / mail).open("rb") as file:
                return file.read(MOST_BYTES)
        except FileNotFoundError:
            return b""

    def move(self, mail: str, folder: str) -> None:
        """By one rename."""
        target = self._root / f".{folder}"
        for name in ("new", "cur", "tmp"):
            (target / name).mkdir(parents=True, exist_ok=True)
        source = self._root / mail
        if source.exists():
            source.rename(target / "cur" / (source.name if ":2," in source.name else f"{source.name}:2,"))

    def count(self, folder: str) -> int:
        """0 for a folder that is not there."""
        return sum(1 for name in ("new", "cur") for _ in (self._root / f".{folder}" / name).glob("[!.]*"))


class Imap:
    """A folder of an IMAP server (RFC 9051, 3501); moves by MOVE where the server has it."""

    def __init__(self, connection: imaplib.IMAP4, folder: str) -> None:
        self._connection, self._folder, self._targets = connection, folder, dict[str, str]()
        self._capabilities = connection.capability()[1][-1].upper().split()  # a server has others before the login
        self._separator = "."
        status, listed = connection.list('""', '""')
        if status == "OK" and listed and isinstance(listed[0], bytes):
            found = re.search(rb'\) "(.)"', listed[0])
            self._separator = found[1].decode() if found else "."
        status, answered = connection.select(_quoted(folder))
        if status != "OK":
            raise MailboxError(f"the mailbox has no folder {folder}: set {PREFIX}FOLDER")
        self._mails = int(answered[0] or 0)

    def ids(self) -> Sequence[str]:
        """UIDs. Some mails at a time: Python's client takes lines of 1,000,000 bytes, which 140,000 UIDs fill."""
        found: list[str] = []
        for first in range(1, self._mails + 1, SEARCHED):
            span = f"{first}:{min(first + SEARCHED - 1, self._mails)}"
            found += " ".join(line.decode() for line in self._done(self._connection.uid("SEARCH", span, "UNDELETED"))).split()
        return found

    def content(self, mail: str) -> bytes:
        """Without marking it as seen."""
        for part in self._done(self._connection.uid("FETCH", mail, f"(BODY.PEEK[]<0.{MOST_BYTES}>)")):
            if isinstance(part, tuple):
                return bytes(part[1])
        return b""

    def move(self, mail: str, folder: str) -> None:
        """By MOVE, or by copy, then delete."""
        if folder not in self._targets:
            places = self._places(folder)
            self._targets[folder] = next(filter(self._is_made, places), places[0])
        target = _quoted(self._targets[folder])
        if b"MOVE" in self._capabilities:
            self._done(self._connection.uid("MOVE", mail, target))
            return
        self._done(self._connection.uid("COPY", mail, target))
        self._done(self._connection.uid("STORE", mail, "+FLAGS", "(\\Deleted)"))
        if b"UIDPLUS" in self._capabilities:  # else what others marked would go too
            self._done(self._connection.uid("EXPUNGE", mail))

    def count(self, folder: str) -> int:
        """0 for a folder that is not there."""
        for name in self._places(folder):
            status, answered = self._connection.status(_quoted(name), "(MESSAGES)")
            found = re.search(rb"MESSAGES (\d+)", answered[0]) if status == "OK" and answered and answered[0] else None
            if found:
                return int(found[1])
        return 0

    def _places(self, folder: str) -> tuple[str, str]:
        """Below the mailbox's own folder, or beside it: of an INBOX that is one file nothing can be below."""
        return f"{self._folder}{self._separator}{folder}", folder

    def _is_made(self, name: str) -> bool:
        made, _ = self._connection.create(_quoted(name))
        return made == "OK" or self._connection.status(_quoted(name), "(MESSAGES)")[0] == "OK"

    def _done(self, answered: tuple[str, list[bytes]]) -> list[bytes]:
        status, data = answered
        if status != "OK":
            words = without_addresses(b" ".join(part for part in data if isinstance(part, bytes)).decode("utf-8", "replace"))
            raise MailboxError(f"the IMAP server refused a command, and the next look tries again: {words}")
        return [part for part in data if part is not None]


def _quoted(folder: str) -> str:
    """The name of a folder as IMAP writes it: quoted, and in its own UTF-7 (RFC 3501, 5.1.3)."""

    def shifted(found: re.Match[str]) -> str:
        return "&" + base64.b64encode(found[0].encode("utf-16-be"), b"+,").rstrip(b"=").decode() + "-"

    name = re.sub(r"[^ -~]+", shifted, folder.replace("&", "&-"))
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def opened(settings: MailboxSettings) -> Iterator[Mailbox]:
    """The mailbox, while it is read. Raises ``MailboxError`` and ``SettingsError``."""
    if settings.maildir:
        yield Maildir(Path(settings.maildir))
        return
    try:
        connection = _connected(settings)
        try:
            yield Imap(connection, settings.folder)
            with suppress(OSError, imaplib.IMAP4.error):  # all is counted
                connection.logout()
        finally:
            _closed(connection)
    except (OSError, imaplib.IMAP4.error) as error:
        reason = str(error) if isinstance(error, OSError) else type(error).__name__  # IMAP's errors may quote a mail
        raise MailboxError(
            f"the mailbox at {settings.host}:{settings.port} cannot be read ({without_addresses(reason)}); "
            f"look at {PREFIX}HOST, TLS, CA_FILE, USER and PASSWORD_FILE"
        ) from error


def read_mailbox(box: Mailbox, queue: MailQueue, place: Place, secrets: Sequence[str], at: datetime) -> Counter[str]:
    """Count and move what is in the mailbox; returns how many by kind, with ``forged`` and ``unclear``. ``at`` is aware.

    Raises ``MailboxError`` once all are counted where some could not be moved, as in a mailbox that is full.
    """
    counts: Counter[str] = Counter()
    refused = None
    try:
        for mail in box.ids():
            content = box.content(mail)
            if not content:
                continue
            report = parse_report(content, secrets)
            kind = _counted(report, queue, source_id(content), at)
            counts[kind] += 1
            try:
                box.move(mail, HANDLED if kind not in {"forged", "unclear"} else UNCLEAR)
            except MailboxError as error:
                refused = error
    finally:  # also where the connection was lost
        if counts.keys() & OF_KINDS.keys():
            export_stops(place, queue)
    if refused is not None:
        raise refused
    return counts


def _counted(report: Report, queue: MailQueue, key: str, at: datetime) -> str:
    """Count an answer; returns its kind, or why it is left to a person."""
    if report.kind == "auto_reply":
        return report.kind
    if report.is_forged:
        return "forged"
    if report.kind not in OF_KINDS or report.contact_key is None or queue.contact(report.contact_key) is None:
        return "unclear"
    reason = report.reason if report.status is None else f"{report.reason} ({report.status})"
    take(queue, Answer(report.contact_key, OF_KINDS[report.kind], at, reason, "mailbox", key))
    return report.kind


def _connected(settings: MailboxSettings) -> imaplib.IMAP4:
    """Signed in. What TLS is asked for is had, or nothing is sent."""
    try:
        password = Path(settings.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PREFIX}PASSWORD_FILE cannot be read ({type(error).__name__})") from None
    context = ssl.create_default_context(cafile=settings.ca_file)
    where, seconds = (settings.host, settings.port), settings.timeout_seconds
    if settings.tls == "implicit":
        connection: imaplib.IMAP4 = imaplib.IMAP4_SSL(*where, ssl_context=context, timeout=seconds)
    else:
        connection = imaplib.IMAP4(*where, timeout=seconds)
    try:
        if settings.tls == "starttls":
            connection.starttls(context)
        connection.authenticate("PLAIN", lambda _: f"\0{settings.user}\0{password}".encode())  # LOGIN takes ASCII alone
    except BaseException:
        _closed(connection)
        raise
    return connection


def _closed(connection: imaplib.IMAP4) -> None:
    """Close a connection; that it is closed already must not hide what failed."""
    with suppress(OSError):
        connection.shutdown()
    connection.sock.close()
