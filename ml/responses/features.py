"""The features of the response model: the customer, the history before the contact, the campaign, and the contact itself.

A campaign's id is not a feature: the next campaign's id is in no training row, and a model with ids would attribute to a
campaign what its weeks had in common. The kind of a campaign and the category of its offer, which the next campaign shares with
earlier ones, are features.
"""

from __future__ import annotations

from customer360.features import NUMERIC_ATTRIBUTES, Feature
from customer360.settings import AttributeType, SettingsError, Shop

CAMPAIGN = ("campaign_kind", "offer_category_id")
CONTACT = ("channel", "day_of_week", "daypart")


def response_features(shop: Shop) -> tuple[Feature, ...]:
    """Every feature, in column order. Raises ``SettingsError`` where an attribute of shop.yaml has the name of another one."""
    found = (
        *(
            Feature(name, "numeric" if spec.type in NUMERIC_ATTRIBUTES else "categorical", spec.description or name, name)
            for name, spec in shop.attributes.items()
            if spec.feature and spec.type is not AttributeType.DATE
        ),
        *(_numeric(f"contacts_{channel}", f"contacts by {channel} before") for channel in shop.channels),
        _categorical("previous_channel", "channel of the contact before"),
        _numeric("days_since_last_contact", "days since the contact before"),
        _numeric("conversions", "conversions that were known before"),
        _numeric("days_since_last_order", "days since the last order before"),
        _numeric("orders_365d", "orders in the 365 days before"),
        _numeric("spend_365d", "net spend in the 365 days before"),
        _categorical("campaign_kind", "kind of campaign"),
        _categorical("offer_category_id", "category of the campaign's offer"),
        _categorical("channel", "channel of the contact"),
        _categorical("day_of_week", "local day of the contact, 1 = Monday"),
        _categorical("daypart", "local daypart of the contact"),
    )
    names = [feature.name for feature in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(
            f"shop.yaml of {shop.name!r}, attributes: {', '.join(twice)} is a feature of the response model; name it otherwise"
        )
    return found


def organic_features(shop: Shop) -> tuple[Feature, ...]:
    """Those of the model without contact: of the customer and the history alone."""
    return tuple(feature for feature in response_features(shop) if feature.name not in {*CAMPAIGN, *CONTACT})


def _numeric(name: str, description: str) -> Feature:
    return Feature(name, "numeric", description, name)


def _categorical(name: str, description: str) -> Feature:
    return Feature(name, "categorical", description, name)
