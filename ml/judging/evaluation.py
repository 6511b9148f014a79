"""Evaluation of a model on the validation rows, beside the baselines and the present champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.arrays import Floats, Integers
from ml.bootstrap import mean_interval, measured_intervals
from ml.datasets.bands import rebanded
from ml.datasets.training_sets import Amounts, TrainingSet
from ml.fitting.class_model import ClassModel
from ml.judging.baselines import baseline_probabilities
from ml.markdown import table
from ml.measures import class_recall, confusion, lift, reliability, row_losses, score

MODEL = "model"
CHAMPION = "champion"
SEED = 360
RESAMPLES = 200  # of the measures that are no mean: each resample takes a pass over all rows


@dataclass(frozen=True)
class Evaluation:
    """Numbers on the validation rows, with 95% intervals by bootstrap where it says low and high.

    ``scores``: one row a contender (model, champion if any, baselines) with ``ml.measures.score``. Where the classes are bands
    of an amount, also the mean absolute error of the expected amount, and the total of expected over that of real amounts.
    ``intervals``: one row a measure of the model (estimate, low, high). ``differences``: one row for each other contender: the
    model's log loss less its, row by row (difference, low, high); below 0 the model is better.
    ``groups``: one row a group of customers (grouping, customers, rows, log_loss, calibration_error, champion_log_loss).
    ``recall``: one row a category with its rows, every contender's recall and the model's lift at 10%.
    ``importance``: one row a feature, in percent, the most important first. ``reliability``: ten equal bins of the model's
    probabilities, every category of every row counted. ``confusion``: rows by true category (index) and decision (columns).
    ``judged_on``: the validation rows in words.
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

    def log_loss(self, contender: str) -> float:
        """A contender's log loss in nats a row."""
        return float(self.scores.loc[self.scores["contender"] == contender, "log_loss"].iloc[0])

    def worst_difference(self, contender: str) -> float:
        """The upper bound of the model's log loss less the contender's: below 0 the model is better beyond chance."""
        return float(self.differences.loc[self.differences["contender"] == contender, "high"].iloc[0])

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
            f"{self.rows_train:,} rows to train on, {self.rows_validation:,} to validate on ({self.judged_on}).",
            table(self.scores),
            "The model's measures, with 95% intervals",
            table(self.intervals),
            "The model's log loss less that of the others, with 95% intervals",
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


def evaluate(training_set: TrainingSet, model: ClassModel, champion: ClassModel | None = None) -> Evaluation:
    """Score the validation rows with the model, the present champion and the baselines.

    The champion must read the same features and publish the same categories (the model store refuses it otherwise). Where the
    classes are bands, its own become the training set's (``ml.datasets.bands.rebanded``).
    """
    probabilities = {MODEL: model.probabilities(training_set.validation)}
    decisions = {MODEL: model.decisions(probabilities[MODEL])}
    amounts, negatives = training_set.amounts, training_set.target.negatives
    if champion is not None:
        by_champion = champion.probabilities(training_set.validation)
        if amounts is not None and champion.bands is not None:
            by_champion = rebanded(by_champion, champion.bands, amounts.bands, amounts.train)
        probabilities[CHAMPION] = by_champion
        decisions[CHAMPION] = champion.decisions(by_champion)
    probabilities |= baseline_probabilities(training_set)
    decisions |= {name: shares.argmax(axis=1) for name, shares in probabilities.items() if name not in decisions}
    categories = training_set.categories
    truth = np.array([categories.index(str(label)) for label in training_set.validation_labels])
    importance = pd.DataFrame(
        {"feature": [f.name for f in model.features], "importance": np.asarray(model.classifier.get_feature_importance())}
    )
    losses = {name: row_losses(shares, truth) for name, shares in probabilities.items()}
    return Evaluation(
        scores=pd.DataFrame(
            [
                {"contender": name, **score(shares, truth, decisions[name], negatives), **_amount_measures(shares, amounts)}
                for name, shares in probabilities.items()
            ]
        ),
        intervals=_intervals(probabilities[MODEL], truth, decisions[MODEL], negatives),
        differences=_differences(losses),
        groups=_groups(training_set.validation_groups, probabilities[MODEL], truth, losses),
        recall=_recall(categories, probabilities, truth, decisions),
        importance=importance.sort_values(["importance", "feature"], ascending=[False, True], ignore_index=True),
        reliability=reliability(probabilities[MODEL], truth),
        confusion=confusion(truth, decisions[MODEL], categories),
        rows_train=len(training_set.train),
        rows_validation=len(training_set.validation),
        judged_on=training_set.judged_on or "the last cut-off",
    )


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


def _differences(losses: dict[str, Floats]) -> pd.DataFrame:
    rows = []
    for name, other_losses in losses.items():
        if name != MODEL:
            found = mean_interval(losses[MODEL] - other_losses, SEED)
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
    categories: tuple[str, ...], probabilities: dict[str, Floats], truth: Integers, decisions: dict[str, Integers]
) -> pd.DataFrame:
    recall = pd.DataFrame({"category_id": list(categories), "rows": np.bincount(truth, minlength=len(categories))})
    for name, decided in decisions.items():
        recall[name] = class_recall(truth, decided, len(categories))
    own = probabilities[MODEL]
    recall["lift_10"] = [lift(own[:, number], truth == number) for number in range(len(categories))]
    return recall
