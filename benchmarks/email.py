"""How fast personalised messages leave: the whole path of the mailer beside a bare loop of its client, and smtp-source.

A shop is made whose customers have a first name, and the mailer sends each of them a message to a receiver on this machine:
lease, checks, values, templates, MIME, SMTP, the log and the queue. The bare loop sends as many bytes by the same client over
as many connections. ``peak_mib`` is the mailer's memory while 1,000,000 messages are queued.

``make bench NAME=email``: ``MESSAGES`` (default 100,000), ``QUEUED`` (1,000,000) and ``DKIM=1`` (sign them as well).
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.measuring import bench_place, write_result
from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.drafts import approved_file, write_definition
from customer360.lake.publishing.publishing import publish
from customer360.lake.reference.reference import load_reference
from customer360.mail.message import load_messages
from customer360.mail.queue import open_queue
from customer360.mail.smtp import Connection, Relay
from customer360.services.mailer.server import make_worker
from customer360.services.mailer.settings import MailerSettings
from customer360.settings import Settings
from tests.support.ports import free_port
from tests.support.random_shop import EMAIL, small_shop

CONNECTIONS = 4
MESSAGE = {
    "title": "Spring",
    "subject": "Spring is here, {{ first_name }}",
    "preheader": "Offers for {{ first_name }}",
    "variables": {"first_name": {"source": "customer.first_name", "default": {"en": "there"}}},
    "links": {"shop": "/spring"},
}
BODY = """<mjml><mj-head><mj-preview>{{ preheader }}</mj-preview></mj-head><mj-body><mj-section><mj-column><mj-text>
<h1>Hello {{ first_name }}</h1><p>Spring is here, and with it the new collection.</p><p><a href="{{ link.shop }}">See it</a></p>
<p><a href="{{ link.unsubscribe }}">Stop</a> <a href="{{ link.preferences }}">Choose</a> {{ email.postal_address }}</p>
</mj-text></mj-column></mj-section></mj-body></mjml>"""
CAMPAIGN = {
    "title": "Spring",
    "audience": "everyone",
    "value_per_conversion": 20,
    "message": "spring",
    "channels": {"email": {"cost": 0.01}},
    "send_windows": [{"from": 0, "to": 24}],
}


def main() -> None:
    """Measure and write the figures."""
    messages, queued = int(os.environ.get("MESSAGES", "100000")), int(os.environ.get("QUEUED", "1000000"))
    with bench_place("email", "synthetic") as root:
        settings = _shop(root, messages)
        _fill(settings, [f"C{number}" for number in range(messages)], now=True)
        with _receiver(root) as port:
            own = _own(root, port)
            made = make_worker(settings, own)
            began = time.monotonic()
            made.run(is_once=True)
            seconds = time.monotonic() - began
        states = open_queue(settings.place).counts().groupby("state")["messages"].sum().to_dict()
        if states != {"accepted": messages}:
            raise RuntimeError(f"not every message was accepted: {states}")
        with _receiver(root) as port:
            bare = _bare(port, root, messages)
        figures = {"messages_per_second": messages / seconds, "bare_messages_per_second": bare}
        if shutil.which("smtp-source"):
            with _receiver(root) as port:
                figures["smtp_source_per_second"] = _smtp_source(port, messages)
        figures["peak_mib"] = _peak_with(settings, root, queued)
    write_result("email", figures)


def _shop(root: Path, customers: int) -> Settings:
    """A shop that mails, its customers with first name and address, and an approved campaign with a message."""
    folder = root / "shop"
    attributes = {"first_name": {"personal": True, "feature": False}}
    shop = small_shop(live=True, email=EMAIL, attributes=attributes)
    (folder / "messages" / "spring").mkdir(parents=True)
    (folder / "campaigns").mkdir()
    (folder / "messages" / "spring" / "message.yaml").write_text(yaml.safe_dump(MESSAGE), encoding="utf-8")
    (folder / "messages" / "spring" / "body.mjml").write_text(BODY, encoding="utf-8")
    (folder / "campaigns" / "spring.yaml").write_text(yaml.safe_dump(CAMPAIGN), encoding="utf-8")
    fields = shop.model_dump(mode="json", by_alias=True, exclude_none=True)
    (folder / "shop.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    settings = Settings.load(folder, root / "data")
    names = [f"C{number}" for number in range(customers)]
    domains = np.where(np.arange(customers) % 3 == 0, "gmail.com", "mail.example")
    people = pd.DataFrame({"customer_id": names, "consent_email": True, "first_name": [f"Anna {name}" for name in names]})
    people["email"] = [f"{name}@{domain}" for name, domain in zip(names, domains, strict=True)]
    target = settings.place.landing / "reference" / "customers" / "customers.csv"
    target.parent.mkdir(parents=True)
    people.to_csv(target, index=False)
    load_reference(settings, "customers", datetime.now(UTC))
    with duckdb.connect() as connection:
        connection.register("people", people)
        as_of = datetime.now(UTC)
        profiles = "select customer_id, first_name, now()::timestamp as as_of from people"
        publish(settings.place, connection, {"customer_profiles": profiles}, as_of, as_of)
    (campaign,), problems = load_shop_campaigns(settings)
    (message,), faults = load_messages(settings)
    if problems or faults:
        raise RuntimeError(f"{problems} {faults}")
    write_definition(approved_file(settings.place, "spring", "spring-1").parent, "spring-1", campaign, message)
    return settings


def _fill(settings: Settings, customers: Sequence[str], *, now: bool) -> None:
    """Queue a message for each customer, due now or tomorrow."""
    queue, moment = open_queue(settings.place), datetime.now(UTC)
    due = pd.Timestamp((moment if now else moment + timedelta(days=1)).replace(tzinfo=None))
    for start in range(0, len(customers), 100_000):
        part = customers[start : start + 100_000]
        keys = [f"{number:032x}" for number in range(start + (not now) * 10**9, start + (not now) * 10**9 + len(part))]
        frame = pd.DataFrame({"contact_key": keys, "customer_id": part, "campaign_id": "spring", "plan_version": "spring-1"})
        domains = ["gmail.com" if number % 3 == 0 else "mail.example" for number in range(start, start + len(part))]
        hashes = [queue.address_hash(f"{name}@{domain}".lower()) for name, domain in zip(part, domains, strict=True)]
        value = np.random.default_rng(1).random(len(part))
        queue.enqueue(
            frame.assign(
                address_hash=hashes if now else keys,
                domain=domains,
                send_at=due,
                due_at=due,
                contact_date=pd.Timestamp(moment.astimezone(settings.shop.zone).date()),
                value=value,
            ),
            moment,
        )


def _own(root: Path, port: int) -> MailerSettings:
    key = None
    if os.environ.get("DKIM"):
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (root / "dkim.pem").write_bytes(made.private_bytes(*form))
        key = str(root / "dkim.pem")
    return MailerSettings(host="127.0.0.1", port=port, tls="none", connections=CONNECTIONS, dkim_key=key)


@contextmanager
def _receiver(root: Path) -> Iterator[int]:
    """A receiver in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.smtp_receiver", str(port), str(root)]
    process = subprocess.Popen(command)  # noqa: S603  own module
    try:
        while True:
            try:
                Connection(Relay("127.0.0.1", port, "none")).quit()
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield port
    finally:
        process.kill()
        process.wait()


