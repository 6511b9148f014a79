"""Personal attributes (``personal: true`` of shop.yaml) are shown to those alone who may see them."""

from __future__ import annotations

import pandas as pd

from customer360.services.desk.access import PERSONAL, DeskRequest
from customer360.settings import Shop

MASK = "•••"


def personal_columns(shop: Shop) -> frozenset[str]:
    """The customer attributes that are personal."""
    return frozenset(name for name, attribute in shop.attributes.items() if attribute.personal)


def masked(request: DeskRequest, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame; for those without ``PERSONAL`` every value of a personal column is ``MASK``, of nulls too."""
    hidden = (
        [] if request.may(PERSONAL) else [name for name in frame.columns if name in personal_columns(request.settings.shop)]
    )
    return frame.assign(**dict.fromkeys(hidden, MASK))
