"""The settings of boosting, as they were measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BoostingSettings:
    """What was measured to be enough: 30,000 rows x 105 features x 7 classes on two cores, validation log loss in brackets.

    CatBoost's defaults at depth 4 take 63 s [.920]: ordered boosting and combinations of categorical features cost most.
    One-hot categories and plain boosting: 17 s [.920]; 32 borders and half the rows for each tree: 6 s [.924];
    a stronger L2 with fewer, larger steps: 7 s [.920]. Depth 6 is no better [.925].
    """

    depth: int = 4
    iterations: int = 200
    learning_rate: float = 0.15
    l2_leaf_reg: float = 20.0
    subsample: float = 0.5
    border_count: int = 32
    random_strength: float = 1.0
    one_hot_max_size: int = 64
    early_stopping_rounds: int = 20


# Contacts have fewer rows and features, and a plan takes the best of 63 options: smaller steps cost little and choose better.
# Four draws of 52,000 contacts x 23 features: log loss on 30,000 others and mean true conversion of the best options. These
# settings: .1524 .1533 .1544 .1500 and .6726 .6732 .6721 .6737, 15 CPU seconds; at most .6735 .6743 .6722 .6745 are possible.
# Half the rows for each tree: .1524 .1533 .1544 .1497 and .6714 .6732 .6722 .6738. Of the first two draws: a weaker L2, deeper
# trees and half the features for each tree were no better; the settings above had .1527 .1537 and .6714 .6729 in 3 seconds.
CONTACTS = BoostingSettings(iterations=1_000, learning_rate=0.05, subsample=0.8, early_stopping_rounds=40)
