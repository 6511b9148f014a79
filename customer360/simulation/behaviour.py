"""What happens during a visit: pages, products looked at, the cart, the checkout, offers shown and clicked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from customer360.simulation.arrays import MINUTE, SECOND, Bools, Floats, Ints, Parallel, categorical, generator, microseconds
from customer360.simulation.catalogue import CATEGORIES, PRICES, PRODUCT_CATEGORY, counterparts, pick_products
from customer360.simulation.events import (
    CART,
    CHECKOUT,
    FIRST_LISTING,
    FIRST_PRODUCT_PAGE,
    HOME,
    NAME_CODES,
    THANKS,
    Events,
    concatenate,
    in_order,
    make_events,
)
from customer360.simulation.offer_clicks import click_chance
from customer360.simulation.rhythm import SLOT
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.visits import APP, KNOWN, LOGS_IN, Visits, draw_visits

LONGEST_VISIT = 30 * MINUTE
LAST_VIEW = 20 * MINUTE
LONGEST_DWELL = 360.0
MEAN_VIEWS = 3.0
FOLLOWS_INTEREST = 0.8  # the other moves are a random walk
LISTING_SHARE = 0.6
CART_RATE, CART_BY_AFFINITY, SPELL_CART = 0.008, 0.09, 3.0
REMOVE_SHARE, CHECKOUT_SHARE, PURCHASE_SHARE = 0.12, 0.62, 0.72
OFFER_SHARE = 0.55


@dataclass(frozen=True)
class Views(Parallel):
    """Products looked at, as parallel arrays in the order of visits."""

    visit: Ints
    offset: Ints
    product: Ints
    dwell: Floats
    has_listing: Bools
    is_carted: Bools
    is_removed: Bools


def draw_block(synthetic: SyntheticShop, start: int, end: int) -> Events:
    """All events of the visits that begin in [start, end), by time; the last ones happen up to 30 minutes after ``end``."""
    rng = generator(synthetic.simulation.seed, 2, start // SLOT, (end - start) // SLOT)
    visits = draw_visits(synthetic, start, end, rng)
    views = _views(synthetic, visits, rng)
    n = len(visits)
    finish = np.zeros(n, dtype=np.int64)
    np.maximum.at(finish, views.visit, views.offset + (views.dwell * SECOND).astype(np.int64))
    kept = views.is_carted & ~views.is_removed
    has_cart = np.bincount(views.visit, weights=kept, minlength=n) > 0
    checks_out = has_cart & (rng.random(n) < CHECKOUT_SHARE)
    buys = checks_out & (visits.customer >= 0) & (rng.random(n) < PURCHASE_SHARE)
    checkout_at = finish + _milliseconds(rng.uniform(5, 40, n))
    # Nobody buys without logging in: an anonymous visit becomes a known one at the checkout.
    never = np.full(n, 2 * LONGEST_VISIT)
    login_at = np.where(visits.login == KNOWN, 0, np.where(visits.login == LOGS_IN, finish * rng.random(n), never))
    login_at = np.where(buys, np.minimum(login_at, checkout_at), login_at).astype(np.int64)
    parts = [
        _arrive(visits),
        *_offers(synthetic, visits, rng),
        *_browse(visits, views, rng),
        _part(visits, np.arange(n), checkout_at, "begin_checkout", checks_out, page=CHECKOUT),
        _purchases(synthetic, visits, views, kept & buys[views.visit], checkout_at, rng=rng),
    ]
    index = np.concatenate([part[0] for part in parts])
    events = concatenate([part[1] for part in parts])
    is_known = (visits.customer[index] >= 0) & (events.at - visits.at[index] >= login_at[index])
    ordered = in_order(replace(events, customer=np.where(is_known, visits.customer[index], -1)))
    ids = rng.integers(0, 2**63, size=(2, len(ordered))).astype(np.uint64)
    return replace(ordered, id_high=ids[0], id_low=ids[1], arrives_at=ordered.at)


def events_between(synthetic: SyntheticShop, start: int, end: int) -> Events:
    """Events that happen in [start, end), microseconds since 1970. Independent of how time is cut into calls."""
    first = (start - LONGEST_VISIT) // SLOT * SLOT
    blocks = [draw_block(synthetic, slot, slot + SLOT) for slot in range(first, end, SLOT)]
    return in_order(concatenate(blocks).between(start, end))


def _views(synthetic: SyntheticShop, visits: Visits, rng: np.random.Generator) -> Views:
    counts = np.minimum(rng.geometric(1 / MEAN_VIEWS, len(visits)), 15)
    visit = np.repeat(np.arange(len(visits)), counts)
    n = len(visit)
    acting = visits.affinity[visit]
    category = categorical(FOLLOWS_INTEREST * acting + (1 - FOLLOWS_INTEREST) / len(CATEGORIES), rng.random(n))
    liking = acting[np.arange(n), category]
    dwell: Floats = np.round(np.clip(rng.lognormal(np.log(12 + 60 * liking), 0.6), 1, LONGEST_DWELL), 1).astype(np.float64)
    pause = _milliseconds(np.minimum(2 + rng.exponential(10, n), 60))
    spent = pause + _milliseconds(dwell)
    before = np.cumsum(spent) - spent
    first = np.cumsum(counts) - counts
    offset = before - np.repeat(before[first], counts) + pause
    buying = np.where(visits.customer >= 0, synthetic.population.buying[visits.customer], 1.0)[visit]
    eagerness = (CART_RATE + CART_BY_AFFINITY * liking) * np.where(visits.is_spell[visit], SPELL_CART, 1.0) * buying
    eagerness /= max(1.0, synthetic.simulation.density(synthetic.shop))
    is_carted = rng.random(n) < np.minimum(eagerness, 0.6)
    views = Views(
        visit=visit,
        offset=offset,
        product=pick_products(category, rng.random(n)),
        dwell=dwell,
        has_listing=rng.random(n) < LISTING_SHARE,
        is_carted=is_carted,
        is_removed=is_carted & (rng.random(n) < REMOVE_SHARE),
    )
    return views.take(offset < LAST_VIEW)


def _arrive(visits: Visits) -> tuple[Ints, Events]:
    everyone = np.arange(len(visits))
    return _part(visits, everyone, everyone * 0, "page_view", page=HOME, source=visits.source, campaign=visits.campaign)


def _offers(synthetic: SyntheticShop, visits: Visits, rng: np.random.Generator) -> list[tuple[Ints, Events]]:
    """Offers are shown at random, so that what is clicked can be learnt from."""
    shown = np.flatnonzero(rng.random(len(visits)) < OFFER_SHARE)
    offer = np.zeros(len(shown), dtype=np.int64)
    draws = rng.random(len(shown))
    for day in np.unique(visits.local_day[shown]):
        active = synthetic.catalogue.active_offers(synthetic.day(int(day)))
        rows = visits.local_day[shown] == day
        offer[rows] = active[(draws[rows] * len(active)).astype(np.int64)] if len(active) else -1
    shown, offer = shown[offer >= 0], offer[offer >= 0]
    clicked = rng.random(len(shown)) < click_chance(offer, visits.affinity[shown])
    seen_at = np.full(len(shown), SECOND // 2)
    clicked_at = seen_at + _milliseconds(rng.uniform(1, 9, len(shown)))
    return [
        _part(visits, shown, seen_at, "view_promotion", page=HOME, offer=offer),
        _part(visits, shown, clicked_at, "select_promotion", clicked, page=HOME, offer=offer),
    ]


def _browse(visits: Visits, views: Views, rng: np.random.Generator) -> list[tuple[Ints, Events]]:
    category = PRODUCT_CATEGORY[views.product]
    # The app names the category itself, the site leaves it to the product.
    named = np.where(visits.platform[views.visit] == APP, category, -1)
    page = FIRST_PRODUCT_PAGE + views.product
    carted_at = views.offset + (views.dwell * 0.8 * SECOND / 1000).astype(np.int64) * 1000
    removed_at = carted_at + _milliseconds(rng.uniform(0.05, 0.2, len(category)) * views.dwell)
    listed_at, listed = views.offset - SECOND, {"page": FIRST_LISTING + category, "category": category}
    item = {"product": views.product, "category": named}
    return [
        _part(visits, views.visit, listed_at, "page_view", views.has_listing, **listed),
        _part(visits, views.visit, views.offset, "view_item", page=page, **item, dwell=views.dwell),
        _part(visits, views.visit, carted_at, "add_to_cart", views.is_carted, page=page, **item),
        _part(visits, views.visit, removed_at, "remove_from_cart", views.is_removed, page=CART, **item),
    ]


def _purchases(
    synthetic: SyntheticShop, visits: Visits, views: Views, is_bought: Bools, checkout_at: Ints, *, rng: np.random.Generator
) -> tuple[Ints, Events]:
    """One event per order line; all lines of an order share its time."""
    rows = np.flatnonzero(is_bought)
    visit = views.visit[rows]
    orders = rng.integers(1, 2**63, len(visits)).astype(np.uint64)
    paid_at = checkout_at + _milliseconds(rng.uniform(30, 150, len(visits)))
    line_no = np.arange(len(rows)) - np.searchsorted(visit, visit, side="left") + 1
    quantity = rng.choice([1, 2, 3], size=len(rows), p=[0.85, 0.12, 0.03])
    product = bought(synthetic, views.product[rows], visits.at[visit])
    cents = np.round(PRICES[product] * 100 * quantity * price_level(synthetic, visits.at[visit])).astype(np.int64)
    line = {"product": product, "order": orders[visit], "line_no": line_no, "quantity": quantity, "cents": cents}
    return _part(visits, visit, paid_at[visit], "purchase", page=THANKS, **line)


def bought(synthetic: SyntheticShop, product: Ints, at: Ints) -> Ints:
    """What is bought of the products in the cart: themselves, or their counterparts after a drift of what is bought."""
    drift = synthetic.simulation.drift
    if drift is None or drift.bought_swap is None:
        return product
    return np.where(at >= microseconds(drift.start), counterparts(drift.bought_swap)[product], product)


def price_level(synthetic: SyntheticShop, at: Ints) -> Floats:
    """What list prices are multiplied with at each moment."""
    drift = synthetic.simulation.drift
    if drift is None:
        return np.ones(len(at))
    return np.where(at >= microseconds(drift.start), drift.price_level, 1.0)


def _part(
    visits: Visits, visit: Ints, offset: Ints, name: str, rows: Bools | slice = slice(None), **columns: Any
) -> tuple[Ints, Events]:
    """Events of one name, those of ``rows``: the visit that each belongs to, and the events without their customer and id."""
    given = {
        "at": visits.at[visit] + offset,
        "name": NAME_CODES[name],
        "visitor": visits.visitor[visit],
        "session": visits.session[visit],
        "platform": visits.platform[visit],
        "shard": visit % 2,
        "id_high": 0,
        "id_low": 0,
        **columns,
    }
    return visit[rows], make_events(len(visit), **given).take(rows)


def _milliseconds(seconds: Floats) -> Ints:
    return (seconds * 1000).astype(np.int64) * 1000
