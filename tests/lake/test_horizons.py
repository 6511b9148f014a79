"""Settings of the time after a cut-off: horizons of labels and of churn, and reserved names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.random_shop import small_shop


def test_churn_looks_28_days_ahead_unless_the_shop_says_otherwise() -> None:
    assert small_shop().churn_horizon_days == 28
    assert small_shop(label_horizon_days=90, churn_horizon_days=365).churn_horizon_days == 365


@pytest.mark.parametrize(
    ("horizons", "reason"),
    [
        ({"label_horizon_days": 28}, r"churn_horizon_days \(28\) must exceed label_horizon_days \(28\)"),
        ({"churn_horizon_days": 7}, r"churn_horizon_days \(7\) must exceed label_horizon_days \(7\); set it to the days"),
        ({"churn_horizon_days": 366}, "less than or equal to 365"),
    ],
)
def test_a_churn_horizon_that_is_not_longer_than_the_labels_or_too_long_is_refused(
    horizons: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        small_shop(**horizons)


@pytest.mark.parametrize("name", ["label", "weight", "spend", "is_churned"])
def test_an_attribute_cannot_have_the_name_of_what_is_known_afterwards(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}: training_features or customers has such a column of its own"):
        small_shop(attributes={name: {"type": "double"}})
