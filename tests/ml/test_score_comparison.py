"""Kept scores beside the same scores made again."""

from __future__ import annotations

import pandas as pd
import pytest

from ml.frames import FrameError
from ml.serving.score_comparison import compare

KEPT = pd.DataFrame(
    {
        "customer_id": ["C1", "C1", "C2", "C2"],
        "category_id": ["a", "none", "a", "none"],
        "probability": [0.25, 0.75, 0.5, 0.5],
        "rank": [2, 1, 1, 2],
        "model_version": "v1",
        "as_of": pd.Timestamp("2026-05-01 10:00"),
    }
)


def test_equal_scores_are_equal_in_any_order() -> None:
    found = compare(KEPT, KEPT.iloc[::-1])
    assert found.is_equal
    assert (found.equal, found.different, found.largest, found.customers) == (4, 0, 0.0, ())


def test_the_customer_with_the_largest_difference_comes_first() -> None:
    now = KEPT.assign(probability=[0.25 + 2**-40, 0.75, 0.375, 0.625])
    found = compare(KEPT, now)
    assert not found.is_equal
    assert (found.equal, found.different, found.largest) == (1, 3, 0.125)
    assert found.customers == ("C2", "C1")


def test_rows_of_one_side_are_counted_by_side() -> None:
    newcomer = KEPT.iloc[:2].assign(customer_id="C3")
    found = compare(KEPT, pd.concat([KEPT.iloc[:2], newcomer]))
    assert (found.equal, found.different, found.only_kept, found.only_recomputed) == (2, 0, 2, 2)
    assert set(found.customers) == {"C2", "C3"}
    assert not found.is_equal


@pytest.mark.parametrize("change", [{"rank": [2, 1, 2, 1]}, {"model_version": "v2"}, {"as_of": pd.Timestamp("2026-05-02")}])
def test_rank_version_and_moment_belong_to_a_score(change: dict[str, object]) -> None:
    assert not compare(KEPT, KEPT.assign(**change)).is_equal


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(FrameError, match="model_version"):
        compare(KEPT, KEPT.drop(columns="model_version"))
