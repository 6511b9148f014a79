"""The rule by which a new model becomes champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml.datasets.leakage import StrongFeature
from ml.judging.evaluation import CHAMPION, Evaluation

# A group this large must not pay for the others: rows, and share of all rows.
LARGE_GROUP_ROWS, LARGE_GROUP_SHARE = 200, 0.05
GROUP_MARGIN = 0.05  # of the champion's log loss in the group


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and the reason as text for ``promotions.jsonl`` and the run's metadata."""

    is_promoted: bool
    reason: str


def decide(evaluation: Evaluation, strongest: Sequence[StrongFeature] = ()) -> Decision:
    """Promote what serves best where there is no champion, or where it is better than the champion beyond chance.

    Of customers' models that is the trees or the blend that beat the best baseline over all judged cut-offs, else that baseline
    (``ml.judging.evaluation.Choice``). A model of contacts has to beat its best baseline; without one plans use smoothed rates.

    A model whose training set has a feature that alone predicts a category (``ml.datasets.leakage``) is never promoted.

    Beyond chance: the whole 95% interval of the difference in log loss on the same rows lies below 0. And in no large group of
    customers may its log loss exceed the champion's by more than 5%. Else the champion stays.
    """
    leaks = [
        f"{feature.feature} predicts {feature.category_id} with an AUC of {feature.auc:.4f}"
        for feature in strongest
        if feature.is_alarming
    ]
    if leaks:
        return Decision(False, f"a feature alone predicts the label, so it was probably made of it: {'; '.join(leaks)}")
    loss = evaluation.log_loss(evaluation.serves)
    name, baseline = evaluation.best_baseline
    champion = evaluation.champion_log_loss
    if evaluation.choice is not None:
        beaten = f"{evaluation.choice.reason}; log loss {loss:.4f} at the last cut-off"
    elif not loss < baseline:
        return Decision(False, f"log loss {loss:.4f} does not beat the baseline '{name}' ({baseline:.4f})")
    else:
        beaten = f"log loss {loss:.4f} beats the baseline '{name}' ({baseline:.4f})"
    if champion is None:
        return Decision(True, f"{beaten}; there was no champion")
    worst = evaluation.worst_difference(CHAMPION)
    if worst >= 0:
        return Decision(
            False,
            f"log loss {loss:.4f} is not better than the champion's {champion:.4f} beyond chance: by the 95% interval on the "
            f"same rows it may be {worst:.4f} higher",
        )
    hurt = _hurt_groups(evaluation)
    if hurt:
        return Decision(False, f"{beaten} and the champion ({champion:.4f}), but not for every large group: {'; '.join(hurt)}")
    return Decision(
        True, f"{beaten}, and the champion ({champion:.4f}) by at least {-worst:.4f} with 95% confidence on the same rows"
    )


def _hurt_groups(evaluation: Evaluation) -> list[str]:
    """Large groups in which the champion is better by more than the margin."""
    groups = evaluation.groups
    is_large = groups["rows"] >= max(LARGE_GROUP_ROWS, LARGE_GROUP_SHARE * evaluation.rows_validation)
    is_hurt = groups["log_loss"] > groups["champion_log_loss"] * (1 + GROUP_MARGIN)
    return [
        f"{row['grouping']} {row['customers']} has {row['log_loss']:.4f} against {row['champion_log_loss']:.4f}"
        for row in groups[is_large & is_hurt].to_dict("records")
    ]
