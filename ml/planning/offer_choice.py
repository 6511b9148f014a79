"""Which campaign and offer a planned contact carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from ml.frames import require_columns

OFFER_COLUMNS = ("offer_id", "category_id", "product_id", "priority", "starts_on", "ends_on")
CAMPAIGN_COLUMNS = ("campaign_id", "offer_id", "starts_on", "ends_on")
_LAST = 1 << 31


@dataclass(frozen=True)
class Choice:
    """A campaign and an offer; either may be None."""

    campaign_id: str | None
    offer_id: str | None


@dataclass(frozen=True)
class _Offer:
    offer_id: str
    category_id: str | None
    is_general: bool
    order: tuple[int, str]


def choose(campaigns: pd.DataFrame, offers: pd.DataFrame, categories: Sequence[str], day: date) -> dict[str | None, Choice]:
    """For each category, and for None (no category known), what a contact on ``day`` (shop-local) carries.

    First the active campaign whose active offer is for the category, by the offer's priority, then campaign id. Else the active
    general campaign (one without an offer, or with an offer for no category or product), with the category's best active offer
    where the campaign has none of its own. Else the category's best active offer alone. Dates are inclusive, empty means open.
    """
    require_columns(offers, "offers", OFFER_COLUMNS)
    require_columns(campaigns, "campaigns", CAMPAIGN_COLUMNS)
    known = {offer.offer_id: offer for offer in map(_offer, _active(offers, day))}
    carried = []
    for row in _active(campaigns, day):
        offer_id = _text(row["offer_id"])
        # A campaign whose offer has ended, or is not known, has nothing to say.
        if offer_id is None or offer_id in known:
            carried.append((str(row["campaign_id"]), known.get(offer_id) if offer_id else None))
    result: dict[str | None, Choice] = {}
    for category in (*categories, None):
        own = sorted((o for o in known.values() if category is not None and o.category_id == category), key=lambda o: o.order)
        result[category] = _choose(carried, own, category)
    return result


def _choose(carried: list[tuple[str, _Offer | None]], own: list[_Offer], category: str | None) -> Choice:
    best = own[0].offer_id if own else None
    matching = [
        (o.order, c, o.offer_id) for c, o in carried if o is not None and category is not None and o.category_id == category
    ]
    if matching:
        _, campaign_id, offer_id = min(matching)
        return Choice(campaign_id, offer_id)
    general = [(o.order if o else (_LAST, ""), c, o.offer_id if o else best) for c, o in carried if o is None or o.is_general]
    if general:
        _, campaign_id, general_offer = min(general, key=lambda entry: entry[:2])
        return Choice(campaign_id, general_offer)
    return Choice(None, best)


def _offer(row: dict[str, Any]) -> _Offer:
    category, product = _text(row["category_id"]), _text(row["product_id"])
    priority = _LAST if pd.isna(row["priority"]) else int(row["priority"])
    offer_id = str(row["offer_id"])
    return _Offer(offer_id, category, category is None and product is None, (priority, offer_id))


def _active(frame: pd.DataFrame, day: date) -> list[dict[str, Any]]:
    moment = pd.Timestamp(day)
    starts, ends = pd.to_datetime(frame["starts_on"]), pd.to_datetime(frame["ends_on"])
    active = frame[(starts.isna() | (starts <= moment)) & (ends.isna() | (ends >= moment))]
    return [{str(name): value for name, value in row.items()} for row in active.to_dict("records")]


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)
