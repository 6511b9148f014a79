"""A real IMAP server for tests: Debian's Dovecot over TLS, with a certificate that is made for it, on free ports."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.ports import free_port

PASSWORD = "gehëim"
SETTINGS = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {group}
first_valid_uid = 1
mail_location = {location}
mail_plugins = quota
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
namespace inbox {{
  inbox = yes
  {namespace}
}}
plugin {{
  quota = count:User
  quota_vsizes = yes
  quota_rule = *:storage={quota}
}}
protocol imap {{
  mail_plugins = $mail_plugins imap_quota
  imap_capability = {capability}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {starttls}
  }}
  inet_listener imaps {{
    port = {implicit}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """Its folder, with ``certificate.pem`` for localhost, the mails of its only account in ``home``, and its two ports."""

    folder: Path
    starttls: int
    implicit: int


@contextmanager
def dovecot(
    *,
    location: str = "maildir:~/Maildir",
    namespace: str = "separator = /",
    quota: str = "0",
    capability: str = "+",
) -> Iterator[Dovecot]:
    """A server of one account, of any name. Skips where Dovecot is not installed."""
    program = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("Dovecot is not installed: apt-get install dovecot-imapd")
    is_root = os.geteuid() == 0
    own = pwd.getpwnam("dovecot" if is_root else pwd.getpwuid(os.geteuid()).pw_name)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)  # the server's own account goes through
        (folder / "home").mkdir()
        os.chown(folder / "home", own.pw_uid, own.pw_gid)
        server = Dovecot(folder, free_port(), free_port())
        _certify(folder)
        text = SETTINGS.format(
            folder=folder,
            login="dovenull" if is_root else own.pw_name,
            internal=own.pw_name,
            group=grp.getgrgid(own.pw_gid).gr_name,
            uid=own.pw_uid,
            gid=own.pw_gid,
            location=location,
            namespace=namespace,
            quota=quota,
            capability=capability,
            password=PASSWORD,
            starttls=server.starttls,
            implicit=server.implicit,
        )
        (folder / "dovecot.conf").write_text(text, encoding="utf-8")
        running = subprocess.Popen([program, "-F", "-c", folder / "dovecot.conf"], start_new_session=True)
        try:
            _wait(server.starttls, running)
            yield server
        finally:
            os.killpg(running.pid, signal.SIGKILL)  # asked to end it waits for seconds
            running.wait()


def _wait(port: int, running: subprocess.Popen[bytes]) -> None:
    """Until it greets, which it does once it can check passwords."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                assert connection.recv(100).startswith(b"* OK")
        except ConnectionRefusedError:
            assert running.poll() is None, "Dovecot ended: its log says why"
            time.sleep(0.02)
        else:
            return


def _certify(folder: Path) -> None:
    """A key and a certificate for localhost that signs itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (folder / "certificate.pem").write_bytes(made.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
