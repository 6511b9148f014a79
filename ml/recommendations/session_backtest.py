"""Whether the mixture tells the next product of a session better than its best component, on sessions that it did not learn.

Rolling origin (Tashman, Out-of-sample tests of forecasting accuracy, 2000): each of the newest tenths of the sessions is judged
by what the sessions before it teach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from customer360.lake.slices import naive
from customer360.recommendations.session_model import COMPONENTS, SessionModel, ranked
from customer360.text import many
from ml.arrays import Integers
from ml.recommendations.measures import LONGER, Comparison, Ranking, Split, compare
from ml.recommendations.sessions import HALF_LIVES_DAYS, HELD_OUT, MOST_CASES, Case, Sessions, cases_of, fit_session_model

MIXTURE = "mixture"
MOST_SPLITS = 3
LEAST_LEARNED = 1_000  # sessions before the oldest of several splits


@dataclass(frozen=True)
class Judgement:
    """Sessions that judge, those before them, and the model of these."""

    before: Sessions
    judged: Sessions
    model: SessionModel

    @property
    def begins(self) -> datetime:
        """Nothing later was learned: the end of the last session before (plain UTC)."""
        return moment_of(self.before.ended_days[-1])

    @property
    def ends(self) -> datetime:
        """The end of the last session that judges (plain UTC)."""
        return moment_of(self.judged.ended_days[-1])


@dataclass(frozen=True)
class SessionBacktest:
    """What serves of the components and their mixture, and why. ``judgements``: oldest first."""

    judgements: Sequence[Judgement]
    comparison: Comparison

    @property
    def serves(self) -> str:
        """The mixture where it is better than the best component beyond chance, else that component."""
        return MIXTURE if self.comparison.gain.low > 0 else self.comparison.best

    @property
    def reason(self) -> str:
        """The comparison in a sentence."""
        best, found = self.comparison.best, self.comparison.difference
        where = f"over {many(self.comparison.splits, 'split')}"
        if self.serves == MIXTURE:
            return f"the mixture is better than '{best}', the best of its components, {where} ({found})"
        return f"'{best}' serves until the mixture beats it: it is not better beyond chance {where} ({found})"


def splits_of(count: int) -> list[tuple[int, int]]:
    """Of so many sessions the numbers of those that judge, first and end, oldest first: one tenth each.

    ``MOST_SPLITS`` where ``LEAST_LEARNED`` sessions are left before them, else fewer; at least the newest.
    """
    size = max(1, int(HELD_OUT * count))
    splits = [(count - (back + 1) * size, count - back * size) for back in range(MOST_SPLITS)]
    return [splits[0], *(split for split in splits[1:] if split[0] >= LEAST_LEARNED)][::-1]


def backtest(sessions: Sessions) -> SessionBacktest:
    """Judge each component and the mixture on the newest tenths of the sessions."""
    judgements: list[Judgement] = []
    half_lives = HALF_LIVES_DAYS  # the oldest split chooses for the others
    for first, end in splits_of(len(sessions)):
        before = sessions.between(0, first)
        model = fit_session_model(before, half_lives)
        half_lives = (model.half_life_days,)
        judgements.append(Judgement(before, sessions.between(first, end), model))
    most = 3 * MOST_CASES // len(judgements)
    splits = [Split(of.begins, of.ends, judge(of.model, of.judged, most)) for of in judgements]
    return SessionBacktest(judgements, compare(splits))


def judge(model: SessionModel, sessions: Sessions, most: int) -> dict[str, Ranking]:
    """Rank the newest cases, at most ``most``, by the mixture and each component. Codes of sessions are those of the model.

    Products without a code have -1 and are never found.
    """
    cases = cases_of(sessions)[-most:]
    alone = dict(zip(COMPONENTS, np.eye(len(COMPONENTS)), strict=True))
    products: dict[str, list[Integers]] = {name: [] for name in (MIXTURE, *COMPONENTS)}
    for case in cases:
        context = case.before[case.before >= 0]
        found = model.found(context)
        for name, best in products.items():
            codes, _ = ranked(model, found, alone.get(name, model.weights_of(len(context))), LONGER)
            best.append(padded(codes))
    return {name: ranking(best, cases, sessions, model) for name, best in products.items()}


def padded(codes: Integers) -> Integers:
    """``LONGER`` codes, -1 where there are fewer."""
    found = np.full(LONGER, -1, dtype=np.int64)
    found[: len(codes)] = codes
    return found


def ranking(products: Sequence[Integers], cases: Sequence[Case], sessions: Sessions, model: SessionModel) -> Ranking:
    """What was recommended in each case of the sessions, beside what was taken."""
    users = sessions.users
    return Ranking(
        np.array(products),
        [np.array([case.product if case.product >= 0 else -2]) for case in cases],  # -1 are places without a product
        np.array([len(case.before) for case in cases]),
        np.array([users[case.session] for case in cases], dtype=object),
        model.popularity,
    )


def serving(model: SessionModel, found: SessionBacktest) -> SessionModel:
    """The model with the weights of what serves. A component alone knows little of some sessions: popularity fills its list."""
    if found.serves == MIXTURE:
        return model
    weights = np.zeros_like(model.weights)
    weights[:, COMPONENTS.index(found.serves)] = 1 - 1e-6
    weights[:, 0] += 1e-6
    return replace(model, weights=weights)


def moment_of(days: float) -> datetime:
    """Plain UTC of days since 1970."""
    return naive(datetime.fromtimestamp(float(days) * 86_400, UTC))
