"""Typed settings: a shop's ``shop.yaml``, and the environment variables for the shop and its data folder.

dbt and ``ml`` both take categories, windows and attributes from here; nothing is declared twice.
"""

from customer360.settings.campaigns import CampaignRules, Daypart, FrequencyCap, OfferRules, PriorEffect, Webhook
from customer360.settings.email import Email, EmailRates, ProviderRate, WarmUp
from customer360.settings.fields import TIME_ZONES, Identifier, SettingsError, Strict, known_zone
from customer360.settings.files import WHITESPACE, ColumnRule, SourceOptions
from customer360.settings.loading import load_shop, setting_faults
from customer360.settings.place import REPOSITORY, Place, Settings, read_resolved_categories
from customer360.settings.shop import (
    MAIL_CHANNEL,
    NONE,
    OTHER,
    OUTCOMES,
    PERSONALISATION,
    REFERENCE_NAMES,
    Attribute,
    AttributeType,
    Shop,
    TopCategories,
    slug,
)
from customer360.settings.stores import ObjectStorage, PostgresSource, PostgresTarget, PublishTo

__all__ = [
    "MAIL_CHANNEL",
    "NONE",
    "OTHER",
    "OUTCOMES",
    "PERSONALISATION",
    "REFERENCE_NAMES",
    "REPOSITORY",
    "TIME_ZONES",
    "WHITESPACE",
    "Attribute",
    "AttributeType",
    "CampaignRules",
    "ColumnRule",
    "Daypart",
    "Email",
    "EmailRates",
    "FrequencyCap",
    "Identifier",
    "ObjectStorage",
    "OfferRules",
    "Place",
    "PostgresSource",
    "PostgresTarget",
    "PriorEffect",
    "ProviderRate",
    "PublishTo",
    "Settings",
    "SettingsError",
    "Shop",
    "SourceOptions",
    "Strict",
    "TopCategories",
    "WarmUp",
    "Webhook",
    "known_zone",
    "load_shop",
    "read_resolved_categories",
    "setting_faults",
    "slug",
]
