"""What a start finds to do, without running a job: waiting slices, versions of files, and how errors read."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from customer360.lake.slices import slice_start
from customer360.settings import Place, Settings
from orchestration.job_runs import _interrupts, failure_text
from orchestration.start import CannotStartError, landed_version, require_files, waiting_slices
from orchestration.start_report import _plan_lines
from tests.support.random_shop import small_shop

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "shop.yaml").write_text("name: random\n", encoding="utf-8")
    return Settings(shop=small_shop(), place=Place(root=tmp_path / "data"), shop_folder=tmp_path)


def land(settings: Settings, relative: str, **event: object) -> Path:
    file = settings.place.landing / relative
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(event) + "\n", encoding="utf-8")
    return file


def test_closed_slices_that_are_not_published_wait_and_gaps_between_them_too(settings: Settings) -> None:
    land(settings, "clicks/2026/05/01/0000/web.jsonl", event_id="1")
    land(settings, "clicks/2026/05/01/0045/web.jsonl", event_id="2")
    land(settings, "clicks/2026/05/01/0100/web.jsonl", event_id="3")  # the newest of a replay is open
    assert [(r.first, r.last, r.slices) for r in waiting_slices(settings, NOW)] == [("2026-05-01-00:00", "2026-05-01-00:45", 4)]


def test_nothing_waits_before_the_history_of_a_shop_without_clicks_is_published(settings: Settings) -> None:
    live = settings.model_copy(update={"shop": small_shop(live=True)})
    assert waiting_slices(live, slice_start("2026-05-02-00:00")) == []


def test_the_version_of_what_landed_follows_files_and_shop_yaml_and_nothing_else(settings: Settings) -> None:
    file = land(settings, "reference/products/a.jsonl", product_id="p")
    first = landed_version(settings)
    assert landed_version(settings) == first
    land(settings, "clicks/2026/05/01/0000/web.jsonl", event_id="1")  # slices have versions of their own
    assert landed_version(settings) == first
    file.write_text(json.dumps({"product_id": "q"}) + "\n" * 2, encoding="utf-8")
    second = landed_version(settings)
    (settings.shop_folder / "shop.yaml").write_text("name: other\n", encoding="utf-8")
    assert len({first, second, landed_version(settings)}) == 3


@pytest.mark.parametrize("relative", ["clicks/2026/05/01/0000/a.jsonl", "history/a.jsonl", "reference/purchases/a.jsonl"])
def test_one_file_anywhere_is_something_to_start_with(settings: Settings, relative: str) -> None:
    with pytest.raises(CannotStartError, match="there is nothing to load"):
        require_files(settings)
    land(settings, relative, event_id="1")
    require_files(settings)


def test_an_interrupt_is_noted_whoever_handles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, lambda *_: None)  # somebody who swallows it
    try:
        with _interrupts() as received:
            assert signal.SIGINT not in received()
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.SIGINT in received()
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_failure_is_told_by_its_innermost_cause_without_the_class() -> None:
    def event(description: str | None, message: str) -> SimpleNamespace:
        cause = SimpleNamespace(message=message, cause=None)
        error = SimpleNamespace(message="DagsterExecutionStepExecutionError: Error occurred", cause=cause)
        user = SimpleNamespace(description=description) if description else None
        return SimpleNamespace(step_failure_data=SimpleNamespace(user_failure_data=user, error=error), message="failed")

    assert failure_text(event("the plan breaks 2 rules", "x")) == "the plan breaks 2 rules"
    assert failure_text(event(None, "ml.datasets.TrainingSetError: 3 rows\n")) == "3 rows"
    assert failure_text(event(None, "row 3: ValueError: kept")) == "row 3: ValueError: kept"


def test_a_report_without_plan_says_whether_a_campaign_is_missing_or_which_field_is_wrong(settings: Settings) -> None:
    with duckdb.connect() as connection:
        _, _, missing = _plan_lines(settings, connection, set())
        assert missing == f"  none: {settings.campaign_folder} has no campaign; docs/campaigns.md has one to copy"
        settings.campaign_folder.mkdir()
        (settings.campaign_folder / "spring.yaml").write_text("budjet: 5\n", encoding="utf-8")
        _, _, first, *problems = _plan_lines(settings, connection, set())
        assert first.endswith("could be planned; customer360 campaigns check says more")
        wrong = "  spring.yaml is not planned: budjet: there is no such field -> did you mean 'budget'?"
        assert wrong in problems
        # Another campaign is planned: the wrong one is named all the same.
        briefs = (
            "select 'summer' as campaign_id, 9 as audience, 5 as contacts, 3 as holdouts, 1 as left_out, 'prior' as value_basis"
        )
        connection.execute(f"create table campaign_briefs as {briefs}")
        connection.execute("create table campaign_plan (campaign_id varchar, decision varchar, reason varchar)")
        _, _, planned, *problems = _plan_lines(settings, connection, {"campaign_briefs"})
    assert planned == f"  {'summer':<17} 5 contacts, 3 held out, 1 left out of 9; values: prior"
    assert wrong in problems
