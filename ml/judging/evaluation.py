"""Evaluation of what may serve (trees, blend, baselines) and of the present champion, and the choice of what serves.

The last cut-off judges all of them. Over several judged cut-offs, each by what was trained on the rows known before it, the
best of trees and blend is compared with the best baseline: rolling-origin evaluation (Tashman, Out-of-sample tests of
forecasting accuracy, 2000).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from customer360.text import many
from ml.arrays import Floats, Integers
from ml.bootstrap import Interval, clustered_mean_interval, mean_interval, measured_intervals
from ml.datasets.bands import rebanded
from ml.datasets.targets import CHOSEN
from ml.datasets.training_sets import Amounts, TrainingSet
from ml.fitting.calibration import fit_odds_factor
from ml.fitting.class_model import Batch, ClassModel
from ml.fitting.training import BLEND, MODEL, TrainedModel
from ml.markdown import table
from ml.measures import class_recall, confusion, lift, reliability, row_losses, score

CHAMPION = "champion"
LEARNED = (MODEL, BLEND)  # what has trees in it; every other contender but the champion is a baseline
SEED = 360
RESAMPLES = 200  # of the measures that are no mean: each resample takes a pass over all rows


@dataclass(frozen=True)
class Choice:
    """What serves of trees, blend and baselines, and why, by the rows of all judged cut-offs.

    ``learned``: the better one of trees and blend, ``baseline`` the best baseline, by log loss over all rows. ``difference``:
    the mean of the first less the second, rows of a customer drawn together; below 0 ``learned`` is better. ``better``: at how
    many of the ``cutoffs`` it is.
    """

    learned: str
    baseline: str
    difference: Interval
    better: int
    cutoffs: int

    @property
    def is_learned(self) -> bool:
        """Better beyond chance over all rows, and at more than half of the cut-offs, so that no single week decides."""
        return self.difference.high < 0 and 2 * self.better > self.cutoffs

    @property
    def serves(self) -> str:
        """Name of the contender that serves: a baseline until trees or blend are better."""
        return self.learned if self.is_learned else self.baseline

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        where = f"over {many(self.cutoffs, 'judged cut-off')}"
        found = f"{self.difference.estimate:+.4f} log loss, {self.difference.low:+.4f} to {self.difference.high:+.4f}"
        if self.is_learned:
            return f"the {self.learned} is better than the best baseline '{self.baseline}' {where} ({found})"
        found = f"not better beyond chance {where} ({found})"
        if self.difference.high < 0:
            found = f"better at only {self.better} of {many(self.cutoffs, 'judged cut-off')}"
        return f"'{self.baseline}' serves until a model beats it: the {self.learned} is {found}"


@dataclass(frozen=True)
class Evaluation:
    """Numbers on the validation rows, with 95% intervals by bootstrap where it says low and high.

    ``serves``: the contender that serves, to which everything but ``scores`` and ``cutoffs`` belongs; ``choice``: why, None for
    models of contacts, of which the trees serve or nothing. ``cutoffs``: one row a judged cut-off and contender (cutoff,
    contender, rows, log_loss), each by what was trained on the rows before it.

    ``scores``: one row a contender (model, blend, champion if any, baselines) with ``ml.measures.score``. Where the classes are
    bands of an amount, also the mean absolute error of the expected amount, and the total of expected over real amounts.
    ``intervals``: one row a measure (estimate, low, high). ``differences``: one row for each other contender: the log loss of
    what serves less its, row by row (difference, low, high); below 0 what serves is better.
    ``groups``: one row a group of customers (grouping, customers, rows, log_loss, calibration_error, champion_log_loss).
    ``recall``: one row a category with its rows, every contender's recall and the lift at 10%.
    ``importance``: one row a feature, in percent, the most important first. ``reliability``: ten equal bins of the
    probabilities, every category of every row counted. ``confusion``: rows by true category (index) and decision (columns).
    ``judged_on``: the validation rows in words. ``odds_factor``: what serves gets the share of positives of the validation rows
    by it, the newest that are known (``ml.fitting.calibration.fit_odds_factor``); all other figures are those before it.
    """

    scores: pd.DataFrame
    intervals: pd.DataFrame
    differences: pd.DataFrame
    groups: pd.DataFrame
    recall: pd.DataFrame
    importance: pd.DataFrame
    reliability: pd.DataFrame
    confusion: pd.DataFrame
    rows_train: int
    rows_validation: int
    judged_on: str = "the last cut-off"
    serves: str = MODEL
    choice: Choice | None = None
    cutoffs: pd.DataFrame = field(default_factory=pd.DataFrame)
    odds_factor: float = 1.0

    def log_loss(self, contender: str) -> float:
        """A contender's log loss in nats a row."""
        return float(self.scores.loc[self.scores["contender"] == contender, "log_loss"].iloc[0])

    def worst_difference(self, contender: str) -> float:
        """The upper bound of the log loss of what serves less the contender's: below 0 it is better beyond chance."""
        return float(self.differences.loc[self.differences["contender"] == contender, "high"].iloc[0])

    @property
    def beats_baselines(self) -> bool:
        """Of customers' models by all judged cut-offs (``Choice``), else on the validation rows."""
        return self.choice.is_learned if self.choice else self.log_loss(self.serves) < self.best_baseline[1]

    @property
    def champion_log_loss(self) -> float | None:
        """The champion's log loss on the same rows; None without a champion."""
        return self.log_loss(CHAMPION) if CHAMPION in set(self.scores["contender"]) else None

    @property
    def best_baseline(self) -> tuple[str, float]:
        """The baseline with the lowest log loss, and that log loss."""
        baselines = self.scores[~self.scores["contender"].isin([*LEARNED, CHAMPION])]
        best = baselines.sort_values(["log_loss", "contender"]).iloc[0]
        return str(best["contender"]), float(best["log_loss"])

    @property
    def odds_text(self) -> str:
        """What the odds factor does, in a sentence."""
        if self.odds_factor == 1:
            return "Served as learned: the share of positives on the rows that judge changes nothing."
        return f"Served with the odds of positives times {self.odds_factor:.3f}: by their share of the rows that judge."

    def to_markdown(self) -> str:
        """The tables as Markdown, the fifteen most important features only."""
        parts = [
            f"{self.rows_train:,} rows to train on, {self.rows_validation:,} to validate on ({self.judged_on}).",
            table(self.scores),
            *([self.odds_text] if self.choice else []),
            *([f"{self.choice.reason[:1].upper()}{self.choice.reason[1:]}.", table(self.cutoffs)] if self.choice else []),
            f"The measures of {self.serves}, with 95% intervals",
            table(self.intervals),
            f"The log loss of {self.serves} less that of the others, with 95% intervals",
            table(self.differences),
            "By group of customers",
            table(self.groups),
            "Recall by category",
            table(self.recall),
            "True category (rows) and decision (columns)",
            table(self.confusion.rename_axis("category_id").reset_index()),
            "Most important features (percent)",
            table(self.importance.head(15)),
            "Reliability: what was predicted and what came",
            table(self.reliability),
        ]
        return "\n\n".join(parts)


