"""How fast personalised messages leave: the whole path of the mailer beside a bare loop of its client, and smtp-source.

A shop is made whose customers have a first name, and mailers, as many as there are processors, send each of them a message to a
receiver on this machine: lease, checks, values, templates, MIME, SMTP, the log and the queue. The bare loop sends the bytes of
a message of theirs by the same client, from as many processes over as many kept connections, and Postfix's smtp-source sends
them over as many. ``peak_mib`` is the largest memory of a mailer that sends 20,000 messages while 1,000,000 others are queued.

``make bench NAME=email``: ``MESSAGES`` (default 100,000), ``QUEUED`` (1,000,000) and ``DKIM=1`` (sign them as well).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

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
from tests.support.smtp_receiver import smtp_receiver

MAILERS = 2
CONNECTIONS = 4  # of all of them
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
        settings = _shop(root, messages + 1)
        own = _own(root)
        message = _specimen(settings, own)
        _fill(settings, range(1, messages + 1))
        with _receiver(root) as port:
            _say(f"{MAILERS} mailers send {messages:,} messages of {len(message):,} bytes")
            figures = {"messages_per_second": messages / _timed(_mail, settings, replace(own, port=port))}
        states = open_queue(settings.place).counts().groupby("state")["messages"].sum().to_dict()
        if states != {"accepted": messages + 1}:
            raise RuntimeError(f"not every message was accepted: {states}")
        with _receiver(root) as port:
            _say(f"{figures['messages_per_second']:,.0f} a second; now a bare loop of the client")
            figures["bare_messages_per_second"] = messages / _timed(_send_bare, port, message, messages // CONNECTIONS)
        if shutil.which("smtp-source"):
            with _receiver(root) as port:
                _say(f"{figures['bare_messages_per_second']:,.0f} a second; now smtp-source")
                figures["smtp_source_per_second"] = _smtp_source(port, root, message, messages)
        _say(f"{queued:,} messages are queued")
        figures["peak_mib"] = _peak_with(settings, root, own, queued)
    write_result("email", figures)


def _shop(root: Path, customers: int) -> Settings:
    """A shop that mails, its customers with first name and address, and three approved campaigns with a message."""
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
    for name in ("spring", "summer", "autumn"):
        folder = approved_file(settings.place, name, f"{name}-1").parent
        write_definition(folder, f"{name}-1", campaign.model_copy(update={"campaign_id": name}), message)
    return settings


def _fill(settings: Settings, customers: range, *, campaign: str = "spring", in_days: int = 0) -> None:
    """Queue a message of a campaign for each customer of this number, due now or in days."""
    queue, moment = open_queue(settings.place), datetime.now(UTC)
    due = pd.Timestamp((moment + timedelta(days=in_days)).replace(tzinfo=None))
    value = np.random.default_rng(1)
    for start in range(customers.start, customers.stop, 100_000):
        numbers = range(start, min(start + 100_000, customers.stop))
        domains = ["gmail.com" if number % 3 == 0 else "mail.example" for number in numbers]
        addresses = [f"c{number}@{domain}" for number, domain in zip(numbers, domains, strict=True)]
        frame = pd.DataFrame(
            {
                "contact_key": [f"{campaign}{number:026}" for number in numbers],
                "customer_id": [f"C{number}" for number in numbers],
                "address_hash": [queue.address_hash(address) for address in addresses],
                "domain": domains,
                "value": value.random(len(numbers)),
            }
        )
        day = pd.Timestamp(moment.astimezone(settings.shop.zone).date())
        fixed = {"campaign_id": campaign, "plan_version": f"{campaign}-1", "contact_date": day}
        queue.enqueue(frame.assign(**fixed, send_at=due, due_at=due), moment)
        if len(customers) > len(numbers):
            _say(f"  {numbers.stop:,}")


def _own(root: Path) -> MailerSettings:
    key = None
    if os.environ.get("DKIM"):
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (root / "dkim.pem").write_bytes(made.private_bytes(*form))
        key = str(root / "dkim.pem")
    return MailerSettings(host="127.0.0.1", tls="none", connections=CONNECTIONS // MAILERS, dkim_key=key)


def _specimen(settings: Settings, own: MailerSettings) -> bytes:
    """A message as the mailer sends it, to one customer more than are measured."""
    _fill(settings, range(1))
    port = free_port()
    with smtp_receiver(port) as taken:
        make_worker(settings, replace(own, port=port)).run(is_once=True)
    return taken[0].content


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


def _timed(work: Callable[..., object], *arguments: object) -> float:
    """Seconds that processes, as many as there are mailers, take for their work, from when all of them are ready."""
    with ProcessPoolExecutor(MAILERS, get_context("spawn"), _get_ready, (get_context("spawn").Barrier(MAILERS),)) as pool:
        spans = [done.result() for done in [pool.submit(_span, work, *arguments) for _ in range(MAILERS)]]
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def _get_ready(barrier: Barrier) -> None:
    barrier.wait()


def _span(work: Callable[..., object], *arguments: object) -> tuple[float, float]:
    began = time.monotonic()
    work(*arguments)
    return began, time.monotonic()


def _mail(settings: Settings, own: MailerSettings) -> float:
    """A mailer: sends what is due. Returns its largest memory in MiB."""
    make_worker(settings, own).run(is_once=True)
    (peak,) = [line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")]
    return int(peak.split()[1]) / 1024


def _send_bare(port: int, message: bytes, number: int) -> None:
    """Send a message so often over each of a mailer's connections."""

    def send() -> None:
        connection = Connection(Relay("127.0.0.1", port, "none"))
        for _ in range(number):
            if not connection.send("b@b.example", "c@c.example", message, lambda: None).is_accepted:
                raise RuntimeError("a message was refused")
        connection.quit()

    with ThreadPoolExecutor(CONNECTIONS // MAILERS) as threads:
        for done in [threads.submit(send) for _ in range(CONNECTIONS // MAILERS)]:
            done.result()


def _smtp_source(port: int, root: Path, message: bytes, messages: int) -> float:
    """Messages a second of Postfix's smtp-source."""
    (root / "specimen").write_bytes(message.replace(b"\r\n", b"\n"))
    command = ["smtp-source", "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-F", str(root / "specimen")]
    began = time.monotonic()
    subprocess.run([*command, f"inet:127.0.0.1:{port}"], check=True)  # noqa: S603  a program of Debian's
    return messages / (time.monotonic() - began)


def _peak_with(settings: Settings, root: Path, own: MailerSettings, queued: int) -> float:
    """The largest memory in MiB of a mailer that sends while so many messages wait."""
    sent = open_queue(settings.place).counts()["messages"].sum()
    _fill(settings, range(queued), campaign="autumn", in_days=1)
    _fill(settings, range(min(20_000, int(sent))), campaign="summer")
    with _receiver(root) as port, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_mail, settings, replace(own, port=port, connections=CONNECTIONS)).result()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
