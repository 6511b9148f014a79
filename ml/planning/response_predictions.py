"""What the response model tells a plan, beside the model of customers without contact where that one may be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.judging.evaluation import MODEL
from ml.planning.predictions import INCREMENTAL, RESPONSE, Predicted
from ml.responses.contact_rows import ResponseInputs, campaign_facts
from ml.responses.scoring import response_predictions, rows_at
from ml.responses.without_contact import without_predictions
from ml.versions.model_store import LoadedModel


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