def evaluate(
    training_set: TrainingSet,
    trained: TrainedModel,
    champion: ClassModel | None = None,
    earlier: Sequence[tuple[TrainingSet, TrainedModel]] = (),
) -> Evaluation:
    """Score the validation rows with everything that may serve and the present champion, and choose what serves.

    ``earlier``: the sets of earlier judged cut-offs with what was trained on each (``ml.fitting.training.train_earlier``).

    The champion must read the same features and publish the same categories (the model store refuses it otherwise). Where the
    classes are bands, its own become the training set's (``ml.datasets.bands.rebanded``).
    """
    contenders, batch, truth = trained.contenders, Batch(training_set.validation), _truth(training_set)
    probabilities = {name: model.probabilities(batch) for name, model in contenders.items()}
    decisions = {name: model.decisions(probabilities[name]) for name, model in contenders.items()}
    amounts, negatives = training_set.amounts, training_set.target.negatives
    if champion is not None:
        by_champion = champion.probabilities(batch)
        if amounts is not None and champion.bands is not None:
            by_champion = rebanded(by_champion, champion.bands, amounts.bands, amounts.train)
        probabilities[CHAMPION] = by_champion
        decisions[CHAMPION] = champion.decisions(by_champion)
    categories = training_set.categories
    losses = {name: row_losses(shares, truth) for name, shares in probabilities.items()}
    judged = [(training_set, losses), *((older, _losses(older, made)) for older, made in earlier)]
    choice = choose(judged) if training_set.target.name in CHOSEN else None
    serves = choice.serves if choice else MODEL
    return Evaluation(
        scores=pd.DataFrame(
            [
                {"contender": name, **score(shares, truth, decisions[name], negatives), **_amount_measures(shares, amounts)}
                for name, shares in probabilities.items()
            ]
        ),
        intervals=_intervals(probabilities[serves], truth, decisions[serves], negatives),
        differences=_differences(losses, serves),
        groups=_groups(training_set.validation_groups, probabilities[serves], truth, losses),
        recall=_recall(categories, probabilities, truth, decisions, serves),
        importance=_importance(contenders[serves]),
        reliability=reliability(probabilities[serves], truth),
        confusion=confusion(truth, decisions[serves], categories),
        rows_train=len(training_set.train),
        rows_validation=len(training_set.validation),
        judged_on=training_set.judged_on or "the last cut-off",
        serves=serves,
        choice=choice,
        cutoffs=_by_cutoff(judged),
        odds_factor=1.0
        if choice is None or training_set.target.is_banded
        else fit_odds_factor(probabilities[serves], truth, negatives),
    )


