"""``docs/your-data.md`` tells what the code does: contracts, fields, examples, output, and an adapter that runs."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest

from customer360.lake.landing.contracts import EVENT_NAMES, contracts_markdown
from customer360.settings import (
    REPOSITORY,
    Attribute,
    CampaignRules,
    ColumnRule,
    OfferRules,
    Settings,
    Shop,
    SourceOptions,
    load_shop,
)
from customer360.settings.shop import Rfm, Training
from orchestration.cli import main

DOC = (REPOSITORY / "docs" / "your-data.md").read_text(encoding="utf-8")
EXAMPLE = REPOSITORY / "docs" / "examples" / "your-shop"
RUN = re.compile(r"```console\n\$ customer360 (.*?)\n(.*?)\n```", re.DOTALL)


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", DOC, re.DOTALL)


def test_the_tables_are_the_contracts():
    expected = DOC.split("<!-- contracts: begin -->\n")[1].split("<!-- contracts: end -->")[0]
    assert expected == contracts_markdown(load_shop(EXAMPLE / "shop.yaml"))


def test_every_event_name_is_told():
    assert all(f"`{name}`" in DOC for name in EVENT_NAMES)


def test_every_field_of_shop_yaml_is_explained():
    expected = set(re.findall(r"^\| `(\w+)` \|", DOC.split("## shop.yaml")[1].split("## An example")[0], re.MULTILINE))
    assert expected == {name for name, field in Shop.model_fields.items() if not field.exclude}


@pytest.mark.parametrize("model", [Attribute, CampaignRules, OfferRules, Rfm, Training])
def test_every_field_inside_a_field_is_explained(model):
    fields = DOC.split("## shop.yaml")[1].split("## An example")[0]
    assert all(f"`{name}" in fields for name in model.model_fields)


def test_every_option_of_a_source_is_explained():
    section = DOC.split("## Files in your own form")[1].split("### From exports")[0]
    assert [name for name in SourceOptions.model_fields if f"`{name}`" not in section] == []
    assert [name for name in ColumnRule.model_fields if f"{name}:" not in section] == []


def test_every_example_file_is_shown_as_it_is():
    files = [EXAMPLE / "shop.yaml", *(path for path in (EXAMPLE / "landing").rglob("*") if path.is_file())]
    assert len(files) == 11
    for path in files:
        assert path.read_text(encoding="utf-8").strip() in DOC, path
        assert path.name == "shop.yaml" or f"`{path.relative_to(EXAMPLE)}`" in DOC, path


@pytest.mark.parametrize(("arguments", "output"), RUN.findall(DOC), ids=lambda text: text.splitlines()[0][:40])
def test_the_output_shown_is_the_output(arguments, output, capsys, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    code = main(arguments.split())
    assert capsys.readouterr().out.rstrip() == output
    assert code == (1 if "broken" in arguments else 0)


def test_both_the_good_and_the_broken_example_are_shown():
    assert len(RUN.findall(DOC)) == 2


def test_the_web_server_log_is_converted_as_told(tmp_path, capsys, monkeypatch):
    (rules,) = [block for block in code_blocks("yaml") if block.startswith("events:")]
    (log,), (output,) = code_blocks("log"), code_blocks("text")
    (tmp_path / "shop.yaml").write_text((EXAMPLE / "shop.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "weblog.yaml").write_text(rules, encoding="utf-8")
    (tmp_path / "access.log").write_text(f"{log}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    there = ["--shop", str(tmp_path), "--data-dir", str(tmp_path / "data")]
    assert main([*there, "adapt", "weblog", "access.log", "--into", "event-time"]) == 1
    (landed,) = (tmp_path / "data" / "landing" / "history").iterdir()
    assert capsys.readouterr().out.rstrip() == output.replace("weblog-NAME.jsonl", landed.name)
    clicks = [json.loads(line) for line in landed.read_text(encoding="utf-8").splitlines()]
    assert [(click["event_name"], click["customer_id"], click["visitor_id"], click["product_id"]) for click in clicks] == [
        ("view_item", "c-2", "v-90", "F-20"),
        ("add_to_cart", "c-2", "v-90", "F-20"),
    ]
    assert main([*there, "check", str(tmp_path / "data" / "landing")]) == 0


def test_the_adapter_runs_and_its_files_keep_the_contracts(tmp_path, capsys):
    (source,) = code_blocks("python")
    assert len(source.splitlines()) < 50
    (export,) = [block for block in code_blocks("csv") if ";" in block]
    settings = Settings.load(EXAMPLE, tmp_path)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "orders.csv").write_text(export + "\n", encoding="utf-8")
    names: dict[str, object] = {}
    exec(compile(source, "adapter", "exec"), names)
    counts = names["write_landing"](settings.shop, settings.place)
    assert counts == {"history_events": 2, "products": 2}
    assert main(["--shop", str(EXAMPLE), "check", str(tmp_path / "landing")]) == 0
    table = pq.read_table(tmp_path / "landing" / "history" / "orders.parquet").to_pylist()
    assert [(str(row["event_at"]), str(row["amount"])) for row in table] == [
        ("2026-04-02 17:34:00", "1089.00"),
        ("2026-04-02 17:34:00", "23.60"),
    ]
