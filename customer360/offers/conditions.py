"""The conditions of offers: each has a name, typed parameters, and holds for a customer on a day or does not.

A row of the reference table ``offers`` names one in ``condition`` and gives its parameters as ``name=value; name=value``. A new
condition is a class here, listed in ``CONDITIONS``; nothing else changes. Rows are judged when they are loaded, so that an
unknown name or a wrong parameter costs its row there, and never a request.
"""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, field_validator, model_validator

from customer360.offers.customer import Customer
from customer360.settings import REPOSITORY, AttributeType, Shop, Strict

DISTANCE = "distance_to_store"  # the attribute that `distance` reads unless it names another
OUTSIDE_GRIDS = ("Prospect", "Unranked")  # segments of those who never bought, and where too few did
SEPARATOR = "|"
GRIDS = REPOSITORY / "dbt_project" / "seeds" / "segment_grids.csv"
Fault = tuple[str, str]  # column, and what is wrong with it and the remedy, without the value


class ConditionError(ValueError):
    """``condition`` or ``parameters`` of an offer are wrong: ``column`` says which, the text why, and the remedy."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


class Condition(Strict):
    """One condition with its parameters. ``is_general``: an offer on the priority list is shown where the condition holds.

    ``reads_customer``: of two customers it may hold for one alone on the same day.
    """

    is_general: ClassVar[bool] = True
    reads_customer: ClassVar[bool] = True

    @abstractmethod
    def holds(self, customer: Customer, today: date) -> bool:
        """Whether it holds for a customer on a shop-local day."""

    @abstractmethod
    def words(self, customer: Customer) -> str:
        """Why it holds, for a person."""

    def shop_fault(self, shop: Shop) -> str | None:
        """What of the parameters does not fit the shop, and the remedy; None where all do."""
        return None


class Always(Condition):
    """Holds for everybody."""

    reads_customer = False

    def holds(self, customer: Customer, today: date) -> bool:
        """Always."""
        return True

    def words(self, customer: Customer) -> str:
        """It asks for nothing."""
        return "it is for everybody"


class SpecificProducts(Condition):
    """An offer of its products alone: affinity shows it, the priority list never does."""

    is_general = False
    reads_customer = False

    def holds(self, customer: Customer, today: date) -> bool:
        """Anybody may see it."""
        return True

    def words(self, customer: Customer) -> str:
        """It is for its products."""
        return "it is for its products"


class TopUsers(Condition):
    """Holds for the ``users`` most active of the last 24 hours, by product views, additions to the cart and orders."""

    users: Annotated[int, Field(ge=1)] = 1000

    def holds(self, customer: Customer, today: date) -> bool:
        """By the rank of the last slice."""
        return customer.activity_rank is not None and customer.activity_rank <= self.users

    def words(self, customer: Customer) -> str:
        """With the rank."""
        return f"number {customer.activity_rank} of the last day's most active customers, of whom {self.users:,} get it"


class Distance(Condition):
    """Holds where ``attribute``, the distance to the nearest store, exceeds ``over``, in the unit of the shop's attribute."""

    over: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 100.0
    attribute: str = DISTANCE

    def holds(self, customer: Customer, today: date) -> bool:
        """A distance that is not known exceeds nothing."""
        found = customer.attributes.get(self.attribute)
        return found is not None and found > self.over

    def words(self, customer: Customer) -> str:
        """Without the customer's own distance, which may be personal."""
        return f"the nearest store is over {self.over:g} away ({self.attribute})"

    def shop_fault(self, shop: Shop) -> str | None:
        """The shop must have the attribute, and as a number."""
        spec = shop.attributes.get(self.attribute)
        if spec is not None and spec.type in (AttributeType.INTEGER, AttributeType.DOUBLE):
            return None
        return (
            f"is not possible in this shop: {self.attribute} is no attribute of type double or integer in shop.yaml; declare "
            "it there and bring it in the table customers, or name another one as attribute=NAME"
        )


class DateRange(Condition):
    """Holds from ``first`` to ``last``, shop-local days, both included; without them on all days of the offer's own dates."""

    reads_customer = False
    first: date | None = None
    last: date | None = None

    @model_validator(mode="after")
    def _ordered(self) -> DateRange:
        if self.first and self.last and self.last < self.first:
            raise ValueError("last lies before first")
        return self

    def holds(self, customer: Customer, today: date) -> bool:
        """By the day."""
        return (self.first is None or self.first <= today) and (self.last is None or today <= self.last)

    def words(self, customer: Customer) -> str:
        """With the days."""
        days = [f"{word} {day}" for word, day in (("from", self.first), ("to", self.last)) if day]
        return f"today lies in its dates{''.join(f' {part}' for part in days)}"


