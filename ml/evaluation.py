"""How good the model is on the validation cut-off, beside the baselines and the present champion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.affinity_model import AffinityModel, Probabilities
from ml.baselines import baseline_probabilities
from ml.markdown import table
from ml.training_sets import TrainingSet

MODEL = "model"
CHAMPION = "champion"
RELIABILITY_BINS = 10


@dataclass(frozen=True)
class Evaluation:
    """Numbers on the validation rows.

    ``scores``: one row a contender (model, champion if any, baselines) with log_loss, brier, accuracy, macro_f1.
    ``recall``: one row a category with its rows and every contender's recall. ``importance``: one row a feature, in percent,
    the most important first. ``reliability``: ten equal bins of the model's probabilities, every category of every row counted.
    """

    scores: pd.DataFrame
    recall: pd.DataFrame
    importance: pd.DataFrame
    reliability: pd.DataFrame
    rows_train: int
    rows_validation: int

    def log_loss(self, contender: str) -> float:
        """A contender's log loss in nats a row."""
        return float(self.scores.loc[self.scores["contender"] == contender, "log_loss"].iloc[0])

    @property
    def champion_log_loss(self) -> float | None:
        """The champion's log loss on the same rows; None without a champion."""
        return self.log_loss(CHAMPION) if CHAMPION in set(self.scores["contender"]) else None

    @property
    def best_baseline(self) -> tuple[str, float]:
        """The baseline with the lowest log loss, and that log loss."""
        baselines = self.scores[~self.scores["contender"].isin([MODEL, CHAMPION])]
        best = baselines.sort_values(["log_loss", "contender"]).iloc[0]
        return str(best["contender"]), float(best["log_loss"])

    def to_markdown(self) -> str:
        """The tables as Markdown, the fifteen most important features only."""
        parts = [
            f"{self.rows_train:,} rows to train on, {self.rows_validation:,} to validate on (the last cut-off).",
            table(self.scores),
            "Recall by category",
            table(self.recall),
            "Most important features (percent)",
            table(self.importance.head(15)),
            "Reliability: what was predicted and what came",
            table(self.reliability),
        ]
        return "\n\n".join(parts)


def evaluate(training_set: TrainingSet, model: AffinityModel, champion: AffinityModel | None = None) -> Evaluation:
    """Score the validation cut-off with the model, the present champion and the baselines.

    The champion must read the same features and publish the same categories (the model store refuses it otherwise).
    """
    contenders = {MODEL: model.probabilities(training_set.validation)}
    if champion is not None:
        contenders[CHAMPION] = champion.probabilities(training_set.validation)
    contenders |= baseline_probabilities(training_set)
    categories = training_set.categories
    truth = np.array([categories.index(str(label)) for label in training_set.validation_labels])
    scores = [{"contender": name, **score(probabilities, truth)} for name, probabilities in contenders.items()]
    recall = pd.DataFrame({"category_id": list(categories), "rows": np.bincount(truth, minlength=len(categories))})
    for name, probabilities in contenders.items():
        recall[name] = class_recall(probabilities, truth)
    importance = pd.DataFrame(
        {"feature": [f.name for f in model.features], "importance": model.classifier.get_feature_importance()}
    )
    return Evaluation(
        scores=pd.DataFrame(scores),
        recall=recall,
        importance=importance.sort_values(["importance", "feature"], ascending=[False, True], ignore_index=True),
        reliability=reliability(contenders[MODEL], truth),
        rows_train=len(training_set.train),
        rows_validation=len(training_set.validation),
    )


def score(probabilities: Probabilities, truth: npt.NDArray[np.int64]) -> dict[str, float]:
    """Log loss (nats a row), Brier score (Brier 1950: squared error over all classes, 0 to 2), accuracy and macro-F1.

    Macro-F1 is the mean over the classes that occur as truth or as prediction.
    """
    rows = np.arange(len(truth))
    target = np.zeros_like(probabilities)
    target[rows, truth] = 1
    predicted = probabilities.argmax(axis=1)
    classes = np.union1d(truth, predicted)
    hits = np.array([((predicted == c) & (truth == c)).sum() for c in classes])
    named = np.array([(predicted == c).sum() + (truth == c).sum() for c in classes])
    return {
        "log_loss": float(-np.log(np.clip(probabilities[rows, truth], 1e-15, 1)).mean()),
        "brier": float(((probabilities - target) ** 2).sum(axis=1).mean()),
        "accuracy": float((predicted == truth).mean()),
        "macro_f1": float((2 * hits / named).mean()),
    }


def class_recall(probabilities: Probabilities, truth: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of each class's rows that the most probable class gets right; NaN for a class without rows."""
    classes = probabilities.shape[1]
    rows = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[probabilities.argmax(axis=1) == truth], minlength=classes)
    return np.where(rows > 0, hits / np.maximum(rows, 1), np.nan)


def reliability(probabilities: Probabilities, truth: npt.NDArray[np.int64], bins: int = RELIABILITY_BINS) -> pd.DataFrame:
    """One row for each non-empty bin of probability: rows, mean predicted, observed share (one against the rest, pooled)."""
    target = np.zeros_like(probabilities)
    target[np.arange(len(truth)), truth] = 1
    bin_no = np.minimum((probabilities * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": bin_no.ravel(), "predicted": probabilities.ravel(), "observed": target.ravel()})
    grouped = frame.groupby("bin").agg(rows=("bin", "size"), predicted=("predicted", "mean"), observed=("observed", "mean"))
    grouped = grouped.reset_index()
    grouped["bin"] = [f"{number / bins:.1f} to {(number + 1) / bins:.1f}" for number in grouped["bin"]]
    return grouped
