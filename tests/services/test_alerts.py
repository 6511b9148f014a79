"""Alerts: what a webhook is sent, and what is said when it does not take it."""

from __future__ import annotations

import pytest

from customer360.services.alerts import Alert, AlertError, send
from tests.support.webhook import NO_ANSWER, dead_address, webhook

ALERT = Alert("slice_job", "2026-04-30-16:00", "run-1", ["raw__clicks", "publishing__published"], "the disk is full")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_an_alert_is_posted_as_one_json_document_with_a_sentence_for_people() -> None:
    with webhook() as hook:
        send(hook.url, ALERT)
    assert hook.content_types == ["application/json"]
    assert hook.documents == [
        {
            "text": "slice_job for 2026-04-30-16:00 failed at raw__clicks, publishing__published: the disk is full",
            "job": "slice_job",
            "partition": "2026-04-30-16:00",
            "run_id": "run-1",
            "steps": ["raw__clicks", "publishing__published"],
            "message": "the disk is full",
        }
    ]


@pytest.mark.parametrize(
    ("alert", "text"),
    [
        (
            Alert("training_job", "", "r", ["predictions__affinity_model"], "x"),
            "training_job failed at predictions__affinity_model: x",
        ),
        (Alert("daily_job", "2026-05-01", "r", [], "x"), "daily_job for 2026-05-01 failed: x"),
        (Alert("daily_job", "", "r", [], ""), "daily_job failed: no message"),
        (Alert("daily_job", "", "r", [], "\n"), "daily_job failed: no message"),
        (Alert("daily_job", "", "r", [], "\nfirst line\nsecond line"), "daily_job failed: first line"),
        (Alert("daily_job", "", "r", [], "é" * 400), "daily_job failed: " + "é" * 299 + "…"),
    ],
)
def test_the_sentence_says_what_is_known(alert: Alert, text: str) -> None:
    assert alert.text == text


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/alerts", "127.0.0.1:8080", "/alerts", ""])
def test_an_address_of_another_scheme_is_refused_before_anything_is_opened(address: str) -> None:
    with pytest.raises(AlertError, match="not an http or https address"):
        send(address, ALERT)


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_webhook_that_refuses_is_an_alert_error_with_its_status(status: int) -> None:
    with webhook(status) as hook, pytest.raises(AlertError, match=f"HTTP Error {status}"):
        send(hook.url, ALERT)
    assert len(hook.documents) == 1


def test_a_webhook_that_hangs_up_is_an_alert_error() -> None:
    with webhook(NO_ANSWER) as hook, pytest.raises(AlertError, match="without response"):
        send(hook.url, ALERT)


def test_an_address_where_nobody_listens_is_an_alert_error() -> None:
    with pytest.raises(AlertError, match="refused"):
        send(dead_address(), ALERT)


@pytest.mark.parametrize("address", ["http://", "http://[127.0.0.1/alerts", "http://127.0.0.1:port/alerts"])
def test_a_misspelt_address_is_an_alert_error(address: str) -> None:
    with pytest.raises(AlertError):
        send(address, ALERT)
