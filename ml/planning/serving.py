"""Which predictions plans use: responses by the model that serves, else by smoothed rates; effects by evidence and prior."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.lake.slices import naive
from customer360.settings import Shop
from customer360.snapshot import Snapshot
from ml.arrays import SingleFloats
from ml.datasets import targets
from ml.effects.evidence import ANY_KIND, campaign_outcomes, evidence_for
from ml.effects.prior import Effect, combined, prior_effect
from ml.fitting.training import MODEL
from ml.planning.base_rates import BaseRate, base_rate, customer_base_rates
from ml.planning.contact_rates import ResponsePrior
from ml.planning.predictions import Predict, Predicted, basis_of
from ml.planning.rate_predictions import Responses, index_customers, rate_responses
from ml.responses.contact_rows import ResponseInputs, campaign_facts, response_inputs
from ml.responses.scoring import response_predictions, rows_at
from ml.responses.without_contact import effect_is_usable, without_predictions
from ml.versions.model_store import LoadedModel
from ml.versions.shop_models import servable_for_shop


@dataclass(frozen=True)
class Served:
    """Predictions, the version of the response model (None: rates), and in a sentence what their value is and why.

    ``base_rate``: share of the customers who order within an attribution window; None where no order of 28 days is known.
    """

    predict: Predict
    model_version: str | None
    basis: str
    base_rate: BaseRate | None


def served_predictions(snapshot: Snapshot, customers: pd.DataFrame) -> Served:
    """The predictions for plans of ``customers`` (customer_id, segment), as the snapshot knows them."""
    settings, shop, inputs = snapshot.settings, snapshot.shop, response_inputs(snapshot)
    orders, at = snapshot.orders[snapshot.orders["lines"] > 0], naive(snapshot.as_of)
    indexed = index_customers(customers)
    base_rates = customer_base_rates(indexed, orders, _purchase_probability(snapshot), at, shop)
    mean = float(base_rates.mean()) if len(base_rates) else 0.0
    outcomes = campaign_outcomes(inputs.touches, inputs.campaigns, snapshot.outcomes_known_at, shop)
    effects = Effects(outcomes, mean, shop)
    measured = base_rate(orders, len(customers), at, shop)
    response = servable_for_shop(settings, targets.RESPONSE).loaded
    if response is None:
        until = pd.Timestamp(snapshot.outcomes_known_at) - timedelta(days=shop.campaigns.attribution_days)
        touches = inputs.touches[inputs.touches["touched_at"] <= until]
        expected = np.minimum(base_rates * (effects.expected_response / mean if mean else 1), 1.0)
        times = snapshot.read("from customer_purchase_times")
        respond = rate_responses(indexed, touches, times, ResponsePrior(expected, effects.response_strength), shop)
        basis = "no response model serves, so responses are smoothed rates of past touches"
        return Served(RatePredictor(respond, effects), None, basis, measured)
    organic = servable_for_shop(settings, targets.ORGANIC_RESPONSE).loaded
    usable = effect_is_usable(inputs.touches, shop, snapshot.outcomes_known_at, organic.version if organic else None)
    predict = ResponsePredictor(response, organic if usable.is_usable else None, inputs, at, effects)
    return Served(predict, response.version, f"responses are predicted by {response.version}; {usable.reason}", measured)


def _purchase_probability(snapshot: Snapshot) -> pd.Series[float]:
    """By customer_id; empty where nothing is scored."""
    if not snapshot.has("customer_value"):
        return pd.Series(dtype="float64")
    values = snapshot.read("select customer_id, purchase_probability from customer_value")
    return values.set_index("customer_id")["purchase_probability"].astype("float64")


@dataclass(frozen=True)
class Effects:
    """What of a predicted response a contact adds: the prior at the shop's base rate, and what its campaigns measured.

    ``outcomes``: ``campaign_outcomes``. ``base_rate``: mean probability of an order within a window without a contact.
    """

    outcomes: pd.DataFrame
    base_rate: float
    shop: Shop

    @property
    def prior(self) -> Effect:
        """Before any campaign."""
        return prior_effect(self.base_rate, self.shop.campaigns.prior_effect)

    @property
    def response_strength(self) -> float:
        """How many contacts ``expected_response`` is worth: those whose share varies as much as the prior."""
        response = self.expected_response
        return response * (1 - response) / self.prior.standard_deviation**2 if self.base_rate else 1.0

    @property
    def mean_response(self) -> float:
        """The share of past contacts that converted, with ``expected_response`` as so many more contacts."""
        contacts, converted = float(self.outcomes["contacts"].sum()), float(self.outcomes["converted"].sum())
        strength = self.response_strength
        return (converted + strength * self.expected_response) / (contacts + strength)

    @cached_property
    def expected_response(self) -> float:
        """The base rate and the effect that all campaigns together measured, combined with the prior."""
        evidence = evidence_for(self.outcomes, ANY_KIND, self.shop.channels)
        effect = combined(self.prior, evidence.difference, evidence.error)
        return min(max(self.base_rate + effect.mean, 0.0), 1.0)

    def applied(
        self,
        campaign: Campaign,
        conversion: SingleFloats,
        without: SingleFloats | None,
        model_version: str | None,
        relative_error: float | None,
    ) -> Predicted:
        """The contact's part of ``conversion``: as the prior, and as measured, each by its weight.

        By the prior it is the same share of every response. Measured it is the response less ``without``, P(convert | not
        contacted), where a model says that of each customer; else what campaigns measured, as a share of every response.
        """
        evidence = evidence_for(self.outcomes, campaign.kind, campaign.channels)
        prior, response = self.prior, self.mean_response
        effect = combined(prior, evidence.difference, evidence.error)
        by_prior = prior.mean / response if response else 0.0
        if without is None:
            share = effect.mean / response if response else 0.0
            offset: SingleFloats = np.zeros(len(conversion), dtype=np.float32)
        else:
            share = effect.weight + (1 - effect.weight) * by_prior
            offset = (effect.weight * without).astype(np.float32)
        return Predicted(
            conversion=conversion,
            without=offset,
            model_version=model_version,
            basis=basis_of(evidence, effect.weight),
            relative_error=relative_error,
            effect_share=min(max(share, -1.0), 1.0),
            effect_error=effect.standard_deviation / response if response else 0.0,
            evidence_weight=effect.weight,
        )


@dataclass(frozen=True)
class RatePredictor:
    """A ``Predict`` without a response model. How far its responses are off is not known: nothing judged them."""

    respond: Responses
    effects: Effects

    def __call__(self, campaign: Campaign, customer_ids: pd.Index[str]) -> Predicted:
        """Every combination of the campaign."""
        return self.effects.applied(campaign, self.respond(campaign, customer_ids), None, None, None)


@dataclass(frozen=True)
class ResponsePredictor:
    """A ``Predict``: the customers as they are known ``at`` the plan's moment (plain UTC), every combination of the campaign.

    ``organic``: the model of customers without contact, where there are controls enough (``effect_is_usable``). The relative
    error is the response model's calibration error on the contacts that judged it, over the mean of what it predicts here.
    """

    response: LoadedModel
    organic: LoadedModel | None
    inputs: ResponseInputs
    at: datetime
    effects: Effects

    def __call__(self, campaign: Campaign, customer_ids: pd.Index[str]) -> Predicted:
        """Raises ``FrameError`` where the inputs lack a feature of a model."""
        shop = self.effects.shop
        rows = rows_at(customer_ids, self.at, self.inputs, shop)
        facts = campaign_facts(campaign.kind, campaign.offer_id, self.inputs.offers)
        conversion = response_predictions(self.response.model, facts, rows, shop)
        mean = float(conversion.mean(dtype=np.float64)) if conversion.size else 0.0
        error = self.response.manifest.metrics[MODEL]["calibration_error"]
        without = without_predictions(self.organic.model, rows) if self.organic else None
        return self.effects.applied(campaign, conversion, without, self.response.version, error / mean if mean > 0 else None)
