"""Which family of models serves: boosted trees or a random forest, by the newest rows that neither was fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ml.datasets.training_sets import TrainingSet
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.calibration import FOLDS, fit_calibration, log_loss
from ml.fitting.forest_training import train_forest
from ml.fitting.training import TrainedModel, Tuned, train
from ml.fitting.tuning import Budget
from ml.judging.measures import auc

BOOSTED, FOREST = "CatBoost", "random forest"


def train_families(
    training_set: TrainingSet,
    *,
    seed: int,
    threads: int,
    settings: BoostingSettings | None = None,
    budget: Budget | None = None,
) -> TrainedModel:
    """Train both families and keep the better one, with the other as ``rivals`` and the figures of both as ``families``.

    Both are judged on the tuning rows, by models that were not fitted on them and with a calibration that was not learned on
    them (five folds): log loss and the area under the ROC curve. Where these disagree the log loss decides, because what a
    contact is worth is computed from the probability itself. The rows that judge the kept model have no part in it.
    """
    trained = {
        BOOSTED: train(training_set, seed=seed, threads=threads, settings=settings, budget=budget),
        FOREST: train_forest(training_set, seed=seed, threads=threads),
    }
    figures = pd.DataFrame([{"family": name, **_figures(training_set, one)} for name, one in trained.items()])
    best, reason = chosen_family(figures)
    return replace(
        trained[best],
        settings={"family": best, **trained[best].settings},
        rivals={name: one.model for name, one in trained.items() if name != best},
        families=figures.assign(chosen=figures["family"] == best),
        family_reason=reason,
    )


def chosen_family(figures: pd.DataFrame) -> tuple[str, str]:
    """The family to keep and why, from one row a family (family, log_loss, auc)."""
    rows = {str(row["family"]): row for row in figures.to_dict("records")}
    if figures["log_loss"].isna().any():
        return BOOSTED, "there were no rows to compare families on"
    best, other = sorted(rows, key=lambda name: rows[name]["log_loss"])
    said = (
        f"{best} has log loss {rows[best]['log_loss']:.4f} and AUC {rows[best]['auc']:.4f} on the tuning rows, "
        f"{other} {rows[other]['log_loss']:.4f} and {rows[other]['auc']:.4f}"
    )
    if rows[best]["auc"] < rows[other]["auc"]:
        return best, f"{said}: the two disagree, and the log loss decides"
    return best, f"{said}: {best} is better by both"


def _figures(training_set: TrainingSet, trained: TrainedModel) -> dict[str, float]:
    tuned = trained.tuned
    if tuned is None:
        return {"log_loss": float("nan"), "auc": float("nan")}
    calibrated = _calibrated(tuned)
    seen = sorted(set(training_set.train_labels.astype(str)))
    asked = [place for place, name in enumerate(seen) if name in training_set.target.asked]
    is_hit = np.isin(tuned.truth, asked)
    return {"log_loss": log_loss(calibrated, tuned.truth), "auc": auc(calibrated[:, asked].sum(axis=1), is_hit)}


def _calibrated(tuned: Tuned) -> np.ndarray:
    """Each fifth of the rows as the calibration of the others bends it."""
    fold, result = np.arange(len(tuned.truth)) % FOLDS, np.empty_like(tuned.shares)
    for number in range(FOLDS):
        is_out = fold == number
        result[is_out] = fit_calibration(tuned.shares[~is_out], tuned.truth[~is_out]).apply(tuned.shares[is_out])
    return result
