"""An online retailer without clicks, as newcomers have it: two years of purchases, products, customers as CSV, and the truth.

Customers arrive over the years (``known_since`` is empty for half of them), buy at rates of their own, and leave (Schmittlein,
Morrison and Colombo 1987: Poisson purchases until an exponential lifetime ends; here with a weekly and a yearly season). What a
customer buys follows a preference over the categories that drifts slowly, times the season of each category. The files hold
what such exports hold: orders with and without line numbers, lines sent twice, two equal lines in an order, cancellations under
ids of their own and returns under the order's id, guest orders, wholesale buyers, postage among the products, products without
a category or without a row, and customers who never buy.

    simulated = simulate_retailer(Retailer(lines=1_000_000, customers=6_000))
    write_retailer(simulated, Path("my-files"))

The same parameters give the same files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from customer360.simulation.arrays import Bools, Floats, Ints, categorical, generator
from customer360.simulation.parameters import SimulationError
from customer360.simulation.writing import write_csv

CATEGORIES = ("kitchen", "garden", "lighting", "toys", "stationery", "textiles", "candles", "christmas")
CHARGES = "charges"
POSTAGE = "POST"
# Month in which a category sells best (1 to 12) and the logarithm of its factor then.
SEASONS = {"garden": (5, 1.0), "candles": (11, 0.6), "christmas": (12, 1.8), "toys": (12, 0.5)}
PRODUCTS_PER_CATEGORY = 60
MINUTES_A_DAY = 24 * 60
DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Retailer:
    """Size and peculiarities of the retailer.

    Attributes:
        lines: about how many sold lines there are.
        customers: customers listed in customers.csv.
        days: length of the history in days; it ends at ``until`` (exclusive, with time zone).
        lines_per_order: mean sold lines of an order of a private customer; wholesale buyers order four times as many.
        guests: share of orders without a customer.
        wholesale: share of the customers who buy in tens to hundreds.
        never_buying: share of the customers who are listed and never buy.
        returned: share of the sold lines that are returned or cancelled, at least in part.
        unnumbered: share of the orders whose lines have no line number.
        undated: share of the customers without ``known_since``.

    """

    lines: int = 100_000
    customers: int = 1_500
    days: int = 730
    until: datetime = datetime(2026, 5, 1, tzinfo=UTC)
    seed: int = 360
    lines_per_order: float = 8.0
    guests: float = 0.1
    wholesale: float = 0.02
    never_buying: float = 0.1
    returned: float = 0.03
    unnumbered: float = 0.3
    undated: float = 0.5

    def __post_init__(self) -> None:
        """Refuse sizes that make no retailer."""
        if min(self.lines, self.customers, self.days) < 1 or self.seed < 0 or self.lines_per_order < 1:
            raise SimulationError("a retailer needs lines, customers, days and lines_per_order >= 1, and seed >= 0")
        if self.until.tzinfo is None:
            raise SimulationError("give the end of the retailer's history a time zone, as in 2026-05-01T00:00:00+00:00")

    @property
    def first_minute(self) -> datetime:
        """Start of the history, naive UTC."""
        return self.until.astimezone(UTC).replace(tzinfo=None) - pd.Timedelta(days=self.days)


@dataclass(frozen=True)
class SimulatedRetailer:
    """The three files as frames, and the truth behind them.

    Attributes:
        purchases, products, customers: rows of the files, in the columns of the contracts of reference tables.
        lines: each line that counts, once: ``order_id``, ``product_id``, ``customer_id`` (None for a guest), ``category_id``
            (that of products.csv, None where it has none), ``purchased_at`` (naive UTC), ``quantity``, ``cents`` (line total in
            hundredths of the currency, negative for a return) and ``is_return``.
        people: each customer: ``customer_id``, ``arrived_at`` (naive UTC; the true moment, also where the file has no
            ``known_since``), ``is_wholesale``, ``never_buys``, and ``preference_<category>`` at the end of the history.

    """

    retailer: Retailer
    purchases: pd.DataFrame
    products: pd.DataFrame
    customers: pd.DataFrame
    lines: pd.DataFrame
    people: pd.DataFrame


@dataclass(frozen=True)
class _People:
    """One row per customer: days (fractions, from the start) of arrival and of leaving, rate, preferences early and late."""

    arrived: Floats
    left: Floats
    rate: Floats
    is_wholesale: Bools
    never_buys: Bools
    early: Floats
    late: Floats

    def preference(self, customers: Ints, days: Floats, length: float) -> Floats:
        """Preference over the categories of these customers on these days, before the season; rows sum to 1."""
        share = (days / length)[:, None]
        return np.asarray((1 - share) * self.early[customers] + share * self.late[customers])


def simulate_retailer(retailer: Retailer) -> SimulatedRetailer:
    """Draw the retailer's files and their truth; 1,000,000 lines take seconds."""
    people = _draw_people(retailer)
    products = _draw_products(retailer)
    orders = _draw_orders(retailer, people)
    sold = _draw_lines(retailer, people, products, orders)
    lines = pd.concat([sold, _draw_returns(retailer, sold)], ignore_index=True)
    lines = lines[lines["minute"] < retailer.days * MINUTES_A_DAY]
    lines = lines.sort_values(["minute", "order_id", "line_no"], kind="stable").reset_index(drop=True)
    lines["purchased_at"] = _moments(retailer, lines["minute"])
    customer_ids = np.array([f"C{number:06d}" for number in range(retailer.customers)], dtype=object)
    buyers = [customer_ids[number] if number >= 0 else None for number in lines["customer"]]
    lines["customer_id"] = pd.Series(buyers, dtype=object)
    listed = products[products["is_listed"] & (products["category_id"] != "")]
    category = dict(zip(listed["product_id"], listed["category_id"], strict=True))
    lines["category_id"] = pd.Series([category.get(product) for product in lines["product_id"]], dtype=object)
    return SimulatedRetailer(
        retailer=retailer,
        purchases=_purchases_file(retailer, lines),
        products=products.loc[products["is_listed"], ["product_id", "name", "category_id", "price"]].reset_index(drop=True),
        customers=_customers_file(retailer, people, customer_ids),
        lines=lines[["order_id", "product_id", "customer_id", "category_id", "purchased_at", "quantity", "cents", "is_return"]],
        people=_people_truth(retailer, people, customer_ids),
    )


