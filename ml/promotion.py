"""The rule by which a new model becomes champion."""

from __future__ import annotations

from dataclasses import dataclass

from ml.evaluation import MODEL, Evaluation


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and why, in words for ``promotions.jsonl`` and the run's metadata."""

    is_promoted: bool
    reason: str


def decide(evaluation: Evaluation) -> Decision:
    """Promote when the log loss on the validation rows is lower than the best baseline's and not worse than the champion's."""
    loss = evaluation.log_loss(MODEL)
    name, baseline = evaluation.best_baseline
    champion = evaluation.champion_log_loss
    if not loss < baseline:
        return Decision(False, f"log loss {loss:.4f} does not beat the baseline '{name}' ({baseline:.4f})")
    if champion is not None and loss > champion:
        return Decision(False, f"log loss {loss:.4f} is worse than the champion's {champion:.4f} on the same rows")
    against = "there was no champion" if champion is None else f"the champion has {champion:.4f} on the same rows"
    return Decision(True, f"log loss {loss:.4f} beats the baseline '{name}' ({baseline:.4f}); {against}")
