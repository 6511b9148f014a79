"""The rows of ``campaign_plan``: one a customer of a campaign's audience."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.holdouts import variants
from customer360.lake.publishing.tables import TABLES
from customer360.mail.message import Message
from customer360.settings import MAIL_CHANNEL, Shop
from ml.arrays import Booleans, Floats, Integers, Texts
from ml.planning.contact_days import ContactDays
from ml.planning.options import option_costs
from ml.planning.predictions import INCREMENTAL, Predicted
from ml.planning.reasons import CONTACT, HOLDOUT, LEFT_OUT, explanations

NOBODY = -1


@dataclass(frozen=True)
class Decisions:
    """What a plan decides: one entry a customer.

    ``option``: the place in channels x days of the contact that is made, or would be made if the customer were not held out;
    ``NOBODY`` where there is none. ``daypart``, ``conversion`` (P of an order), ``gross`` (its value before costs) and
    ``explores`` are of that option and mean nothing without one. ``holdout``: "global", "campaign" or None. ``reason``: of the
    customers who are left out.
    """

    option: Integers
    daypart: Integers
    conversion: Floats
    gross: Floats
    explores: Booleans
    holdout: Texts
    reason: Texts

    def among(self, customers: int, places: Integers, reason: Texts) -> Decisions:
        """The same for more ``customers``, of whom these are at ``places``; the others have no option, and their ``reason``."""

        def extended(values: npt.NDArray[Any], other: object) -> npt.NDArray[Any]:
            result = np.full(customers, other, dtype=values.dtype)
            result[places] = values
            return result

        why = reason.copy()
        why[places] = self.reason
        return Decisions(
            option=extended(self.option, NOBODY),
            daypart=extended(self.daypart, 0),
            conversion=extended(self.conversion, 0),
            gross=extended(self.gross, 0),
            explores=extended(self.explores, other=False),
            holdout=extended(self.holdout, None),
            reason=why,
        )


@dataclass(frozen=True)
class Contents:
    """What contacts by e-mail are sent: the message, of whose variants ``salt`` draws each customer's.

    ``details``: by customer, in the order of the plan, the value of the message that they lack; None for the others.
    """

    message: Message
    salt: str
    details: Texts


def plan_rows(
    customers: pd.DataFrame,
    decisions: Decisions,
    predicted: Predicted,
    *,
    days: ContactDays,
    campaign: Campaign,
    shop: Shop,
    contents: Contents | None = None,
) -> pd.DataFrame:
    """The plan of ``customers`` (customer_id, segment, time_zone; in order of their ids)."""
    count = len(customers)
    is_planned = decisions.option != NOBODY
    is_held = is_planned & pd.notna(decisions.holdout)
    decision = np.select([is_held, is_planned], [HOLDOUT, CONTACT], LEFT_OUT).astype(object)
    option, daypart = np.maximum(decisions.option, 0), decisions.daypart
    channel, day = np.divmod(option, len(days.days))
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
            "reason": np.where(is_planned, decision, decisions.reason),
            "channel": _where(is_planned, np.array(shop.channels, dtype=object)[channel]),
            "contact_date": pd.Series(dates[day]).where(is_planned),
            "day_of_week": pd.array(days.weekdays[day] + 1, dtype="Int64"),
            "daypart": _where(is_planned, np.array(list(shop.dayparts), dtype=object)[daypart]),
            "send_at": send_at,
            "offer_id": _where(is_planned, np.full(count, campaign.offer_id, dtype=object)),
            "expected_conversion": decisions.conversion,
            "expected_value": decisions.gross,
            "cost": np.where(is_held, 0.0, option_costs(campaign, shop)[option]),
            "is_exploration": decisions.explores & is_planned,
            "holdout": _where(is_held, decisions.holdout),
            "value_basis": predicted.basis,
            "segment": customers["segment"].to_numpy(dtype=object),
            "model_version": predicted.model_version,
        }
    )
    for column in ("day_of_week", "expected_conversion", "expected_value", "cost"):
        frame[column] = frame[column].where(is_planned)
    details = np.full(count, None, dtype=object) if contents is None else contents.details
    described = frame.assign(detail=details)
    frame["explanation"] = explanations(described, campaign, shop, is_measured=predicted.basis == INCREMENTAL)
    frame["plan_version"] = plan_version(frame, campaign, days, contents.message if contents else None)
    is_mailed = ((frame["decision"] == CONTACT) & (frame["channel"] == MAIL_CHANNEL)).to_numpy(dtype=bool)
    frame["variant"] = _where(is_mailed, _variants(frame["customer_id"], campaign, contents))
    return TABLES["campaign_plan"].typed(frame)


def _variants(ids: pd.Series[str], campaign: Campaign, contents: Contents | None) -> Texts:
    """The variant that each customer's message would have; None without a message."""
    if contents is None:
        return np.full(len(ids), None, dtype=object)
    return variants(ids, contents.message.variant_names, campaign, contents.salt)


def plan_version(frame: pd.DataFrame, campaign: Campaign, days: ContactDays, message: Message | None = None) -> str:
    """``<campaign_id>-<plan_date>-<8 hexadecimal digits>``, of a hash of the campaign, of its message and of every row."""
    exclude = {"message"} if campaign.message is None else None  # versions of campaigns without one stay as they were
    digest = hashlib.sha256(campaign.model_dump_json(exclude=exclude).encode())
    digest.update(message.content_hash.encode() if message else b"")
    hashed = frame.round({"expected_conversion": 9, "expected_value": 9}).astype({"contact_date": "str", "send_at": "str"})
    digest.update(pd.util.hash_pandas_object(hashed.astype("str"), index=False).to_numpy().tobytes())
    return f"{campaign.campaign_id}-{days.plan_date.isoformat()}-{digest.hexdigest()[:8]}"


def _where(condition: Booleans, values: Texts) -> Texts:
    chosen = values.copy()
    chosen[~condition] = None
    return chosen
