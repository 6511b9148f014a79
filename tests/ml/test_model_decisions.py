"""Decisions of operators about versions, by library and by ``customer360 models``: kept, published, or refused unchanged."""

from __future__ import annotations

import getpass
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from published_frames import customer_frame, small_shop, training_frame
from trained_models import NOW, Trained

from customer360.decisions import DecisionRefused, Request
from customer360.features import feature_list
from customer360.lake.engine import connect
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import current_publication, open_version
from customer360.settings import NONE, Settings
from ml.datasets.training_sets import build_training_set
from ml.fitting.baselines import OWN_SHARES
from ml.fitting.training import BLEND, MODEL, train
from ml.judging.evaluation import evaluate
from ml.judging.promotion import Decision
from ml.serving.reasons import reasons
from ml.serving.scoring import score
from ml.versions.decision_log import succession
from ml.versions.model_decisions import promote, reject, roll_back
from ml.versions.model_store import ModelRefused, ModelStore, ModelStoreError
from orchestration.cli import main


@dataclass
class Desk:
    """A shop on disk with a published version and three champions one after the other: v1, v2, v3."""

    folder: Path
    data: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def settings(self) -> Settings:
        return Settings.load(self.folder, self.data)

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.settings.place.models)

    @property
    def champion(self) -> str | None:
        return self.store.champion_version("affinity")

    @property
    def log(self) -> list[dict[str, Any]]:
        return self.store.promotions("affinity")

    def serving(self) -> str | None:
        """The version that the next slice scores with."""
        shop = self.settings.shop
        loaded = self.store.load_servable("affinity", feature_list(shop), [*shop.category_ids, NONE]).loaded
        return loaded.version if loaded else None

    def file(self, version: str, name: str = "model.cbm") -> Path:
        return self.store.root / "affinity" / version / name

    def damage(self, version: str) -> None:
        content = bytearray(self.file(version).read_bytes())
        content[len(content) // 2] ^= 1
        self.file(version).write_bytes(content)

    def published(self) -> dict[str, tuple[Any, ...]]:
        """Version -> (is_champion, status, reason, decided_by) as BI sees it."""
        with open_version(self.settings.place) as published:
            rows = published.connection.execute(
                "select model_version, is_champion, status, reason, decided_by from model_versions"
            ).fetchall()
        return {version: tuple(columns) for version, *columns in rows}

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        try:
            code = main(["--shop", str(self.folder), "--data-dir", str(self.data), "models", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        output = self.capsys.readouterr()
        return code, output.out, output.err


def because(reason: str, hours: int = 1) -> Request:
    return Request(reason, NOW + timedelta(hours=hours), "ada")


@pytest.fixture
def desk(tmp_path: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> Desk:
    folder = tmp_path / "shop"
    folder.mkdir()
    values = small_shop().model_dump(mode="json", by_alias=True, exclude_unset=True)
    (folder / "shop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    made = Desk(folder, tmp_path / "data", capsys)
    for number, version in enumerate(("v1", "v2", "v3")):
        trained.save(made.store, version)
        made.store.record("affinity", version, Decision(is_promoted=True, reason="better"), NOW + timedelta(minutes=number))
    with connect(tmp_path / "tmp") as connection:
        publish(made.settings.place, connection, {"traffic": "select 7 as views"}, NOW, NOW)
    return made


def test_a_rollback_goes_to_the_champion_before_and_bi_sees_why(desk: Desk) -> None:
    before = current_publication(desk.settings.place)
    decided = roll_back(desk.settings, "affinity", None, because("offers cameras to everybody"))
    assert (decided.version, decided.champion_before, decided.champion) == ("v3", "v3", "v2")
    assert desk.champion == desk.serving() == "v2"
    assert desk.log[-1] == {
        "version": "v3",
        "decision": "rolled back",
        "reason": "offers cameras to everybody",
        "at": "2026-05-01T10:00:00+00:00",
        "by": "ada",
        "previous": "v3",
        "champion": "v2",
    }
    seen = desk.published()
    assert seen["v3"] == (False, "rolled back", "offers cameras to everybody", "ada")
    assert seen["v2"] == (True, "promoted", "better", "training")
    after = current_publication(desk.settings.place)
    assert before and after and (after.version, after.as_of) == (before.version + 1, before.as_of)
    with open_version(desk.settings.place) as version:
        assert version.connection.execute("from traffic").fetchall() == [(7,)]


def test_a_rollback_to_a_named_version_withdraws_all_above_it(desk: Desk) -> None:
    roll_back(desk.settings, "affinity", "v1", because("since v2 the sums are wrong"))
    assert desk.champion == "v1"
    assert desk.store.earlier_champions("affinity") == []
    desk.damage("v1")
    assert desk.serving() is None  # neither v2 nor v3: they were gone back on


@pytest.fixture
def kinds(desk: Desk, trained: Trained) -> Desk:
    """Three more champions: r1 serves a rule, b1 a blend, t1 its trees; each with the odds of its newest cut-off."""
    for hours, (version, serves) in enumerate((("r1", OWN_SHARES), ("b1", BLEND), ("t1", MODEL)), start=1):
        evaluation = replace(trained.evaluation, serves=serves, odds_factor=1 + hours / 10)
        Trained(trained.training_set, trained.trained, evaluation).save(desk.store, version)
        desk.store.record(
            "affinity", version, Decision(is_promoted=True, reason=f"{serves} is better"), NOW + timedelta(hours=hours)
        )
    return desk


def test_rollbacks_to_and_from_a_rule_and_a_blend_serve_what_each_version_served(kinds: Desk, trained: Trained) -> None:
    """By the command line: scores are those of the contender, times its odds; show and the published table say which it is."""
    rows, none = trained.training_set.validation, trained.training_set.categories.index(NONE)
    features = customer_frame(kinds.settings.shop, 30)

    def serves_as(contender: str, version: str, factor: float) -> None:
        shop = kinds.settings.shop
        loaded = kinds.store.load_servable("affinity", feature_list(shop), [*shop.category_ids, NONE]).loaded
        assert loaded is not None
        assert loaded.version == kinds.champion == version
        expected = trained.trained.contenders[contender].probabilities(rows) * [
            1 if place == none else factor for place in range(len(trained.training_set.categories))
        ]
        expected /= expected.sum(axis=1, keepdims=True)
        assert loaded.model.probabilities(rows) == pytest.approx(expected)
        scored = score(features, loaded).to_pandas()
        assert set(scored["model_version"]) == {version}
        assert scored.groupby("customer_id")["probability"].sum().to_numpy() == pytest.approx(np.ones(30))
        given = reasons(features, loaded, shop, {})
        assert len(given) == 30
        assert given["reason_1"].notna().mean() > 0.5

    serves_as(MODEL, "t1", 1.3)
    code, out, _ = kinds("rollback", "--reason", "the trees favour books")
    assert (code, "b1 is the champion now" in out) == (0, True)
    serves_as(BLEND, "b1", 1.2)
    assert kinds("rollback", "--reason", "so does the blend")[0] == 0
    serves_as(OWN_SHARES, "r1", 1.1)
    code, out, _ = kinds("show", "champion")
    assert code == 0
    assert f"The baseline '{OWN_SHARES}' alone" in out.replace("\n", " ")
    assert "Odds times 1.100" in " ".join(out.split())
    assert kinds("rollback", "--reason", "the rule is stale")[0] == 0
    serves_as(MODEL, "v3", trained.evaluation.odds_factor)
    assert kinds("promote", "r1", "--reason", "it was right after all")[0] == 0
    serves_as(OWN_SHARES, "r1", 1.1)
    assert kinds("list")[0] == 0
    seen = kinds.published()
    statuses = {version: seen[version][:2] for version in ("t1", "b1", "r1", "v3")}
    assert statuses == {
        "t1": (False, "rolled back"),
        "b1": (False, "rolled back"),
        "r1": (True, "promoted"),
        "v3": (False, "promoted"),
    }
    with open_version(kinds.settings.place) as published:
        served = dict(published.connection.execute("select model_version, serves from model_versions").fetchall())
    assert (served["r1"], served["b1"], served["t1"]) == (OWN_SHARES, BLEND, MODEL)
    kinds.damage("r1")
    assert kinds.serving() == "v3"  # what was rolled back does not serve in need, a rule's file is checked like any other


def test_what_was_withdrawn_does_not_serve_in_need_until_it_is_promoted_again(desk: Desk) -> None:
    roll_back(desk.settings, "affinity", None, because("wrong"))
    desk.damage("v2")
    assert desk.serving() == "v1"
    promote(desk.settings, "affinity", "v3", because("it was the data", hours=2))
    assert desk.champion == desk.serving() == "v3"
    desk.damage("v3")
    assert desk.serving() == "v1"


def test_a_rejected_version_does_not_serve_in_need(desk: Desk) -> None:
    reject(desk.settings, "affinity", "v2", because("trained on a day of robots"))
    assert desk.published()["v2"] == (False, "rejected", "trained on a day of robots", "ada")
    assert desk.champion == "v3"
    desk.damage("v3")
    assert desk.serving() == "v1"
    with pytest.raises(ModelStoreError, match="v3 is the champion, so it cannot be rejected; roll back instead"):
        reject(desk.settings, "affinity", "v3", because("damaged"))


def test_a_damaged_version_can_be_rejected(desk: Desk) -> None:
    desk.damage("v2")
    reject(desk.settings, "affinity", "v2", because("its disk died"))
    assert desk.log[-1]["decision"] == "rejected"


def test_two_rollbacks_go_two_champions_back_and_a_third_is_refused(desk: Desk) -> None:
    roll_back(desk.settings, "affinity", None, because("wrong"))
    roll_back(desk.settings, "affinity", None, because("wrong too", hours=2))
    assert desk.champion == "v1"
    with pytest.raises(ModelStoreError, match="no champion before v1; promote another version"):
        roll_back(desk.settings, "affinity", None, because("wrong as well", hours=3))
    assert len(desk.log) == 5


def test_a_rollback_without_any_champion_says_that_there_is_none(desk: Desk) -> None:
    with pytest.raises(ModelStoreError, match="spend has no champion yet, so there is nothing to withdraw; run training_job"):
        roll_back(desk.settings, "spend", None, because("wrong"))


@pytest.mark.parametrize("reason", ["", "  \n "])
def test_a_decision_without_a_reason_is_refused(desk: Desk, reason: str) -> None:
    for action in (["promote", "v1"], ["reject", "v1"], ["rollback"]):
        code, out, err = desk(*action, "--reason", reason)
        assert (code, out) == (2, "")
        assert "a decision needs its reason" in err
        code, out, err = desk(*action)
        assert code == 2
        assert "Missing option '--reason'" in err
    assert (desk.champion, len(desk.log)) == ("v3", 3)


def another_shop(desk: Desk) -> None:
    """v1 is the file of a shop with other categories, undamaged and with its own manifest."""
    shop = small_shop(categories=["tea", "coffee"])
    training_set = build_training_set(training_frame(shop, customers=300, cutoffs=2), shop)
    made = train(training_set, seed=1, threads=2)
    shutil.rmtree(desk.file("v1").parent)
    Trained(training_set, made, evaluate(training_set, made)).save(desk.store, "v1")


def another_model(desk: Desk) -> None:
    """v1 is an undamaged version of another model, with its manifest."""
    manifest = json.loads(desk.file("v1", "manifest.json").read_text())
    desk.file("v1", "manifest.json").write_text(json.dumps({**manifest, "name": "response"}))


def other_windows(desk: Desk) -> None:
    """shop.yaml was changed after the training."""
    path = desk.folder / "shop.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "windows_days": [3, 14]}))


def no_file(desk: Desk) -> None:
    desk.file("v1").unlink()


@pytest.mark.full
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda desk: desk.damage("v1"), "v1/model.cbm has sha256"),
        (another_shop, "v1/model.cbm: features are not those of the present shop.yaml"),
        (another_model, "beside the manifest of response v1"),
        (other_windows, "train again"),
        (no_file, "v1/model.cbm does not exist; restore the version"),
    ],
)
def test_what_does_not_load_is_neither_promoted_nor_rolled_back_to(desk: Desk, spoil: Any, message: str) -> None:
    spoil(desk)
    publication = current_publication(desk.settings.place)
    log = (desk.store.root / "affinity" / "promotions.jsonl").read_bytes()
    for decide in (promote, roll_back):
        with pytest.raises(ModelRefused, match=message):
            decide(desk.settings, "affinity", "v1", because("try it"))
    assert desk.champion == "v3"
    assert (desk.store.root / "affinity" / "promotions.jsonl").read_bytes() == log
    assert current_publication(desk.settings.place) == publication
    assert not (desk.settings.place.models / "model_versions.parquet").exists()


def test_a_rollback_to_what_never_served_is_refused(desk: Desk, trained: Trained) -> None:
    trained.save(desk.store, "v4")
    desk.store.record("affinity", "v4", Decision(is_promoted=False, reason="worse"), NOW)
    code, _, err = desk("rollback", "v4", "--reason", "try it")
    assert code == 2
    assert "v4 was no champion before v3, or was withdrawn since (there are: v2, v1); promote it" in err
    code, _, err = desk("promote", "v9", "--reason", "try it")
    assert code == 2
    assert "has no version v9; the newest are: v1, v2, v3, v4" in err
    code, _, err = desk("promote", "v3", "--reason", "try it")
    assert code == 2
    assert "v3 is the champion already" in err
    code, _, err = desk("list", "--model", "uplift")
    assert code == 2
    assert "'uplift' is no model; the models are: affinity, spend, churn" in err
    assert len(desk.log) == 4


def test_the_command_keeps_who_asked_and_why(desk: Desk) -> None:
    code, out, _ = desk("rollback", "--reason", "offers cameras\nto everybody")
    assert code == 0
    assert out.startswith("affinity v2 is the champion now.\nBefore it: v3, which serves no more until it is promoted.\n")
    assert (desk.log[-1]["by"], desk.log[-1]["reason"]) == (getpass.getuser(), "offers cameras to everybody")
    code, out, _ = desk("reject", "v1", "--reason", "too old")
    assert (code, out) == (0, "affinity v1 is rejected: it serves no more, until it is promoted.\n")
    code, out, _ = desk("promote", "v3", "--reason", "it was the data")
    assert code == 0
    assert "affinity v3 is the champion now.\nBefore it: v2.\n" in out
    assert desk.champion == "v3"


def test_the_list_shows_every_version_with_its_last_decision(desk: Desk) -> None:
    desk("rollback", "--reason", "offers cameras to everybody, also to those who have just bought one, and nothing else at all")
    code, out, _ = desk("list")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "affinity: 3 versions; * is the champion"
    rows = {line[2:4]: line for line in lines if line[2:4] in {"v1", "v2", "v3"}}
    assert list(rows) == ["v3", "v2", "v1"]
    assert rows["v2"].startswith("* v2 ")
    assert rows["v3"].split()[:4] == ["v3", "2026-05-01", "09:00", "rolled"]
    assert f"by {getpass.getuser()}: offers cameras" in out
    assert max(len(line) for line in lines) <= 100


def test_the_list_says_when_the_champion_is_refused(desk: Desk) -> None:
    desk.damage("v3")
    code, out, _ = desk("list")
    assert code == 1
    assert "damaged or exchanged" in " ".join(out.split())
    assert "serving meanwhile: v2" in out


def test_a_version_is_shown_with_its_metrics_beside_the_baselines_and_its_decisions(desk: Desk, trained: Trained) -> None:
    desk("rollback", "--reason", "offers cameras to everybody")
    code, out, _ = desk("show", "v3")
    assert code == 0
    text = " ".join(out.split())
    assert out.startswith("affinity v3: rolled back\n")
    losses = trained.evaluation.scores.set_index("contender")["log_loss"]
    for contender, loss in losses.items():
        assert f"{contender} {loss:.4f}" in text
    assert f"fingerprint {trained.training_set.fingerprint}" in text
    assert f"judged on {trained.training_set.validation_cutoff:%Y-%m-%d %H:%M} UTC" in text
    assert hashlib.sha256(desk.file("v3").read_bytes()).hexdigest() in text
    assert "2026-05-01 09:02 by training: promoted; champion before: v2 better" in text
    assert "rolled back, to v2 offers cameras to everybody" in text
    assert max(len(line) for line in out.splitlines()) <= 100
    assert desk("show", "champion")[1].startswith("affinity v2: the champion\n")
    assert "serves again: v3 rolled back" in desk("show", "champion")[1]


def test_many_measures_are_shown_in_blocks_that_fit(desk: Desk) -> None:
    manifest = desk.file("v3", "manifest.json")
    content = json.loads(manifest.read_text())
    content["metrics"]["model"] |= {f"measure_number_{number}": number / 8 for number in range(1, 8)}
    manifest.write_text(json.dumps(content))
    out = desk("show", "v3")[1]
    assert max(len(line) for line in out.splitlines()) <= 100
    for number in range(1, 8):
        assert out.count(f"measure_number_{number}") == 1
        assert f"{number / 8:.4f}" in out


def test_a_version_that_would_be_refused_says_so_when_it_is_shown(desk: Desk) -> None:
    other_windows(desk)
    code, out, _ = desk("show", "v3")
    assert code == 1
    assert "refused:" in out
    assert "train again" in out


def test_nothing_is_shown_before_the_first_training(desk: Desk) -> None:
    shutil.rmtree(desk.store.root)
    assert desk("list")[:2] == (1, "affinity: no version yet; training_job makes one\n")
    code, _, err = desk("show", "champion")
    assert code == 2
    assert "has no champion yet; run training_job" in err
    assert not desk.store.root.exists()


def test_a_request_needs_a_time_zone() -> None:
    with pytest.raises(DecisionRefused, match="no time zone"):
        Request("why", datetime(2026, 5, 1), "ada")  # noqa: DTZ001
    assert Request("why", datetime(2026, 5, 1, tzinfo=UTC), "ada").by == "ada"


def decisions(*words: str) -> list[dict[str, str]]:
    """``v1`` promotes v1, ``-v1`` rejects it, ``v3>v1`` rolls back from v3 to v1."""
    decisions = []
    for word in words:
        version, _, back_to = word.partition(">")
        kind = "rolled back" if back_to else "rejected" if word.startswith("-") else "promoted"
        decisions.append({"version": version.removeprefix("-"), "decision": kind, "champion": back_to})
    return decisions


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), []),
        (("v1", "v2", "v3"), ["v3", "v2", "v1"]),
        (("v1", "-v2", "v3"), ["v3", "v1"]),
        (("v1", "v2", "v1"), ["v1", "v2"]),
        (("v1", "v2", "v3", "v3>v2"), ["v2", "v1"]),
        (("v1", "v2", "v3", "v3>v1"), ["v1"]),
        (("v1", "v2", "v3", "v3>v2", "v4"), ["v4", "v2", "v1"]),
        (("v1", "v2", "v3", "v3>v1", "v3"), ["v3", "v1"]),
        (("v1", "v2", "v3", "-v2"), ["v3", "v1"]),
        # The log had v3 when a crash left v2 champion: a rollback from v2 withdraws both.
        (("v1", "v2", "v3", "v2>v1"), ["v1"]),
    ],
)
def test_the_succession_is_what_may_serve(words: tuple[str, ...], line: list[str]) -> None:
    assert succession(decisions(*words)) == line
