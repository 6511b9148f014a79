"""Off-policy estimators against values by hand, and against the truth of simulated logs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.effects.off_policy import (
    LogError,
    Target,
    Verdict,
    as_rate,
    challenge,
    difference,
    doubly_robust,
    evaluate,
    ips,
    overlap,
    read_log,
    snips,
)

# Rewards by context (0, 1) and action (0, 1, 2), and the policies as probabilities.
REWARD = np.array([[0.10, 0.30, 0.05], [0.20, 0.02, 0.40]])
LOGGING = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]])
TARGET = np.array([[0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
TRUTH = float((TARGET * REWARD).sum(axis=1).mean())  # contexts are equally frequent


def simulated(seed: int, count: int, logging: np.ndarray = LOGGING) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    context = random.integers(0, 2, count)
    action = (random.random(count)[:, None] > logging[context].cumsum(axis=1)).sum(axis=1)
    reward = (random.random(count) < REWARD[context, action]).astype(float)
    return context, action, reward


def test_the_estimates_of_four_decisions_are_those_by_hand() -> None:
    log = read_log([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.25], [0.5, 0.25, 0.5, 0.0])
    # Weights 1, .5, 2, 0. IPS (1 + 2) / 4; SNIPS 3 / 3.5; effective size 3.5^2 / (1 + .25 + 4).
    assert ips(log).estimate == 0.75
    assert snips(log).estimate == pytest.approx(3 / 3.5)
    # DR with a model of .5 for all actions: .5 + mean(1 x .5, .5 x -.5, 2 x .5, 0) = .5 + 1.25 / 4.
    assert doubly_robust(log, [0.5] * 4, [0.5] * 4).estimate == pytest.approx(0.8125)
    found = overlap(log)
    assert (found.effective, found.largest_weight, found.mean_weight) == pytest.approx((3.5**2 / 5.25, 2.0, 0.875))
    # Terms 1, 0, 2, 0: variance about their mean .6875 + ..., by hand (1/16)(.0625 + .5625 + 1.5625 + .5625) x 4/3.
    half = 1.959964 * np.sqrt(2.75 / 16 * 4 / 3)
    assert ips(log).high - ips(log).estimate == pytest.approx(half, abs=1e-6)


def test_where_the_policy_is_the_logging_one_every_estimate_is_the_mean_reward() -> None:
    _, _, reward = simulated(1, 500)
    log = read_log(reward, np.full(500, 0.3), np.full(500, 0.3))
    zeros = np.zeros(500)
    assert [ips(log).estimate, snips(log).estimate, doubly_robust(log, zeros, zeros).estimate] == pytest.approx(
        [reward.mean()] * 3
    )
    assert overlap(log).effective == pytest.approx(500)


def test_intervals_hold_the_truth_about_95_times_of_100_and_a_good_model_narrows_them() -> None:
    hits, widths = {"ips": 0, "snips": 0, "dr": 0}, {"ips": 0.0, "snips": 0.0, "dr": 0.0}
    repeats = 400
    for seed in range(repeats):
        context, action, reward = simulated(seed, 2_000)
        log = read_log(reward, LOGGING[context, action], TARGET[context, action])
        found = {
            "ips": ips(log),
            "snips": snips(log),
            "dr": doubly_robust(log, REWARD[context, action], (TARGET * REWARD).sum(axis=1)[context]),
        }
        for name, value in found.items():
            hits[name] += value.low <= TRUTH <= value.high
            widths[name] += (value.high - value.low) / repeats
    # 4 standard errors of 400 draws at 95% are 4.4 points.
    assert {name: count / repeats for name, count in hits.items()} == pytest.approx(dict.fromkeys(hits, 0.95), abs=0.044)
    assert widths["dr"] < widths["snips"] < widths["ips"]


def test_doubly_robust_is_right_where_either_the_model_or_the_propensities_are() -> None:
    context, action, reward = simulated(7, 200_000)
    target, modelled = TARGET[context, action], np.full(200_000, 0.5)
    right = read_log(reward, LOGGING[context, action], target)
    wrong = read_log(reward, np.full(200_000, 1 / 3), target)
    model, expected = REWARD[context, action], (TARGET * REWARD).sum(axis=1)[context]
    assert doubly_robust(right, modelled, modelled).estimate == pytest.approx(TRUTH, abs=0.01)
    assert doubly_robust(wrong, model, expected).estimate == pytest.approx(TRUTH, abs=0.01)
    assert abs(ips(wrong).estimate - TRUTH) > 0.05
    assert not overlap(wrong).is_calibrated
    assert "propensities are wrong" in overlap(wrong).words


def test_decisions_of_one_customer_count_once_where_they_are_copies() -> None:
    context, action, reward = simulated(3, 1_000)
    propensity, target = LOGGING[context, action], TARGET[context, action]
    alone = snips(read_log(reward, propensity, target))
    copies = [np.repeat(values, 5) for values in (reward, propensity, target)]
    grouped = snips(read_log(*copies, clusters=np.repeat(np.arange(1_000), 5)))
    naive = snips(read_log(*copies))
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)


def test_the_difference_of_two_policies_is_narrower_than_their_intervals_apart() -> None:
    context, action, reward = simulated(4, 20_000)
    propensity = LOGGING[context, action]
    nearly = TARGET * 0.9 + LOGGING * 0.1
    first, second = (read_log(reward, propensity, policy[context, action]) for policy in (TARGET, nearly))
    found = difference(snips(first), snips(second), first)
    truth = TRUTH - float((nearly * REWARD).sum(axis=1).mean())
    assert found.low <= truth <= found.high
    apart = np.hypot(*(value.high - value.low for value in (snips(first), snips(second))))
    assert found.high - found.low < 0.3 * apart


def test_a_log_with_all_actions_of_a_policy_is_judged_as_by_hand() -> None:
    # Actions 0, 1, 1, 2; a policy that does not look at the decision; and a model of the rewards.
    reward, action, propensity = [1, 0, 1, 0], [0, 1, 1, 2], [0.5, 0.25, 0.25, 0.25]
    policy, model = [0.5, 0.25, 0.25], [0.6, 0.4, 0.2]
    found = evaluate(reward, action, propensity, policy, model)
    # Weights 1, 1, 1, 1: IPS and SNIPS are 2 / 4. Expected .5 x .6 + .25 x .4 + .25 x .2 = .45;
    # DR: .45 + mean(1 - .6, 0 - .4, 1 - .4, 0 - .2) = .45 + .1.
    assert (found.ips.estimate, found.snips.estimate if found.snips else None) == (0.5, 0.5)
    assert found.doubly_robust.estimate == pytest.approx(0.55)
    assert found.overlap.effective == pytest.approx(4)
    frame = pd.DataFrame({"reward": reward, "action": action, "propensity": propensity}, index=[7, 7, 3, 1])
    again = evaluate(frame["reward"], frame["action"], frame["propensity"], np.tile(policy, (4, 1)), np.tile(model, (4, 1)))
    assert again.doubly_robust.estimate == pytest.approx(0.55)
    # A deterministic policy that would never have taken what was logged: nothing is known but what the model says.
    never = evaluate([1, 1], [0, 1], [1.0, 1.0], [0, 0, 1], model)
    assert (never.ips.estimate, never.snips, never.doubly_robust.estimate) == (0, None, pytest.approx(0.2))
    assert not never.overlap.is_enough
    # One that is torn between two equally good actions shares them: 1 / .5 and .5 / .25 are the weights.
    torn = evaluate([1, 0], [0, 1], [0.25, 0.5], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0])
    assert torn.ips.estimate == torn.doubly_robust.estimate == 1.0  # (2 x 1 + 1 x 0) / 2


def test_a_propensity_of_0_counts_for_nothing_or_is_limited() -> None:
    log = read_log([1, 1, 0], [0.5, 0.0, 0.5], [0.5, 0.0, 0.5])
    assert log.weights.tolist() == [1, 0, 1]
    assert ips(log).estimate == pytest.approx(1 / 3)
    assert overlap(log).zero_share == pytest.approx(1 / 3)
    limited = read_log([1, 1], [0.001, 0.0], [1.0, 1.0], least_propensity=0.1)
    assert limited.weights.tolist() == [10, 10]
    assert limited.zero_share == 0.5


def test_limited_weights_are_narrower_and_biased_by_no_more_than_what_was_limited() -> None:
    rare = np.array([[0.999, 0.001], [0.5, 0.5]])  # of two contexts; the target takes action 1
    rates, target = np.array([[0.1, 0.6], [0.1, 0.6]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    random = np.random.default_rng(8)
    context = random.integers(0, 2, 20_000)
    action = (random.random(20_000) > rare[context, 0]).astype(int)
    reward = (random.random(20_000) < rates[context, action]).astype(float)
    logged, wanted = rare[context, action], target[context]
    free, limited = (
        evaluate(reward, action, logged, wanted, np.zeros((20_000, 2)), least_propensity=least) for least in (0.0, 0.05)
    )
    assert free.overlap.largest_weight == 1000
    assert limited.overlap.largest_weight == 20
    assert limited.ips.high - limited.ips.low < 0.5 * (free.ips.high - free.ips.low)
    # Of the truth .6 the half of context 0 counts .001 / .05 in place of 1.
    assert limited.ips.low <= 0.3 + 0.3 * 0.02 <= limited.ips.high
    assert not limited.overlap.is_calibrated


@pytest.mark.parametrize(
    ("action", "policy", "model", "message"),
    [
        ([0, 2], [[0.5, 0.5]] * 2, [0.0, 0.0], "action must be a whole number from 0 to 1"),
        ([0.0, 1.0], [[0.5, 0.5]] * 2, [0.0, 0.0], "action must be a whole number"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.4]], [0.0, 0.0], "policy must sum to 1 over the actions; at position 1 it sums to 0.9"),
        ([0, 1], [[0.5, 0.5]] * 3, [0.0, 0.0], "policy and modelled must be"),
        ([0, 1], [0.5, 0.5], [0.0], "policy and modelled must be"),
    ],
)
def test_a_policy_that_does_not_fit_the_log_is_refused(action: list[int], policy: object, model: object, message: str) -> None:
    with pytest.raises(LogError, match=message):
        evaluate([1, 0], action, [0.5, 0.5], policy, model)


def test_a_log_without_overlap_says_so() -> None:
    log = read_log([1.0] * 50, [1.0] * 50, [0.0] * 50)
    assert overlap(log).effective == 0
    assert not overlap(log).is_enough
    with pytest.raises(LogError, match="no decision that the policy would have taken"):
        snips(log)
    few = overlap(read_log([1.0] * 50, [1.0] * 50, [1.0] * 50))
    assert few.words == "50 of 50 decisions count, the largest weighs 1.0; 100 are needed"


def judged(count: int, challenger: np.ndarray, incumbent: np.ndarray, seed: int = 11) -> Verdict:
    context, action, reward = simulated(seed, count)
    targets = [Target(policy[context, action], (policy * REWARD).sum(axis=1)[context]) for policy in (challenger, incumbent)]
    return challenge(reward, LOGGING[context, action], REWARD[context, action], *targets, clusters=np.arange(count))


def test_a_challenger_serves_only_where_its_whole_interval_is_above_the_incumbents_value() -> None:
    better = judged(5_000, TARGET, LOGGING)
    truth = TRUTH - float((LOGGING * REWARD).sum(axis=1).mean())
    assert better.is_better
    assert better.gain.low <= truth <= better.gain.high
    assert better.words.startswith("better: +0.")
    worse = judged(5_000, LOGGING, TARGET)
    assert not worse.is_better
    assert worse.gain.estimate == pytest.approx(-better.gain.estimate)
    assert worse.words.startswith("not better beyond chance: -0.")


def test_of_two_equal_policies_few_win_by_chance() -> None:
    other = LOGGING[:, ::-1] * 0.5 + TARGET * 0.5  # another policy that is worth as much: rewards are those of the mixture
    worth = float((other * REWARD).sum(axis=1).mean())
    share = (TRUTH - worth) / (TRUTH - float((LOGGING * REWARD).sum(axis=1).mean()))
    equal = LOGGING * share + TARGET * (1 - share)
    assert float((equal * REWARD).sum(axis=1).mean()) == pytest.approx(worth)
    wins = sum(judged(2_000, other, equal, seed).is_better for seed in range(300))
    assert wins / 300 < 0.025 + 4 * np.sqrt(0.025 * 0.975 / 300)


def test_a_challenger_without_overlap_does_not_serve_however_good_it_looks() -> None:
    few = judged(60, TARGET, LOGGING)
    assert few.overlap.effective < 100
    assert not few.is_better
    assert "are needed" in few.words


@pytest.mark.parametrize(
    ("reward", "propensity", "target", "message"),
    [
        (
            [1, 0],
            [0.5, 0.0],
            [0.5, 0.5],
            "propensity must be above 0 where target is; at position 1 it is 0.0.*least_propensity",
        ),
        ([1, 0], [0.5, 1.5], [0.5, 0.5], "propensity must be above 0 and at most 1; at position 1 it is 1.5"),
        ([1, np.nan], [0.5, 0.5], [0.5, 0.5], "reward must be a finite number; at position 1"),
        ([1, 0], [0.5, 0.5], [-0.1, 0.5], "target must be from 0 to 1; at position 0"),
        ([1, 0], [0.5], [0.5, 0.5], "one length"),
        ([], [], [], "at least 1"),
        ([[1]], [[0.5]], [[0.5]], "one dimension"),
    ],
)
def test_what_is_no_log_is_refused(reward: list[float], propensity: list[float], target: list[float], message: str) -> None:
    with pytest.raises(LogError, match=message):
        read_log(reward, propensity, target)


def test_the_interval_of_a_rate_stays_within_0_and_1_and_covers_where_clicks_are_few() -> None:
    random, truth, decisions = np.random.default_rng(4), 0.01, 300  # three clicks on average
    logs = [read_log(random.random(decisions) < truth, np.ones(decisions), np.ones(decisions)) for _ in range(400)]
    plain = [ips(log) for log in logs]
    rates = [as_rate(value, overlap(log).effective) for value, log in zip(plain, logs, strict=True)]
    assert min(value.low for value in plain) < 0
    assert all(0 <= rate.low <= rate.estimate <= rate.high <= 1 for rate in rates)
    covered, covered_plainly = (
        sum(value.low <= truth <= value.high for value in values) / len(values) for values in (rates, plain)
    )
    assert covered >= 0.93 > covered_plainly
    none = as_rate(ips(read_log(np.zeros(100), np.ones(100), np.ones(100))), 100.0)
    assert (none.low, none.high) == (0.0, pytest.approx(0.0362, abs=1e-4))  # Clopper and Pearson: 0 of 100, by hand


def test_the_interval_of_a_rate_is_the_normal_one_where_clicks_are_many() -> None:
    log = read_log(np.arange(40_000) % 4 == 0, np.ones(40_000), np.ones(40_000))
    value = ips(log)
    rate = as_rate(value, 40_000.0)
    assert (rate.low, rate.high) == (pytest.approx(value.low, abs=3e-5), pytest.approx(value.high, abs=3e-5))


def test_an_estimate_outside_0_and_1_keeps_its_place_beside_an_interval_inside() -> None:
    log = read_log([0.0, 1.0, 0.0, 0.0], [0.5] * 4, [0.5] * 4)
    below = doubly_robust(log, [0.6] * 4, [0.1] * 4)
    rate = as_rate(below, overlap(log).effective)
    assert (rate.estimate, rate.low) == (pytest.approx(-0.25), 0.0)
    assert 0.6 < rate.high <= 1  # Clopper and Pearson: 0 of 4 decisions has the upper bound .6024
