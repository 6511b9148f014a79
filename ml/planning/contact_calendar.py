"""How many contacts a plan makes by channel and day: as a table, and as a heat map."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from customer360.settings import Shop
from ml.judging.plots import INK
from ml.planning.reasons import CONTACT


def contact_calendar(plan: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """Contacts of ``campaign_plan`` by channel (index, in the order of shop.yaml) and contact_date (columns)."""
    contacts = plan[plan["decision"] == CONTACT]
    counts = contacts.groupby(["channel", "contact_date"]).size().unstack(fill_value=0)
    table = counts.reindex(shop.channels, fill_value=0).sort_index(axis=1)
    table.columns = [f"{day:%a %d %b}" for day in table.columns]
    return table.rename_axis(index="channel", columns=None)


def heat_map(calendar: pd.DataFrame) -> bytes:
    """The calendar as a PNG: the darker, the more contacts; the numbers stand within."""
    figure = Figure(
        figsize=(max(4.0, 0.9 * max(calendar.shape[1], 1) + 1.2), 0.55 * len(calendar) + 1.1), dpi=110, layout="constrained"
    )
    axes = figure.add_subplot()
    axes.set_title("Contacts by channel and day", fontsize=10, color=INK, loc="left")
    axes.set_yticks(range(len(calendar)), list(calendar.index), fontsize=8, color=INK)
    axes.set_xticks(range(calendar.shape[1]), list(calendar.columns), fontsize=8, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if calendar.size:
        most = max(int(calendar.to_numpy().max()), 1)
        axes.imshow(calendar.to_numpy(dtype=float), cmap="Blues", vmin=0, vmax=most, aspect="auto")
        for row, counts in enumerate(calendar.to_numpy(dtype=np.int64)):
            for column, count in enumerate(counts):
                axes.text(
                    column,
                    row,
                    f"{count:,}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if count > 0.6 * most else INK,
                )
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()
