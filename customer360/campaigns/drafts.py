"""Drafts: the newest ``campaign_plan``, of which a person may approve a campaign's rows, and the approved plans' own files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.ledger import CONTACT, HOLDOUT
from customer360.decisions import DecisionRefused
from customer360.kept import Kept, file_state
from customer360.lake.atomic import write_text
from customer360.lake.engine import column_types, connect, file_literal
from customer360.lake.publishing.publications import newest_plan
from customer360.mail.message import Message
from customer360.settings import Place
from customer360.translation import gettext as _

DRAFT_COLUMNS = (
    *("campaign_id", "plan_version", "plan_date", "customer_id", "decision", "channel", "contact_date", "daypart", "send_at"),
    *("offer_id", "expected_conversion", "expected_value", "cost", "is_exploration", "holdout", "model_version", "value_basis"),
)
# value_basis of a plan whose values rest mostly on effects that were measured; every other one lacks evidence.
MEASURED: Final = "incremental"
NEEDED = ("channel", "contact_date", "send_at", "cost")  # of whoever is contacted, or would be
_COUNTS: Kept[pd.DataFrame] = Kept(4)
_DEFINITIONS: Kept[Campaign] = Kept(1000)


def newest_drafts(place: Place, campaign_id: str | None = None) -> pd.DataFrame:
    """Rows of the newest plan, or of one campaign: one per campaign and customer of its audience; none before the first."""
    folder = newest_plan(place)
    if folder is None:
        return pd.DataFrame(columns=list(DRAFT_COLUMNS))
    file = folder / "campaign_plan.parquet"
    frame = pd.read_parquet(file, filters=None if campaign_id is None else [("campaign_id", "==", campaign_id)])
    _require_columns(file, frame.columns)
    return frame


def draft_counts(place: Place) -> pd.DataFrame:
    """The newest plan in sums: customers, cost and expected_value by campaign, version, decision, reason, channel and day.

    None of its rows is read into memory: a plan has one for each campaign and customer. Change a copy.
    """
    groups = "campaign_id, plan_version, value_basis, decision, reason, channel, contact_date"
    sums = "count(*) as customers, sum(cost)::double as cost, sum(expected_value)::double as expected_value"
    folder = newest_plan(place)
    if folder is None:
        return pd.DataFrame(columns=[*groups.split(", "), "customers", "cost", "expected_value"])
    file = folder / "campaign_plan.parquet"

    def read() -> pd.DataFrame:
        with connect(place.scratch) as connection:
            _require_columns(file, column_types(connection, f"read_parquet({file_literal(file)})"))
            query = f"select {groups}, {sums} from read_parquet({file_literal(file)}) group by all order by all"
            return connection.execute(query).df()

    return _COUNTS.of(file_state(file), read)


def _require_columns(file: Path, columns: Collection[str]) -> None:
    lacking = [column for column in DRAFT_COLUMNS if column not in columns]
    if lacking:
        text = _(
            "%(file)s has no column %(column)s: it was planned by an older version. Plan the day again",
            file=file,
            column=lacking[0],
        )
        raise DecisionRefused(text)


def draft_of(place: Place, campaign_id: str, plan_version: str) -> pd.DataFrame:
    """The rows of a campaign's draft, in the order of their customers.

    Raises ``DecisionRefused`` when ``plan_version`` is not the newest draft of the campaign, or its rows are no plan.
    """
    rows = newest_drafts(place, campaign_id)
    if rows.empty:
        known = ", ".join(sorted(newest_drafts(place)["campaign_id"].unique())) or _("none")
        text = _(
            "the newest plan has no draft of %(name)s; it has %(known)s. Plan the day again", name=campaign_id, known=known
        )
        raise DecisionRefused(text)
    newest = str(rows["plan_version"].iloc[0])
    if newest != plan_version:
        raise DecisionRefused(
            _(
                "%(version)s is not the newest draft of %(name)s: that is %(newest)s. Look at it, and approve it",
                version=plan_version,
                name=campaign_id,
                newest=newest,
            )
        )
    chosen = rows[rows["decision"].isin([CONTACT, HOLDOUT])]
    lacking = [column for column in NEEDED if chosen[column].isna().any()]
    if lacking or rows["customer_id"].duplicated().any() or rows["plan_version"].nunique() > 1:
        wrong = _("contacts without %(column)s", column=lacking[0]) if lacking else _("a customer or a version twice")
        raise DecisionRefused(
            _("%(version)s has %(wrong)s, so it is no plan. Plan the day again", version=plan_version, wrong=wrong)
        )
    return rows.sort_values("customer_id", ignore_index=True)


def definition_file(folder: Path, plan_version: str) -> Path:
    """The campaign that a plan version was made from, as JSON: in the folder of the plan, and beside the approved plan."""
    return folder / f"{plan_version}.json"


def message_file(folder: Path, plan_version: str) -> Path:
    """The ``message`` of a plan version, and the ``faults`` that were found in it, as JSON beside its campaign."""
    return folder / f"{plan_version}.message.json"


def write_definition(
    folder: Path, plan_version: str, campaign: Campaign, message: Message | None = None, faults: Sequence[str] = ()
) -> None:
    """Keep the campaign of a plan version in a folder, and its message with what was found wrong with it.

    Call it before the plan itself is written.
    """
    if message is not None:
        kept = {"message": json.loads(message.to_json()), "faults": list(faults)}
        write_text(message_file(folder, plan_version), json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    write_text(definition_file(folder, plan_version), campaign.model_dump_json(indent=2) + "\n")


def definition_of(place: Place, campaign_id: str, plan_version: str) -> Campaign | None:
    """The campaign that a plan version was made from; None of a draft that was planned before definitions were stored."""
    approved = approved_file(place, campaign_id, plan_version).parent
    folders = [approved, *sorted(path.parent for path in place.plans.glob(f"*/{plan_version}.json"))]
    return next((_read(file) for folder in folders if (file := definition_file(folder, plan_version)).exists()), None)


def message_of(place: Place, campaign_id: str, plan_version: str) -> Message | None:
    """The message that contacts of a plan version are sent by e-mail: of an approved plan the copy that was approved.

    None where its campaign names none.
    """
    kept = _kept_message(place, campaign_id, plan_version)
    return None if kept is None else Message.model_validate(kept["message"])


def message_faults_of(place: Place, campaign_id: str, plan_version: str) -> list[str]:
    """Why the message of a plan version may not be sent, as it was found when the plan was made."""
    kept = _kept_message(place, campaign_id, plan_version)
    return [] if kept is None else [str(fault) for fault in kept["faults"]]


def _kept_message(place: Place, campaign_id: str, plan_version: str) -> dict[str, Any] | None:
    approved = approved_file(place, campaign_id, plan_version).parent
    folders = [approved, *sorted(path.parent for path in place.plans.glob(f"*/{plan_version}.message.json"))]
    file = next((file for folder in folders if (file := message_file(folder, plan_version)).exists()), None)
    return None if file is None else dict(json.loads(file.read_text(encoding="utf-8")))


def approved_definitions(place: Place) -> dict[str, Campaign]:
    """Approved plan version -> the campaign that it was made from."""
    files = sorted((place.campaigns / "plans").glob("*/*.json"))
    return {file.stem: _read(file) for file in files if not file.name.endswith(".message.json")}


def approved_file(place: Place, campaign_id: str, plan_version: str) -> Path:
    """Where an approved plan lies, written once."""
    return place.campaigns / "plans" / campaign_id / f"{plan_version}.parquet"


def _read(file: Path) -> Campaign:
    """A definition is written once."""
    return _DEFINITIONS.of(
        file_state(file), lambda: Campaign.model_validate_json(file.read_text(encoding="utf-8"), by_alias=True, by_name=True)
    )
