"""Who is held out of a campaign, or of all of them, who gets which variant of a message, and the draws by hash that say so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop


def holdouts(ids: pd.Index[str], campaign: Campaign, salt: str, shop: Shop) -> npt.NDArray[np.object_]:
    """Who holds each customer out: "global", "campaign" or None. It depends on salt, campaign and id alone.

    So it is the same on every machine and day, whoever else is a customer; a new salt draws other customers.
    """
    holdout: npt.NDArray[np.object_] = np.full(len(ids), None, dtype=object)
    holdout[are_held_out(ids, campaign, salt)] = "campaign"
    # Last, so that a customer of both holdouts is "global": the global holdout outlasts the campaign.
    holdout[are_held_out_of_all(ids, salt, shop)] = "global"
    return holdout


def are_held_out(ids: Iterable[str], campaign: Campaign, salt: str) -> npt.NDArray[np.bool_]:
    """Whether each customer is held out of this campaign."""
    return draws(ids, salt, campaign.campaign_id) < campaign.holdout_share


def are_held_out_of_all(ids: Iterable[str], salt: str, shop: Shop) -> npt.NDArray[np.bool_]:
    """Whether each customer is in the global holdout."""
    return draws(ids, salt) < shop.campaigns.global_holdout_share


def variants(ids: Iterable[str], names: Sequence[str], campaign: Campaign, salt: str) -> npt.NDArray[np.object_]:
    """The variant of the campaign's message for each customer, each as probable as the others; by the same kind of draw."""
    places = (draws(ids, salt, campaign.campaign_id, "variant") * len(names)).astype(np.int64)
    return np.array(names, dtype=object)[places]


def draws(ids: Iterable[str], *words: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each of ``ids`` that depends on these words and the id alone: the SHA-256 of "word:word:id"."""
    prefix = "".join(f"{word}:" for word in words)
    digests = (hashlib.sha256(f"{prefix}{name}".encode()).digest() for name in ids)
    return np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in digests], dtype=np.float64)