def write_retailer(simulated: SimulatedRetailer, folder: Path) -> dict[str, int]:
    """Write purchases.csv, products.csv and customers.csv into ``folder``; returns rows by file."""
    tables = {"purchases": simulated.purchases, "products": simulated.products, "customers": simulated.customers}
    for name, frame in tables.items():
        write_csv(folder / f"{name}.csv", frame)
    return {name: len(frame) for name, frame in tables.items()}


def _draw_people(retailer: Retailer) -> _People:
    """A third of the customers is there at the start, others arrive at a midnight; they stay a year and a half on average."""
    random, count, days = generator(retailer.seed, 1), retailer.customers, float(retailer.days)
    arrived = np.where(random.random(count) < 1 / 3, 0.0, np.floor(random.random(count) * days))
    liking = 0.5 * np.linspace(1.4, 0.6, len(CATEGORIES))
    early = random.dirichlet(liking, count)
    return _People(
        arrived=arrived,
        left=np.minimum(arrived + random.exponential(1.5 * DAYS_A_YEAR, count), days),
        rate=random.gamma(0.9, 1.0, count) + 0.02,
        is_wholesale=random.random(count) < retailer.wholesale,
        never_buys=random.random(count) < retailer.never_buying,
        early=early,
        late=0.5 * early + 0.5 * random.dirichlet(liking, count),
    )


def _draw_products(retailer: Retailer) -> pd.DataFrame:
    """Products with ``popularity`` within their category; one in 25 has no category, one in 50 no row in the file."""
    random = generator(retailer.seed, 2)
    count = len(CATEGORIES) * PRODUCTS_PER_CATEGORY
    category = np.repeat(np.array(CATEGORIES, dtype=object), PRODUCTS_PER_CATEGORY)
    rank = np.tile(np.arange(1, PRODUCTS_PER_CATEGORY + 1), len(CATEGORIES))
    cents = np.maximum(25, np.round(np.exp(random.normal(6.0, 0.8, count)) / 5) * 5).astype(np.int64)
    draw = random.random(count)
    goods = pd.DataFrame(
        {
            "product_id": [f"{20_000 + number}" for number in range(count)],
            "name": [f"{name} {number}" for name, number in zip(category, rank, strict=True)],
            "category_id": np.where(draw < 0.04, "", category),
            "cents": cents,
            "is_listed": draw < 0.98,
        }
    )
    charges = {"product_id": POSTAGE, "name": "Postage", "category_id": CHARGES, "cents": 495, "is_listed": True}
    products = pd.concat([goods, pd.DataFrame([charges])], ignore_index=True)
    products["price"] = _amounts(products["cents"])
    return products


