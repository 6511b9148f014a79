"""What the current session changes of what a decision knows of a customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from customer360.offers.customer import Customer

PRIOR_EVENTS = 2.0  # how many events of the session the tastes of before count as


def during(
    customer: Customer,
    *,
    seen: Mapping[str, int] = {},
    likely: Sequence[tuple[str, float]] = (),
    shown: Mapping[str, int] = {},
) -> Customer:
    """The customer as the session has it.

    ``seen``: how many of the session's products are of each category. Tastes become shares: the posterior mean of a
    multinomial whose Dirichlet prior is what was known before, worth ``PRIOR_EVENTS``. ``likely``: the most probable products
    with their probabilities, given the session; they replace those of before. ``shown``: how often each offer was shown since
    the customer's counts were made; it counts for the last 24 hours and 30 days.
    """
    tastes = customer.tastes
    if seen:
        total = sum(tastes.values())
        prior = {name: PRIOR_EVENTS * weight / total for name, weight in tastes.items()} if total > 0 else {}
        mass = sum(prior.values()) + sum(seen.values())
        tastes = {name: (prior.get(name, 0.0) + seen.get(name, 0)) / mass for name in sorted({*prior, *seen})}
    counts = dict(customer.shown)
    for offer_id, times in shown.items():
        day, month = counts.get(offer_id, (0, 0))
        counts[offer_id] = (day + times, month + times)
    products = tuple(likely) or customer.products
    return msgspec.structs.replace(customer, tastes=tastes, products=products, shown=counts, listed=None)
