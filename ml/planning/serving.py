"""Which predictions plans use: those of the models that serve, else smoothed rates of past touches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.lake.slices import naive
from customer360.settings import Shop
from customer360.snapshot import Snapshot
from ml.datasets import targets
from ml.judging.evaluation import MODEL
from ml.planning.predictions import INCREMENTAL, RESPONSE, Predict, Predicted
from ml.planning.rate_predictions import rate_predictions
from ml.responses.contact_rows import ResponseInputs, campaign_facts, response_inputs
from ml.responses.scoring import response_predictions, rows_at
from ml.responses.without_contact import effect_is_usable, without_predictions
from ml.versions.model_store import LoadedModel
from ml.versions.shop_models import servable_for_shop


@dataclass(frozen=True)
class Served:
    """Predictions, the version of the response model (None: rates), and in a sentence what their value is and why."""

    predict: Predict
    model_version: str | None
    basis: str


def served_predictions(snapshot: Snapshot, customers: pd.DataFrame) -> Served:
    """The predictions for plans of ``customers`` (customer_id, segment), as the snapshot knows them."""
    settings, shop = snapshot.settings, snapshot.shop
    response = servable_for_shop(settings, targets.RESPONSE).loaded
    if response is None:
        times = snapshot.read("from customer_purchase_times")
        basis = "no response model serves, so values are smoothed rates of past touches: predicted response, not effect"
        return Served(rate_predictions(customers, snapshot.touches, times, shop), None, basis)
    inputs = response_inputs(snapshot)
    organic = servable_for_shop(settings, targets.ORGANIC_RESPONSE).loaded
    effect = effect_is_usable(inputs.touches, shop, snapshot.outcomes_known_at, organic.version if organic else None)
    predict = ResponsePredictor(response, organic if effect.is_usable else None, inputs, naive(snapshot.as_of), shop)
    kind = "effects of contacts" if effect.is_usable else "predicted response, not effect"
    return Served(predict, response.version, f"values are {kind}: {effect.reason}")


@dataclass(frozen=True)
class ResponsePredictor:
    """A ``Predict``: the customers as they are known ``at`` the plan's moment (plain UTC), every combination of the campaign.

    ``organic``: the model of customers without contact, where there are controls enough (``effect_is_usable``). Without it a
    plan's value is a predicted response, not an effect. The relative error is the response model's calibration error on the
    contacts that judged it, over the mean of what it predicts here.
    """

    response: LoadedModel
    organic: LoadedModel | None
    inputs: ResponseInputs
    at: datetime
    shop: Shop

    def __call__(self, campaign: Campaign, customer_ids: pd.Index[str]) -> Predicted:
        """Raises ``FrameError`` where the inputs lack a feature of a model."""
        rows = rows_at(customer_ids, self.at, self.inputs, self.shop)
        facts = campaign_facts(campaign.kind, campaign.offer_id, self.inputs.offers)
        conversion = response_predictions(self.response.model, facts, rows, self.shop)
        mean = float(conversion.mean(dtype=np.float64)) if conversion.size else 0.0
        error = self.response.manifest.metrics[MODEL]["calibration_error"]
        return Predicted(
            conversion=conversion,
            without=without_predictions(self.organic.model, rows) if self.organic else None,
            model_version=self.response.version,
            basis=INCREMENTAL if self.organic else RESPONSE,
            relative_error=error / mean if mean > 0 else None,
        )
