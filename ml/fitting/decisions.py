"""Decision weights: which class is decided for, apart from how probable it is. Probabilities do not change.

With a rare class the most probable one is nearly always the commonest. Multiplying probabilities by a weight for each class
moves the line between them (Elkan, The Foundations of Cost-Sensitive Learning, 2001); what is published does not change.
"""

from __future__ import annotations

import numpy as np

from ml.arrays import Floats, Integers
from ml.measures import macro_f1

FOLDS = 5
ROUNDS = 3
STEPS = np.exp(np.linspace(-2.0, 2.0, 41))


def weighted_argmax(probabilities: Floats, weights: Floats) -> Integers:
    """The class with the largest weighted probability of each row."""
    return np.asarray((probabilities * weights).argmax(axis=1), dtype=np.int64)


def decision_weights(probabilities: Floats, truth: Integers) -> Floats:
    """Weights for the highest macro-F1: the geometric mean of those that five overlapping parts of the rows ask for.

    ``probabilities``: rows x classes, calibrated, of rows that the model was not fitted on. A class without rows keeps 1. The
    weights of a mean over parts follow single rows of a rare class less than those of all rows would.
    """
    fold = np.arange(len(truth)) % FOLDS
    found = [_best(probabilities[fold != number], truth[fold != number]) for number in range(FOLDS)]
    return np.asarray(np.exp(np.mean(np.log(found), axis=0)), dtype=np.float64)


def _best(probabilities: Floats, truth: Integers) -> Floats:
    """Coordinate ascent from 1, each class in turn over a grid from e^-2 to e^2."""
    classes = probabilities.shape[1]
    weights = np.ones(classes)
    if not len(truth):
        return weights
    best = macro_f1(weighted_argmax(probabilities, weights), truth, classes)
    for _ in range(ROUNDS):
        before = best
        for number in np.flatnonzero(np.bincount(truth, minlength=classes)):
            others = probabilities * weights
            others[:, number] = 0
            rival, own = others.argmax(axis=1), probabilities[:, number]
            height = others.max(axis=1)
            tried = [
                macro_f1(np.where(own * weight >= height, number, rival), truth, classes) for weight in weights[number] * STEPS
            ]
            if max(tried) > best + 1e-9:
                best = max(tried)
                weights[number] *= STEPS[int(np.argmax(tried))]
        if best <= before:
            break
    return weights
