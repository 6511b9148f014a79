"""The rows of ``campaign_plan``: one a customer of a campaign's audience."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import Shop
from ml.planning.contact_days import ContactDays, Integers
from ml.planning.options import Options, option_costs
from ml.planning.predictions import INCREMENTAL, Predicted
from ml.planning.reasons import CONTACT, HOLDOUT, LEFT_OUT, in_words

# Column -> pandas type; the table is typed even when it has no rows. plan_date (the shop's day) and contact_date (the
# customer's) are midnights: cast them to DATE. send_at is UTC. A held-out customer's row says what would have been, at no cost.
CAMPAIGN_PLAN_COLUMNS = {
    "campaign_id": "str",
    "plan_version": "str",
    "plan_date": "datetime64[us]",
    "customer_id": "str",
    "decision": "str",
    "reason": "str",
    "explanation": "str",
    "channel": "str",
    "contact_date": "datetime64[us]",
    "day_of_week": "Int64",
    "daypart": "str",
    "send_at": "datetime64[us]",
    "offer_id": "str",
    "expected_conversion": "Float64",
    "expected_value": "Float64",
    "cost": "Float64",
    "is_exploration": "bool",
    "holdout": "str",
    "value_basis": "str",
    "segment": "str",
    "model_version": "str",
}
NOBODY = -1
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Decided:
    """Of each customer the option that is taken, or would be were they not held out (-1: none), who holds them out, the reason.

    ``option``: a place in channels x days. ``holdout``: "global", "campaign" or None. ``reason``: of those left out.
    """

    option: Integers
    holdout: Texts
    reason: Texts


def plan_rows(
    customers: pd.DataFrame,
    decided: Decided,
    options: Options,
    predicted: Predicted,
    *,
    days: ContactDays,
    campaign: Campaign,
    shop: Shop,
) -> pd.DataFrame:
    """The plan of ``customers`` (customer_id, segment, time_zone; in order of their ids)."""
    count = len(customers)
    is_planned = decided.option != NOBODY
    is_held = is_planned & (decided.holdout != None)  # noqa: E711  elementwise
    decision = np.select([is_held, is_planned], [HOLDOUT, CONTACT], LEFT_OUT).astype(object)
    option, row = np.maximum(decided.option, 0), np.arange(count)
    channel, day = np.divmod(option, len(days.days))
    daypart = options.daypart[row, option] if count else option
    zones = customers["time_zone"].where(customers["time_zone"].notna(), shop.time_zone)
    send_at = np.full(count, np.datetime64("NaT"), dtype="datetime64[us]")
    send_at[is_planned] = days.send_at(day[is_planned], daypart[is_planned], zones[is_planned])
    dates = np.array(days.days, dtype="datetime64[us]")
    frame = pd.DataFrame(
        {
            "campaign_id": campaign.campaign_id,
            "plan_date": pd.Timestamp(days.plan_date),
            "customer_id": customers["customer_id"].to_numpy(dtype=object),
            "decision": decision,
            "reason": np.where(is_planned, decision, decided.reason),
            "channel": _where(is_planned, np.array(shop.channels, dtype=object)[channel]),
            "contact_date": pd.Series(dates[day]).where(is_planned),
            "day_of_week": pd.array(days.weekdays[day] + 1, dtype="Int64"),
            "daypart": _where(is_planned, np.array(list(shop.dayparts), dtype=object)[daypart]),
            "send_at": send_at,
            "offer_id": _where(is_planned, np.full(count, campaign.offer_id, dtype=object)),
            "expected_conversion": options.conversion[row, option].astype(np.float64),
            "expected_value": options.gross[row, option].astype(np.float64),
            "cost": np.where(is_held, 0.0, option_costs(campaign, shop)[option]),
            "is_exploration": options.explores & is_planned,
            "holdout": _where(is_held, decided.holdout),
            "value_basis": predicted.basis,
            "segment": customers["segment"].to_numpy(dtype=object),
            "model_version": predicted.model_version,
        }
    )
    for column in ("day_of_week", "expected_conversion", "expected_value", "cost"):
        frame[column] = frame[column].where(is_planned)
    frame["explanation"] = in_words(frame, campaign, shop, is_effect=predicted.basis == INCREMENTAL)
    frame["plan_version"] = plan_version(frame, campaign, days)
    return frame[list(CAMPAIGN_PLAN_COLUMNS)].astype(CAMPAIGN_PLAN_COLUMNS)


def plan_version(frame: pd.DataFrame, campaign: Campaign, days: ContactDays) -> str:
    """``<campaign_id>-<plan_date>-<8 hexadecimal digits>``, of a hash of the campaign and of every row."""
    digest = hashlib.sha256(campaign.model_dump_json().encode())
    hashed = frame.round({"expected_conversion": 9, "expected_value": 9}).astype({"contact_date": "str", "send_at": "str"})
    digest.update(pd.util.hash_pandas_object(hashed.astype("str"), index=False).to_numpy().tobytes())
    return f"{campaign.campaign_id}-{days.plan_date.isoformat()}-{digest.hexdigest()[:8]}"


def _where(condition: npt.NDArray[np.bool_], values: Texts) -> Texts:
    chosen = values.copy()
    chosen[~condition] = None
    return chosen