def _draw_orders(retailer: Retailer, people: _People) -> pd.DataFrame:
    """Orders in order of time: ``customer`` (-1 for a guest), ``buyer`` (whose taste it has), ``day`` (a fraction), size."""
    random = generator(retailer.seed, 3)
    days = np.arange(retailer.days + 1, dtype=np.float64)
    first = pd.Timestamp(retailer.first_minute)
    month = (first.dayofyear + days) / DAYS_A_YEAR * 12
    weekday = np.array([1.0, 1.0, 1.0, 1.1, 1.0, 0.5, 0.7])[(first.dayofweek + np.arange(len(days))) % 7]
    intensity = weekday * np.exp(0.3 * np.cos((month - 11) / 12 * 2 * np.pi))
    passed = np.concatenate([[0.0], np.cumsum(intensity[:-1])])
    start, end = np.interp(people.arrived, days, passed), np.interp(people.left, days, passed)
    weight = np.where(people.never_buys, 0.0, people.rate * (end - start))
    if not weight.sum():
        raise SimulationError("no customer of this retailer would ever buy; ask for more customers")
    share = (weight * people.is_wholesale).sum() / weight.sum()
    count = max(1, round(retailer.lines / (retailer.lines_per_order * (1 + 3 * share))))
    buyer = random.choice(retailer.customers, count, p=weight / weight.sum())
    day = np.interp(start[buyer] + random.random(count) * (end - start)[buyer], passed, days)
    is_guest = (random.random(count) < retailer.guests) & ~people.is_wholesale[buyer]
    mean = np.where(people.is_wholesale[buyer], 4.0, 1.0) * retailer.lines_per_order
    orders = pd.DataFrame(
        {
            "buyer": buyer,
            "customer": np.where(is_guest, -1, buyer),
            "minute": (np.floor(day) * MINUTES_A_DAY + 7 * 60 + np.floor((day % 1) * 14 * 60)).astype(np.int64),
            "size": random.geometric(1 / mean),
            "is_unnumbered": random.random(count) < retailer.unnumbered,
            "has_postage": random.random(count) < 0.3,
        }
    )
    orders = orders.sort_values("minute", kind="stable").reset_index(drop=True)
    orders["order_id"] = [f"{500_000 + number}" for number in range(count)]
    return orders


