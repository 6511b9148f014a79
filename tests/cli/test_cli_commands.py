"""The smaller subcommands, and what all of them share."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from customer360.features import dbt_vars
from customer360.lake.checking import check as checking
from customer360.lake.warehouse.warehouse import is_locked, warehouse_lock
from customer360.settings import REPOSITORY
from orchestration import dbt_command
from orchestration.commands import dbt


@pytest.fixture
def top_two(shop):
    shop.change("categories: [table_lamps, floor_lamps, bulbs]", "categories: {top: 2}")
    return shop


def buy(event, number: str, category: str, amount: float):
    values = {"event_name": "purchase", "category_id": category, "order_id": number, "amount": amount}
    return event(number, event_at="2026-04-20T10:00:00Z", **values)


def test_help_needs_none_of_the_heavy_packages():
    code = (
        "import sys; from orchestration.cli import main; main(['models', '--help']);"
        "print(sorted({'dagster', 'dbt', 'duckdb', 'pandas', 'pyarrow', 'catboost', 'evidently', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_list_of_models_without_a_version_exits_with_1(shop):
    shop.data.mkdir()
    ran = shop("models", "list")
    assert (ran.code, ran.out.strip()) == (1, "affinity: no version yet; training_job makes one")


def test_no_subcommand_is_wrong_usage(shop):
    ran = shop()
    assert ran.code == 2
    assert "Usage: customer360" in ran.err


def test_an_unknown_shop_is_told_with_the_known_ones(shop, tmp_path):
    shop.folder = REPOSITORY / "shops" / "nowhere"
    ran = shop("status")
    assert ran.code == 2
    assert "does not exist; the shops here are: completejourney, retail360, synthetic" in ran.err
    assert "Traceback" not in ran.err


def test_an_unexpected_error_keeps_its_traceback(shop, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(checking, "check", fail)
    with pytest.raises(ZeroDivisionError):
        shop("check", str(shop.folder))


def test_an_interrupted_command_says_so(shop, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(checking, "check", interrupt)
    ran = shop("check", str(shop.folder))
    assert (ran.code, ran.out.splitlines()[-1]) == (130, "stopped")


def test_contracts_carry_the_attributes_and_channels_of_the_shop(shop):
    shop.change("birth_year: {type: integer", "shoe_size: {type: double")
    out = shop("contracts").out
    assert "| `event_at` | timestamp, UTC | required |" in out
    assert "| `shoe_size` | number |" in out
    assert "| `consent_sms` | true or false |" in out


def test_listed_categories_are_shown_and_stay(shop):
    ran = shop("categories")
    assert ran.out.splitlines()[1:] == ["  table_lamps", "  floor_lamps", "  bulbs", "  other"]
    assert "nothing to choose" in shop("categories", "--again").out


def test_the_top_categories_are_chosen_by_revenue(top_two, event):
    assert "are chosen when the history is loaded" in top_two("categories").out
    assert "nothing was chosen" in top_two("categories", "--again").out
    bought = [buy(event, "1", "bulbs", 3), buy(event, "2", "floor_lamps", 200), buy(event, "3", "table_lamps", 90)]
    top_two.land("history", "a.jsonl", bought)
    top_two.run_history()
    chosen = top_two("categories", "--again").out
    assert chosen.splitlines()[1:4] == ["  floor_lamps", "  table_lamps", "  other"]
    assert "then training_job" in chosen
    assert top_two("categories").out.splitlines()[1:] == ["  floor_lamps", "  table_lamps", "  other"]


def test_the_top_categories_change_only_when_asked(top_two, event):
    top_two.land("history", "a.jsonl", [buy(event, "1", "bulbs", 3)])
    top_two.run_history()
    top_two("categories", "--again")
    top_two.land("history", "b.jsonl", [buy(event, "2", "floor_lamps", 200)])
    top_two.run_history()
    assert "floor_lamps" not in top_two("categories").out
    assert "floor_lamps" in top_two("categories", "--again").out


@pytest.fixture
def dbt_calls(shop, monkeypatch):
    """What dbt was called with, and whether the warehouse was held; dbt itself does not run."""
    for name in ("SHOP", "DATA_DIR"):
        monkeypatch.setenv(name, "")  # set back after the test
    monkeypatch.setattr(sys, "argv", ["customer360"])
    calls = []

    def run():
        calls.append((dbt_command.with_vars(sys.argv[1:], shop.settings), is_locked(shop.settings.place)))
        sys.exit(3)

    monkeypatch.setattr(dbt_command, "main", run)
    return calls


def test_dbt_gets_its_own_arguments_and_the_variables_of_the_shop(shop, dbt_calls):
    assert shop("dbt", "build", "--select", "stg_clicks", "-x", "--help").code == 3
    variables = json.dumps(dbt_vars(shop.settings.shop), sort_keys=True)
    assert dbt_calls == [(["build", "--select", "stg_clicks", "-x", "--help", "--vars", variables], True)]


def test_dbt_holds_the_warehouse_only_where_it_opens_it(shop, dbt_calls):
    shop.data.mkdir()
    for arguments in (["ls"], ["--version"], []):
        shop("dbt", *arguments)
    assert [is_held for _, is_held in dbt_calls] == [False, False, False]


def test_dbt_waits_for_a_run_and_then_says_who_holds_the_warehouse(shop, dbt_calls, monkeypatch):
    monkeypatch.setattr(dbt, "WAIT_SECONDS", 0.0)
    with warehouse_lock(shop.settings.place, "run 77"):
        ran = shop("dbt", "run")
    assert ran.code == 2
    assert "run 77" in ran.err
    assert dbt_calls == []


def test_keys_of_servers_and_of_pages_are_made_listed_and_revoked(shop):
    (shop.data / "landing").mkdir(parents=True)
    origin = ["--origin", "https://shop.example"]
    server = shop("api", "keys", "add", "front", "--scope", "profile").out.strip()
    pages = shop("api", "keys", "add", "pages", "--browser", *origin, "--per-second", "50").out.strip()
    assert shop("api", "keys", "revoke", server.split("_")[1]).code == 0
    keys = json.loads(shop("api", "keys", "list", "--json").out)["keys"]
    shown = [[key[name] for name in ("kind", "scopes", "origins", "requests_per_second")] for key in keys]
    assert shown == [["server", ["profile"], [], None], ["browser", ["offers", "events"], origin[1:], 50]]
    assert [key["revoked_at"] is None for key in keys] == [False, True]
    assert pages.split("_", 2)[2] not in shop("api", "keys", "list").out
    for wrong in (["--browser"], [*origin, "--scope", "offers"]):
        ran = shop("api", "keys", "add", "x", *wrong)
        assert (ran.code, "go together" in ran.err) == (2, True)
    assert "keeps its id" in shop("api", "rotate-visitors").out
