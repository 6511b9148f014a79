"""Bounces, complaints, unsubscribes and answers by machines are told apart in the formats of many servers."""

import random
from email import message_from_bytes

import pytest
from answers_corpus import ALL, BOUNCES, BROKEN, DSN, KEY, SECRET, VERP, plain
from flufl.bounce import all_failures

from customer360.mail.reports import parse_report
from customer360.mail.reports.status import meaning_of, status_in
from customer360.mail.texts import TEXTS


@pytest.mark.parametrize("answer", ALL, ids=lambda answer: answer.name)
def test_an_answer_is_told_apart_and_names_its_contact(answer):
    report = parse_report(answer.content, [SECRET])
    assert report.kind == answer.kind
    assert not answer.reason or report.reason == answer.reason
    assert report.contact_key == (None if answer.name == "spam to the mailbox" else KEY)
    assert not report.is_forged


@pytest.mark.parametrize("answer", [*BOUNCES, *BROKEN], ids=lambda answer: answer.name)
def test_a_bounce_names_the_address_that_failed(answer):
    assert parse_report(answer.content, [SECRET]).recipient in {"ada.lovelace@inbox.example", "ada@inbox.example"}


def test_more_is_found_than_by_the_parser_of_mailman() -> None:
    """flufl.bounce finds the addresses of 25 of these 46 bounces; which of them are gone for good it does not say."""
    found = [answer.name for answer in [*BOUNCES, *BROKEN] if set().union(*all_failures(message_from_bytes(answer.content)))]
    assert len(found) < 0.7 * len([*BOUNCES, *BROKEN])
    assert all(parse_report(answer.content).kind in {"hard", "soft"} for answer in [*BOUNCES, *BROKEN])


def test_a_bounce_whose_mac_is_wrong_names_nobody():
    forged = parse_report(DSN, ["x" * 40])
    assert (forged.kind, forged.contact_key, forged.is_forged) == ("hard", None, True)
    nobody = plain("", "", "MAILER-DAEMON@x", "failure notice", "<a@b.example>: User unknown", to="b@x", original=False)
    assert not parse_report(nobody.content, [SECRET]).is_forged


def test_the_envelope_counts_before_what_the_text_quotes():
    other = parse_report(
        DSN.replace(VERP.encode(), b"b+00000000000000000000-aaaaaaaaaaaaaaaa@bounces.shop.example", 1), [SECRET]
    )
    assert other.contact_key == KEY  # of the original, which is signed; the forged one counts for nothing
    assert not other.is_forged


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("550 5.1.1 unknown", "5.1.1"),
        ("550-5.1.1 unknown\n550 5.1.1 more", "5.1.1"),
        ("(#5.7.1)", "5.7.1"),
        ("host 5.1.1.9 and 10.4.2.2, Exchange 5.5.2657.72", None),
        ("552 mailbox full", "5.0.0"),
        ("451 later", "4.0.0"),
        ("5.0.0, that is 5.2.2", "5.2.2"),
    ],
)
def test_the_status_is_found_in_a_text(text, status):
    assert status_in(text) == status


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        ("4.1.1", "User unknown, soft for now", "soft"),  # RFC 3463: 4 is temporary
        ("4.2.2", "over quota", "soft"),
        ("5.1.1", "mailbox is full", "soft"),
        ("5.7.1", "User unknown", "hard"),
        ("5.7.1", "Access denied", "soft"),
        ("5.5.0", "No such user here", "hard"),
        ("5.5.0", "", "soft"),
        ("5.1.1", "blocked by policy", "hard"),
        ("5.3.4", "", "soft"),
        ("5.1.2", "", "hard"),
    ],
)
def test_a_code_and_its_text_are_weighed(status, text, kind):
    assert meaning_of(status, text).kind == kind


def test_whatever_comes_is_read():
    generator = random.Random(17)
    for answer in ALL:
        content = bytearray(answer.content)
        for _ in range(20):
            content[generator.randrange(len(content))] = generator.randrange(256)
        assert parse_report(bytes(content), [SECRET]).kind
        assert parse_report(answer.content[: generator.randrange(len(content))], [SECRET]).kind


HEAD = b"From: MAILER-DAEMON@x.example\nTo: b@x.example\nSubject: failure notice\n"
MULTIPART = b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n" * 10_000_000,
        HEAD + b"\n" + b"mailbox " * 1_250_000,
        HEAD + b"\n" + b"-" * 10_000_000,
        HEAD + b"\n" + b"<style" * 1_600_000,
        HEAD + b"Content-Type: text/html\n\n" + b"<style>" * 1_400_000,
        HEAD + b"\n" + b" \t" * 5_000_000,
        HEAD + b"X: " + b"=?utf-8?q?" * 100_000 + b"\n\n",
        HEAD + MULTIPART + b"--b\nContent-Type: message/rfc822\n\n" * 100_000,
        HEAD + MULTIPART + b"--b\n\n" * 100_000,
        HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (i, i) for i in range(20_000)),
        HEAD + b"Content-Type: message/delivery-status\n\n" + b"Action: failed\n\n" * 10_000,
        HEAD + b"\n" + b"b+" * 5_000_000,
        HEAD + b"\n" + b"a@" * 5_000_000,
        HEAD + b"\n" + b"user " * 10 + b"a.a-" * 2_000_000,
    ],
    ids=range(15),
)
def test_large_and_malformed_mails_are_read(content):
    assert parse_report(content, [SECRET]).contact_key is None


def test_the_public_pages_say_the_same_in_each_language():
    assert {frozenset(texts) for texts in TEXTS.values()} == {frozenset(TEXTS["en"])}
    assert all(
        text.count("{shop}") == TEXTS["en"][name].count("{shop}") for texts in TEXTS.values() for name, text in texts.items()
    )
