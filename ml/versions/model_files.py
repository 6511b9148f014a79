"""The file of a model: CatBoost's own format, or a forest's arrays. Never pickle."""

from __future__ import annotations

from pathlib import Path

from catboost import CatBoostClassifier, CatBoostError

from ml.fitting.forest import Forest, ForestError

BOOSTED_FILE, FOREST_FILE = "model.cbm", "model.npz"
RESTORE = "restore the version's own file, or promote another version"


class ModelFileError(ValueError):
    """A file does not hold the classifier that its name says."""


def write_classifier(classifier: CatBoostClassifier | Forest, folder: Path) -> str:
    """Write the classifier into ``folder``; the name of its file."""
    if isinstance(classifier, Forest):
        classifier.save(folder / FOREST_FILE)
        return FOREST_FILE
    classifier.save_model(str(folder / BOOSTED_FILE), format="cbm")
    return BOOSTED_FILE


def read_classifier(path: Path) -> CatBoostClassifier | Forest:
    """The classifier of a file, by its name. Raises ``ModelFileError``."""
    if path.name == FOREST_FILE:
        try:
            return Forest.load(path)
        except ForestError as error:
            raise ModelFileError(f"{path} is not a random forest: {error}; {RESTORE}") from error
    classifier = CatBoostClassifier()
    try:
        classifier.load_model(str(path), format="cbm")
        # A regressor's file loads here without a word; only its parameters tell.
        loss = str(classifier.get_all_params().get("loss_function"))
    except CatBoostError as error:
        raise ModelFileError(f"{path} is not a CatBoost model: {error}; {RESTORE}") from error
    if loss != "MultiClass":
        raise ModelFileError(f"{path} was trained for {loss}, every model here is a MultiClass classifier; {RESTORE}")
    return classifier
