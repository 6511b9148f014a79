"""The policies of offers, judged by the log of what was offered: the priority list, Thompson sampling, and chance.

A log is a frame with one row a decision that was drawn: ``customer`` (whose decisions may depend on each other), ``segment``
and ``category_id`` ("" where unknown), ``candidates`` (tuple of the offers that a policy may choose among), ``list_offer_id``
(the priority list's choice among them), ``propensities`` (tuple: the probability of each candidate when it was drawn),
``offer_id`` (what was shown), ``propensity`` (its own) and ``reward`` (1 where it was clicked, else 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from customer360.offers.decisions import PRIORITY_LIST
from customer360.offers.thompson import NAME, Shown, sample
from ml.arrays import Booleans, Integers
from ml.effects.off_policy import Estimates, Target, Value, Verdict, challenge, difference, estimates, read_log, target_of

FOLDS = 5  # of customers: each is judged by what was learned of the others
LIST, UNIFORM, SERVED = PRIORITY_LIST, "uniform", "served"
KEYS = ["segment", "category_id", "candidates", "list_offer_id"]


@dataclass(frozen=True)
class Judged:
    """``values`` and ``gains`` (over the priority list, doubly robust) by policy; ``verdict``: of Thompson sampling.

    ``untried``: the share of a policy's own decisions that would have shown what was logged with the probability 0.
    """

    values: dict[str, Estimates]
    gains: dict[str, Value]
    untried: dict[str, float]
    verdict: Verdict


def learned(log: pd.DataFrame) -> list[Shown]:
    """How often each offer was shown to each group, and clicked, by the log."""
    sums = log.groupby(["segment", "category_id", "offer_id"])["reward"].agg(["size", "sum"])
    return [Shown((s, c), offer, float(n), float(k)) for (s, c, offer), n, k in sums.itertuples()]


def judge(log: pd.DataFrame, seed: int) -> Judged:
    """Each policy by the log; of each fold of customers by what was learned of the others (cross-fitting).

    Cross-fitting: Chernozhukov et al., Double/debiased machine learning, The Econometrics Journal 21, 2018. The reward model is
    the mean of Thompson's posterior.
    """
    fold = folds(log["customer"])
    offers = sorted({*log["offer_id"], *(offer for candidates in log["candidates"].unique() for offer in candidates)})
    number = {offer: place for place, offer in enumerate(offers)}
    action = log["offer_id"].map(number).to_numpy(np.int64)
    shape = len(log), len(offers)
    modelled, chosen = np.zeros(shape), {name: np.zeros(shape) for name in (LIST, NAME, UNIFORM)}
    for held in np.unique(fold):
        policy = sample(learned(log[fold != held]), seed)
        for (segment, category, candidates, listed), rows in _alike(log, KEYS, fold == held):
            group, cells = (segment, category), np.ix_(rows, np.array([number[offer] for offer in candidates]))
            modelled[rows] = [policy.mean_rate(group, offer) for offer in offers]
            chosen[LIST][rows, number[listed]] = 1
            chosen[NAME][cells] = policy.shares(group, candidates)
            chosen[UNIFORM][cells] = 1 / len(candidates)
    tried = np.zeros(shape, dtype=bool)
    for (candidates, propensities), rows in _alike(log, ["candidates", "propensities"]):
        tried[np.ix_(rows, np.array([number[offer] for offer in candidates]))] = np.array(propensities) > 0
    reward, propensity = log["reward"].to_numpy(np.float64), log["propensity"].to_numpy(np.float64)
    clusters, logged = log["customer"].to_numpy(), modelled[np.arange(len(log)), action]
    targets = {name: target_of(chances, action, modelled) for name, chances in chosen.items()}
    targets[SERVED] = Target(propensity, logged)  # what was shown: every weight is 1
    logs = {name: read_log(reward, propensity, target.probability, clusters) for name, target in targets.items()}
    values = {name: estimates(logs[name], action, modelled, targets[name]) for name in targets}
    incumbent = values[LIST].doubly_robust
    return Judged(
        values,
        {name: difference(found.doubly_robust, incumbent, logs[name]) for name, found in values.items()},
        {name: float((chances * ~tried).sum(axis=1).mean()) for name, chances in chosen.items()} | {SERVED: 0.0},
        challenge(reward, propensity, logged, targets[NAME], targets[LIST], clusters=clusters),
    )


def folds(customers: Iterable[str]) -> Integers:
    """The fold of each customer, by a hash of the id."""
    return np.array([crc32(str(customer).encode()) % FOLDS for customer in customers], dtype=np.int64)


def serves(before: bool, verdict: Verdict) -> bool:
    """Whether Thompson sampling serves from now on: once it wins by the whole interval, until the list does."""
    return verdict.is_better or (before and verdict.gain.high >= 0)


def _alike(log: pd.DataFrame, names: list[str], chosen: Booleans | None = None) -> Iterator[tuple[Any, Integers]]:
    """The values of these columns with the positions of their rows, of all rows or of those that are chosen."""
    places = np.arange(len(log)) if chosen is None else np.flatnonzero(chosen)
    for values, rows in log.iloc[places].groupby(names, sort=False).indices.items():
        yield values, places[np.asarray(rows)]