class Segment(Condition):
    """Holds for customers of these ``segments`` of rfm_segments, separated by ``|``."""

    segments: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("segments", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split(value) if isinstance(value, str) else value

    def holds(self, customer: Customer, today: date) -> bool:
        """By the segment of the last slice."""
        return customer.segment in self.segments

    def words(self, customer: Customer) -> str:
        """With the segment."""
        return f"the segment is {customer.segment}"

    def shop_fault(self, shop: Shop) -> str | None:
        """Each must be a segment of the shop's grid."""
        known = _segments(shop.rfm.segment_grid)
        unknown = [name for name in self.segments if name not in known]
        return f"is not possible in this shop, whose segments are {', '.join(known)}" if unknown else None


CONDITIONS: Mapping[str, type[Condition]] = {
    "always": Always,
    "specific_products": SpecificProducts,
    "top_users": TopUsers,
    "distance": Distance,
    "date_range": DateRange,
    "date": DateRange,  # its name until 0.1.0
    "segment": Segment,
}


def parse_condition(name: str | None, parameters: str | None, has_products: bool) -> Condition:
    """The condition of an offer. Without a name that of its products, where it has any, else ``always``.

    Raises ``ConditionError`` on an unknown name, and on parameters that are unknown, missing or of another type.
    """
    name = name or ("specific_products" if has_products else "always")
    kind = CONDITIONS.get(name)
    if kind is None:
        near = get_close_matches(name, CONDITIONS, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConditionError("condition", f"is no condition; {hint}There are {', '.join(CONDITIONS)}")
    if kind is SpecificProducts and not has_products:
        raise ConditionError("condition", "is not possible without products; fill product_ids, product_id or category_id")
    known = ", ".join(kind.model_fields) or "none"
    values: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in (parameters or "").split(";"))):
        key, sign, value = (text.strip() for text in part.partition("="))
        if not sign or not value or key in values:
            raise ConditionError("parameters", f"is not written as name=value; name=value, each once (of {name}: {known})")
        values[key] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_parameter_fault(detail) for detail in error.errors())
        raise ConditionError(
            "parameters", f"is not right for the condition {name}: {faults} (its parameters: {known})"
        ) from error


def offer_faults(rows: Sequence[Mapping[str, Any]], shop: Shop) -> Iterator[tuple[int, Fault]]:
    """Position of each row of the reference table ``offers`` that cannot be used, with its fault. Rows are in their order."""
    default = None
    for position, row in enumerate(rows):
        try:
            condition = parse_condition(row["condition"], row["parameters"], has_products(row))
            fault = _row_fault(row)
            if not fault and (unfit := condition.shop_fault(shop)):
                fault = "parameters", unfit
        except ConditionError as error:
            fault = error.column, str(error)
        if not fault and row["is_default"]:
            if default is not None:
                fault = "is_default", f"is not of this offer alone: {default} is the default too; clear it in one of the rows"
            default = default or row["offer_id"]
        if fault:
            yield position, fault


def has_products(row: Mapping[str, Any]) -> bool:
    """Whether an offer's row names products, one or several, or a category of them."""
    return any(row[name] for name in ("product_ids", "product_id", "category_id"))


def split(text: str | None) -> tuple[str, ...]:
    """The parts of a list in one column, such as ``p01|p02``: no empty ones, each once."""
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(SEPARATOR) if part.strip()))


def _row_fault(row: Mapping[str, Any]) -> Fault | None:
    if row["starts_on"] and row["ends_on"] and row["ends_on"] < row["starts_on"]:
        return "ends_on", "lies before starts_on; exchange the two days"
    negative = [name for name in ("stock", "most_shown_24h", "most_shown_30d") if (row[name] or 0) < 0]
    return (negative[0], "is below 0; leave it empty where there is no limit") if negative else None


def _parameter_fault(detail: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"there is no parameter {place!r}"
    if detail["type"] == "missing":
        return f"{place} is missing"
    message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{place} {message}".strip()


@lru_cache(maxsize=8)
def _segments(grid: str) -> tuple[str, ...]:
    with GRIDS.open(encoding="utf-8", newline="") as file:
        return (*dict.fromkeys(row["segment"] for row in csv.DictReader(file) if row["grid"] == grid), *OUTSIDE_GRIDS)
