"""What the desk asks of the planner and of the judge of results. Here alone the desk imports ``ml``, which takes seconds."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pandas as pd

from customer360.campaigns.definition import Campaign, load_shop_campaigns
from customer360.settings import Shop
from customer360.snapshot import Snapshot


def load_planner() -> None:
    """Import what the functions below need, before the first request asks for it."""
    for name in ("planning.preview", "planning.reasons", "effects.lift_over_days"):
        import_module(f"ml.{name}")


def reason_texts(campaign: Campaign, shop: Shop) -> dict[str, str]:
    """Why customers are left out of a campaign, in words, in the order in which it is asked."""
    from ml.planning.reasons import left_out_texts  # noqa: PLC0415 (as above)

    return left_out_texts(campaign, shop)


def brief_of(snapshot: Snapshot, plan_version: str) -> tuple[dict[str, Any], list[str]]:
    """The row of ``campaign_briefs`` of a draft, and the same in sentences; nothing where it is not published."""
    from ml.planning.briefs import brief_lines  # noqa: PLC0415

    if not snapshot.has("campaign_briefs"):
        return {}, []
    rows = snapshot.connection.execute("from campaign_briefs where plan_version = ?", [plan_version]).df()
    return (_plain(rows.iloc[0]), brief_lines(rows.iloc[0])) if len(rows) else ({}, [])


def planned_again(snapshot: Snapshot, campaign: Campaign) -> tuple[dict[str, Any], list[str]]:
    """The brief of a campaign, planned now without saving it, and the same in sentences. Raises ``ValueError``."""
    from ml.planning.briefs import brief_lines  # noqa: PLC0415
    from ml.planning.preview import preview  # noqa: PLC0415

    campaigns, _problems = load_shop_campaigns(snapshot.settings)
    row = preview(snapshot, campaign, campaigns).brief
    return _plain(row), brief_lines(row)


def lift_by_day(snapshot: Snapshot, campaign_id: str) -> pd.DataFrame:
    """See ``ml.effects.lift_over_days``."""
    from ml.effects.lift_over_days import lift_over_days  # noqa: PLC0415

    return lift_over_days(snapshot, campaign_id)


def _plain(row: pd.Series[Any]) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}
