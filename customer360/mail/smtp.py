"""A small SMTP client (RFC 5321) for many messages over kept connections, with pipelining (RFC 2920) where the server has it.

It tells apart what Python's smtplib does not: whether a connection that was lost had the whole message, so that it may have
arrived, or not. Only in the first case nobody knows, and the message must not be sent again.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from customer360.loopback import is_loopback
from customer360.settings import SettingsError

LINE_LIMIT = 64 * 1024  # of a server's reply
ADDRESS = re.compile(r"\S*@\S*")
LONGEST_REPLY = 300
END_SECONDS = 600.0  # RFC 5321, 4.5.3.2.6: a server may scan so long; who waits less takes messages for unknown that arrived


class Reply(NamedTuple):
    """What the server answered last to a message, and at which step: ``connect``, ``mail``, ``rcpt``, ``data`` or ``end``."""

    code: int
    text: str
    step: str

    @property
    def is_accepted(self) -> bool:
        """Whether the server has taken the message."""
        return self.step == "end" and 200 <= self.code < 300

    @property
    def is_final(self) -> bool:
        """Whether asking again is of no use."""
        return self.is_accepted or self.code >= 500

    @property
    def line(self) -> str:
        """Code and text without addresses, on one line, for logs and the queue."""
        return without_addresses(f"{self.code} {self.text}")


class LostConnectionError(OSError):
    """The connection ended at a step. ``is_in_doubt``: after the whole message, so that it may have been taken."""

    def __init__(self, step: str, reason: str, *, is_in_doubt: bool = False) -> None:
        super().__init__(f"the connection was lost at {step}: {without_addresses(reason)}")
        self.step, self.is_in_doubt = step, is_in_doubt


class RefusedError(OSError):
    """The server takes no messages from this sender now: it refused the connection, TLS or the login."""


@dataclass(frozen=True)
class Relay:
    """The server that takes the messages. ``tls``: ``starttls``, ``implicit``, or ``none`` for this machine alone."""

    host: str
    port: int
    tls: str = "starttls"
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    timeout: float = 60.0
    name: str = "localhost"  # in EHLO

    def __post_init__(self) -> None:
        """Refuse to send addresses and a password in the clear."""
        if self.tls not in {"starttls", "implicit", "none"}:
            raise SettingsError(f"TLS is starttls, implicit or none; got {self.tls!r}")
        if self.tls == "none" and not is_loopback(self.host):
            raise SettingsError(
                f"{self.host} is another machine: messages go there through TLS alone; use starttls or implicit"
            )

    def __repr__(self) -> str:
        """Without the password."""
        return f"{self.host}:{self.port} ({self.tls})"

    @property
    def is_local(self) -> bool:
        """Whether messages go to a server of this machine without TLS, such as the demo's sink."""
        return self.tls == "none"

    def connect(self) -> Connection:
        """A connection to it. Raises ``RefusedError``."""
        return Connection(self)


