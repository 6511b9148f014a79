from __future__ import annotations

import struct
from pathlib import Path

from trained_models import NOW, Trained

from ml.judging.evaluation import Evaluation
from ml.judging.plots import evaluation_plots
from ml.judging.promotion import decide
from ml.versions.model_card import model_card
from ml.versions.model_store import ModelStore


def test_every_plot_is_a_picture_and_the_same_evaluation_gives_the_same(trained: Trained) -> None:
    plots = evaluation_plots(trained.evaluation)
    assert set(plots) == {"calibration", "lift", "confusion", "importance"}
    for png in plots.values():
        header = png[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", header[16:24]) == (572, 440)
    assert evaluation_plots(trained.evaluation) == plots


def test_a_category_named_like_a_formula_is_drawn(trained: Trained) -> None:
    odd = trained.evaluation.confusion.rename(columns={"computers": "$\\frac{1}", "fitness": "x" * 200})
    recall = trained.evaluation.recall.replace({"category_id": {"computers": "$\\frac{1}"}})
    strange = Evaluation(**{**trained.evaluation.__dict__, "confusion": odd, "recall": recall})
    assert len(evaluation_plots(strange)["confusion"]) > 1_000


def test_the_card_says_what_the_version_is_worth_and_what_was_decided(trained: Trained, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    manifest = store.save(
        "affinity",
        "v1",
        trained=trained.trained,
        training_set=trained.training_set,
        evaluation=trained.evaluation,
        created_at=NOW,
    )
    decision = decide(trained.evaluation)
    card = model_card(manifest, trained.evaluation, decision, trained.training_set.target.purpose)
    assert card.startswith("# affinity v1\n\nPromoted: the model is better than the best baseline 'own category shares'")
    for text in (
        decision.reason,
        manifest.model_sha256[:12],
        "| computers |",
        "![lift](lift.png)",
        "| none |",
        "| random_seed | 1 |",
    ):
        assert text in card
    loss = next(line for line in card.splitlines() if line.startswith("| model |"))
    assert f"{trained.evaluation.log_loss('model'):.4g}" in loss
