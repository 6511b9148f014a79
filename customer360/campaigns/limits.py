"""What a plan would break if it were added to the contacts that are committed: budget, capacities, frequency caps, the gap.

The planner keeps to these; what was approved or made since it planned may have used them up, so they are asked again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.settings import FrequencyCap, Shop
from customer360.words import many

CENT = 0.005  # costs are sums of floats


def broken_limits(added: pd.DataFrame, committed: pd.DataFrame, campaign: Campaign, shop: Shop) -> list[str]:
    """A sentence for each limit that ``added`` (contacts of ``campaign``) would break beside ``committed``; none is well.

    Both have customer_id, campaign_id, channel, contact_date and cost.
    """
    columns = ["customer_id", "campaign_id", "channel", "contact_date", "cost"]
    concerned = committed[committed["customer_id"].isin(added["customer_id"])]
    contacts = pd.concat([added[columns].assign(is_added=True), concerned[columns].assign(is_added=False)], ignore_index=True)
    return [
        *_budget(added, committed, campaign),
        *_capacities(added, committed, campaign, shop),
        *_caps(contacts, campaign, shop),
        *_gap(contacts, max(campaign.minimum_gap_days, shop.campaigns.minimum_gap_days)),
    ]


def _budget(added: pd.DataFrame, committed: pd.DataFrame, campaign: Campaign) -> Iterator[str]:
    spent = float(committed.loc[committed["campaign_id"] == campaign.campaign_id, "cost"].sum())
    wanted = float(added["cost"].sum())
    if campaign.budget is not None and spent + wanted > campaign.budget + CENT:
        yield f"budget: {spent:,.2f} is committed and {wanted:,.2f} would be added, of {campaign.budget:,.2f}"


def _capacities(added: pd.DataFrame, committed: pd.DataFrame, campaign: Campaign, shop: Shop) -> Iterator[str]:
    own = {name: channel.capacity_per_day for name, channel in campaign.channels.items()}
    for whose, limits, before in (
        ("this campaign", own, committed[committed["campaign_id"] == campaign.campaign_id]),
        ("all campaigns", shop.campaigns.capacity_per_day, committed),
    ):
        places = ["channel", "contact_date"]
        wanted = added.groupby(places).size().rename("added").reset_index()
        used = before.groupby(places).size().rename("taken").reset_index()
        both = wanted.merge(used, on=places, how="left").fillna({"taken": 0}).astype({"taken": "int64"})
        for channel, day, contacts, taken in both.itertuples(index=False):
            limit = limits.get(channel)
            if limit is not None and taken + contacts > limit:
                yield (
                    f"capacity of {whose}: {channel} on {day:%Y-%m-%d} takes {limit:,}; {taken:,} are committed and "
                    f"{contacts:,} would be added"
                )


def _caps(contacts: pd.DataFrame, campaign: Campaign, shop: Shop) -> Iterator[str]:
    caps = campaign.frequency_caps
    every = pd.Series(data=True, index=contacts.index)
    wanted: list[tuple[str, FrequencyCap | None, pd.Series[bool]]] = [
        ("every campaign (shop.yaml)", shop.campaigns.frequency_cap, every),
        ("every campaign", caps.overall, every),
        *((channel, cap, contacts["channel"] == channel) for channel, cap in caps.channels.items()),
    ]
    for whose, cap, counted in wanted:
        if cap is None:
            continue
        found = _too_close(contacts[counted], cap.contacts, cap.days)
        if found:
            told = f"more than {many(cap.contacts, 'contact')} in {many(cap.days, 'day')} for {many(found, 'customer')}"
            yield f"frequency cap of {whose}: {told}"


def _gap(contacts: pd.DataFrame, days: int) -> Iterator[str]:
    found = _too_close(contacts, 1, days)
    if found:
        yield f"gap: less than {many(days, 'day')} between two contacts of {many(found, 'customer')}"


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
