"""The probability that each customer converts, for every channel, day of the week and daypart of a campaign."""

from __future__ import annotations

from datetime import datetime
from itertools import product

import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.arrays import SingleFloats
from ml.datasets.targets import CONVERTED
from ml.fitting.class_model import ClassModel
from ml.frames import feature_matrix
from ml.responses.contact_rows import CampaignFacts, ResponseInputs, customer_rows
from ml.responses.features import CAMPAIGN, CONTACT
from ml.responses.pairs import pair_probabilities

# Customers per batch: 63 options with two probabilities of 8 bytes, and as much for intermediate values, take 40 MB.
BATCH = 20_000
DAYS = 7


def rows_at(customer_ids: pd.Index[str], at: datetime, inputs: ResponseInputs, shop: Shop) -> pd.DataFrame:
    """Attributes and history of these customers as known at a moment (plain UTC), in their order: what a plan is made of."""
    points = pd.DataFrame({"customer_id": customer_ids.to_numpy(dtype=object), "at": pd.Timestamp(at)})
    return customer_rows(points, inputs, shop)


def response_predictions(model: ClassModel, campaign: CampaignFacts, customers: pd.DataFrame, shop: Shop) -> SingleFloats:
    """P(convert | contacted so) as customers x channels x 7 days (Monday first) x dayparts, in the orders of shop.yaml.

    ``customers``: the rows of ``rows_at``; the history is that of the plan's moment for every day of it. Raises ``FrameError``
    where they lack a feature of the model.
    """
    features = {feature.name: feature for feature in model.features}
    of_customers = [feature for name, feature in features.items() if name not in {*CAMPAIGN, *CONTACT}]
    of_options = [features[name] for name in (*CAMPAIGN, *CONTACT)]
    options = feature_matrix(_options(campaign, shop), of_options, "campaign options")
    converted = model.categories.index(CONVERTED)
    result = np.empty((len(customers), len(options)), dtype=np.float32)
    for start in range(0, len(customers), BATCH):
        batch = customers.iloc[start : start + BATCH]
        matrix = feature_matrix(batch, of_customers, "customers of the plan")
        result[start : start + BATCH] = pair_probabilities(model, matrix, options)[:, :, converted]
    return result.reshape(len(customers), len(shop.channels), DAYS, len(shop.dayparts))


def _options(campaign: CampaignFacts, shop: Shop) -> pd.DataFrame:
    """One row a channel, day and daypart, in the order of the result."""
    rows = product(shop.channels, map(str, range(1, DAYS + 1)), shop.dayparts)
    return pd.DataFrame(rows, columns=list(CONTACT), dtype=object).assign(
        campaign_kind=pd.Series(campaign.kind, index=range(len(shop.channels) * DAYS * len(shop.dayparts)), dtype=object),
        offer_category_id=campaign.offer_category_id,
    )
