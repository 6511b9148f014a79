"""Options, exit codes, completion and JSON of the ``customer360`` command as a whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from customer360.adapters.formats import FORMATS
from customer360.lake.raw.quarantine import quarantined_lines
from customer360.settings import REPOSITORY
from orchestration.cli import app, main
from orchestration.commands.adapt import adapt
from orchestration.console import EXIT_CODES

SHOWING = ["status", "categories", "contracts", "check", "quarantine list", "models list", "models show", "models recompute"]
SHOWING += ["campaigns check", "campaigns list", "campaigns show", "campaigns results", "email status"]


def option_names(words: str) -> set[str]:
    """The options of a command, such as ``models list``."""
    found = get_command(app)
    for word in words.split():
        found = found.commands[word]
    return {name for parameter in found.params for name in parameter.opts}


def leaves(group=None, prefix=""):
    """Every command that runs something."""
    for name, found in (group or get_command(app)).commands.items():
        yield from leaves(found, f"{prefix}{name} ") if hasattr(found, "commands") else [f"{prefix}{name}"]


@pytest.mark.parametrize("name", SHOWING)
def test_every_command_that_lists_or_shows_has_json(name):
    assert "--json" in option_names(name)


def test_every_command_but_those_of_other_programs_takes_shop_and_data_dir_after_its_name():
    names = list(leaves())
    assert {"status", "models list", "campaigns send", "email status"} <= {*names}
    assert [name for name in names if not {"--shop", "--data-dir"} <= option_names(name)] == ["dbt", "desk manage"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shop", "{shop}", "--data-dir", "{data}", "quarantine", "list"],
        ["quarantine", "--shop", "{shop}", "--data-dir", "{data}", "list"],
        ["quarantine", "list", "--shop", "{shop}", "--data-dir", "{data}"],
        ["--data-dir", "/nowhere", "quarantine", "--shop", "nobody", "list", "--shop", "{shop}", "--data-dir", "{data}"],
    ],
)
def test_the_shop_and_the_place_may_be_named_before_or_after_a_command_and_the_nearest_wins(shop, event, capsys, arguments):
    shop.land("2026-05-01-08:00", "web.jsonl", [event("1"), "{"])
    shop.run_slice("2026-05-01-08:00")
    assert main([argument.format(shop=shop.folder, data=shop.data) for argument in arguments]) == 0
    assert "web.jsonl line 2" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    project = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    (version,) = re.findall(r'^version = "(.*)"$', project, re.MULTILINE)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"customer360 {version}\n"


@pytest.mark.parametrize("command", ["status", "quarantine list", "models list", "campaigns list"])
def test_a_data_folder_that_does_not_exist_is_an_error_with_the_remedy(shop, command):
    ran = shop(*command.split())
    assert (ran.code, ran.out) == (2, "")
    assert f"--data-dir {shop.data} does not exist: name the folder that holds a shop's landing and published" in ran.err


@pytest.mark.parametrize("command", ["status", "simulate", "adapt ga4 events.jsonl"])
def test_a_file_is_no_data_folder_for_any_command(shop, command):
    shop.data.write_text("a file", "utf-8")
    ran = shop(*command.split())
    assert (ran.code, f"--data-dir {shop.data} is a file" in ran.err) == (2, True)


def test_a_folder_of_something_else_is_no_data_folder(shop):
    shop.data.mkdir()
    (shop.data / "letter.txt").write_text("x", "utf-8")
    ran = shop("status")
    assert (ran.code, f"--data-dir {shop.data} is no data folder, it has none of landing, raw" in ran.err) == (2, True)


def test_a_folder_with_keys_of_the_api_alone_is_a_data_folder(shop):
    shop.data.mkdir()
    added = shop("api", "keys", "add", "shop front", "--scope", "profile")
    listed = shop("api", "keys", "list")
    assert (added.code, listed.code, "shop front" in listed.out) == (0, 0, True)


def test_a_wrong_data_dir_in_the_environment_is_told_as_such(shop, capsys, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(shop.data))
    assert main(["status", "--shop", str(shop.folder)]) == 2
    assert f"customer360: DATA_DIR {shop.data} does not exist" in capsys.readouterr().err


def test_json_carries_what_the_text_says(shop, event):
    shop.land("2026-05-01-08:00", "web.jsonl", [event("1", currency="USD"), event("2"), event("3", currency="USD")])
    shop.run_slice("2026-05-01-08:00")
    listed = json.loads(shop("quarantine", "list", "--json", "--limit", "1").out)
    assert listed["reasons"] == [{"column": "currency", "reason": "is not the currency of the shop (EUR)", "lines": 2}]
    assert (listed["total"], [line["line"] for line in listed["lines"]]) == (2, [1])
    checked = json.loads(shop("check", str(shop.landing), "--json").out)
    assert [(file["good"], file["bad"]) for file in checked["files"]] == [(1, 2)]
    assert json.loads(shop("categories", "--json").out)["categories"][-1] == "other"
    assert json.loads(shop("contracts", "--json").out)["clicks"][0]["name"] == "event_id"


def test_the_formats_offered_are_those_that_can_be_converted():
    literal, *_ = get_args(get_type_hints(adapt, include_extras=True)["format_name"])
    assert get_args(literal) == FORMATS


def test_the_exit_codes_are_in_the_help_and_in_the_docs(capsys):
    main(["--help"])
    shown = capsys.readouterr().out
    page = (REPOSITORY / "docs" / "runbook.md").read_text("utf-8").split("## Exit codes")[1].split("\n## ")[0]
    codes = re.findall(r"^  (\d+)  ", EXIT_CODES, re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "130"] == re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert all(line in shown for line in EXIT_CODES.splitlines())


def test_completion_knows_nouns_actions_and_options():
    def completed(words: str) -> str:
        environment = {"_CUSTOMER360_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return CliRunner().invoke(app, [], env=environment, prog_name="customer360").output

    assert {"campaigns", "categories", "check", "contracts"} == set(completed("customer360 c").split())
    assert {"reject", "recompute"} == set(completed("customer360 models re").split())
    assert "--where-reason" in completed("customer360 quarantine list --w")


@pytest.mark.full
def test_a_reason_is_not_cut_when_it_is_piped(shop, event):
    long_value = "word " * 60
    shop.land("2026-05-01-08:00", "web.jsonl", [event("1", event_at=long_value.strip())])
    shop.run_slice("2026-05-01-08:00")
    command = [sys.executable, "-m", "orchestration.cli", "quarantine", "list", "--shop", str(shop.folder), "--data-dir"]
    out = subprocess.run([*command, str(shop.data)], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    reason = next(line for line in out.splitlines() if line.startswith("  event_at: "))
    (entry,) = quarantined_lines(shop.settings.place)
    assert reason == f"  event_at: {entry.reason}"
    assert len(reason) > 98  # until now cut there
