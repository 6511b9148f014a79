"""Decisions about models as Dagster runs, champions that are refused, and a day's kept scores made again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.lake.slices import slice_folder
from customer360.lake.warehouse.frames import snapshot_folder
from customer360.lake.warehouse.warehouse import is_locked, warehouse_lock
from ml.versions.model_store import ModelStore
from orchestration.cli import main
from tests.orchestration.place import Run, TinyShop
from tests.orchestration.slices import SERVED

MODEL = dg.AssetKey(["predictions", "affinity_model"])
OPS = {"promote_model": "promote_version", "reject_model": "reject_version", "rollback_model": "roll_back_version"}


@dataclass
class Desk:
    """The tiny shop with two champions, ``old`` and then ``new``: the same trees under two names."""

    shop: TinyShop
    capsys: pytest.CaptureFixture[str] | None = None

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.shop.settings.place.models)

    @property
    def old(self) -> str:
        return self.store.versions("affinity")[0]

    @property
    def new(self) -> str:
        return self.store.versions("affinity")[1]

    def add_version(self) -> None:
        """A later champion."""
        name = "99990101T000000Z-0000abcd"
        folder = self.store.root / "affinity" / name
        shutil.copytree(self.store.root / "affinity" / self.old, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "version": name}))
        self.store.promote("affinity", name, "the second one", datetime.now(UTC))

    def decide(self, job: str, **config: str) -> Run:
        return self.shop.run(job, run_config={"ops": {OPS[job]: {"config": config}}})

    def observed(self, run: Run) -> list[dict[str, Any]]:
        """What the run added to the timeline of the model's asset."""
        with self.shop.instance() as instance:
            records = instance.fetch_observations(MODEL, limit=20).records
            found = [record.asset_observation for record in records if record.run_id == run.run_id]
        return [{name: value.value for name, value in event.metadata.items()} for event in found if event is not None]

    def score(self, number: int) -> tuple[str, bool, str]:
        """Run a slice: the version that its scores name, whether ``champion_is_served`` passed, and what was refused."""
        self.shop.land(number)
        return self._served(self.shop.run("slice_job", self.shop.key(number)))

    def score_again(self) -> tuple[str, bool, str]:
        """As ``score``, of the first slice, which was transformed before."""
        return self._served(self.shop.run("slice_job", self.shop.key(0), assets=SERVED))

    def _served(self, run: Run) -> tuple[str, bool, str]:
        run.succeed()
        ((version,),) = self.shop.published("select distinct model_version from customer_scores")
        with self.shop.instance() as instance:
            logs = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        checks = [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]
        (served,) = [check for check in checks if check.check_name == "champion_is_served"]
        assert served.severity is dg.AssetCheckSeverity.WARN
        return version, served.passed, str(served.metadata["refused"].value)

    def recompute(self) -> tuple[int, str]:
        """``customer360 models recompute`` as a process of its own: dbt keeps files open for as long as its process lives."""
        return self.shop.command("models", "recompute")

    def command(self, *arguments: str) -> tuple[int, str, str]:
        assert self.capsys is not None
        self.capsys.readouterr()
        folder, data = str(self.shop.settings.shop_folder), str(self.shop.data)
        code = main(["--shop", folder, "--data-dir", data, "models", *arguments])
        output = self.capsys.readouterr()
        return code, output.out, output.err


