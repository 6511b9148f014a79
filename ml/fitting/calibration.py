"""Calibration: of rows with probability p a share p comes true. Learned on rows that the model was not fitted on.

Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017) raises every probability to the power 1 / T and
renormalises: the order of a row's classes stays. Isotonic regression (Zadrozny and Elkan, Transforming Classifier Scores into
Accurate Multiclass Probability Estimates, 2002) bends each class by itself and renormalises.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from ml.arrays import Floats, Integers
from ml.measures import log_loss

FLOOR = 1e-6  # isotonic regression gives 0 where it saw no row; a log loss must stay finite
FOLDS = 5
TEMPERATURES = (0.2, 5.0)


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


FITS = {"temperature": _temperature, "isotonic": _isotonic}
