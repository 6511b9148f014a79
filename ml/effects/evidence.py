"""What past campaigns measured of the effect of a contact: contacts against controls, campaign by campaign.

Campaigns hold back different shares of different customers, so their differences are averaged and not their customers pooled,
each by its n1 n0 / (n1 + n0) (the Mantel-Haenszel risk difference; Greenland and Robins, Biometrics 41, 1985).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.effects.lift import Z, rate_difference

ANY_KIND = "general"  # the kind of campaigns whose file names none


@dataclass(frozen=True)
class Evidence:
    """Contacts and controls whose outcome is known, and the measured ``difference`` of their shares with its standard error.

    Without controls, or without contacts of a campaign that has some, the difference is 0 and its error infinite.
    """

    contacts: int
    controls: int
    difference: float = 0.0
    error: float = math.inf


def campaign_outcomes(touches: pd.DataFrame, campaigns: pd.DataFrame, known_at: datetime, shop: Shop) -> pd.DataFrame:
    """One row per past campaign: kind (null where unknown), channels (a frozenset), contacts, converted, controls, ordered.

    ``touches``: ``campaign_touch_history``, of which those count whose attribution window has passed by ``known_at`` (plain
    UTC). ``campaigns``: campaign_id, kind. ``ordered``: controls that converted.
    """
    known = touches[touches["touched_at"] <= pd.Timestamp(known_at) - timedelta(days=shop.campaigns.attribution_days)]
    is_control = known["is_control"].astype("boolean").fillna(value=False).astype(bool)
    is_converted = known["is_converted"].astype("boolean").fillna(value=False).astype(bool)
    counts = pd.DataFrame(
        {
            "campaign_id": known["campaign_id"],
            "contacts": ~is_control,
            "converted": ~is_control & is_converted,
            "controls": is_control,
            "ordered": is_control & is_converted,
        }
    )
    outcomes = counts.groupby("campaign_id", dropna=False).sum().astype("int64")
    made = known[~is_control].groupby("campaign_id", dropna=False)["channel"]
    channels = pd.Series({name: frozenset(values.dropna()) for name, values in made}, dtype=object)
    kinds = campaigns.drop_duplicates("campaign_id").set_index("campaign_id")["kind"]
    names = outcomes.index.to_series()
    return outcomes.assign(kind=names.map(kinds), channels=names.map(channels)).reset_index()


def evidence_for(outcomes: pd.DataFrame, kind: str, channels: Collection[str]) -> Evidence:
    """The evidence for a campaign of this kind through these channels, from the rows of ``campaign_outcomes``.

    Campaigns of another kind do not count, nor those that used none of the channels; an unknown kind or channel, and the kind
    of campaigns whose file names none, are like any.
    """
    is_alike = outcomes["kind"].isna() | outcomes["kind"].isin([kind, ANY_KIND]) | (kind == ANY_KIND)
    uses = [not isinstance(used, frozenset) or not used or not used.isdisjoint(channels) for used in outcomes["channels"]]
    rows = outcomes[is_alike & np.array(uses, dtype=bool)]
    contacts, controls = int(rows["contacts"].sum()), int(rows["controls"].sum())
    weights, differences, variances = [], [], []
    for converted, reached, ordered, held in rows[["converted", "contacts", "ordered", "controls"]].itertuples(index=False):
        if reached and held:
            found = rate_difference(converted, reached, ordered, held)
            weights.append(reached * held / (reached + held))
            differences.append(found.estimate)
            variances.append(((found.high - found.low) / (2 * Z)) ** 2)
    if not weights:
        return Evidence(contacts, controls)
    shares = np.array(weights) / sum(weights)
    return Evidence(contacts, controls, float(shares @ differences), math.sqrt(float(shares**2 @ variances)))
