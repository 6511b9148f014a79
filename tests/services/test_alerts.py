"""Alerts: the document sent to a webhook, and the error where it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from customer360.services.alerts import Alert, AlertError, open_incidents, report_failure, report_success, send
from customer360.settings import REPOSITORY, Place
from tests.support.webhook import NO_ANSWER, dead_address, webhook

KEY, NEXT = "2026-04-30-16:00", "2026-04-30-16:15"
NOW = datetime(2026, 4, 30, 17, tzinfo=UTC)
ALERT = Alert("slice_job", KEY, "run-1", ["raw__clicks", "publishing__published"], "the disk is full", "an hourly attempt")
DBT = replace(ALERT, steps=["warehouse_models"], message="dbt failed: stg_clicks: Conversion Error: no value is shown")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


class Phone:
    """A receiver of alerts: keeps the delivered ones; while ``is_off`` it accepts none."""

    def __init__(self, root: Path) -> None:
        self.place = Place(root=root)
        self.texts: list[str] = []
        self.is_off = False

    def __call__(self, alert: Alert) -> bool:
        if not self.is_off:
            self.texts.append(alert.text)
        return not self.is_off

    def fail(self, alert: Alert, *slices: str) -> None:
        report_failure(self.place, alert, slices, NOW, self)

    def succeed(self, job: str, *well: str) -> None:
        report_success(self.place, job, "run-9", lambda key: key in well, self)


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    return Phone(tmp_path)


def test_a_slice_alerts_once_when_it_fails_for_good_and_once_when_it_is_well_again(phone: Phone) -> None:
    for _ in range(5):
        phone.fail(DBT, KEY)
    assert phone.texts == [DBT.text]
    phone.succeed("slice_job", NEXT)
    assert len(phone.texts) == 1
    for _ in range(2):
        phone.succeed("slice_job", KEY, NEXT)
    assert phone.texts[1:] == [f"slice_job for {KEY} is well again."]
    phone.fail(DBT, KEY)
    assert len(phone.texts) == 3


def test_what_was_alerted_is_known_to_another_process(phone: Phone) -> None:
    phone.fail(DBT, KEY)
    restarted = Phone(phone.place.root)
    restarted.fail(DBT, KEY)
    assert restarted.texts == []
    restarted.succeed("slice_job", KEY)
    assert restarted.texts == [f"slice_job for {KEY} is well again."]
    assert open_incidents(phone.place) == []


def test_each_slice_has_an_alert_of_its_own_and_a_range_one_for_all(phone: Phone) -> None:
    both = replace(DBT, partition=f"{KEY} to {NEXT}")
    phone.fail(both, KEY, NEXT)
    phone.fail(DBT, KEY)
    phone.succeed("slice_job", KEY)
    assert phone.texts == [both.text]
    third = replace(DBT, partition="2026-04-30-16:30")
    phone.fail(third, NEXT, "2026-04-30-16:30")  # a range that has grown by one slice
    assert phone.texts == [both.text, third.text]
    phone.succeed("warehouse_job", KEY, NEXT, "2026-04-30-16:30")  # any run may transform what is pending
    assert phone.texts[2:] == [f"slice_job for {KEY} to {NEXT} is well again.", "slice_job for 2026-04-30-16:30 is well again."]


def test_a_job_without_slices_alerts_once_and_its_own_next_success_ends_it(phone: Phone) -> None:
    first = Alert("daily_job", "2026-05-01", "r")
    phone.fail(first)
    phone.fail(Alert("daily_job", "2026-05-02", "r"))
    phone.fail(Alert("training_job", "", "r"))
    assert len(phone.texts) == 2
    phone.succeed("slice_job")
    assert len(phone.texts) == 2
    phone.succeed("daily_job")
    assert phone.texts[2:] == ["daily_job for 2026-05-01 is well again."]
    assert [incident.job for incident in open_incidents(phone.place)] == ["training_job"]


def test_an_undelivered_alert_is_tried_again_at_the_next_failure_and_has_no_alert_of_recovery(phone: Phone) -> None:
    phone.is_off = True
    phone.fail(DBT, KEY)
    phone.is_off = False
    phone.fail(DBT, KEY)
    phone.fail(DBT, KEY)
    assert phone.texts == [DBT.text]
    phone.is_off = True
    phone.fail(replace(DBT, partition=NEXT), NEXT)
    phone.is_off = False
    phone.succeed("slice_job", NEXT)
    assert phone.texts == [DBT.text]


def test_what_is_kept_names_job_slices_and_cause(phone: Phone) -> None:
    phone.fail(DBT, KEY)
    (incident,) = open_incidents(phone.place)
    assert (incident.job, incident.slices, incident.since) == ("slice_job", (KEY,), "2026-04-30T17:00:00+00:00")
    assert (incident.runbook, incident.is_announced) == ("docs/runbook.md#failed-slice", True)
    assert json.loads((phone.place.root / "alerts.json").read_text("utf-8"))["open"][0]["message"] == DBT.message


@pytest.mark.parametrize(
    ("job", "steps", "message", "page"),
    [
        ("slice_job", ["raw__clicks"], "anything", "failed-slice"),
        ("slice_job", ["raw__clicks"], "OSError: [Errno 28] No space left on device", "disk-full"),
        ("daily_job", [], "the disk of /data is full: 3 MB free", "disk-full"),
        ("warehouse_job", ["warehouse_models"], "/d/warehouse.duckdb is held by run 7. Wait for it", "stuck-lock"),
        ("warehouse_job", ["raw__customers"], "row 3, age: 'x' is no number", "broken-reference-table"),
        ("training_job", ["marts__training_features"], "a feature changed", "a-feature-sees-the-future"),
        ("slice_job", [], "s3://a/landing cannot be listed: refused", "object-store-cannot-be-reached"),
        ("daily_job", ["campaigns__campaign_plan"], "no solution", "no-plan-today"),
        ("maintenance_job", [], "anything", "first-look"),
    ],
)
def test_an_alert_names_the_page_of_the_runbook_which_exists(job: str, steps: list[str], message: str, page: str) -> None:
    assert Alert(job, "", "r", steps, message).runbook == f"docs/runbook.md#{page}"
    assert f"](#{page})" in (REPOSITORY / "docs" / "runbook.md").read_text("utf-8")


def test_an_alert_is_posted_as_one_json_document_with_a_sentence_for_people() -> None:
    with webhook() as hook:
        send(hook.url, DBT)
    assert hook.content_types == ["application/json"]
    assert hook.documents == [
        {
            "text": f"slice_job for {KEY} failed at warehouse_models, model stg_clicks: Conversion Error: no value is shown"
            " | Next: an hourly attempt | See docs/runbook.md#failed-slice",
            "status": "failed",
            "job": "slice_job",
            "partition": KEY,
            "run_id": "run-1",
            "steps": ["warehouse_models"],
            "model": "stg_clicks",
            "message": "dbt failed: stg_clicks: Conversion Error: no value is shown",
            "next_step": "an hourly attempt",
            "runbook": "docs/runbook.md#failed-slice",
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
    assert alert.text == f"{text} | See {alert.runbook}"


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
