"""The synthetic shop without its clicks: who orders on a day, given who is contacted. Weeks of campaigns in seconds.

The customers, their chance of ordering by themselves and what a contact adds are those of the synthetic shop; orders are drawn
day by day instead of view by view. All draws depend on the seed, the customer and the day or the contact alone. So policies
that are compared on one seed meet the same customers, who order the same by themselves and answer equal contacts equally.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from customer360.campaigns.attribution import first_orders
from customer360.settings import AttributeType, Shop
from customer360.simulation.arrays import DAY, Floats, Ints, Keys, categorical, mix, uniform, utc_of
from customer360.simulation.catalogue import CATEGORIES, PRICES, pick_products
from customer360.simulation.contacts import Contacts, contacts_of
from customer360.simulation.organic import orders_a_day
from customer360.simulation.parameters import Simulation
from customer360.simulation.population import customers_table
from customer360.simulation.response import Response, true_response
from customer360.simulation.rhythm import HOURS
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.touches import draw_touches, touch_history

ORDER_COLUMNS = ("customer_id", "order_id", "ordered_at", "amount", "lines")  # of the mart customer_orders
_ORDERS, _MOMENT, _CATEGORY, _PRODUCT, _QUANTITY, _ID = 61, 62, 63, 64, 65, 66


@dataclass(frozen=True)
class CampaignSimulation:
    """Customers of a shop and the truth about them. ``a_day``: orders a day, customers x (no spell, one of each category)."""

    synthetic: SyntheticShop
    response: Response
    a_day: Floats

    @classmethod
    def build(
        cls,
        shop: Shop,
        customers: int,
        seed: int,
        *,
        touch_days: int = 150,
        control_share: float = 0.1,
        base_conversion: float = 0.1,
    ) -> CampaignSimulation:
        """The simulation of so many customers.

        The other parameters are those of ``Simulation``: the days of past contacts, the share of them that was held back, and
        the mean probability that a random contact adds an order.
        """
        simulation = Simulation(
            customers=customers,
            seed=seed,
            touch_days=touch_days,
            control_share=control_share,
            base_conversion=base_conversion,
        )
        synthetic = SyntheticShop.build(simulation, shop)
        spells = [None, *range(len(CATEGORIES))]
        a_day = np.stack([orders_a_day(simulation, shop, synthetic.population, spell) for spell in spells], axis=1)
        return cls(synthetic, true_response(simulation, shop, synthetic.population), a_day)

    @property
    def first_day(self) -> date:
        """The shop-local day of ``slices_start``; the past lies before it."""
        return self.synthetic.first_live_day

    @property
    def customers(self) -> pd.DataFrame:
        """The reference table ``customers``, with consents and attributes in the types of its contract."""
        shop = self.synthetic.shop
        table = customers_table(self.synthetic.population, shop)
        booleans = [str(name) for name in table.columns if str(name).startswith("consent_")]
        booleans += [name for name, spec in shop.attributes.items() if spec.type is AttributeType.BOOLEAN]
        return table.assign(**{name: table[name] == "true" for name in booleans})

    @property
    def attribute_versions(self) -> pd.DataFrame:
        """The one version of every customer's attributes, in force since long before the first touch."""
        attributes = self.customers[["customer_id", *self.synthetic.shop.attributes]]
        valid_from = pd.Timestamp(self.first_day) - timedelta(days=self.synthetic.simulation.touch_days + 365)
        return attributes.assign(
            valid_from=valid_from.as_unit("us"), valid_to=pd.Series(pd.NaT, attributes.index, "datetime64[us]")
        )

    def orders(self, day: date, contacts: pd.DataFrame | None = None) -> pd.DataFrame:
        """The organic orders of a shop-local day, and all orders that the day's contacts add in their attribution window.

        ``contacts``: customer_id, campaign_id, channel and sent_at (UTC), made on this day. One row per order, by time: the
        columns of ``customer_orders`` (``ordered_at`` plain UTC) and the truth ``is_added``. A customer has at most one
        organic order a day, and one for each contact that adds an order.
        """
        organic = self._organic_orders(day)
        if contacts is None or contacts.empty:
            return organic
        made = contacts_of(contacts, self.synthetic)
        both = pd.concat([organic, self._added_orders(made)], ignore_index=True)
        return both.sort_values(["ordered_at", "order_id"], ignore_index=True)

    def past(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Touches and orders of all days before the first one.

        Touches are as ``campaign_touch_history`` publishes them: contacts at random, and the control groups. A touch converted
        where an order of the customer lies within the shop's ``attribution_days`` from it. Orders: see ``orders``.
        """
        touches = draw_touches(self.synthetic, self.response)
        made = touches[~touches["is_control"]].rename(columns={"touched_at": "sent_at"})
        days = range(-self.synthetic.simulation.touch_days, 0)
        parts = [self._organic_orders(self.first_day + timedelta(days=number)) for number in days]
        orders = pd.concat([*parts, self._added_orders(contacts_of(made, self.synthetic))], ignore_index=True)
        ended = pd.Timestamp(self.first_day, tz=self.synthetic.shop.zone).tz_convert("UTC").tz_localize(None)
        orders = orders[orders["ordered_at"] < ended].sort_values(["ordered_at", "order_id"], ignore_index=True)
        window = timedelta(days=self.synthetic.shop.campaigns.attribution_days)
        converted_at = first_orders(touches["customer_id"], touches["touched_at"].dt.tz_localize(None), orders, window)
        converted_at = converted_at.dt.tz_localize("UTC")
        outcomes = touches.assign(is_converted=converted_at.notna(), converted_at=converted_at)
        return touch_history(outcomes, self.synthetic.shop), orders

    def _organic_orders(self, day: date) -> pd.DataFrame:
        seed, everyone = self.synthetic.simulation.seed, np.arange(self.synthetic.simulation.customers)
        number = (day - date(1970, 1, 1)).days
        noon = np.full(len(everyone), number * DAY + DAY // 2)
        spell = self.synthetic.interest.spells(everyone, noon) + 1
        buys = uniform(seed, _ORDERS, everyone, number) < 1 - np.exp(-self.a_day[everyone, spell])
        customer = everyone[buys]
        draws = uniform(seed, _MOMENT, customer, number)
        cumulative = np.concatenate([[0.0], np.cumsum(HOURS) / HOURS.sum()])
        hours = np.interp(draws, cumulative, np.arange(25))
        local = pd.DatetimeIndex(np.datetime64(day, "us") + (hours * 3_600_000_000).astype(np.int64).astype("timedelta64[us]"))
        at = utc_of(local, self.synthetic.shop.zone).tz_localize(None).asi8
        return self._frame(customer, at, mix(seed, _ID, customer, number), is_added=False)

    def _added_orders(self, contacts: Contacts) -> pd.DataFrame:
        seed = self.synthetic.simulation.seed
        reacting = contacts.take(contacts.reacts(seed, self.response))
        at = reacting.ordered_at(seed, self.synthetic.shop)
        return self._frame(reacting.customer, at, mix(seed, _ID, reacting.key), is_added=True)

    def _frame(self, customer: Ints, at: Ints, keys: Keys, *, is_added: bool) -> pd.DataFrame:
        seed = self.synthetic.simulation.seed
        affinity, _ = self.synthetic.interest.affinity(customer, at)
        category = categorical(affinity, uniform(seed, _CATEGORY, keys))
        product = pick_products(category, uniform(seed, _PRODUCT, keys))
        quantity = 1 + np.searchsorted([0.85, 0.97], uniform(seed, _QUANTITY, keys), side="right")
        frame = pd.DataFrame(
            {
                "customer_id": np.array(self.synthetic.population.customer_ids, dtype=object)[customer],
                "order_id": [f"o{key:016x}" for key in keys.tolist()],
                "ordered_at": at.astype("datetime64[us]"),
                "amount": PRICES[product] * quantity,
                "lines": 1,
                "is_added": is_added,
            }
        )
        return frame.sort_values(["ordered_at", "order_id"], ignore_index=True)
