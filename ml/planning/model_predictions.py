"""Predictions by the response model, less what customers do without contact where a control group has taught that."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.judging.evaluation import MODEL
from ml.planning.predictions import INCREMENTAL, RESPONSE, Predict, Predicted
from ml.responses.contact_rows import ResponseInputs
from ml.responses.scoring import CampaignFacts, response_predictions, rows_at
from ml.responses.without_contact import without_predictions
from ml.versions.model_store import LoadedModel


def model_predictions(
    response: LoadedModel, without: LoadedModel | None, inputs: ResponseInputs, at: datetime, shop: Shop
) -> Predict:
    """What these models say of customers as known at ``at`` (plain UTC). ``without``: None where effects may not be counted.

    The relative error is the response model's calibration error on the contacts that judged it, over its mean prediction.
    """
    categories = inputs.offers.drop_duplicates("offer_id").set_index("offer_id")["category_id"].astype("object")
    error = response.manifest.metrics[MODEL]["calibration_error"]

    def predict(campaign: Campaign, ids: pd.Index[str]) -> Predicted:
        rows = rows_at(ids, at, inputs, shop)
        category = categories.get(campaign.offer_id) if campaign.offer_id is not None else None
        facts = CampaignFacts(campaign.kind, category if isinstance(category, str) else None)
        conversion = response_predictions(response.model, facts, rows, shop)
        mean = float(conversion.mean(dtype=np.float64)) if conversion.size else 0.0
        return Predicted(
            conversion=conversion,
            without=without_predictions(without.model, rows) if without is not None else None,
            model_version=response.version,
            basis=INCREMENTAL if without is not None else RESPONSE,
            relative_error=error / mean if mean > 0 else None,
        )

    return predict
