"""Filters of pages, which live in the query string so that a link restores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from customer360.services.desk.access import DeskRequest


@dataclass(frozen=True)
class Period:
    """So many days back from the end of the last slice."""

    days: int
    title: Any


def chosen(request: DeskRequest, name: str, periods: Sequence[Period], default: int) -> Period:
    """The period that the query string names, or the default one."""
    by_days = {str(period.days): period for period in periods}
    return by_days.get(request.GET.get(name, ""), by_days[str(default)])
