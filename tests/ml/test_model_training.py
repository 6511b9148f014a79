from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trained_models import Trained

from ml.datasets.training_sets import Split
from ml.fitting.training import MODEL, train
from ml.judging.evaluation import evaluate


@pytest.mark.full
def test_the_same_data_and_seed_give_the_same_model(trained: Trained) -> None:
    again = train(trained.training_set, seed=1, threads=2)
    rows = trained.training_set.validation
    assert np.array_equal(again.model.probabilities(rows), trained.trained.model.probabilities(rows))
    assert again.settings["random_seed"] == 1


def test_the_model_beats_every_baseline_where_customers_have_an_affinity(trained: Trained) -> None:
    name, baseline = trained.evaluation.best_baseline
    assert name in {"last category bought", "most frequent category", "own category shares"}
    assert trained.evaluation.log_loss(MODEL) < baseline < trained.evaluation.log_loss("prior")


def test_a_category_without_a_training_label_is_published_with_a_small_probability(trained: Trained) -> None:
    training_set = trained.training_set
    kept = training_set.train_labels != "beauty"
    partial = replace(
        training_set,
        train=training_set.train[kept].reset_index(drop=True),
        train_labels=training_set.train_labels[kept],
        train_weights=training_set.train_weights[kept],
        tuning=tuple(Split(split.fitted[kept], split.tuned[kept]) for split in training_set.tuning),
    )
    made = train(partial, seed=1, threads=2)
    probabilities = made.model.probabilities(partial.validation)
    assert "beauty" not in made.model.seen_categories
    assert probabilities.shape == (700, 5)
    assert probabilities[:, 2] == pytest.approx(1 / (int(kept.sum()) + 5))
    assert probabilities.sum(axis=1) == pytest.approx(1)
    # Validation rows of that category count, at a finite loss.
    assert np.isfinite(evaluate(partial, made).log_loss(MODEL))


@pytest.mark.full
def test_rows_count_by_their_weights(trained: Trained) -> None:
    """Rows of fitness that count for next to nothing are as good as absent; equal weights change nothing."""
    training_set, place = trained.training_set, trained.training_set.categories.index("fitness")

    def fitness(weights: np.ndarray) -> np.ndarray:
        made = train(replace(training_set, train_weights=weights), seed=1, threads=2)
        return made.model.classifier.predict_proba(made.model.pool(training_set.validation))[:, seen.index("fitness")]

    seen = trained.trained.model.seen_categories
    before = trained.trained.model.probabilities(training_set.validation)[:, place].mean()
    assert before > 0.07
    assert fitness(np.where(training_set.train_labels == "fitness", 1e-4, 1.0)).mean() < before / 2
    plain = trained.trained.model.classifier.predict_proba(trained.trained.model.pool(training_set.validation))
    assert np.array_equal(fitness(np.ones(len(training_set.train))), plain[:, seen.index("fitness")])


@pytest.mark.full
def test_training_writes_no_files(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(trained.training_set, seed=2, threads=1)
    assert list(tmp_path.iterdir()) == []
