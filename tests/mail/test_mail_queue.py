"""The queue: each message has one state at a time, whoever asks, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy.engine import URL

from customer360.decisions import Request
from customer360.mail.queue import MailQueue, export_stops, open_queue
from customer360.mail.queue.messages import Outcome
from customer360.mail.queue.rates import Rates
from customer360.mail.queue.tables import ACCEPTED, FAILED, LEFT_OUT, METADATA, QUEUED, SENDING, UNKNOWN, QueueError
from customer360.settings import EmailRates, Place, ProviderRate, WarmUp
from tests.support.postgres import PASSWORD, postgres_server

NOW = datetime(2026, 5, 5, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def contacts(*keys: str, **columns: Any) -> pd.DataFrame:
    base: dict[str, Any] = {
        "contact_key": list(keys),
        "campaign_id": "spring",
        "plan_version": "spring-1",
        "customer_id": [f"C-{key}" for key in keys],
        "address_hash": [f"hash of {key}" for key in keys],
        "domain": "shop.example",
        "send_at": pd.Timestamp("2026-05-05 07:00"),
        "due_at": pd.Timestamp("2026-05-05 07:00"),
        "contact_date": pd.Timestamp("2026-05-05"),
        "value": [float(len(keys) - number) for number in range(len(keys))],
    }
    return pd.DataFrame({**base, **columns})


@pytest.fixture
def queue(tmp_path: Path) -> MailQueue:
    return open_queue(Place(root=tmp_path))


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres_server() as server:
        url = URL.create("postgresql", "shop", PASSWORD, "127.0.0.1", server.port, "postgres")
        yield url.render_as_string(hide_password=False)


def states(queue: MailQueue) -> dict[str, int]:
    return queue.counts().groupby("state")["messages"].sum().to_dict()


def lease(queue: MailQueue, limit: int = 100, owner: str = "one", now: datetime = NOW, **more: Any) -> list[str]:
    return [contact.contact_key for contact in queue.lease(limit, owner, now, now + MINUTE, **more)]


def record(queue: MailQueue, key: str, state: str, **more: Any) -> None:
    contact = queue.contact(key)
    assert contact is not None
    queue.record([Outcome(key, contact.attempt, state, NOW + MINUTE, **more)])


def test_the_most_valuable_messages_are_taken_first_and_by_one_sender_alone(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b", "c", value=[1.0, 3.0, 2.0]), NOW)
    assert lease(queue, 2) == ["b", "c"]
    assert lease(queue, 2, owner="two") == ["a"]
    assert lease(queue, 2) == []
    assert states(queue) == {SENDING: 3}


def test_queueing_twice_queues_once(queue: MailQueue) -> None:
    assert queue.enqueue(contacts("a", "b"), NOW) == ["a", "b"]
    lease(queue, 1)
    assert queue.enqueue(contacts("a", "b", "c"), NOW) == ["c"]
    assert states(queue) == {SENDING: 1, QUEUED: 2}


def test_an_address_has_one_message_of_a_campaign_and_one_of_another(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b", address_hash="same"), NOW)
    queue.enqueue(contacts("c", address_hash="same", plan_version="spring-2"), NOW)
    queue.enqueue(contacts("d", address_hash="same", campaign_id="summer"), NOW)
    assert lease(queue) == ["a", "d"]
    assert states(queue) == {SENDING: 2, LEFT_OUT: 2}


def test_what_is_not_due_waits(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b", due_at=[pd.Timestamp("2026-05-05 08:01"), pd.Timestamp("2026-05-05 07:00")]), NOW)
    assert lease(queue) == ["b"]
    assert queue.next_due() == NOW + MINUTE
    assert lease(queue, now=NOW + MINUTE) == ["a"]


def test_unknown_is_sent_again_by_a_persons_choice_alone(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b"), NOW)
    lease(queue)
    record(queue, "b", ACCEPTED)
    assert queue.give_up(NOW + 2 * MINUTE) == 1
    assert lease(queue, now=NOW + timedelta(hours=2)) == []
    assert states(queue) == {UNKNOWN: 1, ACCEPTED: 1}
    assert queue.release_unknown("summer", NOW) == 0
    assert queue.release_unknown("spring", NOW) == 1
    assert lease(queue) == ["a"]


def test_a_sender_that_comes_back_late_tells_what_became_of_a_message(queue: MailQueue) -> None:
    queue.enqueue(contacts("a"), NOW)
    lease(queue)
    queue.give_up(NOW + 2 * MINUTE)
    record(queue, "a", QUEUED, next_attempt_at=NOW)
    assert states(queue) == {UNKNOWN: 1}
    record(queue, "a", ACCEPTED)
    assert states(queue) == {ACCEPTED: 1}
    record(queue, "a", FAILED)
    assert states(queue) == {ACCEPTED: 1}


def test_outcomes_are_kept_together(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b", "c", "d"), NOW)
    lease(queue)
    kinds = {"a": ACCEPTED, "b": FAILED, "c": QUEUED, "d": QUEUED}
    queue.record(
        [Outcome(key, 1, state, NOW, "why", NOW + MINUTE if state == QUEUED else None) for key, state in kinds.items()]
    )
    assert states(queue) == {ACCEPTED: 1, FAILED: 1, QUEUED: 2}
    assert lease(queue) == [] and lease(queue, now=NOW + MINUTE) == ["c", "d"]


def test_an_outcome_of_an_earlier_attempt_changes_nothing(queue: MailQueue) -> None:
    queue.enqueue(contacts("a"), NOW)
    (first,) = queue.lease(1, "one", NOW, NOW + MINUTE)
    record(queue, "a", QUEUED, next_attempt_at=NOW)
    lease(queue, owner="two")
    queue.record([Outcome("a", first.attempt, FAILED, NOW)])
    assert states(queue) == {SENDING: 1}


def test_withdrawing_takes_back_what_is_queued_and_names_what_is_on_its_way(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b", "c"), NOW)
    queue.enqueue(contacts("d", campaign_id="summer"), NOW)
    lease(queue, 1)
    assert queue.withdraw("spring", "withdrawn: wrong price", NOW, ["C-a", "C-b"]) == (["b"], ["a"])
    assert queue.withdraw("spring", "withdrawn: wrong price", NOW) == (["c"], ["a"])
    assert lease(queue) == ["d"]


def test_a_stopped_campaign_waits_until_it_is_resumed(queue: MailQueue) -> None:
    queue.enqueue(contacts("a"), NOW)
    queue.enqueue(contacts("b", campaign_id="summer"), NOW)
    stop, resume = Request("wrong price", NOW, "anna"), Request("price is right", NOW, "anna")
    queue.stop_campaign("spring", stop)
    assert lease(queue) == ["b"]
    queue.resume_campaign("spring", resume)
    queue.stop_campaign(None, stop)
    assert lease(queue) == []
    queue.resume_campaign(None, resume)
    assert lease(queue) == ["a"]
    assert queue.campaign_stops()["is_stopped"].tolist() == [True, False, True, False]


def test_a_rate_is_shared_by_all_senders_and_a_clock_that_was_set_back_gives_nothing(queue: MailQueue) -> None:
    rates = Rates(EmailRates(providers={"gmail": ProviderRate(per_second=2)}))
    queue.enqueue(contacts(*(f"{number:02}" for number in range(30)), domain="gmail.com"), NOW)
    queue.enqueue(contacts("x", "y"), NOW)
    assert sorted(lease(queue, rates=rates))[-2:] == ["x", "y"]
    assert states(queue) == {SENDING: 12, QUEUED: 20}
    assert lease(queue, owner="two", rates=rates) == []
    assert lease(queue, now=NOW - MINUTE, rates=rates) == []
    assert len(lease(queue, now=NOW + timedelta(seconds=2), rates=rates)) == 4


def test_a_new_sender_warms_up_by_the_day(queue: MailQueue) -> None:
    rates = Rates(EmailRates(warm_up=WarmUp(first_day=4, growth=2, days=2)))
    queue.enqueue(contacts(*(f"{number:02}" for number in range(60)), domain="gmail.com"), NOW)
    by_day = [[len(lease(queue, 30, now=NOW + timedelta(days=day), rates=rates)) for _ in range(2)] for day in range(3)]
    assert by_day == [[4, 0], [8, 0], [30, 18]]


def test_a_provider_that_refuses_is_left_alone_for_longer_each_time(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b", domain="gmail.com"), NOW)
    queue.enqueue(contacts("c", domain="slow.example"), NOW)
    first, other = queue.lease(2, "one", NOW, NOW + MINUTE)[0], queue.contact("c")
    assert other is not None
    assert queue.defer(first, NOW, "451 busy") == NOW + MINUTE
    assert queue.defer(first, NOW, "451 busy") == NOW + MINUTE  # of the same batch
    assert queue.defer(first, NOW + MINUTE, "451 busy") == NOW + 3 * MINUTE
    assert queue.defer(other, NOW, "451 busy") == NOW + MINUTE
    queue.enqueue(contacts("e", domain="slow.example"), NOW)
    queue.enqueue(contacts("f", domain="quick.example"), NOW)
    queue.enqueue(contacts("g", domain="googlemail.com"), NOW)
    assert lease(queue) == ["f"]
    queue.recovered([first])
    assert queue.defer(first, NOW + 5 * MINUTE, "451 busy") == NOW + 6 * MINUTE


def test_stops_count_by_customer_by_address_and_by_topic(queue: MailQueue, tmp_path: Path) -> None:
    frame = contacts("a", "b", "c", "d", topic=["offers", "news", "offers", None])
    queue.enqueue(frame, NOW)
    queue.stop("C-a", None, "email", "offers", "unsubscribed from offers", "page", NOW)
    queue.stop("C-b", None, "email", "offers", "unsubscribed from offers", "page", NOW)
    queue.stop(None, "hash of c", "email", None, "bounced: no such mailbox", "bounce", NOW)
    queue.stop("C-d", None, "sms", None, "unsubscribed", "page", NOW)
    queue.stop("C-a", None, "email", "offers", "again", "page", NOW)
    reasons = queue.stopped(frame)
    assert reasons.dropna().tolist() == ["unsubscribed from offers", "bounced: no such mailbox"]
    assert reasons.dropna().index.tolist() == [0, 2]
    assert export_stops(Place(root=tmp_path), queue) == 4
    exported = pd.read_parquet(tmp_path / "campaigns" / "stops.parquet").set_index("customer_id")
    assert exported.loc["C-c", "channel"] == "email" and pd.isna(exported.loc["C-c", "topic"])
    assert queue.lift("C-a", "email", "offers", NOW) == 1
    assert queue.stopped(frame).dropna().index.tolist() == [2]


def test_marks_are_kept_once_and_soft_bounces_counted_since_the_last_delivery(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", address_hash="same"), NOW)
    queue.enqueue(contacts("b", address_hash="same", campaign_id="summer"), NOW)
    assert queue.mark("a", "bounced_soft", NOW, "mailbox full", "dsn-1")
    assert not queue.mark("a", "bounced_soft", NOW, "mailbox full", "dsn-1")
    assert queue.soft_bounces_in_a_row("same") == 1
    queue.mark("b", "delivered", NOW + MINUTE, None, "webhook-1")
    queue.mark("b", "bounced_soft", NOW + 2 * MINUTE, None, "dsn-2")
    assert queue.soft_bounces_in_a_row("same") == 1
    assert queue.marks().set_index(["campaign_id", "kind"])["messages"].to_dict()["spring", "bounced_soft"] == 1


def test_an_address_that_changed_is_taken_unless_the_campaign_has_it(queue: MailQueue) -> None:
    queue.enqueue(contacts("a", "b"), NOW)
    assert queue.readdress({"a": ("new", "gmail.com"), "b": ("new", "gmail.com")}) == ["b"]
    moved = queue.contact("a")
    assert moved is not None and (moved.address_hash, moved.provider) == ("new", "gmail")


def test_the_hash_of_an_address_is_keyed_and_the_same_in_every_process(tmp_path: Path) -> None:
    queue, other = open_queue(Place(root=tmp_path / "a")), open_queue(Place(root=tmp_path / "b"))
    again = MailQueue(queue.engine, queue.folder)
    assert queue.address_hash("anna@shop.example") == again.address_hash("anna@shop.example")
    assert queue.address_hash("anna@shop.example") != other.address_hash("anna@shop.example")
    assert (queue.folder / "address_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("senders", [4])
def test_senders_at_once_share_the_messages_without_a_double(queue: MailQueue, senders: int) -> None:
    _share(queue, senders)


def _share(queue: MailQueue, senders: int) -> None:
    queue.enqueue(contacts(*(f"{number:03}" for number in range(300))), NOW)
    taken: list[str] = []

    def work(owner: str) -> None:
        while keys := lease(queue, 7, owner):
            taken.extend(keys)

    threads = [threading.Thread(target=work, args=(f"sender {number}",)) for number in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [f"{number:03}" for number in range(300)]


def test_postgres_holds_a_queue_as_sqlite_does(database: str, tmp_path: Path) -> None:
    queue = open_queue(Place(root=tmp_path), database)
    try:
        _share(queue, 4)
        record(queue, "000", ACCEPTED, reply="250 2.0.0 Ok")
        assert queue.give_up(NOW + 2 * MINUTE) == 299
        found = queue.unsynced(1000)
        assert len(found) == 300
        queue.synced(zip(found["contact_key"], found["state"], strict=True))
        assert queue.unsynced(1000).empty
        assert queue.release_unknown(None, NOW) == 299
        assert len(lease(queue, 7, rates=Rates(EmailRates(default=ProviderRate(per_second=1))))) == 5
        queue.stop("C-001", None, "email", None, "unsubscribed", "page", NOW)
        queue.stop("C-001", None, "email", None, "unsubscribed", "page", NOW)
        assert queue.stopped(contacts("001", "002", topic=None)).notna().tolist() == [True, False]
        assert len(queue.withdraw("spring", "withdrawn: late", NOW)[0]) == 294
        assert queue.mark("001", "clicked", NOW, None, "1")
        queue.stop_campaign("spring", Request("why not", NOW, "anna"))
        assert queue.is_stopped("spring")
    finally:
        METADATA.drop_all(queue.engine)
        queue.engine.dispose()


def test_a_queue_that_cannot_be_opened_says_so_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(QueueError) as refused:
        open_queue(Place(root=tmp_path), "postgresql://shop:s3cret@127.0.0.1:1/none")
    assert "s3cret" not in str(refused.value) and "127.0.0.1" in str(refused.value)