def _bare(port: int, root: Path, messages: int) -> float:
    """Messages a second of the client alone, with as many bytes as the mailer's have on average."""
    sizes = [int(line.split()[2]) for line in (root / "messages").read_text(encoding="ascii").splitlines()]
    body = b"Subject: x\r\n\r\n" + b"a" * 70 + b"\r\n" + (b"b" * 70 + b"\r\n") * (sum(sizes) // len(sizes) // 72)

    def send() -> None:
        connection = Connection(Relay("127.0.0.1", port, "none"))
        for _ in range(messages // CONNECTIONS):
            if not connection.send("b@b.example", "c@c.example", body, lambda: None).is_accepted:
                raise RuntimeError("a message was refused")
        connection.quit()

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return messages // CONNECTIONS * CONNECTIONS / (time.monotonic() - began)


def _smtp_source(port: int, messages: int) -> float:
    """Messages a second of Postfix's smtp-source, of the same number of connections."""
    command = ["smtp-source", "-s", str(CONNECTIONS), "-m", str(messages), "-l", "6000", f"inet:127.0.0.1:{port}"]
    began = time.monotonic()
    subprocess.run(command, check=True)  # noqa: S603  a program of Debian's
    return messages / (time.monotonic() - began)


def _peak_with(settings: Settings, root: Path, queued: int) -> float:
    """The mailer's largest memory in MiB while so many messages wait."""
    _fill(settings, [f"W{number}" for number in range(queued)], now=False)
    with _receiver(root) as port:
        process = multiprocessing.get_context("spawn").Process(target=_run, args=(settings, _own(root, port)))
        process.start()
        process.join()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _run(settings: Settings, own: MailerSettings) -> None:
    make_worker(settings, own).run(is_once=True)


if __name__ == "__main__":
    main()
