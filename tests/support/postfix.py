"""Debian's Postfix as a receiver, with OpenDKIM as its verifier: an instance of its own on free ports of this machine.

What is accepted lies in a Maildir, with the headers that both added.
"""

from __future__ import annotations

import mailbox
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from tests.support.ports import free_ports

NAME = "mx.inbox.example"
DOMAINS = "inbox.example xn--bcher-kva.example"
DAEMONS = Path("/usr/lib/postfix/sbin")
VERIFIER = Path("/usr/sbin/opendkim")
QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "pid", "private", "public", "trace")
START_SECONDS = 20
# Nobody has the mailbox nobody@; late@ is refused for now, closed@ for good.
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = {name}
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
biff = no
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}
virtual_mailbox_maps = regexp:{folder}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{ late@inbox.example = 451 4.7.1 try again later }}, {{ closed@inbox.example = 550 5.2.1 this mailbox is closed }} }},
    reject_unlisted_recipient, reject_unauth_destination
smtpd_forbid_bare_newline = reject
smtpd_forbid_bare_newline_exclusions =
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {folder}/certificate.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_milters = inet:127.0.0.1:{milter}
milter_default_action = tempfail
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"""
OPENDKIM = """
Mode v
Socket inet:{milter}@127.0.0.1
Background no
UserID opendkim
PidFile {folder}/opendkim.pid
AuthservID {name}
AlwaysAddARHeader yes
InternalHosts 192.0.2.1
TestPublicKeys {folder}/keys
"""


@dataclass(frozen=True)
class Postfix:
    """A running instance: TLS is by ``certificate``, which is of ``localhost``."""

    folder: Path
    port: int

    @property
    def certificate(self) -> Path:
        """What a client trusts."""
        return self.folder / "certificate.pem"

    def wait_for(self, number: int) -> list[Message]:
        """The messages in the Maildir, when there are so many."""
        until = time.monotonic() + START_SECONDS
        inbox = mailbox.Maildir(self.folder / "inbox", create=True)
        while len(found := list(inbox)) < number and time.monotonic() < until:
            time.sleep(0.05)
        assert len(found) == number, self.log()
        return list(found)

    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def postfix_server(public_keys: str) -> Iterator[Postfix]:
    """A running Postfix; ``public_keys``: lines of a DNS name and its TXT record. Stopped and removed afterwards."""
    missing = [name for name, path in {"postfix": DAEMONS, "opendkim": VERIFIER}.items() if not path.exists()]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; apt-get install {' '.join(missing)}")
    if os.geteuid():
        pytest.skip("Postfix starts as root alone")
    folder = Path(tempfile.mkdtemp(prefix="customer360-postfix-"))
    port, milter = free_ports(2)
    try:
        _configure(folder, port, milter, public_keys)
        with (
            _running(VERIFIER, "-f", "-x", folder / "opendkim.conf", port=milter),
            _running(DAEMONS / "master", "-c", folder, "-d", port=port),
        ):
            yield Postfix(folder, port)
    finally:
        shutil.rmtree(folder)


def _configure(folder: Path, port: int, milter: int, public_keys: str) -> None:
    folder.chmod(0o755)
    owner = pwd.getpwnam("nobody")
    values = {"folder": folder, "daemons": DAEMONS, "name": NAME, "domains": DOMAINS, "milter": milter, "port": port}
    values |= {"uid": owner.pw_uid, "gid": owner.pw_gid}
    for name in ("data", "inbox", *(f"spool/{name}" for name in QUEUES)):
        (folder / name).mkdir(parents=True)
        shutil.chown(folder / name, "postfix")
    shutil.chown(folder / "inbox", owner.pw_uid, owner.pw_gid)
    for name, text in {"main.cf": MAIN, "master.cf": MASTER, "opendkim.conf": OPENDKIM}.items():
        (folder / name).write_text(text.format(**values), encoding="utf-8")
    (folder / "keys").write_text(public_keys, encoding="utf-8")
    (folder / "mailboxes").write_text("!/^nobody@/ inbox/\n", encoding="utf-8")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {folder}/key.pem -out {folder}/certificate.pem -days 2"
    named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run([*made.split(), *named], check=True, capture_output=True)


@contextmanager
def _running(*command: str | Path, port: int) -> Iterator[None]:
    """A server, from when it listens to the end of the block."""
    with subprocess.Popen(command, process_group=0) as process:  # with those that it starts
        try:
            until = time.monotonic() + START_SECONDS
            with closing(socket.socket()) as probe:
                while probe.connect_ex(("127.0.0.1", port)):
                    assert process.poll() is None and time.monotonic() < until, f"{command[0]} does not listen on {port}"
                    time.sleep(0.02)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
