"""What can be asked of the synthetic shop: its size, its seed, its load, and a drift from a date on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from customer360.errors import OperatorError
from customer360.settings import Shop

EVENTS_PER_CUSTOMER_DAY = 3.3


class SimulationError(OperatorError, ValueError):
    """The synthetic shop cannot be simulated with these settings. The message says what to change."""


def require_known(shop: Shop, kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise ``SimulationError`` where shop.yaml has ``names`` of a kind, such as channels, that the synthetic shop lacks."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SimulationError(
            f"shop.yaml of {shop.name!r} lists the {kind} {', '.join(unknown)}; the synthetic shop has {', '.join(known)}. "
            "Use some of these."
        )


@dataclass(frozen=True)
class Drift:
    """Behaviour that changes at ``start`` (with a time zone), in history and live slices alike.

    ``traffic_mix`` multiplies the share of paid and social visits, ``price_level`` all prices, and ``swap`` exchanges two
    categories in everyone's interests: after some days a model that looks at recent browsing is right again. ``bought_swap``
    exchanges two categories in what is bought while all browse as before: browsing then tells nothing right about buying.
    """

    start: datetime
    traffic_mix: float = 1.0
    price_level: float = 1.0
    swap: tuple[str, str] | None = None
    bought_swap: tuple[str, str] | None = None


@dataclass(frozen=True)
class Simulation:
    """A synthetic shop. The same parameters give the same files.

    ``events_per_slice`` is the mean over a week of events per slice of the shop (201,000 is the reference load); without it
    customers browse at a natural rate. Purchases do not grow with it. ``flat`` switches the daily and weekly rhythm off.

    ``base_conversion`` is the mean probability that a contact at random adds an order, ``control_share`` the share of past
    contacts that were held back to measure what contacts do.
    """

    customers: int = 6_000
    days: int = 60
    seed: int = 360
    events_per_slice: float | None = None
    flat: bool = False
    touch_days: int = 150
    touches_per_customer: float = 5.0
    base_conversion: float = 0.10
    control_share: float = 0.10
    drift: Drift | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that make no shop."""
        if self.customers < 1 or self.days < 1 or self.seed < 0:
            raise SimulationError("a simulation needs customers >= 1, days >= 1 and seed >= 0")
        if self.events_per_slice is not None and self.events_per_slice <= 0:
            raise SimulationError(f"events_per_slice is a mean number of events above 0; got {self.events_per_slice}")
        if not 0 < self.base_conversion < 1:
            raise SimulationError(f"base_conversion lies between 0 and 1; got {self.base_conversion}")
        if not 0 <= self.control_share < 1:
            raise SimulationError(f"control_share is a share from 0 to below 1; got {self.control_share}")
        if self.touch_days < 10:
            raise SimulationError("touch_days are at least 10, so that outcomes are known when the live slices start")
        if self.drift is not None and self.drift.start.tzinfo is None:
            raise SimulationError("give the drift's start a time zone, as in datetime(2026, 5, 1, tzinfo=UTC)")

    def events_per_day(self, shop: Shop) -> float:
        """Mean number of events in 24 hours."""
        if self.events_per_slice is None:
            return self.customers * EVENTS_PER_CUSTOMER_DAY
        return self.events_per_slice * (timedelta(days=1) / shop.slice_width)

    def density(self, shop: Shop) -> float:
        """How many times the natural rate customers browse."""
        return self.events_per_day(shop) / (self.customers * EVENTS_PER_CUSTOMER_DAY)