def choose(judged: Sequence[tuple[TrainingSet, Mapping[str, Floats]]]) -> Choice:
    """The choice by the losses of each contender at each judged cut-off, the newest first; see ``Choice``."""
    names = [name for name in judged[0][1] if name != CHAMPION]
    pooled = {name: np.concatenate([_of(losses, name) for _, losses in judged]) for name in names}
    means = {name: float(values.mean()) for name, values in pooled.items()}
    learned = min((name for name in names if name in LEARNED), key=lambda name: means[name])
    baseline = min((name for name in names if name not in LEARNED), key=lambda name: (means[name], name))
    customers = np.concatenate([training_set.validation_customers for training_set, _ in judged])
    return Choice(
        learned,
        baseline,
        clustered_mean_interval(pooled[learned] - pooled[baseline], customers, SEED),
        sum(bool(_of(losses, learned).mean() < losses[baseline].mean()) for _, losses in judged),
        len(judged),
    )


def _of(losses: Mapping[str, Floats], name: str) -> Floats:
    """A contender's losses; where no rows chose a blend's weight it is the trees alone."""
    return losses.get(name, losses[MODEL])


def _losses(training_set: TrainingSet, trained: TrainedModel) -> dict[str, Floats]:
    batch, truth = Batch(training_set.validation), _truth(training_set)
    return {name: row_losses(model.probabilities(batch), truth) for name, model in trained.contenders.items()}


def _truth(training_set: TrainingSet) -> Integers:
    return np.array([training_set.categories.index(str(label)) for label in training_set.validation_labels])


def _by_cutoff(judged: Sequence[tuple[TrainingSet, Mapping[str, Floats]]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "cutoff": f"{training_set.validation_cutoff:%Y-%m-%d %H:%M}",
                "contender": name,
                "rows": len(values),
                "log_loss": float(values.mean()),
            }
            for training_set, losses in judged
            for name, values in losses.items()
        ]
    )


def _importance(model: ClassModel) -> pd.DataFrame:
    """Percent of the trees' and, by its weight in the blend, the baseline's own features in equal parts."""
    names, weight = [feature.name for feature in model.features], model.baseline_weight
    values = (1 - weight) * np.asarray(model.classifier.get_feature_importance(), dtype=np.float64)
    if model.baseline is not None and weight > 0:
        read = model.baseline.features_read(model.features)
        values = values + weight * np.array([100 / len(read) if name in read else 0.0 for name in names])
    found = pd.DataFrame({"feature": names, "importance": values})
    return found.sort_values(["importance", "feature"], ascending=[False, True], ignore_index=True)


def _amount_measures(probabilities: Floats, amounts: Amounts | None) -> dict[str, float]:
    if amounts is None:
        return {}
    expected = amounts.bands.expected(probabilities)
    return {
        "absolute_error": float(np.abs(expected - amounts.validation).mean()),
        "total_ratio": float(expected.sum() / amounts.validation.sum()),
    }


def _intervals(probabilities: Floats, truth: Integers, decisions: Integers, negatives: Sequence[int]) -> pd.DataFrame:
    found = measured_intervals(
        lambda rows: score(probabilities[rows], truth[rows], decisions[rows], negatives), len(truth), SEED, RESAMPLES
    )
    # No measure is below 0; mirrored resamples may leave out the estimate of a measure that noise makes larger.
    rows = [
        {"measure": name, "estimate": i.estimate, "low": max(i.low, 0.0), "high": max(i.high, i.estimate)}
        for name, i in found.items()
    ]
    return pd.DataFrame(rows)


def _differences(losses: dict[str, Floats], serves: str) -> pd.DataFrame:
    rows = []
    for name, other_losses in losses.items():
        if name != serves:
            found = mean_interval(losses[serves] - other_losses, SEED)
            rows.append({"contender": name, "difference": found.estimate, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def _groups(groups: pd.DataFrame, probabilities: Floats, truth: Integers, losses: dict[str, Floats]) -> pd.DataFrame:
    rows = []
    for grouping in groups.columns:
        for customers in sorted(groups[grouping].unique()):
            is_in = (groups[grouping] == customers).to_numpy()
            measured = score(probabilities[is_in], truth[is_in])
            rows.append(
                {
                    "grouping": grouping,
                    "customers": customers,
                    "rows": int(is_in.sum()),
                    "log_loss": measured["log_loss"],
                    "calibration_error": measured["calibration_error"],
                    "champion_log_loss": float(losses[CHAMPION][is_in].mean()) if CHAMPION in losses else None,
                }
            )
    return pd.DataFrame(rows)


def _recall(
    categories: tuple[str, ...],
    probabilities: dict[str, Floats],
    truth: Integers,
    decisions: dict[str, Integers],
    serves: str,
) -> pd.DataFrame:
    recall = pd.DataFrame({"category_id": list(categories), "rows": np.bincount(truth, minlength=len(categories))})
    for name, decided in decisions.items():
        recall[name] = class_recall(truth, decided, len(categories))
    own = probabilities[serves]
    recall["lift_10"] = [lift(own[:, number], truth == number) for number in range(len(categories))]
    return recall
