"""What docs/runbook.md names exists, and the rebuild that the runbook asks for makes every slice pending."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from customer360.settings import REPOSITORY
from orchestration.cli import app, main
from tests.support.lab import Lab

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")


def test_every_job_sensor_and_check_that_is_named_exists() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("assets", "sensors", "orchestration")
        for path in (REPOSITORY / folder).rglob("*.py")
    )
    named = set(re.findall(r"-j (\w+)", RUNBOOK)) | set(re.findall(r"sensor (?:stop|start) (\w+)", RUNBOOK))
    named |= set(re.findall(r"checks? `(\w+)`", RUNBOOK))
    assert {"slice_job", "click_slices", "champion_is_served"} <= named
    for name in named:
        assert f'"{name}"' in code or f"def {name}(" in code, name


def test_every_command_that_is_named_exists() -> None:
    commands = get_command(app).commands
    for name, action in re.findall(r"customer360 (\w+)(?: (\w+))?", RUNBOOK):
        assert name in commands, name
        actions = getattr(commands[name], "commands", {})
        assert not actions or not action or action in actions, f"{name} {action}"


def test_a_rebuild_makes_every_slice_pending(published: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert published.query("select count(*) from ops.pending_slices") == [(0,)]
    assert main(["rebuild", "--data-dir", str(published.root)]) == 0
    assert published.query("select count(*) from ops.pending_slices") == [(1,)]
    # The fixture ran one slice, that of 16:00, and publishes it as the product does: as of its end.
    assert '{"dagster/partition": "2026-04-30-16:00"}' in capsys.readouterr().out


def test_a_rebuild_anew_sets_the_warehouse_aside(published: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab(published.shop, tmp_path, published.dbt)
    lab.settings.place.warehouse.write_bytes(b"no database")
    assert main(["rebuild", "--anew", "--data-dir", str(lab.root)]) == 0
    assert not lab.settings.place.warehouse.exists()
    (aside,) = tmp_path.glob("warehouse.duckdb.before-*")
    assert aside.read_bytes() == b"no database"
    assert "warehouse_job" in capsys.readouterr().out
