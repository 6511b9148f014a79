"""One setting makes the logs of all processes JSON."""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution import context_creation_job

from customer360.logs import VARIABLE, JsonFormatter, announce, is_json, json_logging
from customer360.settings import SettingsError
from orchestration import definitions
from orchestration.runtime.services import services
from tests.services.api_server import api_server, write_shop
from tests.services.served_shop import ServedShop


def test_a_record_is_one_line_with_its_traceback() -> None:
    try:
        int("two\nlines")
    except ValueError:
        record = logging.LogRecord("customer360.x", logging.ERROR, "", 0, "lost %s\n", ("ü",), sys.exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    values = json.loads(text)
    assert (values["level"], values["logger"], values["event"]) == ("error", "customer360.x", "lost ü\n")
    assert values["exception"].endswith("with base 10: 'two\\nlines'")
    assert abs(datetime.fromisoformat(values["timestamp"]) - datetime.now(UTC)).total_seconds() < 60


def test_the_setting_is_text_json_or_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert json_logging() is None
    announce("it\nis here")
    assert capsys.readouterr().out == "it\nis here\n"
    monkeypatch.setenv(VARIABLE, "json")
    announce("it\nis here")
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["it", "is here"]
    monkeypatch.setenv(VARIABLE, "xml")
    with pytest.raises(SettingsError, match="is text or json, not 'xml'"):
        is_json()


def test_what_the_api_prints_is_json(shop: ServedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    write_shop(shop.settings)
    shop.settings.place.landing.mkdir(parents=True)
    log = tmp_path / "api.log"
    with api_server(shop.settings, log):
        pass
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {"customer360", "_granian"} <= {line["logger"] for line in lines}
    assert any("answers for" in line["event"] for line in lines)


def test_dagsters_processes_and_what_runs_print_are_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "json")
    with services(tmp_path, 3000, announce) as served:
        for service in (served.code_server, *served.others):
            assert list(service.command)[-2:] == ["--log-format", "json"]
    monkeypatch.setattr(context_creation_job, "default_system_loggers", context_creation_job.default_system_loggers)
    definitions.log_as_json()

    @dg.asset
    def table(context: dg.AssetExecutionContext) -> None:
        context.log.warning("made of %s", "rows")

    capfd.readouterr()
    result = dg.materialize([table])
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = (line for line in lines if line["event"].endswith("made of rows"))
    assert (line["level"], line["logger"], line["step_key"]) == ("warning", "dagster", "table")
    assert line["run_id"] == result.run_id
