"""docs/first-day.md: its commands exist, and its outputs are made by one command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from customer360.settings import REPOSITORY
from orchestration.cli import app
from orchestration.pages import SessionError, commands, rerun, run_in

PAGE = (REPOSITORY / "docs" / "first-day.md").read_text(encoding="utf-8")
SHOWN = [command for command in commands(PAGE) if command.startswith("customer360 ")]


def test_the_page_goes_from_files_to_a_plan_for_both_kinds_of_shop() -> None:
    assert [command.split()[1] for command in SHOWN] == ["simulate", "init", "start", "start", "simulate", "start"]
    outputs = PAGE.count("\nPlan\n")
    assert outputs == 2, "run: python -m orchestration.pages docs/first-day.md"
    assert "\nload   is done with these files\n" in PAGE


@pytest.mark.parametrize("command", SHOWN)
def test_every_command_has_the_options_that_are_shown(command: str) -> None:
    _, name, *arguments = shlex.split(command.partition(" | ")[0])
    found = get_command(app).commands[name]
    options = {option for parameter in found.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options


def test_an_output_is_replaced_and_the_text_around_it_stays(tmp_path: Path) -> None:
    page = "Before.\n\n```console\n$ pwd\nold\n```\n\nBetween.\n\n```console\n$ cat <<'END'\n> two\n> END\n```\nAfter.\n"
    made = rerun(page, lambda command: run_in(tmp_path, command))
    assert (
        made
        == "Before.\n\n```console\n$ pwd\n.\n```\n\nBetween.\n\n```console\n$ cat <<'END'\n> two\n> END\ntwo\n```\nAfter.\n"
    )
    assert rerun(made, lambda command: run_in(tmp_path, command)) == made


def test_a_command_that_fails_stops_the_page_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=re.escape("$ echo why; exit 3\nwhy")):
        run_in(tmp_path, "echo why; exit 3")
