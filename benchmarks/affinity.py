"""The published label file of a Customer 360 solution: 6,000 customers, label 0 to 3, judged on a stratified tenth, ten times.

``AFFINITY_DATA`` names the folder with ``customer_profile_label.csv``. The columns of the last three days are left out, since
the label is made of them. Log loss and calibration error are those of the published probabilities, macro-F1 is that of
the decisions. Beside it, on the same rows: the prior, and the boosted trees that were published with the file (50 trees of
depth 5, rate .1), as scikit-learn has them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import StratifiedShuffleSplit

from benchmarks.measuring import write_result
from customer360.features import Feature
from customer360.settings import REPOSITORY
from ml.datasets.targets import Target
from ml.datasets.training_sets import TrainingSet, fold_splits
from ml.fitting.training import train
from ml.frames import feature_matrix
from ml.measures import log_loss, macro_f1, score

FILE = "customer_profile_label.csv"
SEEDS = 10
JUDGED_SHARE = 0.1
LEFT_OUT = ("customerID", "label")


def main() -> None:
    """Train and judge with ten seeds; the figures are means."""
    folder = Path(os.environ.get("AFFINITY_DATA", REPOSITORY.parent / "shared" / "data" / "customer360"))
    if not (folder / FILE).exists():
        sys.exit(f"{folder / FILE} does not exist; name its folder in AFFINITY_DATA")
    data = pd.read_csv(folder / FILE)
    splits = StratifiedShuffleSplit(SEEDS, test_size=JUDGED_SHARE, random_state=0).split(data, data["label"])
    runs = [judged(data, np.isin(np.arange(len(data)), rows), seed) for seed, (_, rows) in enumerate(splits)]
    write_result("affinity", {name: float(np.mean([run[name] for run in runs])) for name in runs[0]})


def judged(data: pd.DataFrame, is_judged: np.ndarray, seed: int) -> dict[str, float]:
    """One split: figures of our model, the prior and the published model's family."""
    training_set = label_training_set(data, is_judged)
    model = train(training_set, seed=seed, threads=os.cpu_count() or 1).model
    truth = data.loc[is_judged, "label"].to_numpy(np.int64)
    probabilities = model.probabilities(training_set.validation)
    ours = score(probabilities, truth, model.decisions(probabilities))
    prior = np.bincount(data.loc[~is_judged, "label"]) / (~is_judged).sum()
    family = published_family(data, is_judged, seed)
    return {
        "log_loss": ours["log_loss"],
        "macro_f1": ours["macro_f1"],
        "ece": ours["calibration_error"],
        "prior_log_loss": log_loss(np.tile(prior, (len(truth), 1)), truth),
        "published_family_log_loss": log_loss(family, truth),
        "published_family_macro_f1": macro_f1(family.argmax(axis=1), truth, len(prior)),
    }


def label_training_set(data: pd.DataFrame, is_judged: np.ndarray) -> TrainingSet:
    """The rows that are not judged to train on, a fifth of them after the others to tune on."""
    names = [name for name in data.columns if name not in LEFT_OUT and not name.endswith("_3d")]
    features = tuple(Feature(name, "numeric" if is_numeric(data[name]) else "categorical", name, name) for name in names)
    matrix = feature_matrix(data, features, FILE)
    labels = data["label"].astype(str).to_numpy(dtype=object)
    classes = tuple(sorted(set(labels)))
    return TrainingSet(
        target=Target("label", "", classes, classes[:-1], 0, "", lambda frame, _: frame["label"].to_numpy(dtype=object)),
        features=features,
        train=matrix[~is_judged].reset_index(drop=True),
        train_labels=labels[~is_judged],
        train_weights=np.ones(int((~is_judged).sum())),
        tuning=fold_splits(data.loc[~is_judged, "customerID"]),
        validation=matrix[is_judged].reset_index(drop=True),
        validation_labels=labels[is_judged],
        validation_groups=pd.DataFrame(index=range(int(is_judged.sum()))),
        train_cutoffs=(),
        validation_cutoff=pd.Timestamp(0).to_pydatetime(),
        fingerprint="",
    )


def is_numeric(column: pd.Series) -> bool:
    """True for numbers; everything else is a category."""
    return pd.api.types.is_numeric_dtype(column)


def published_family(data: pd.DataFrame, is_judged: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities of the judged rows by 50 boosted trees of depth 5 at rate .1, categories as indicators."""
    columns = data.drop(columns=[name for name in data.columns if name in LEFT_OUT or name.endswith("_3d")])
    matrix = pd.get_dummies(columns).to_numpy(np.float64)
    model = GradientBoostingClassifier(n_estimators=50, max_depth=5, learning_rate=0.1, random_state=seed)
    model.fit(matrix[~is_judged], data.loc[~is_judged, "label"])
    return np.asarray(model.predict_proba(matrix[is_judged]))


if __name__ == "__main__":
    main()