@pytest.fixture
def desk(shop: TinyShop, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    shop.restore("ready")
    made = Desk(shop, capsys)
    made.add_version()
    yield made
    shop.restore("ready")


def test_decisions_by_jobs_are_kept_and_the_next_slice_scores_by_them(desk: Desk) -> None:
    old, new = desk.old, desk.new
    assert desk.score(0) == (new, True, "none")

    run = desk.decide("rollback_model", reason="offers cameras to everybody").succeed()
    (seen,) = desk.observed(run)
    assert (seen["decision"], seen["model_version"], seen["champion"]) == ("rolled back", new, old)
    assert (seen["reason"], seen["decided_by"]) == ("offers cameras to everybody", f"run {run.run_id}")
    assert desk.shop.published(
        "select model_version, is_champion, status, reason, decided_by from model_versions where model_name = 'affinity'"
    ) == [
        (old, True, "promoted", "the only one", "training"),
        (new, False, "rolled back", "offers cameras to everybody", f"run {run.run_id}"),
    ]
    assert desk.score(1) == (old, True, "none")

    for config in ({"version": new, "reason": " "}, {"version": "v9", "reason": "try it"}):
        refused = desk.decide("promote_model", **config)
        assert refused.wait() == 1
        assert "nothing was changed" in refused.log.read_text(encoding="utf-8")
        assert desk.observed(refused) == []
    assert desk.store.champion_version("affinity") == old

    (seen,) = desk.observed(desk.decide("promote_model", version=new, reason="it was the data").succeed())
    assert (seen["decision"], seen["champion"], seen["champion_before"]) == ("promoted", new, old)
    assert desk.score(2) == (new, True, "none")

    (seen,) = desk.observed(desk.decide("reject_model", version=old, reason="too old").succeed())
    assert (seen["decision"], seen["model_version"], seen["champion"]) == ("rejected", old, new)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_refused_champion_is_told_and_the_last_good_one_keeps_serving(desk: Desk) -> None:
    old, new = desk.old, desk.new
    file = desk.store.root / "affinity" / new / "model.cbm"
    flip(file)
    version, passed, refused = desk.score(0)
    assert (version, passed) == (old, False)
    assert refused.startswith(f"{new}: {file}"), refused
    assert "was damaged or exchanged: restore it, or promote another version" in refused
    flip(file)
    assert desk.score_again() == (new, True, "none")


@pytest.fixture(scope="module")
def scored_shop(shop: TinyShop) -> TinyShop:
    """A day's scores are kept; another champion and later slices came since. Saved as "scored"."""
    shop.restore("ready")
    desk = Desk(shop)
    desk.add_version()
    assert desk.score(0)[0] == desk.new
    desk.decide("rollback_model", reason="offers cameras to everybody").succeed()
    assert desk.score(1)[0] == desk.old
    shop.save("scored")
    return shop


@pytest.fixture
def scored(scored_shop: TinyShop, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    scored_shop.restore("scored")
    yield Desk(scored_shop, capsys)
    scored_shop.restore("ready")


def kept_scores(desk: Desk) -> list[Path]:
    return sorted(snapshot_folder(desk.shop.settings.place).glob("*/part.parquet"))


def test_a_days_kept_scores_are_made_again_to_the_last_bit(scored: Desk) -> None:
    warehouse = scored.shop.settings.place.warehouse
    before = (warehouse.stat().st_mtime_ns, warehouse.read_bytes())
    (file,) = kept_scores(scored)
    rows = len(pq.read_table(file, partitioning=None))
    assert rows > 1000
    code, out = scored.recompute()
    assert code == 0, out
    assert f"version     {scored.new}" in out  # the version that made them, not the champion of now
    assert f"equal       {rows:,} rows of {rows:,}" in out
    assert "exception" not in out
    assert "different" not in out
    assert (warehouse.stat().st_mtime_ns, warehouse.read_bytes()) == before
    assert not is_locked(scored.shop.settings.place)
    assert list((scored.shop.data / ".tmp").glob("recompute-*")) == []


def test_a_repaired_slice_is_the_named_exception(scored: Desk) -> None:
    shop = scored.shop
    folder = slice_folder(shop.settings.place.landing / "clicks", shop.slice(0))
    ((customer,),) = shop.published("select min(customer_id) from customer_features")
    line = {
        "event_id": "late-1",
        "event_name": "purchase",  # whatever serves, trees or a rule, reads orders
        "event_at": f"{shop.slice(0):%Y-%m-%dT%H:%M:%SZ}",
        "customer_id": customer,
        "category_id": "photography",
        "product_id": "late",
        "order_id": "late",
        "quantity": 1,
        "amount": 400,
    }
    (folder / "late.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    shop.run("slice_job", shop.key(0)).succeed()
    code, out = scored.recompute()
    assert code == 0
    assert f"exception   1 slice repaired since: {shop.key(0)}" in out
    assert f"1 customer: {customer}" in out
    numbers = {
        name: int(rows.replace(",", "")) for name, rows in re.findall(r"^(equal|different) +([\d,]+) row", out, re.MULTILINE)
    }
    assert 1 <= numbers["different"] <= len(shop.settings.shop.category_ids) + 1
    (file,) = kept_scores(scored)
    assert numbers["equal"] + numbers["different"] == len(pq.read_table(file, partitioning=None))


def test_reference_rows_are_those_of_then(scored: Desk) -> None:
    """A replay's clock stands still: a load after the scores is valid from before them, and yet it was not known then."""
    shop = scored.shop
    customers = shop.settings.place.landing / "reference" / "customers"
    for file in customers.iterdir():
        text = file.read_text(encoding="utf-8")
        lines = text.splitlines()
        column = lines[0].split(",").index("age")
        rows = [line.split(",") for line in lines[1:]]
        for row in rows:
            row[column] = "99"
        file.write_text("\n".join([lines[0], *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    shop.run(
        "daily_job",
        shop.published("select strftime(max(as_of), '%Y-%m-%d') from customer_features")[0][0],
        assets=[["raw", "customers"]],
    ).succeed()
    shop.land(2)
    shop.run("slice_job", shop.key(2)).succeed()
    assert shop.published("select min(age), max(age) from customer_features") == [(99, 99)]
    code, out = scored.recompute()
    assert code == 0
    assert "different" not in out
    assert "exception" not in out


def test_a_difference_that_nothing_explains_is_an_error(scored: Desk) -> None:
    (file,) = kept_scores(scored)
    table = pq.read_table(file, partitioning=None)
    frame = table.to_pandas()
    frame.loc[0, "probability"] += 1e-9
    changed = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, file)
    code, out = scored.recompute()
    assert code == 1
    assert "different   1 row, by 1e-09 at most" in out
    assert "Nothing explains the difference" in out


def test_what_cannot_be_recomputed_says_why(scored: Desk) -> None:
    code, _, err = scored.command("recompute", "--day", "2020-01-01")
    assert code == 2
    assert "has no scores of 2020-01-01; there are 1 days, from 2026-04-30 to 2026-04-30" in err
    flip(scored.store.root / "affinity" / scored.new / "model.cbm")
    code, _, err = scored.command("recompute", "--day", "2026-04-30")
    assert code == 2
    assert f"were made by {scored.new}, which does not load now" in err
    assert "restore it" in err


def test_a_recomputation_waits_for_the_warehouse(scored: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("customer360.lake.warehouse.known_then.WAIT_SECONDS", 0.1)
    with warehouse_lock(scored.shop.settings.place, "run 1234"):
        code, _, err = scored.command("recompute")
    assert code == 2
    assert "is held by" in err
    assert "run 1234" in err
