"""What the desk asks of the planner. Here alone the desk imports ``ml``, which takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from customer360.campaigns.definition import Campaign, load_shop_campaigns
from customer360.campaigns.ledger import ledger_parts
from customer360.campaigns.sending import READ_AGAIN
from customer360.kept import Kept, file_state
from customer360.lake.reference.reference_history import history_file
from customer360.settings import Shop
from customer360.snapshot import Snapshot

if TYPE_CHECKING:
    from ml.planning.preview import Previews


_PREVIEWS: Kept[Any] = Kept(2)  # each holds the probabilities of an audience


@dataclass(frozen=True)
class WhatIf:
    """Rows of ``campaign_briefs`` of a campaign as it is and as it would be, and the second in sentences."""

    now: dict[str, Any]
    then: dict[str, Any]
    sentences: list[str]


def load_planner() -> None:
    """Import what the functions below need, before the first request asks for it."""
    for name in ("planning.preview", "planning.reasons"):
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


def planned_again(snapshot: Snapshot, campaign: Campaign, changed: Campaign) -> WhatIf:
    """A campaign and the same with other limits, planned now without saving them. Raises ``ValueError``.

    What does not depend on the limits is kept for the next question, until version, ledger, consents, stops, campaigns or
    messages differ.
    """
    from ml.planning.briefs import brief_lines  # noqa: PLC0415
    from ml.planning.preview import Previews  # noqa: PLC0415

    campaigns, _problems = load_shop_campaigns(snapshot.settings)
    settings, place = snapshot.settings, snapshot.place
    files = [*ledger_parts(place)[-1:], *(history_file(place, name) for name in READ_AGAIN), place.campaigns / "stops.parquet"]
    files += [
        file for folder in (settings.message_folder, settings.made_message_folder) for file in sorted(folder.rglob("*.*"))
    ]
    states = tuple(file_state(file) for file in files if file.exists())
    key = (snapshot.version.folder, states, campaign.model_dump_json(), *(each.model_dump_json() for each in campaigns))

    def prepared() -> tuple[Previews, pd.Series[Any]]:
        previews = Previews(snapshot, campaign, campaigns)
        return previews, previews.of(campaign).brief

    previews, now = _PREVIEWS.of(key, prepared)
    then = now if changed == campaign else previews.of(changed).brief
    return WhatIf(_plain(now), _plain(then), brief_lines(then))


def _plain(row: pd.Series[Any]) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}
