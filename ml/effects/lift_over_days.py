"""How the effect of a campaign became known, day by day: the difference of its arms among those whose window had passed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from customer360.campaigns.ledger import CONTACT, HOLDOUT
from ml.effects.lift import anytime_z, rate_difference


def lift_over_days(judged: pd.DataFrame, window: timedelta) -> pd.DataFrame:
    """The rows of ``campaign_result_days`` of one campaign, without its id: one per day on which a customer's window passed.

    ``judged``: its rows of ``judged_contacts`` with is_judged. A day (UTC) counts all windows that had passed by its end.
    """
    days_of = (judged["send_at"] + window).dt.ceil("D")
    days = np.sort(days_of.unique())
    sizes, converted = {}, {}
    for arm in (CONTACT, HOLDOUT):
        is_arm = judged["arm"] == arm
        daily = judged[is_arm].groupby(days_of[is_arm])["is_converted"].agg(["size", "sum"])
        running = daily.reindex(days, fill_value=0).cumsum().to_numpy(dtype=np.int64)
        sizes[arm], converted[arm] = running[:, 0], running[:, 1]
    rows = []
    for place, day in enumerate(days):
        counts = [(int(converted[arm][place]), int(sizes[arm][place])) for arm in (CONTACT, HOLDOUT)]
        rates = [made / size if size else np.nan for made, size in counts]
        lift = rate_difference(*counts[0], *counts[1])
        anytime = rate_difference(*counts[0], *counts[1], anytime_z(counts[0][1], counts[1][1]))
        bounds = (lift.estimate, lift.low, lift.high, anytime.low, anytime.high)
        rows.append((pd.Timestamp(day), counts[0][1], counts[1][1], *rates, *bounds))
    columns = ["day", "contacts", "holdouts", "contact_rate", "holdout_rate", "lift", "lift_low", "lift_high"]
    columns += ["anytime_low", "anytime_high"]
    return pd.DataFrame(rows, columns=columns)
