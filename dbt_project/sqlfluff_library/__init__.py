"""What dbt gives to templates, as far as sqlfluff needs it to read the models without dbt, a profile or a warehouse.

Variables are those of a very small shop, dispatched macros stand as a function of their arguments and the long macros as of
a point as a short query: sqlfluff checks what a file itself says, not what templates put into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from customer360.features import dbt_vars
from customer360.settings import Shop

_SHOP = Shop.model_validate(
    {
        "name": "lint",
        "title": "Lint",
        "time_zone": "UTC",
        "currency": "EUR",
        "slices_start": "2026-05-01T00:00:00Z",
        "categories": ["books"],
        "attributes": {"age": {"type": "integer"}},
        "windows_days": [3],
        "channels": ["email"],
        "dayparts": {"day": {"from": 0, "to": 24}},
        "training": {"cutoffs": 2},
    }
)
_VARIABLES = dbt_vars(_SHOP)


class _Adapter:
    """Stands in for ``adapter``."""

    @staticmethod
    def dispatch(_name: str, _package: str = "") -> Callable[..., Any]:
        """A macro that is some function of its arguments."""
        return lambda *arguments: f"coalesce({', '.join(str(argument) for argument in arguments)})"


class _Dbt:
    """Stands in for the macros of the ``dbt`` package that the project calls."""

    @staticmethod
    def string_literal(value: Any) -> str:
        """A text literal."""
        return f"'{value}'"

    @staticmethod
    def escape_single_quotes(value: Any) -> str:
        """Its text, quotes doubled."""
        return str(value).replace("'", "''")


def var(name: str, default: Any = None) -> Any:
    """A variable of the small shop."""
    return _VARIABLES.get(name, default)


def activity_windows() -> list[tuple[str, int]]:
    """The macro of this name returns a list, which a template outside dbt cannot."""
    return [("15m", 15), ("30d", 43_200)]


def shortest_window(moment: str, as_of: str) -> str:
    """Some function of its arguments; the macro stands in one file with the list."""
    return f"coalesce({moment}, {as_of})"


def known_time_zones() -> str:
    """A relation with a name."""
    return "known_time_zones"


def _query(*arguments: Any) -> str:
    """Stands in for a macro that is a whole query of the relations that it is given."""
    relations = [value for one in arguments for value in (one.values() if isinstance(one, dict) else [one])]
    return " union all ".join(f"select customer_id from {relation}" for relation in relations)


for _file in (Path(__file__).resolve().parents[1] / "macros" / "as_of").glob("*.sql"):
    for _name in re.findall(r"{% macro (\w+)", _file.read_text(encoding="utf-8")):
        globals()[_name] = _query


def as_of_clock(_clock: str) -> str:
    """A moment, unlike the other macros as of a point."""
    return "cast('2026-05-01 00:00:00' as timestamp)"


def control_value(_relation: str, _column: str, of_type: str) -> str:
    """A value, likewise."""
    return f"cast(null as {of_type})"


adapter = _Adapter()
dbt = _Dbt()
execute = False
globals()["return"] = lambda value: value
