"""What a policy would have brought, by decisions of another one whose propensities are known.

Of each logged decision: its reward, the probability (``propensity``) with which the logging policy took it, and the probability
(``target``) with which the policy to be judged would have. All arrays are in the order of the log: lists, NumPy arrays or
columns of a frame, whose index does not count. ``evaluate`` takes a log with the policy's probabilities of all actions, the
other functions take a ``Log``. Sources:

- ``ips``: Horvitz and Thompson, A Generalization of Sampling Without Replacement from a Finite Universe, 1952.
- ``snips``: Swaminathan and Joachims, The Self-Normalized Estimator for Counterfactual Learning, NIPS 2015.
- ``doubly_robust``: Dudik, Langford and Li, Doubly Robust Policy Evaluation and Learning, ICML 2011.
- effective sample size: Kong, A Note on Importance Sampling using Standardized Weights, 1992.
- weights that are limited (``least_propensity``): Ionides, Truncated Importance Sampling, 2008; Strehl, Langford, Li and
  Kakade, Learning from Logged Implicit Exploration Data, NIPS 2010. It moves ``ips`` towards 0 and ``doubly_robust`` towards
  the reward model; rewards of 0 to 1 bound the bias by the target's probability of what was limited.

Intervals are normal, by the variance of each estimate's influence function; with ``clusters`` (such as customers) decisions of
one may depend on each other (Liang and Zeger, 1986). ``as_rate`` gives those of a rate, which stay within 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.special import expit

from ml.arrays import Floats
from ml.bootstrap import LEVEL

FEWEST = 100  # effective decisions, below which no interval is trusted
ROUNDING = 1e-6  # of probabilities that sum to 1
Values = npt.ArrayLike


class LogError(ValueError):
    """Arrays are no log of decisions. The message names the array, the first position at fault and what must be there."""


@dataclass(frozen=True)
class Log:
    """Logged decisions, checked: arrays of one length. ``clusters``: what the decisions are grouped by, if anything.

    ``zero_share``: the share of decisions whose logged propensity was 0.
    """

    reward: Floats
    propensity: Floats
    target: Floats
    clusters: npt.NDArray[Any] | None = None
    zero_share: float = 0.0

    @property
    def weights(self) -> Floats:
        """Of each decision: target / propensity, and 0 where the target is 0."""
        return np.divide(self.target, self.propensity, out=np.zeros_like(self.target), where=self.target > 0)


@dataclass(frozen=True)
class Value:
    """The mean reward of a decision under the target policy, with its 95% interval.

    ``influence``: of each decision, with mean 0: what the interval, and that of a difference, is made of.
    """

    estimate: float
    low: float
    high: float
    influence: Floats


@dataclass(frozen=True)
class Overlap:
    """Whether the log tells anything of the target policy.

    ``effective``: the number of the target's own decisions that would tell as much. ``largest_weight``: of a single decision.
    ``mean_weight``: 1 in expectation; ``is_calibrated`` where it is within 4 standard errors of that, else propensities are
    wrong, or actions of the target were never tried. ``zero_share``: of the log, decisions whose propensity was 0.
    """

    decisions: int
    effective: float
    largest_weight: float
    mean_weight: float
    is_calibrated: bool
    zero_share: float = 0.0

    @property
    def is_enough(self) -> bool:
        """Whether intervals can be trusted."""
        return self.effective >= FEWEST and self.is_calibrated

    @property
    def words(self) -> str:
        """The diagnosis in a sentence."""
        seen = f"{self.effective:,.0f} of {self.decisions:,} decisions count, the largest weighs {self.largest_weight:,.1f}"
        if not self.is_calibrated:
            cause = "propensities are wrong, or actions were never tried"
            return f"{seen}; the mean weight is {self.mean_weight:.2f} and not 1: {cause}"
        return seen if self.is_enough else f"{seen}; {FEWEST} are needed"


def read_log(
    reward: Values, propensity: Values, target: Values, clusters: npt.ArrayLike | None = None, least_propensity: float = 0.0
) -> Log:
    """The log of these arrays: one number each a decision, shape (decisions,); ``clusters`` are labels of any kind.

    A propensity of 0 is right only where the target is 0 too: such a decision weighs nothing. ``least_propensity`` takes the
    place of lower ones, so that no weight exceeds its inverse; see the module's text for the bias.

    Raises ``LogError`` where lengths differ, a reward is not finite, a propensity or a target is not in [0, 1], or a propensity
    is 0 where the target is not.
    """
    arrays = {"reward": reward, "propensity": propensity, "target": target}
    values = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
    sizes = {name: array.shape for name, array in values.items()}
    if clusters is not None:
        sizes["clusters"] = np.shape(clusters)
    if any(len(shape) != 1 for shape in sizes.values()) or len(set(sizes.values())) != 1 or not len(values["reward"]):
        raise LogError(f"a log is arrays of one dimension and one length, at least 1; these are {sizes}")
    zero = values["propensity"] == 0
    for name, is_right, wanted in (
        ("reward", np.isfinite(values["reward"]), "a finite number"),
        ("propensity", (values["propensity"] >= 0) & (values["propensity"] <= 1), "above 0 and at most 1"),
        ("target", (values["target"] >= 0) & (values["target"] <= 1), "from 0 to 1"),
        ("propensity", ~zero | (values["target"] == 0) | (least_propensity > 0), "above 0 where target is"),
    ):
        if not is_right.all():
            first = int(np.argmin(is_right))
            raise LogError(
                f"{name} must be {wanted}; at position {first} it is {values[name][first]}. Leave such decisions out"
                + (", or give a least_propensity" if name == "propensity" else "")
            )
    values["propensity"] = np.maximum(values["propensity"], least_propensity)
    return Log(**values, clusters=None if clusters is None else np.asarray(clusters), zero_share=float(zero.mean()))


def overlap(log: Log) -> Overlap:
    """The diagnosis of the weights."""
    weights, count = log.weights, len(log.reward)
    squares = float((weights**2).sum())
    error = float(weights.std(ddof=1)) / np.sqrt(count) if count > 1 else np.inf
    return Overlap(
        decisions=count,
        effective=float(weights.sum()) ** 2 / squares if squares else 0.0,
        largest_weight=float(weights.max()),
        mean_weight=float(weights.mean()),
        is_calibrated=bool(abs(weights.mean() - 1) <= max(4 * error, 1e-9)),
        zero_share=log.zero_share,
    )


def ips(log: Log) -> Value:
    """Inverse propensity scoring: the mean of weight times reward. Unbiased, of high variance where weights are large."""
    terms = log.weights * log.reward
    return _value(float(terms.mean()), terms - terms.mean(), log)


def snips(log: Log) -> Value:
    """Self-normalised: the mean of rewards by weight. Its bias vanishes with the log's length; it stays within the rewards.

    Raises ``LogError`` where the target would have taken none of the logged decisions.
    """
    weights = log.weights
    if not weights.any():
        raise LogError("target is 0 everywhere: the log has no decision that the policy would have taken")
    estimate = float((weights * log.reward).sum() / weights.sum())
    return _value(estimate, weights * (log.reward - estimate) / weights.mean(), log)


def doubly_robust(log: Log, logged_reward: Values, target_reward: Values) -> Value:
    """Doubly robust: unbiased where either the propensities or the reward model are right.

    ``logged_reward``: the model's reward of the logged action; ``target_reward``: its mean over the actions of the target
    policy. The model must not have seen the log's rewards, or only those of other folds.
    """
    modelled, expected = (np.asarray(array, dtype=np.float64) for array in (logged_reward, target_reward))
    for name, array in (("logged_reward", modelled), ("target_reward", expected)):
        if array.shape != log.reward.shape or not np.isfinite(array).all():
            raise LogError(f"{name} must be a finite number for each of the {len(log.reward):,} decisions")
    terms = expected + log.weights * (log.reward - modelled)
    return _value(float(terms.mean()), terms - terms.mean(), log)


def as_rate(value: Value, effective: float) -> Value:
    """The value of rewards of 0 or 1, with an interval that stays within 0 and 1: normal on the scale of log-odds.

    By the delta method, as Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion, 2001, judge it (the logit
    interval): equal to the normal one where there are many clicks, and reaching further up where there are few. Where an
    estimate has no log-odds, as without a click, the far bound is that of Clopper and Pearson for none (or all) of
    ``effective`` decisions, or the normal one if that is further. The estimate stays as it is: ``ips`` and ``doubly_robust``
    may leave the range by chance, and are then outside the interval.
    """
    half, none = value.high - value.estimate, 1 - ((1 - LEVEL) / 2) ** (1 / max(effective, 1.0))
    if 0 < value.estimate < 1 and half > 0:
        odds, reach = np.log(value.estimate / (1 - value.estimate)), half / (value.estimate * (1 - value.estimate))
        return replace(value, low=float(expit(odds - reach)), high=float(expit(odds + reach)))
    if value.estimate <= 0:
        return replace(value, low=0.0, high=min(1.0, max(none, value.high)))
    return replace(value, low=max(0.0, min(1 - none, value.low)), high=1.0)


def difference(first: Value, second: Value, log: Log) -> Value:
    """``first`` less ``second``, both of one log: narrower than the two intervals where they rest on the same decisions."""
    return _value(first.estimate - second.estimate, first.influence - second.influence, log)


@dataclass(frozen=True)
class Target:
    """A policy to be judged: of each logged decision its ``probability`` of the logged action, and the ``expected`` reward.

    ``expected``: the mean, over the policy's actions, of what a reward model says, which has not seen the log.
    """

    probability: Values
    expected: Values


def target_of(policy: Values, action: Values, modelled: Values) -> Target:
    """The policy of these probabilities, (decisions, actions) or (actions,) where they are the same for all decisions.

    ``action``: of each decision the number of the action that was logged, from 0. ``modelled``: what a reward model, which has
    not seen the log, says of each action; shaped as ``policy``. Each row of ``policy`` sums to 1: a deterministic policy has a
    single 1, one that is torn between equally good actions shares it among them.

    Raises ``LogError`` where shapes do not fit, an action is none, or probabilities of a decision do not sum to 1.
    """
    taken, chances, rewards = np.asarray(action), np.asarray(policy, np.float64), np.asarray(modelled, np.float64)
    actions = chances.shape[-1] if chances.ndim else 0
    wide = (len(taken), actions) if taken.ndim == 1 else None
    if wide is None or chances.shape not in {wide, (actions,)} or rewards.shape not in {wide, (actions,)}:
        shapes = f"action {taken.shape}, policy {chances.shape}, modelled {rewards.shape}"
        raise LogError(
            f"policy and modelled must be (decisions, actions) or (actions,), action (decisions,); these are {shapes}"
        )
    if not np.issubdtype(taken.dtype, np.integer) or ((taken < 0) | (taken >= actions)).any():
        raise LogError(f"action must be a whole number from 0 to {actions - 1} for each decision")
    sums = np.atleast_1d(chances.sum(axis=-1))
    is_whole = np.abs(sums - 1) <= ROUNDING
    if not is_whole.all():
        first = int(np.argmin(is_whole))
        raise LogError(f"policy must sum to 1 over the actions; at position {first} it sums to {sums[first]}")
    chances = np.broadcast_to(chances, wide)
    return Target(chances[np.arange(len(taken)), taken], np.einsum("da,da->d", chances, np.broadcast_to(rewards, wide)))


@dataclass(frozen=True)
class Estimates:
    """The value of a policy by each estimator, and whether the log tells anything of it.

    ``snips`` is None where the policy would have taken none of the logged decisions.
    """

    ips: Value
    snips: Value | None
    doubly_robust: Value
    overlap: Overlap


def evaluate(
    reward: Values,
    action: Values,
    propensity: Values,
    policy: Values,
    modelled: Values,
    *,
    clusters: npt.ArrayLike | None = None,
    least_propensity: float = 0.0,
) -> Estimates:
    """Judge a policy by a log of ``reward``, ``action`` and ``propensity``, each of shape (decisions,).

    ``policy`` and ``modelled``: see ``target_of``; a model of zeros makes ``doubly_robust`` equal to ``ips``. ``clusters``,
    ``least_propensity``: see ``read_log``. Raises ``LogError`` on arrays that are no log.
    """
    target = target_of(policy, action, modelled)
    return estimates(read_log(reward, propensity, target.probability, clusters, least_propensity), action, modelled, target)


def estimates(log: Log, action: Values, modelled: Values, target: Target) -> Estimates:
    """Every estimator on a log of the actions; ``modelled`` as in ``target_of``, which made ``target``."""
    taken, rewards = np.asarray(action), np.asarray(modelled, np.float64)
    logged = rewards[taken] if rewards.ndim == 1 else rewards[np.arange(len(taken)), taken]
    return Estimates(
        ips=ips(log),
        snips=snips(log) if log.weights.any() else None,
        doubly_robust=doubly_robust(log, logged, target.expected),
        overlap=overlap(log),
    )


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may serve: ``gain`` is its value less the incumbent's, doubly robust."""

    is_better: bool
    challenger: Value
    incumbent: Value
    gain: Value
    overlap: Overlap

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        gain = f"{self.gain.estimate:+.4f} a decision ({self.gain.low:+.4f} to {self.gain.high:+.4f})"
        return f"{'better' if self.is_better else 'not better beyond chance'}: {gain}; {self.overlap.words}"


def challenge(
    reward: Values, propensity: Values, modelled: Values, challenger: Target, incumbent: Target, *, clusters: Any = None
) -> Verdict:
    """Judge a challenger beside an incumbent on the same log: it is better where the whole interval of its gain is above 0.

    ``modelled``: what the reward model says of each logged action. Without enough overlap the challenger is not better.
    Raises ``LogError`` on arrays that are no log.
    """
    first, second = (read_log(reward, propensity, target.probability, clusters) for target in (challenger, incumbent))
    challenging, present = (
        doubly_robust(first, modelled, challenger.expected),
        doubly_robust(second, modelled, incumbent.expected),
    )
    gain, found = difference(challenging, present, first), overlap(first)
    return Verdict(bool(gain.low > 0 and found.is_enough), challenging, present, gain, found)


def _value(estimate: float, influence: Floats, log: Log) -> Value:
    sums = influence if log.clusters is None else np.bincount(pd.factorize(log.clusters)[0], influence)
    groups = len(sums)
    variance = float((sums**2).sum()) / len(influence) ** 2 * groups / (groups - 1) if groups > 1 else np.inf
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * np.sqrt(variance)
    return Value(estimate, estimate - half, estimate + half, influence)