class Connection:
    """One connection to the relay. Not for several threads at once."""

    def __init__(self, relay: Relay) -> None:
        self._relay, self._buffer, self.is_open = relay, b"", True
        self._step = "connect"
        context = ssl.create_default_context(cafile=relay.ca_file) if relay.tls != "none" else None
        try:
            self._socket = socket.create_connection((relay.host, relay.port), relay.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context and relay.tls == "implicit":
                self._socket = context.wrap_socket(self._socket, server_hostname=relay.host)
            self._expect(220, self._read())
            self._greet()
            if context and relay.tls == "starttls":
                self._expect(220, self._ask("STARTTLS"))
                self._buffer = b""  # whatever came before TLS may be of somebody in between
                self._socket = context.wrap_socket(self._socket, server_hostname=relay.host)
                self._greet()
            if relay.user is not None:
                self._log_in(relay.user, relay.password or "")
        except RefusedError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise RefusedError(f"{relay!r} cannot be reached: {error}") from error

    def send(self, sender: str, recipient: str, message: bytes, before_end: Callable[[], None]) -> Reply:
        """Send one message (CRLF line ends). ``before_end`` is called when all but its end is sent.

        Raises ``LostConnectionError``. The connection takes the next message while ``is_open``.
        """
        self._step = "mail"
        if self._buffer:
            self._lost("the server answered more than it was asked")
        option = "" if recipient.isascii() else " SMTPUTF8"
        if option and "SMTPUTF8" not in self.extensions:
            return Reply(553, "5.6.7 the relay takes no addresses beyond ASCII", "rcpt")
        if refused := self._envelope(f"MAIL FROM:<{sender}>{option}", f"RCPT TO:<{recipient}>", "DATA"):
            return refused
        self._step = "content"
        self._write(_stuffed(message))
        before_end()
        self._write(b".\r\n")  # where this fails the system has sent none of it
        self._step = "end"
        return Reply(*self._read(max(END_SECONDS, self._relay.timeout)), "end")

    def close(self) -> None:
        """End the connection, without a word to the server."""
        self.is_open = False
        if hasattr(self, "_socket"):
            self._socket.close()

    def quit(self) -> None:
        """Take leave of the server and end the connection."""
        try:
            self._step = "quit"
            self._write(b"QUIT\r\n")
        except LostConnectionError:
            pass
        finally:
            self.close()

    def _envelope(self, *commands: str) -> Reply | None:
        """Have the server wait for a message; its reply where it refuses that, after which it takes another envelope."""
        is_pipelined = "PIPELINING" in self.extensions
        if is_pipelined:
            self._write("".join(f"{command}\r\n" for command in commands).encode())
        refused: Reply | None = None
        code = 0
        for step, command in zip(("mail", "rcpt", "data"), commands, strict=True):
            self._step = step
            try:
                code, text = self._read() if is_pipelined else self._ask(command)
                if code == 421:
                    self._lost(f"{code} {text}")
            except LostConnectionError:
                if refused:  # the server said why, and went
                    return refused
                raise
            if code >= 400:
                refused = refused or Reply(code, text, step)
                if not is_pipelined:
                    break
        if refused:
            self._start_again(is_asked=code == 354)
        elif code != 354 or self._buffer:  # whose answer the next one is could not be told
            self._lost("the server's answers do not fit what it was asked")
        return refused

    def _start_again(self, *, is_asked: bool) -> None:
        """Be ready for the next message after a refusal; close where the server asked for the refused one all the same."""
        if is_asked:
            self.close()
            return
        try:
            self._ask("RSET")
        except LostConnectionError:
            self.close()

    def _greet(self) -> None:
        code, text = self._ask(f"EHLO {self._relay.name}")
        self._expect(250, (code, text))
        self.extensions = {line.partition(" ")[0].upper(): line for line in text.split("\n")[1:]}

    def _log_in(self, user: str, password: str) -> None:
        methods = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in methods:
            reply = self._ask("AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
        else:
            self._expect(334, self._ask("AUTH LOGIN"))
            self._expect(334, self._ask(base64.b64encode(user.encode()).decode()))
            reply = self._ask(base64.b64encode(password.encode()).decode())
        self._expect(235, reply)

    def _expect(self, code: int, reply: tuple[int, str]) -> None:
        if reply[0] != code:
            raise RefusedError(f"{self._relay!r} answered {without_addresses(f'{reply[0]} {reply[1]}')}")

    def _ask(self, command: str) -> tuple[int, str]:
        self._write(f"{command}\r\n".encode())
        return self._read()

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self._relay.timeout)
            self._socket.sendall(data)
        except OSError as error:
            self._lost(str(error))

    def _read(self, seconds: float | None = None) -> tuple[int, str]:
        """One reply: its code, and its lines without it. All of it must come within the relay's timeout, or ``seconds``."""
        lines: list[str] = []
        until = time.monotonic() + (seconds or self._relay.timeout)
        while True:
            while b"\n" not in self._buffer:
                try:
                    self._socket.settimeout(max(until - time.monotonic(), 0.001))
                    received = self._socket.recv(LINE_LIMIT)
                except OSError as error:
                    self._lost(str(error))
                if not received or len(self._buffer) > LINE_LIMIT:
                    self._lost("the server closed it" if not received else "its reply has no end")
                self._buffer += received
            line, _, self._buffer = self._buffer.partition(b"\n")
            text = line.decode("utf-8", "replace").rstrip("\r")
            if not re.fullmatch(r"[2-5]\d\d([ -].*)?", text):
                self._lost("the server speaks no SMTP")
            lines.append(text[4:])
            if text[3:4] != "-":
                return int(text[:3]), "\n".join(lines)

    def _lost(self, reason: str) -> NoReturn:
        self.close()
        raise LostConnectionError(self._step, reason, is_in_doubt=self._step == "end")


def without_addresses(text: str) -> str:
    """A reply on one line, without what may be an address."""
    return ADDRESS.sub("<address>", " ".join(text.split()))[:LONGEST_REPLY]


def _stuffed(message: bytes) -> bytes:
    """The message with the dots at line ends doubled (RFC 5321, 4.5.2), ended by a line end."""
    doubled = message.replace(b"\r\n.", b"\r\n..")
    doubled = b"." + doubled if doubled.startswith(b".") else doubled
    return doubled if doubled.endswith(b"\r\n") else doubled + b"\r\n"
