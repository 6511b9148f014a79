"""Customers without contact: learned from control groups alone, and the effect judged on worlds where it is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks.campaign_simulation import CampaignSimulation
from customer360.settings import REPOSITORY, Shop, load_shop
from ml.datasets.targets import ORGANIC_RESPONSE
from ml.datasets.training_sets import TrainingSet, TrainingSetError
from ml.effects.judged_effect import Trained, effect_scores, judge_effect
from ml.effects.qini import Qini, qini
from ml.fitting.training import TrainedModel, train
from ml.judging.evaluation import evaluate
from ml.judging.promotion import decide
from ml.responses.contact_rows import ResponseInputs
from ml.responses.scoring import rows_at
from ml.responses.training_set import build_response_training_set
from ml.responses.without_contact import (
    MIN_CONTROLS,
    build_organic_training_set,
    effect_is_usable,
    known_controls,
    without_predictions,
)
from ml.versions.shop_models import features_of

SHOP: Shop = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")


class Known:
    """A simulation of campaigns without clicks, its frames, and both models trained on them."""

    def __init__(self, seed: int, base_conversion: float) -> None:
        self.simulation = CampaignSimulation.build(SHOP, 5_000, seed, control_share=0.3, base_conversion=base_conversion)
        touches, orders = self.simulation.past()
        calendar, catalogue = self.simulation.synthetic.calendar, self.simulation.synthetic.catalogue
        self.inputs = ResponseInputs(touches, self.simulation.attribute_versions, calendar.table(), catalogue.offers(), orders)
        self.at: datetime = pd.Timestamp(self.simulation.first_day).to_pydatetime()
        self.response_set = build_response_training_set(self.inputs, SHOP, self.at)
        self.organic_set = build_organic_training_set(self.inputs, SHOP, self.at)
        self.made: dict[str, TrainedModel] = {}
        self.response, self.organic = (self._trained(training_set) for training_set in (self.response_set, self.organic_set))

    def _trained(self, training_set: TrainingSet) -> Trained:
        made = self.made[training_set.target.name] = train(training_set, seed=1, threads=2)
        return Trained(made.model, training_set.train_cutoffs[-1], training_set.validation_cutoff)

    def effect(self) -> Qini:
        found = judge_effect(self.inputs, SHOP, self.at, self.response, self.organic)
        assert isinstance(found, Qini)
        return found

    def customers(self, frame: pd.DataFrame) -> np.ndarray:
        return pd.Index(self.simulation.synthetic.population.customer_ids).get_indexer(frame["customer_id"])


@pytest.fixture(scope="module")
def known() -> Known:
    return Known(seed=4, base_conversion=0.1)


def test_its_rows_are_the_controls_and_its_features_the_customer_and_the_history(known):
    controls = known.inputs.touches[known.inputs.touches["is_control"]]
    built = known.organic_set
    assert len(controls) * 0.9 < len(built.train) + len(built.validation) <= len(controls)
    assert set(np.concatenate([built.train_labels, built.validation_labels])) == {"converted", "not converted"}
    names = [feature.name for feature in built.features]
    assert {"age", "income_band", "contacts_sms", "days_since_last_order", "conversions"} <= set(names)
    assert not {"channel", "day_of_week", "daypart", "campaign_kind", "offer_category_id"} & set(names)
    assert features_of(ORGANIC_RESPONSE, SHOP) == built.features
    assert built.judged_on.startswith("the newest fifth of the controls")
    contacts_gone = replace(
        known.inputs, touches=known.inputs.touches.assign(is_converted=lambda f: f["is_control"] & f["is_converted"])
    )
    again = build_organic_training_set(contacts_gone, SHOP, known.at)
    assert (again.train_labels == built.train_labels).all()


def test_too_few_controls_are_refused_with_their_number_and_what_to_do(known):
    touches = known.inputs.touches
    controls = touches[touches["is_control"]]
    few = replace(known.inputs, touches=pd.concat([touches[~touches["is_control"]], controls.head(MIN_CONTROLS - 1)]))
    with pytest.raises(TrainingSetError, match=r"has 1,499 controls .* at least 1,500 .*holdout_share"):
        build_organic_training_set(few, SHOP, known.at)
    early = controls["touched_at"].min().to_pydatetime() + timedelta(days=SHOP.campaigns.attribution_days)
    assert len(known_controls(touches, SHOP, early)) == 1
    assert len(known_controls(touches, SHOP, early - timedelta(seconds=1))) == 0
    unknown_time = touches.assign(is_time_known=False)
    assert len(known_controls(unknown_time, SHOP, known.at)) == 0


def test_a_plan_may_count_effects_only_with_controls_and_a_model_that_serves(known):
    touches = known.inputs.touches
    usable = effect_is_usable(touches, SHOP, known.at, "20260501T000000Z-1a2b3c4d")
    assert usable.is_usable
    assert "20260501T000000Z-1a2b3c4d" in usable.reason
    unpromoted = effect_is_usable(touches, SHOP, known.at, None)
    assert not unpromoted.is_usable
    assert "no model of customers without contact was promoted" in unpromoted.reason
    none_held_back = effect_is_usable(touches.assign(is_control=False), SHOP, known.at, "v1")
    assert not none_held_back.is_usable
    assert "0 controls" in none_held_back.reason


def test_the_model_beats_the_baselines_and_says_what_customers_do_without_contact(known):
    judged = evaluate(known.organic_set, known.made["organic_response"])
    assert decide(judged).is_promoted
    assert set(judged.scores["contender"]) == {"model", "prior", "days since the last order"}
    ids = pd.Index(known.simulation.synthetic.population.customer_ids)
    rows = rows_at(ids, known.at, known.inputs, SHOP)
    predicted = without_predictions(known.organic.model, rows)
    assert predicted.dtype == np.float32
    assert predicted.shape == (len(ids),)
    # what the customers do in the three days after, by fifth of what was predicted
    days = [known.simulation.orders(known.simulation.first_day + timedelta(days=number)) for number in range(3)]
    orders = ids.isin(pd.concat(days)["customer_id"])
    fifths = np.array_split(np.argsort(predicted), 5)
    expected, came = ([float(values[rows].mean()) for rows in fifths] for values in (predicted, orders))
    assert came[4] > 5 * came[0]
    assert came[4] > came[3] > came[1]
    # Too high at the top: the history began 150 days ago, so everyone has more orders in the last 365 days than ever before.
    assert np.allclose(expected, came, atol=0.08)


def test_the_difference_of_the_two_models_finds_whom_a_contact_changes(known):
    found = known.effect()
    assert found.beats_random
    truth = known.simulation.response
    effects = (truth.probability.mean(axis=(1, 2, 3))) * (1 - truth.without)
    assert found.everyone.low < effects.mean() < found.everyone.high
    assert min(found.contacts, found.controls) > 500


def test_on_the_same_touches_the_true_effect_ranks_best_and_what_customers_do_anyway_does_not_help(known):
    touches = known.inputs.touches
    rows = touches[touches["touched_at"] >= max(known.response.judged_from, known.organic.judged_from)].reset_index(drop=True)
    who, shop = known.customers(rows), SHOP
    truth = known.simulation.response
    daypart = np.searchsorted([span.end for span in shop.dayparts.values()], rows["local_hour"], side="right")
    p = truth.probability[who, :, rows["day_of_week"].to_numpy() - 1, daypart].mean(axis=1)
    rankings = {
        "truth": p * (1 - truth.without[who]),
        "models": effect_scores(rows, known.inputs, shop, known.response.model, known.organic.model),
        "anyway": truth.without[who],
        "reversed": -p * (1 - truth.without[who]),
    }
    is_contacted, is_converted = ~rows["is_control"].to_numpy(bool), rows["is_converted"].to_numpy(bool)
    areas = {name: qini(score, is_contacted, is_converted, seed=1).area.estimate for name, score in rankings.items()}
    assert areas["truth"] == max(areas.values())
    assert areas["truth"] > areas["models"] > 0.4 * areas["truth"] > areas["anyway"]
    assert areas["reversed"] == min(areas.values()) < 0


def test_a_score_does_not_tell_whether_the_contact_was_made(known):
    rows = known.inputs.touches.tail(400).reset_index(drop=True)
    scores = effect_scores(rows, known.inputs, SHOP, known.response.model, known.organic.model)
    places = np.random.default_rng(1).permutation(len(rows))
    others = rows.assign(**{name: rows[name].to_numpy()[places] for name in ("is_control", "channel", "is_converted")})
    changed = effect_scores(others, known.inputs, SHOP, known.response.model, known.organic.model)
    assert np.allclose(scores, changed)
    assert np.ptp(scores) > 0.1


def test_where_contacts_add_nothing_the_models_do_not_beat_random():
    found = Known(seed=5, base_conversion=1e-6).effect()
    assert not found.beats_random
    assert found.everyone.low < 0 < found.everyone.high


def test_only_touches_that_neither_model_has_seen_are_judged(known):
    late = known.inputs.touches["touched_at"].max().to_pydatetime()
    hardly = replace(known.response, judged_from=late - timedelta(hours=3))
    refusal = judge_effect(known.inputs, SHOP, known.at, hardly, known.organic)
    assert isinstance(refusal, str)
    assert "were seen by neither model, and 100 of each are needed" in refusal
    assert judge_effect(known.inputs, SHOP, known.at, None, known.organic) == (
        "the effect was not judged: no response model serves yet"
    )
    # where customers were held out instead, theirs are judged
    held_out = [
        replace(trained, trained_until=late, judged_from=trained.judged_from) for trained in (known.response, known.organic)
    ]
    found = judge_effect(known.inputs, SHOP, known.at, *held_out)
    assert isinstance(found, Qini)
    assert found.contacts + found.controls == pytest.approx(len(known.inputs.touches) / 5, rel=0.1)
