"""The search for settings: bounded by its clock, seeded, and taken in by neither luck nor the cut-off that judges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from published_frames import small_shop, training_frame
from trained_models import NOW, Trained

from ml.datasets.training_sets import build_training_set
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import train
from ml.fitting.tuning import DEPTHS, L2_LEAF_REG, LEARNING_RATE, RANDOM_STRENGTH, SUBSAMPLE, Budget, search
from ml.judging.evaluation import evaluate
from ml.judging.promotion import Decision
from ml.versions.manifest import describe
from ml.versions.model_card import model_card

FIRST = BoostingSettings()


@dataclass
class Bench:
    """A clock that only trials move, and losses of 2,000 rows around what ``gain`` takes off."""

    seconds: float = 10.0
    now: float = 1_000.0
    noise: float = 0.3
    gain: dict[int, float] = field(default_factory=dict)  # by depth
    tried: list[BoostingSettings] = field(default_factory=list)
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def clock(self) -> float:
        return self.now

    def losses(self, settings: BoostingSettings) -> np.ndarray:
        self.now += self.seconds
        self.tried.append(settings)
        gain = 0.0 if settings == FIRST else self.gain.get(settings.depth, 0.0)
        return 0.6 - gain + self.chance.normal(0, self.noise, 2_000)

    def budget(self, seconds: float) -> Budget:
        return Budget(seconds, self.clock)


def test_the_settings_of_now_are_tried_first_and_the_budget_is_kept() -> None:
    bench = Bench()
    found = search(FIRST, bench.budget(35), 1, bench.losses)
    assert bench.tried[0] == FIRST
    assert len(found.trials) == 3  # a fourth would end after 40 seconds
    assert bench.now == 1_030
    assert [trial.seconds for trial in found.trials] == [10, 10, 10]
    slow = Bench()
    alone = search(FIRST, slow.budget(1), 1, slow.losses)
    assert len(alone.trials) == 1
    assert (alone.chosen, alone.trials[0].is_chosen) == (FIRST, True)


def test_a_seed_gives_the_same_trials_however_long_the_clock_lets_it() -> None:
    short, long, other = Bench(), Bench(), Bench()
    search(FIRST, short.budget(50), 1, short.losses)
    search(FIRST, long.budget(200), 1, long.losses)
    search(FIRST, other.budget(50), 2, other.losses)
    assert len(short.tried) == 5
    assert len(long.tried) == 20
    assert long.tried[:5] == short.tried
    assert other.tried[1:] != short.tried[1:]


def test_what_is_drawn_is_sensible() -> None:
    bench = Bench()
    search(FIRST, bench.budget(2_000), 3, bench.losses)
    assert len(bench.tried) == 200
    drawn = bench.tried[1:]
    assert {settings.depth for settings in drawn} == set(DEPTHS)
    for name, (low, high) in {
        "learning_rate": LEARNING_RATE,
        "l2_leaf_reg": L2_LEAF_REG,
        "random_strength": RANDOM_STRENGTH,
        "subsample": SUBSAMPLE,
    }.items():
        values = [getattr(settings, name) for settings in drawn]
        assert low <= min(values) < max(values) <= high
        assert len(set(values)) > 40
    assert all(settings.border_count == FIRST.border_count for settings in drawn)
    slow = min(drawn, key=lambda settings: settings.learning_rate)
    assert slow.iterations > FIRST.iterations


def test_a_setting_that_is_better_beyond_chance_is_chosen() -> None:
    bench = Bench(gain={6: 0.1})
    found = search(FIRST, bench.budget(300), 1, bench.losses)
    assert found.chosen.depth == 6
    assert found.chosen in bench.tried
    assert [trial.settings["depth"] for trial in found.trials if trial.is_chosen] == [6]
    assert "is better beyond chance, on rows that had no part in the choice: -0.1" in found.reason


def test_the_luckiest_of_many_equal_settings_is_not_chosen() -> None:
    """Thirty equally good settings: chosen and judged by the same rows, the luckiest passes in 9 of these 40 searches."""
    by_luck = 0
    for seed in range(40):
        bench = Bench(chance=np.random.default_rng(seed))
        found = search(FIRST, bench.budget(300), seed, bench.losses)
        by_luck += found.chosen != FIRST
    assert by_luck <= 4


@pytest.mark.full
def test_training_searches_on_the_tuning_rows_and_says_what_it_tried() -> None:
    shop, few = small_shop(), BoostingSettings(iterations=15)
    training_set = build_training_set(training_frame(shop, customers=200, cutoffs=4), shop)
    ticks = iter(range(10_000))
    made = train(training_set, seed=1, threads=2, settings=few, budget=Budget(6, lambda: float(next(ticks))))
    assert made.search is not None
    assert [trial.seconds for trial in made.search.trials] == [1, 1, 1]
    for name, value in next(trial for trial in made.search.trials if trial.is_chosen).settings.items():
        assert made.settings[name] == value
    # The cut-off that judges has no part: with other rows of it the trials are the same.

    spoilt = replace(
        training_set, validation=training_set.validation.iloc[:60], validation_labels=training_set.validation_labels[:60][::-1]
    )
    ticks = iter(range(10_000))
    again = train(spoilt, seed=1, threads=2, settings=few, budget=Budget(6, lambda: float(next(ticks))))
    assert again.search == made.search

    judged = evaluate(training_set, made)
    manifest = describe(
        name="affinity",
        version="v2",
        created_at=NOW,
        trained=made,
        training_set=training_set,
        evaluation=judged,
        model_sha256="0" * 64,
    )
    assert manifest.tuning == made.search.trials
    assert type(manifest).model_validate_json(manifest.model_dump_json()) == manifest
    card = model_card(manifest, judged, Decision(True, "better"), training_set.target.purpose)
    assert "## Settings that were tried" in card
    assert card.count("| True |") == 1
    assert "## Settings that were tried" not in model_card(
        manifest.model_copy(update={"tuning": ()}), judged, Decision(True, "x"), training_set.target.purpose
    )


def test_without_a_budget_nothing_is_searched(trained: Trained) -> None:
    assert trained.trained.search is None


def test_tuning_is_bounded_by_the_longest_run() -> None:
    assert small_shop().training.tuning_minutes == 0
    assert small_shop(training={"tuning_minutes": 2.5}).training.tuning_minutes == 2.5
    with pytest.raises(ValueError, match="tuning_minutes"):
        small_shop(training={"tuning_minutes": 90})
