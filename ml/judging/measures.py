"""The measures by which probabilities and decisions are judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from ml.fitting.calibration import BINS, Classes, Floats, calibration_error, log_loss, outcomes
from ml.fitting.decisions import macro_f1

TOP_SHARE = 0.10


def score(probabilities: Floats, truth: Classes, named: Classes | None = None, rest: Sequence[int] = (-1,)) -> dict[str, float]:
    """What rows x classes of probabilities are worth, beside the class of each row.

    Log loss (nats a row), Brier score (Brier 1950: squared error over all classes, 0 to 2), accuracy, macro-F1, calibration
    error (``ml.fitting.calibration``) and lift at 10%; of two classes also the area under the ROC curve (``auc``).

    Accuracy and macro-F1 (mean over the classes that occur as truth or as decision) are those of the decisions ``named``, by
    default the most probable classes. The lift is that of all classes but ``rest`` (the last one): of
    "buys anything", where the last class is "none".
    """
    decisions = probabilities.argmax(axis=1) if named is None else named
    classes = probabilities.shape[1]
    others = np.arange(classes)[list(rest)]
    asked, is_asked = 1 - probabilities[:, others].sum(axis=1), ~np.isin(truth, others)
    return {
        "log_loss": log_loss(probabilities, truth),
        "brier": float(((probabilities - outcomes(truth, classes)) ** 2).sum(axis=1).mean()),
        "accuracy": float((decisions == truth).mean()),
        "macro_f1": macro_f1(decisions, truth, classes),
        "calibration_error": calibration_error(probabilities, truth),
        "lift_10": lift(asked, is_asked),
        **({"auc": auc(asked, is_asked)} if classes == 2 else {}),
    }


def auc(scores: Floats, is_hit: npt.NDArray[np.bool_]) -> float:
    """How often a hit scores above another row, ties by half: the area under the ROC curve. NaN where all rows are alike.

    By ranks (Mann and Whitney, On a Test of Whether one of Two Random Variables is Stochastically Larger, 1947).
    """
    hits = int(is_hit.sum())
    others = len(scores) - hits
    if not hits or not others:
        return float("nan")
    return float((rankdata(scores)[is_hit].sum() - hits * (hits + 1) / 2) / (hits * others))


def lift(scores: Floats, is_hit: npt.NDArray[np.bool_], share: float = TOP_SHARE) -> float:
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


def class_recall(truth: Classes, named: Classes, classes: int) -> Floats:
    """Share of each class's rows that are named so; NaN for a class without rows."""
    rows = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[named == truth], minlength=classes)
    return np.where(rows > 0, hits / np.maximum(rows, 1), np.nan)


def reliability(probabilities: Floats, truth: Classes, bins: int = BINS) -> pd.DataFrame:
    """One row for each non-empty bin of probability: rows, mean predicted, observed share (one against the rest, pooled)."""
    target = outcomes(truth, probabilities.shape[1])
    bin_no = np.minimum((probabilities * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"bin": bin_no.ravel(), "predicted": probabilities.ravel(), "observed": target.ravel()})
    grouped = frame.groupby("bin").agg(rows=("bin", "size"), predicted=("predicted", "mean"), observed=("observed", "mean"))
    grouped = grouped.reset_index()
    grouped["bin"] = [f"{number / bins:.1f} to {(number + 1) / bins:.1f}" for number in grouped["bin"]]
    return grouped


def confusion(truth: Classes, named: Classes, categories: tuple[str, ...]) -> pd.DataFrame:
    """Rows by truth (index) and decision (columns)."""
    counts = np.zeros((len(categories), len(categories)), dtype=np.int64)
    np.add.at(counts, (truth, named), 1)
    return pd.DataFrame(counts, index=list(categories), columns=list(categories))
