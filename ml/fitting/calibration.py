"""Calibration: of rows with probability p a share p comes true. Learned on rows that the model was not fitted on.

Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017) raises every probability to the power 1 / T and
renormalises: the order of a row's classes stays. Isotonic regression (Zadrozny and Elkan, Transforming Classifier Scores into
Accurate Multiclass Probability Estimates, 2002) bends each class by itself and renormalises.

Prior correction (Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori Probabilities, 2002)
multiplies the odds of the positive classes, such as "buys", by one factor: the share of buyers changes from week to week, and
cut-offs that lie further back may have had another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.optimize import brentq, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from ml.arrays import Floats, Integers
from ml.measures import log_loss

FLOOR = 1e-6  # isotonic regression gives 0 where it saw no row; a log loss must stay finite
FOLDS = 5
TEMPERATURES = (0.2, 5.0)
ODDS_FACTORS = (0.2, 5.0)
LEAST_ROWS = 50  # of either side, to correct the share of positives by


class Curve(BaseModel):
    """A non-decreasing, piecewise linear map of a class's probability."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    predicted: tuple[float, ...]
    observed: tuple[float, ...]


class Calibration(BaseModel):
    """A map of probabilities that can be written into a manifest. ``none`` leaves them as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["none", "temperature", "isotonic"] = "none"
    temperature: float = 1.0
    curves: tuple[Curve, ...] = ()

    def apply(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities (rows x classes); every row sums to 1."""
        if self.method == "none" or not len(probabilities):
            return probabilities
        if self.method == "temperature":
            powered = np.clip(probabilities, 1e-15, 1) ** (1 / self.temperature)
        else:
            bent = [np.interp(probabilities[:, k], curve.predicted, curve.observed) for k, curve in enumerate(self.curves)]
            powered = np.clip(np.column_stack(bent), FLOOR, 1)
        return np.asarray(powered / powered.sum(axis=1, keepdims=True), dtype=np.float64)


UNCALIBRATED = Calibration()


def fit_calibration(probabilities: Floats, truth: Integers) -> Calibration:
    """The method with the lowest log loss over five folds of these rows, fitted on all of them; ties go to the simpler one.

    ``probabilities``: rows x classes, of a model that was not fitted on these rows; ``truth``: the class of each row.
    """
    fold = np.arange(len(truth)) % FOLDS
    if len(truth) < 10 * FOLDS:
        return UNCALIBRATED
    losses = {"none": log_loss(probabilities, truth)}
    for name, fit in FITS.items():
        held_out = np.empty_like(probabilities)
        for number in range(FOLDS):
            is_out = fold == number
            held_out[is_out] = fit(probabilities[~is_out], truth[~is_out]).apply(probabilities[is_out])
        losses[name] = log_loss(held_out, truth)
    best = min(losses, key=lambda name: losses[name])
    return FITS[best](probabilities, truth) if best in FITS else UNCALIBRATED


def _temperature(probabilities: Floats, truth: Integers) -> Calibration:
    def loss(log_temperature: float) -> float:
        tried = Calibration(method="temperature", temperature=float(np.exp(log_temperature)))
        return log_loss(tried.apply(probabilities), truth)

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return Calibration(method="temperature", temperature=float(np.exp(found.x)))


def _isotonic(probabilities: Floats, truth: Integers) -> Calibration:
    curves = []
    for number in range(probabilities.shape[1]):
        fitted = IsotonicRegression(out_of_bounds="clip").fit(probabilities[:, number], truth == number)
        curves.append(Curve(predicted=tuple(fitted.X_thresholds_), observed=tuple(fitted.y_thresholds_)))
    return Calibration(method="isotonic", curves=tuple(curves))


def fit_odds_factor(probabilities: Floats, truth: Integers, negatives: Sequence[int]) -> float:
    """The factor with which the mean probability of the positive classes is their share of these rows, .2 to 5.

    1 where fewer than 50 rows are positive, or negative: by chance alone their share is off by a seventh then.
    """
    positives = int((~np.isin(truth, list(negatives))).sum())
    if min(positives, len(truth) - positives) < LEAST_ROWS:
        return 1.0
    low, high = np.log(ODDS_FACTORS)

    def excess(log_factor: float) -> float:
        corrected = correct_odds(probabilities, negatives, float(np.exp(log_factor)))
        return float(1 - corrected[:, list(negatives)].sum(axis=1).mean() - positives / len(truth))

    if excess(low) > 0 or excess(high) < 0:
        return float(np.exp(low if excess(low) > 0 else high))
    return float(np.exp(brentq(excess, low, high)))


def correct_odds(probabilities: Floats, negatives: Sequence[int], factor: float) -> Floats:
    """Probabilities (rows x classes) with the odds of all but the ``negatives`` times ``factor``; every row sums to 1."""
    factors = np.full(probabilities.shape[1], factor)
    factors[list(negatives)] = 1.0
    weighted = probabilities * factors
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True), dtype=np.float64)


FITS = {"temperature": _temperature, "isotonic": _isotonic}
