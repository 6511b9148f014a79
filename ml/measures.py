"""The measures by which probabilities and decisions are judged: rows x classes beside the class (from 0) of each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ml.arrays import Booleans, Floats, Integers

BINS = 10
TOP_SHARE = 0.10


def score(
    probabilities: Floats, truth: Integers, decisions: Integers | None = None, negatives: Sequence[int] = (-1,)
) -> dict[str, float]:
    """Log loss (nats a row), Brier score, accuracy, macro-F1, calibration error, lift at 10% and ``auc``.

    The Brier score is the squared error over all classes, 0 to 2 (Brier, Verification of Forecasts Expressed in Terms of
    Probability, 1950). Accuracy and macro-F1 are those of the ``decisions``, by default the most probable classes. Lift and AUC
    are of all classes but the ``negatives`` (by default the last one): of "buys anything", where the last class is "none".
    """
    decisions = probabilities.argmax(axis=1) if decisions is None else decisions
    classes = probabilities.shape[1]
    others = np.arange(classes)[list(negatives)]
    positive_share, is_positive = 1 - probabilities[:, others].sum(axis=1), ~np.isin(truth, others)
    return {
        "log_loss": log_loss(probabilities, truth),
        "brier": float(((probabilities - one_hot(truth, classes)) ** 2).sum(axis=1).mean()),
        "accuracy": float((decisions == truth).mean()),
        "macro_f1": macro_f1(decisions, truth, classes),
        "calibration_error": calibration_error(probabilities, truth),
        "lift_10": lift(positive_share, is_positive),
        "auc": auc(positive_share, is_positive),
    }


def log_loss(probabilities: Floats, truth: Integers) -> float:
    """Mean of -log p(truth), in nats a row."""
    return float(row_losses(probabilities, truth).mean())


def row_losses(probabilities: Floats, truth: Integers) -> Floats:
    """-log p(truth) of each row, in nats."""
    return np.asarray(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-15, 1)), dtype=np.float64)


def one_hot(truth: Integers, classes: int) -> Floats:
    """Rows x classes: 1 for the class of the row, else 0."""
    return np.eye(classes)[truth]


def calibration_error(probabilities: Floats, truth: Integers, bins: int = BINS) -> float:
    """Expected calibration error, class by class (Kull et al., Beyond temperature scaling, 2019), mean over the classes.

    Of each class: the mean distance between what was predicted and what came, over equal bins, weighted by their rows.
    """
    classes = probabilities.shape[1]
    bin_no = np.minimum((probabilities * bins).astype(int), bins - 1) + np.arange(classes) * bins
    gaps = np.bincount(bin_no.ravel(), (probabilities - one_hot(truth, classes)).ravel(), minlength=classes * bins)
    return float(np.abs(gaps).sum() / probabilities.size)


def macro_f1(predicted: Integers, truth: Integers, classes: int) -> float:
    """Mean F1 over the classes that occur as truth or as prediction."""
    hits = np.bincount(truth[predicted == truth], minlength=classes)
    counts = np.bincount(predicted, minlength=classes) + np.bincount(truth, minlength=classes)
    occurs = counts > 0
    return float((2 * hits[occurs] / counts[occurs]).mean())


def auc(scores: Floats, is_hit: Booleans) -> float:
    """How often a hit scores above another row, ties by half: the area under the ROC curve. NaN where all rows are alike.

    By ranks (Mann and Whitney, On a Test of Whether one of Two Random Variables is Stochastically Larger, 1947).
    """
    hits = int(is_hit.sum())
    others = len(scores) - hits
    if not hits or not others:
        return float("nan")
    return float((rankdata(scores)[is_hit].sum() - hits * (hits + 1) / 2) / (hits * others))


def lift(scores: Floats, is_hit: Booleans, share: float = TOP_SHARE) -> float:
    """Hits among the ``share`` of rows with the highest scores, over the hits among as many rows at random.

    Ties at the border count by their mean. NaN without hits.
    """
    if not is_hit.any():
        return float("nan")
    taken = max(round(share * len(scores)), 1)
    border = np.partition(scores, -taken)[-taken]
    above, at = scores > border, scores == border
    hits = is_hit[above].sum() + (taken - above.sum()) * is_hit[at].mean()
    return float(hits / taken / is_hit.mean())


def class_recall(truth: Integers, decisions: Integers, classes: int) -> Floats:
    """Share of each class's rows that are decided so; NaN for a class without rows."""
    rows = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[decisions == truth], minlength=classes)
    return np.where(rows > 0, hits / np.maximum(rows, 1), np.nan)


def reliability(probabilities: Floats, truth: Integers, bins: int = BINS) -> pd.DataFrame:
    """One row for each non-empty bin of probability, all classes pooled: bin, rows, mean predicted, observed share."""
    target = one_hot(truth, probabilities.shape[1])
    bin_no = np.minimum((probabilities * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": bin_no.ravel(), "predicted": probabilities.ravel(), "observed": target.ravel()})
    grouped = frame.groupby("bin").agg(rows=("bin", "size"), predicted=("predicted", "mean"), observed=("observed", "mean"))
    grouped = grouped.reset_index()
    grouped["bin"] = [f"{number / bins:.1f} to {(number + 1) / bins:.1f}" for number in grouped["bin"]]
    return grouped


def confusion(truth: Integers, decisions: Integers, categories: tuple[str, ...]) -> pd.DataFrame:
    """Rows by truth (index) and decision (columns)."""
    counts = np.zeros((len(categories), len(categories)), dtype=np.int64)
    np.add.at(counts, (truth, decisions), 1)
    return pd.DataFrame(counts, index=list(categories), columns=list(categories))
