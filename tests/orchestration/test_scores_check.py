"""The check of complete scores: what it says of a table without rows."""

from __future__ import annotations

import pytest

from assets.predictions.customer_scores import scores_check


@pytest.mark.parametrize(
    ("counts", "is_served", "passed", "description"),
    [
        ((35, 5, 5), True, True, None),
        ((34, 5, 4), True, False, None),
        ((0, 5, 0), True, False, None),
        ((0, 0, 0), True, True, "0 rows: no customer is known yet"),
        ((0, 5, 0), False, True, "0 rows: no affinity model serves yet"),
        ((7, 5, 1), False, False, None),
    ],
)
def test_no_rows_pass_only_where_there_is_nothing_to_score_or_nobody_who_scores(
    counts: tuple[int, int, int], is_served: bool, passed: bool, description: str | None
) -> None:
    """``counts``: rows of scores, customers, and customers whose scores are complete."""
    result = scores_check(*counts, is_served=is_served)
    assert (result.passed, result.description) == (passed, description)
    assert result.metadata["rows"].value == counts[0]
