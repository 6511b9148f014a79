"""A forest kept as arrays says what scikit-learn's says, comes back from its file as it was, and refuses a damaged one."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from ml.datasets.training_sets import TrainingSet
from ml.fitting.forest import LEAF, MISSING_NUMBER, Forest, ForestError
from ml.fitting.forest_training import ForestSettings, train_forest
from ml.responses.training_set import build_response_training_set
from tests.ml.contacts import KNOWN_AT, drawn_inputs
from tests.ml.published_frames import small_shop

SETTINGS = ForestSettings(trees=20)


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return build_response_training_set(drawn_inputs(small_shop()), small_shop(), KNOWN_AT)


@pytest.fixture(scope="module")
def forest(training_set: TrainingSet) -> Forest:
    grown = train_forest(training_set, seed=5, threads=2, settings=SETTINGS).model.classifier
    assert isinstance(grown, Forest)
    return grown


def test_its_probabilities_are_scikit_learns(training_set: TrainingSet, forest: Forest) -> None:
    codes = forest.encoding.codes(training_set.train)
    theirs = RandomForestClassifier(
        SETTINGS.trees, min_samples_leaf=SETTINGS.min_samples_leaf, max_features=SETTINGS.max_features, random_state=5
    ).fit(codes, training_set.train_labels.astype(str), sample_weight=training_set.train_weights)
    assert list(forest.classes_) == list(theirs.classes_)
    wanted = theirs.predict_proba(forest.encoding.codes(training_set.validation))
    assert np.abs(forest.predict_proba(training_set.validation) - wanted).max() < 1e-12
    assert wanted.std() > 0.05
    assert forest.importance.sum() == pytest.approx(100)


def test_missing_numbers_are_lowest_and_unseen_texts_are_told_apart(forest: Forest, training_set: TrainingSet) -> None:
    row = training_set.validation.iloc[[0]].assign(age=np.nan, region="a new one")
    codes = dict(zip(forest.feature_names_, forest.encoding.codes(row)[0], strict=True))
    assert codes["age"] == np.float32(MISSING_NUMBER)
    assert codes["region"] == -1
    levels = dict(zip(forest.encoding.names, forest.encoding.levels, strict=True))
    assert levels["region"] is not None
    assert set(levels["region"]) == {"north", "south", "(missing)"}
    assert np.isfinite(forest.predict_proba(row)).all()


def test_a_file_gives_the_same_forest(forest: Forest, training_set: TrainingSet, tmp_path: Path) -> None:
    forest.save(tmp_path / "model.npz")
    again = Forest.load(tmp_path / "model.npz")
    assert again.encoding == forest.encoding
    assert (again.predict_proba(training_set.validation) == forest.predict_proba(training_set.validation)).all()
    with zipfile.ZipFile(tmp_path / "model.npz") as parts:
        for name in parts.namelist():
            assert b"|O" not in parts.read(name)[:128], name  # an array of objects would be a pickle


@pytest.mark.parametrize(
    "damage", ["a loop", "a child outside", "a feature too many", "shares of another size", "no numbers", "cut off"]
)
def test_a_file_that_is_no_forest_is_refused(forest: Forest, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.npz"
    forest.save(path)
    with np.load(path) as read:
        arrays = {name: read[name] for name in read.files}
    inner = int(np.flatnonzero(arrays["feature"] != LEAF)[1])
    if damage == "a loop":
        arrays["left"][inner] = 0
    elif damage == "a child outside":
        arrays["right"][inner] = len(arrays["right"])
    elif damage == "a feature too many":
        arrays["feature"][inner] = len(arrays["names"])
    elif damage == "shares of another size":
        arrays["share"] = arrays["share"][:-1]
    elif damage == "no numbers":
        arrays["levels"] = np.array([{}], dtype=object)
    np.savez(path, **arrays)
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ForestError):
        Forest.load(path)


def test_the_same_seed_gives_the_same_forest_whatever_the_threads(training_set: TrainingSet) -> None:
    first, second = (train_forest(training_set, seed=5, threads=threads, settings=SETTINGS) for threads in (1, 2))
    assert (first.model.probabilities(training_set.validation) == second.model.probabilities(training_set.validation)).all()
    assert first.model.calibration == second.model.calibration


def test_weights_count_where_trees_are_grown(training_set: TrainingSet) -> None:
    is_young = (training_set.train["age"] < 40).to_numpy()
    heavy = replace(training_set, train_weights=np.where(is_young, 50.0, 1.0))
    plain, weighted = (train_forest(one, seed=5, threads=2, settings=SETTINGS).model for one in (training_set, heavy))
    assert not (plain.probabilities(training_set.validation) == weighted.probabilities(training_set.validation)).all()