def _draw_lines(retailer: Retailer, people: _People, products: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """Sold lines, postage among them; about one in 200 of the numbered ones is there twice, under two numbers."""
    random = generator(retailer.seed, 4)
    of_order = np.repeat(np.arange(len(orders)), orders["size"])
    count = len(of_order)
    buyer, minute = orders["buyer"].to_numpy()[of_order], orders["minute"].to_numpy()[of_order]
    day = minute / MINUTES_A_DAY
    weights = people.preference(buyer, day, retailer.days) * _season(retailer, day)
    category = categorical(weights, random.random(count))
    popularity = 1.0 / np.arange(1, PRODUCTS_PER_CATEGORY + 1)
    rank = np.searchsorted(np.cumsum(popularity), random.random(count) * popularity.sum())
    product = category * PRODUCTS_PER_CATEGORY + np.minimum(rank, PRODUCTS_PER_CATEGORY - 1)
    times = np.where(people.is_wholesale[buyer], 12, 1)
    quantity = random.geometric(0.5, count) * times
    is_gift = random.random(count) < 0.005
    lines = pd.DataFrame({"order": of_order, "product": product, "quantity": quantity, "is_gift": is_gift})
    equal = lines[(random.random(count) < 0.005) & ~orders["is_unnumbered"].to_numpy()[of_order]]
    posted = np.flatnonzero(orders["has_postage"])
    postage = pd.DataFrame({"order": posted, "product": len(products) - 1, "quantity": 1, "is_gift": False})
    lines = pd.concat([lines, equal, postage], ignore_index=True).sort_values("order", kind="stable")
    lines["line_no"] = lines.groupby("order").cumcount() + 1
    lines["cents"] = np.where(lines["is_gift"], 0, lines["quantity"] * products["cents"].to_numpy()[lines["product"]])
    lines["product_id"] = products["product_id"].to_numpy()[lines["product"]]
    for name in ("order_id", "customer", "minute", "is_unnumbered"):
        lines[name] = orders[name].to_numpy()[lines["order"]]
    columns = ["order_id", "customer", "minute", "is_unnumbered", "product_id", "line_no", "quantity", "cents"]
    sold: pd.DataFrame = lines[columns]
    return sold.assign(is_return=False)


def _season(retailer: Retailer, days: Floats) -> Floats:
    """Factor of each category on these days; one row per day."""
    month = (pd.Timestamp(retailer.first_minute).dayofyear + days) / DAYS_A_YEAR * 12
    best = np.array([SEASONS.get(name, (1, 0.0))[0] for name in CATEGORIES], dtype=np.float64)
    height = np.array([SEASONS.get(name, (1, 0.0))[1] for name in CATEGORIES])
    return np.asarray(np.exp(height * np.cos((month[:, None] - best) / 12 * 2 * np.pi)))


def _draw_returns(retailer: Retailer, sold: pd.DataFrame) -> pd.DataFrame:
    """Half under the order's id, half under ids that begin with C; one in ten of the latter is of a sale outside the file."""
    random = generator(retailer.seed, 5)
    chosen = sold[(random.random(len(sold)) < retailer.returned) & (sold["cents"] > 0) & (sold["product_id"] != POSTAGE)]
    count = len(chosen)
    is_whole = random.random(count) < 0.7
    quantity = np.where(is_whole, chosen["quantity"], np.maximum(1, chosen["quantity"] // 2))
    is_own = random.random(count) < 0.5
    is_of_unknown = is_own & (random.random(count) < 0.1)
    last_line = sold.groupby("order_id")["line_no"].max()
    number = chosen["order_id"].map(last_line) + chosen.groupby("order_id").cumcount() + 1
    returns = chosen.assign(
        cents=-(chosen["cents"] // chosen["quantity"]) * quantity,
        quantity=-quantity,
        minute=chosen["minute"] + (60 + random.exponential(8 * MINUTES_A_DAY, count)).astype(np.int64),
        order_id=np.where(is_own, "C" + chosen["order_id"] + "-" + chosen["line_no"].astype(str), chosen["order_id"]),
        line_no=np.where(is_own, 1, number),
        is_return=True,
    )
    returns.loc[is_of_unknown, "order_id"] = "CX" + returns.loc[is_of_unknown, "order_id"].str[1:]
    return returns


def _purchases_file(retailer: Retailer, lines: pd.DataFrame) -> pd.DataFrame:
    """Rows of purchases.csv in order of time: one numbered line in 200 is there a second time, behind the first."""
    random = generator(retailer.seed, 6)
    numbers = lines["line_no"].astype("Int64").where(~lines["is_unnumbered"])
    rows = pd.DataFrame(
        {
            "order_id": lines["order_id"],
            "product_id": lines["product_id"],
            "line_no": numbers,
            "customer_id": lines["customer_id"],
            "purchased_at": lines["purchased_at"],
            "quantity": lines["quantity"],
            "amount": _amounts(lines["cents"]),
        }
    )
    repeats = rows[(random.random(len(rows)) < 0.005) & numbers.notna()]
    return pd.concat([rows, repeats]).sort_index(kind="stable").reset_index(drop=True)


def _customers_file(retailer: Retailer, people: _People, customer_ids: np.ndarray) -> pd.DataFrame:
    """Rows of customers.csv: every customer, those who arrive late too; consents and a few attributes."""
    random = generator(retailer.seed, 7)
    count = retailer.customers
    since = _moments(retailer, np.floor(people.arrived * MINUTES_A_DAY))
    return pd.DataFrame(
        {
            "customer_id": customer_ids,
            "known_since": since.where(random.random(count) >= retailer.undated),
            "consent_email": np.where(random.random(count) < 0.7, "true", "false"),
            "country": random.choice(["GB", "GB", "GB", "GB", "DE", "FR", "IE"], count),
            "is_business": np.where(people.is_wholesale, "true", "false"),
        }
    )


def _people_truth(retailer: Retailer, people: _People, customer_ids: np.ndarray) -> pd.DataFrame:
    everyone = np.arange(retailer.customers)
    preference = people.preference(everyone, np.full(retailer.customers, float(retailer.days)), retailer.days)
    truth = pd.DataFrame(
        {
            "customer_id": customer_ids,
            "arrived_at": _moments(retailer, np.floor(people.arrived * MINUTES_A_DAY)),
            "is_wholesale": people.is_wholesale,
            "never_buys": people.never_buys,
        }
    )
    return truth.join(pd.DataFrame(preference, columns=[f"preference_{name}" for name in CATEGORIES]))


def _moments(retailer: Retailer, minutes: pd.Series | Floats) -> pd.Series:
    """Naive UTC, of minutes since the start of the history."""
    moments = pd.Timestamp(retailer.first_minute) + pd.to_timedelta(np.asarray(minutes), unit="min")
    return pd.Series(moments).astype("datetime64[us]")


def _amounts(cents: pd.Series) -> pd.Series:
    """Cents as text with two decimals."""
    return (cents / 100).map("{:.2f}".format)
