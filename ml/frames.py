"""Published frames as a model reads them: the right columns, plain floats, named values where a category is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from customer360.features import Feature
from customer360.text import many

# A categorical value that is not there is a value of its own; CatBoost refuses NaN in categorical columns.
MISSING = "(missing)"


class FrameError(ValueError):
    """A frame breaks its contract. The message names the table, the columns and the remedy."""


def require_columns(frame: pd.DataFrame, table: str, columns: Sequence[str], *, exact: bool = False) -> None:
    """Raise ``FrameError`` when ``frame`` lacks one of ``columns``, or, with ``exact``, has others beside them."""
    missing = [column for column in columns if column not in frame.columns]
    extra = sorted(set(frame.columns) - set(columns)) if exact else []
    if missing or extra:
        parts = [f"lacks {_listed(missing)}"] if missing else []
        parts += [f"has {_listed(extra)}, which shop.yaml does not name"] if extra else []
        raise FrameError(f"{table} {' and '.join(parts)}; rebuild it from the present shop.yaml")


def feature_matrix(frame: pd.DataFrame, features: Sequence[Feature], table: str) -> pd.DataFrame:
    """One float32 column for each numeric feature (NaN where missing) and one text column for each categorical one.

    Training and scoring both pass through here. Raises ``FrameError`` naming the table and the column on text in a numeric one.
    """
    require_columns(frame, table, [feature.name for feature in features])
    columns: dict[str, pd.Series[Any]] = {}
    for feature in features:
        column = frame[feature.name]
        if feature.kind == "categorical":
            columns[feature.name] = column.astype("object").where(column.notna(), MISSING).astype(str)
            continue
        try:
            columns[feature.name] = pd.to_numeric(column).astype("float32")
        except (ValueError, TypeError):
            # pandas quotes the value, which is somebody's and would stand in the log
            wrong = int((pd.to_numeric(column, errors="coerce").isna() & column.notna()).sum())
            raise FrameError(
                f"{table}.{feature.name} is numeric by shop.yaml but holds something else in {many(wrong, 'row')}; "
                "rebuild the table from the present shop.yaml"
            ) from None
    return pd.DataFrame(columns, index=frame.index)


def _listed(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more columns"
