"""Contacts as rows of features: customer, history before the contact, campaign, channel, day and daypart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from customer360.campaigns.attribution import own_touches, with_own_touches
from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.drafts import approved_definitions
from customer360.settings import Shop
from customer360.snapshot import ORDERS, TIME_ZONES, TOUCHES, Snapshot
from ml.arrays import Texts
from ml.datasets.training_sets import TrainingSetError
from ml.frames import require_columns
from ml.responses.contact_history import attributes_at, contact_history

TOUCH_COLUMNS = (
    "touch_id",
    "campaign_id",
    "customer_id",
    "channel",
    "touched_at",
    "is_time_known",
    "day_of_week",
    "local_hour",
    "is_converted",
    "converted_at",
    "is_control",
    "is_randomised",
)


@dataclass(frozen=True)
class ResponseInputs:
    """The frames that the response model is made of. Timestamps are plain UTC.

    ``touches``: ``campaign_touch_history``. ``attributes``: every version of customers' attributes
    (``customer360.lake.reference.customer_queries``). ``campaigns`` and ``offers``: the reference tables. ``orders``:
    ``customer_orders``, None where the shop has none.
    """

    touches: pd.DataFrame
    attributes: pd.DataFrame
    campaigns: pd.DataFrame
    offers: pd.DataFrame
    orders: pd.DataFrame | None = None

    def check(self, shop: Shop) -> None:
        """Raise ``FrameError`` on missing columns."""
        require_columns(self.touches, "campaign_touch_history", TOUCH_COLUMNS)
        require_columns(self.attributes, "customers", ["customer_id", "valid_from", "valid_to", *shop.attributes])
        require_columns(self.campaigns, "campaigns", ["campaign_id", "kind", "offer_id"])
        require_columns(self.offers, "offers", ["offer_id", "category_id"])
        if self.orders is not None:
            require_columns(self.orders, "customer_orders", ["customer_id", "ordered_at", "amount", "lines"])


def response_inputs(snapshot: Snapshot) -> ResponseInputs:
    """The inputs as the snapshot has them.

    Touches are the shop's own and those that this product sent or held back, by the ledger; campaigns are those of
    ``known_campaigns``. Raises ``TrainingSetError`` where no contacts are published yet.
    """
    if not snapshot.has(TOUCHES):
        raise TrainingSetError(f"{TOUCHES} is not published yet; run history_job, or warehouse_job after an upgrade")
    touches = snapshot.touches
    orders = snapshot.orders if snapshot.has(ORDERS) else None
    if orders is not None and snapshot.has(TIME_ZONES):
        touches = with_own_touches(touches, own_touches(snapshot.approved, orders, snapshot.time_zones, snapshot.shop))
    return ResponseInputs(
        touches=touches,
        attributes=snapshot.attribute_versions,
        campaigns=known_campaigns(snapshot),
        offers=snapshot.offers,
        orders=orders,
    )


def known_campaigns(snapshot: Snapshot) -> pd.DataFrame:
    """campaign_id, kind and offer_id of every campaign that is known, one row each.

    An approved campaign is described by the definition of its newest approved plan, another one by its file, else by the
    reference table.
    """
    files, _ = load_shop_campaigns(snapshot.settings)
    definitions = [*files, *approved_definitions(snapshot.place).values()]  # by plan_version: the newest of a campaign is last
    newest = {definition.campaign_id: (definition.kind, definition.offer_id) for definition in definitions}
    rows = [(campaign_id, *facts) for campaign_id, facts in sorted(newest.items())]
    frame = pd.DataFrame(rows, columns=["campaign_id", "kind", "offer_id"]).astype("str")
    reference = snapshot.read("from campaigns order by campaign_id")
    others = reference.loc[~reference["campaign_id"].isin(frame["campaign_id"]), list(frame.columns)]
    return pd.concat([frame, others], ignore_index=True)


@dataclass(frozen=True)
class CampaignFacts:
    """What the model knows of a campaign: its kind and the category of its offer, None where unknown."""

    kind: str | None
    offer_category_id: str | None


def customer_rows(points: pd.DataFrame, inputs: ResponseInputs, shop: Shop) -> pd.DataFrame:
    """Attributes and history of the customer at each of ``points`` (customer_id, at in plain UTC), as known then."""
    history = contact_history(points, inputs.touches, inputs.orders, shop.channels)
    return pd.concat([attributes_at(points, inputs.attributes), history], axis=1)


def campaign_rows(campaign_ids: pd.Series[str], campaigns: pd.DataFrame, offers: pd.DataFrame) -> pd.DataFrame:
    """campaign_kind and offer_category_id of each of these campaigns, null where the reference tables do not say."""
    known = campaigns.drop_duplicates("campaign_id").set_index("campaign_id")
    category = offers.drop_duplicates("offer_id").set_index("offer_id")["category_id"]
    kind, offer = campaign_ids.map(known["kind"]), campaign_ids.map(known["offer_id"])
    return pd.DataFrame(
        {"campaign_kind": kind, "offer_category_id": offer.map(category)}, index=campaign_ids.index, dtype=object
    )


def campaign_facts(kind: str | None, offer_id: str | None, offers: pd.DataFrame) -> CampaignFacts:
    """The model's features of a current campaign; ``offers`` is the reference table."""
    category = offers.loc[offers["offer_id"] == offer_id, "category_id"].dropna()
    return CampaignFacts(kind, str(category.iloc[0]) if len(category) else None)


def daypart_names(local_hours: pd.Series[int], shop: Shop) -> Texts:
    """The daypart of each hour, None outside of all of them and where the hour is unknown."""
    names = np.full(25, None, dtype=object)
    for name, daypart in shop.dayparts.items():
        names[daypart.start : daypart.end] = name
    return np.asarray(names[local_hours.astype("Float64").fillna(24).to_numpy(dtype=np.int64)], dtype=object)


def contact_rows(touches: pd.DataFrame, inputs: ResponseInputs, shop: Shop) -> pd.DataFrame:
    """Every feature of each of ``touches`` (rows of ``campaign_touch_history``) as it was just before it, with their index."""
    points = touches[["customer_id"]].assign(at=touches["touched_at"])
    contact = pd.DataFrame(
        {
            "channel": touches["channel"].to_numpy(dtype=object),
            "day_of_week": touches["day_of_week"].astype("Int64").astype("string").to_numpy(dtype=object),
            "daypart": daypart_names(touches["local_hour"], shop),
        },
        index=touches.index,
    )
    campaign = campaign_rows(touches["campaign_id"], inputs.campaigns, inputs.offers)
    return pd.concat([customer_rows(points, inputs, shop), campaign, contact], axis=1)
