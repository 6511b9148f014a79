"""Amounts as classes: bands between quantiles, with the mean of each, so that a classifier also gives an expected amount."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from ml.arrays import Floats, Integers, Texts

BANDS = 8
# How far the mean of a log-normal distribution lay from what buyers then spent: 7 to 10% above in Complete Journey, 7 to 12%
# above in CDNOW, 14 to 26% below in a retailer with wholesale buyers.
TAIL_ERROR = 0.2
BAND_NAMES = tuple(f"band {number}" for number in range(1, BANDS + 1))


class Bands(BaseModel):
    """``edges`` ascend and part the bands, an edge belonging to the band above it; ``means`` are the mean amounts in them.

    Both in the shop's currency. Edges are equal where many amounts are: the band between them is empty, its mean the edge.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    edges: tuple[float, ...]
    means: tuple[float, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(self.means) != len(self.edges) + 1 or list(self.edges) != sorted(self.edges):
            raise ValueError("edges ascend, and there is one mean more than edges")
        return self

    def positions(self, amounts: Floats) -> Integers:
        """The band of each amount, from 0."""
        return np.searchsorted(np.array(self.edges), amounts, side="right").astype(np.int64)

    def labels(self, amounts: Floats) -> Texts:
        """The band of each amount by its name in ``BAND_NAMES``."""
        return np.array(BAND_NAMES, dtype=object)[self.positions(amounts)]

    def expected(self, probabilities: Floats) -> Floats:
        """The expected amount of each row of probabilities (rows x bands): the sum over bands of probability x mean."""
        return np.asarray(probabilities @ np.array(self.means), dtype=np.float64)


def quantile_bands(amounts: Floats) -> Bands:
    """``BANDS`` bands that hold as many of these amounts each, as far as equal ones allow. There must be an amount."""
    edges = np.quantile(amounts, np.arange(1, BANDS) / BANDS)
    places = np.searchsorted(edges, amounts, side="right")
    rows, sums = np.bincount(places, minlength=BANDS), np.bincount(places, amounts, minlength=BANDS)
    means = np.where(rows > 0, sums / np.maximum(rows, 1), np.append(edges, edges[-1]))
    return Bands(edges=tuple(float(edge) for edge in edges), means=tuple(float(mean) for mean in means))


def steadied(bands: Bands, amounts: Floats, customers: Texts) -> Bands:
    """The bands, the mean of the highest one shrunk where few customers determine it.

    ``amounts``, above 0, are those that the bands were made of, ``customers`` whose each is: the rows of a customer at several
    cut-offs hold the same orders. The mean of all amounts is shrunk, as a logarithm, towards that of a log-normal distribution
    with the weight e^2 / (e^2 + ``TAIL_ERROR``^2), where e is its relative standard error resampled by customer. The
    highest band, which alone has no upper edge, takes the difference, and keeps at least its edge as mean.
    """
    in_top = bands.positions(amounts) == len(bands.edges)
    if not in_top.any():
        return bands
    mean, logs = amounts.mean(), np.log(amounts)
    _, places = np.unique(customers.astype(str), return_inverse=True)
    error = np.sqrt((np.bincount(places, amounts - mean) ** 2).sum()) / amounts.sum()
    weight = error**2 / (error**2 + TAIL_ERROR**2)
    shrunk = mean ** (1 - weight) * np.exp(logs.mean() + logs.var() / 2) ** weight
    highest = max(bands.means[-1] + (shrunk - mean) / in_top.mean(), bands.edges[-1])
    return bands.model_copy(update={"means": (*bands.means[:-1], float(highest))})


def rebanded(probabilities: Floats, old: Bands, new: Bands, amounts: Floats) -> Floats:
    """Probabilities of the ``old`` bands as those of the ``new`` ones, so that two models are judged on the same classes.

    Each old band's probability goes to the new ones by the shares that its ``amounts`` (training rows) have there; an old band
    without any goes where its mean lies. No new band gets less than 1 / (amounts + bands), as a class that was never seen.
    """
    if old == new:
        return probabilities
    counts = np.zeros((len(old.means), len(new.means)))
    np.add.at(counts, (old.positions(amounts), new.positions(amounts)), 1)
    is_empty = counts.sum(axis=1) == 0
    counts[is_empty, new.positions(np.array(old.means))[is_empty]] = 1
    shares = np.maximum(probabilities @ (counts / counts.sum(axis=1, keepdims=True)), 1 / (len(amounts) + len(new.means)))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)
