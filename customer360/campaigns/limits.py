"""What contacts would break if they were added to those that are committed: budget, capacities, frequency caps, the gap.

The planner keeps to these limits by itself and takes nothing from here, so that approval and the checks of a plan count anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.standing import COMMITMENT_COLUMNS
from customer360.settings import FrequencyCap, Shop
from customer360.translation import gettext as _
from customer360.translation import ngettext

CENT = 0.005  # costs are sums of floats
FOREVER = 10**6  # days
_COLUMNS = {name: COMMITMENT_COLUMNS[name] for name in ("customer_id", "campaign_id", "channel", "contact_date")} | {
    "cost": "float64"
}


@dataclass(frozen=True)
class BrokenLimit:
    """A limit that contacts would break. ``message`` names no customer, since it reaches logs."""

    kind: Literal["budget", "capacity", "frequency cap", "gap"]
    message: str


def broken_limits(added: pd.DataFrame, committed: pd.DataFrame, campaign: Campaign, shop: Shop) -> list[BrokenLimit]:
    """Every limit that ``added`` (contacts of ``campaign``) would break beside ``committed``: contacts of any campaign.

    Both frames have customer_id, campaign_id, channel, contact_date (the customer's day) and cost (the shop's currency). A
    limit that the committed contacts break by themselves is not reported. A second contact of a customer by the campaign is
    reported as a frequency cap.
    """
    added, committed = (frame[list(_COLUMNS)].astype(_COLUMNS) for frame in (added, committed))
    concerned = committed[committed["customer_id"].isin(added["customer_id"])]
    contacts = pd.concat([added.assign(is_added=True), concerned.assign(is_added=False)], ignore_index=True)
    return [
        *_budget(added, committed, campaign),
        *_capacities(added, committed, campaign, shop),
        *_caps(contacts, campaign, shop),
        *_gap(contacts, max(campaign.minimum_gap_days, shop.campaigns.minimum_gap_days)),
    ]


def _budget(added: pd.DataFrame, committed: pd.DataFrame, campaign: Campaign) -> Iterator[BrokenLimit]:
    spent = float(committed.loc[committed["campaign_id"] == campaign.campaign_id, "cost"].sum())
    cost = float(added["cost"].sum())
    if campaign.budget is not None and cost and spent + cost > campaign.budget + CENT:
        amounts = {"spent": f"{spent:,.2f}", "added": f"{cost:,.2f}", "budget": f"{campaign.budget:,.2f}"}
        message = _("budget: %(spent)s is committed and %(added)s would be added, of %(budget)s", **amounts)
        yield BrokenLimit("budget", message)


def _capacities(added: pd.DataFrame, committed: pd.DataFrame, campaign: Campaign, shop: Shop) -> Iterator[BrokenLimit]:
    own = {name: channel.capacity_per_day for name, channel in campaign.channels.items()}
    for whose, limits, before in (
        (_("this campaign"), own, committed[committed["campaign_id"] == campaign.campaign_id]),
        (_("all campaigns"), shop.campaigns.capacity_per_day, committed),
    ):
        places = ["channel", "contact_date"]
        counts = added.groupby(places).size().rename("added").reset_index()
        taken_before = before.groupby(places).size().rename("taken").reset_index()
        merged = counts.merge(taken_before, on=places, how="left").fillna({"taken": 0}).astype({"taken": "int64"})
        for channel, day, contacts, taken in merged.itertuples(index=False):
            limit = limits.get(channel)
            if limit is not None and taken + contacts > limit:
                yield BrokenLimit(
                    "capacity",
                    _(
                        "capacity of %(whose)s: %(channel)s on %(day)s takes %(limit)s; %(taken)s are committed and %(added)s "
                        "would be added",
                        whose=whose,
                        channel=channel,
                        day=f"{day:%Y-%m-%d}",
                        limit=f"{limit:,}",
                        taken=f"{taken:,}",
                        added=f"{contacts:,}",
                    ),
                )


def _caps(contacts: pd.DataFrame, campaign: Campaign, shop: Shop) -> Iterator[BrokenLimit]:
    caps = campaign.frequency_caps
    every = pd.Series(data=True, index=contacts.index)
    counted_by_cap: list[tuple[str, FrequencyCap | None, pd.Series[bool]]] = [
        (_("every campaign (shop.yaml)"), shop.campaigns.frequency_cap, every),
        (_("every campaign"), caps.overall, every),
        *((channel, cap, contacts["channel"] == channel) for channel, cap in caps.channels.items()),
    ]
    for whose, cap, counted in counted_by_cap:
        found = _too_close(contacts[counted], cap.contacts, cap.days) if cap else 0
        if cap and found:
            text = _(
                "frequency cap of %(whose)s: more than %(contacts)s in %(days)s for %(customers)s",
                whose=whose,
                contacts=ngettext("%(count)s contact", "%(count)s contacts", cap.contacts),
                days=_days(cap.days),
                customers=_customers(found),
            )
            yield BrokenLimit("frequency cap", text)
    repeated = _too_close(contacts[contacts["campaign_id"] == campaign.campaign_id], 1, FOREVER)
    if repeated:
        text = _("a second contact of %(name)s for %(customers)s", name=campaign.campaign_id, customers=_customers(repeated))
        yield BrokenLimit("frequency cap", text)


def _gap(contacts: pd.DataFrame, days: int) -> Iterator[BrokenLimit]:
    found = _too_close(contacts, 1, days)
    if found:
        given = {"days": _days(days), "customers": _customers(found)}
        yield BrokenLimit("gap", _("gap: less than %(days)s between two contacts of %(customers)s", **given))


def _days(number: int) -> str:
    return ngettext("%(count)s day", "%(count)s days", number)


def _customers(number: int) -> str:
    return ngettext("%(count)s customer", "%(count)s customers", number)


def _too_close(contacts: pd.DataFrame, most: int, days: int) -> int:
    """Customers with more than ``most`` contacts on ``days`` consecutive days, an added one among them."""
    ordered = contacts.sort_values(["customer_id", "contact_date"], kind="stable", ignore_index=True)
    if len(ordered) <= most:
        return 0
    customer = pd.factorize(ordered["customer_id"])[0]
    day: npt.NDArray[np.int64] = ordered["contact_date"].to_numpy(dtype="datetime64[D]").astype(np.int64)
    added = np.concatenate([[0], np.cumsum(ordered["is_added"].to_numpy(dtype=np.int64))])
    is_over = (customer[most:] == customer[:-most]) & (day[most:] - day[:-most] < days)
    has_added = added[most + 1 :] > added[: -most - 1]
    return len(set(customer[most:][is_over & has_added]))
