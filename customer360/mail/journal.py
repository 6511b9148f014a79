"""The log of the transport, outside the queue's database: what was begun to be sent, and what the server answered.

One file a sender, ``DATA_DIR/mail/transport/<time>-<host>-<pid>-<random>.log``, which is locked as long as the sender lives. A
line ``S`` is written before the last byte of a message, ``R`` with the reply after it:

    2026-05-05T07:00:00.123456+00:00 <contact key> <attempt> S
    2026-05-05T07:00:00.125012+00:00 <contact key> <attempt> R 250 2.0.0 Ok: queued

A killed process loses no line. A machine that stops may lose those since the last ``sync``; its next start has another boot id,
and what was being sent is then unknown. The log also says after a restore of the database what that has forgotten.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from customer360.lake.atomic import fsync_path

_LINE = re.compile(r"(\S+) (\S+) (\d+) (?:S|R (\d{3})\b(.*))\n")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Entry(NamedTuple):
    """What the log says of an attempt: when (UTC, aware); ``code`` and ``text`` of the reply, None where none came."""

    contact_key: str
    attempt: int
    at: datetime
    code: int | None
    text: str


class Journal:
    """The log of one sender, open for writing. Lines may be written by several threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        host = "".join(sign if sign.isalnum() else "-" for sign in socket.gethostname())[:40]
        self.path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}.log"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._write(f"# boot {_boot_id()}")
        self.sync()
        fsync_path(folder)

    @property
    def owner(self) -> str:
        """The sender's name in the queue."""
        return self.path.name

    def begin(self, contact_key: str, attempt: int) -> None:
        """The last byte of a message is about to be sent."""
        self._write(f"{datetime.now(UTC).isoformat()} {contact_key} {attempt} S")

    def end(self, contact_key: str, attempt: int, reply: str) -> None:
        """The server answered (``Reply.line``)."""
        self._write(f"{datetime.now(UTC).isoformat()} {contact_key} {attempt} R {reply}")

    def sync(self) -> None:
        """Have all lines on disk."""
        os.fdatasync(self._descriptor)

    def close(self) -> int:
        """End the log; returns its bytes."""
        self.sync()
        size = os.fstat(self._descriptor).st_size
        os.close(self._descriptor)
        return size

    def _write(self, line: str) -> None:
        """Write a line in one call, so that those of threads do not mix; the end before it is of one that a full disk cut."""
        data = f"\n{line}\n".encode()
        if os.write(self._descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))


def journal_folder(mail: Path) -> Path:
    """Where the logs of a place's senders lie; ``mail`` is ``DATA_DIR/mail``."""
    return mail / "transport"


def claim(path: Path) -> IO[bytes] | None:
    """The log of a sender that is no more, held until the file is closed; None while the sender lives."""
    handle = path.open("rb")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def read_journal(handle: IO[bytes]) -> tuple[bool, dict[tuple[str, int], Entry]]:
    """Whether the log is of this boot of the machine, and its newest entry by contact key and attempt.

    A line that was cut, by a machine that stopped or a full disk, does not count.
    """
    entries: dict[tuple[str, int], Entry] = {}
    is_same_boot = False
    for line in handle:
        if line.startswith(b"#"):
            is_same_boot = line.split()[-1].decode() == _boot_id()
            continue
        if found := _LINE.fullmatch(line.decode("utf-8", "replace")):
            at, key, attempt, code, text = found.groups()
            reply = (int(code), f"{code}{text}") if code else (None, "")
            entries[key, int(attempt)] = Entry(key, int(attempt), datetime.fromisoformat(at), *reply)
    return is_same_boot, entries


def _boot_id() -> str:
    """What tells the boots of a machine apart; where the system does not say, no two are taken for the same."""
    return BOOT_ID.read_text(encoding="ascii").strip() if BOOT_ID.exists() else uuid.uuid4().hex
