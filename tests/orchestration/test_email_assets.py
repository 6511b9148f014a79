"""The assets of e-mails through Dagster: rows of a day, sums for BI, and checks of contradictions and what waits too long."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import yaml

from assets.campaigns.email_deliveries import ACCOUNTED, AGREE, DELIVERIES_KEY, LOW, METRICS_KEY, email_assets
from customer360.campaigns.ledger import SENT
from customer360.mail.breaker import BOUNCES, COMPLAINTS, UNSUBSCRIBES
from customer360.mail.overview import verdicts
from customer360.mail.queue.tables import ACCEPTED, FAILED, UNKNOWN
from customer360.settings import load_shop
from orchestration.resources import Platform
from tests.mail.mail_shop import EMAIL, mail_shop
from tests.mail.mailing import DAY, NOW, Mailing, key

RATES = {LOW.format(rate) for rate in (BOUNCES, COMPLAINTS, UNSUBSCRIBES)}


def materialized(mailing: Mailing, folder: Path, slices_start: str) -> dg.ExecuteInProcessResult:
    """Run the assets for the day of the contacts in a replayed shop whose clock stands at ``slices_start``."""
    fields = mail_shop().model_dump(mode="json", by_alias=True, exclude_none=True)
    folder.mkdir()
    (folder / "shop.yaml").write_text(
        yaml.safe_dump({**fields, "email": EMAIL, "slices_start": slices_start}), encoding="utf-8"
    )
    platform = Platform(shop_folder=str(folder), data_dir=str(mailing.place.root))
    assets = email_assets(load_shop(folder / "shop.yaml"))
    return dg.materialize(assets, partition_key=str(DAY), resources={"platform": platform}, raise_on_error=True)


def passed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_a_day_of_mails_is_a_table_with_sums_and_checks(tmp_path: Path) -> None:
    mailing = Mailing(tmp_path / "data")
    mailing.approve("C1", "C2")
    mailing.enqueue("C1", "C2")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (ACCEPTED, "250 ok")}, is_synced=True)
    mailing.add(SENT, "C1", "C2")
    result = materialized(mailing, tmp_path / "shop", "2026-05-05T16:00:00Z")
    rows = {
        event.asset_key: event.step_materialization_data.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
    }
    assert rows == {DELIVERIES_KEY: 2, METRICS_KEY: 2}
    assert passed(result) == dict.fromkeys({AGREE, ACCOUNTED, *RATES}, True)


def test_contradictions_and_what_waits_after_its_day_are_seen(tmp_path: Path) -> None:
    mailing = Mailing(tmp_path / "data")
    mailing.approve("C1", "C2")
    mailing.enqueue("C1", "C2")
    mailing.send({"C1": (ACCEPTED, "250 ok")}, is_synced=True)  # the ledger does not have it, and C2 is still being sent
    mailing.queue.mark(key("C1"), "complained", NOW, None, "1")
    result = materialized(mailing, tmp_path / "shop", "2026-05-09T16:00:00Z")
    assert passed(result) == {AGREE: False, ACCOUNTED: False, **dict.fromkeys(RATES, True)}  # one complaint is too few to judge


def test_what_a_relay_refused_counts_as_a_bounce_of_what_left(tmp_path: Path) -> None:
    mailing = Mailing(tmp_path / "data")
    mailing.approve("C1", "C2", "C3")
    mailing.enqueue("C1", "C2", "C3")
    mailing.send({"C1": (ACCEPTED, "250 ok"), "C2": (FAILED, "550 5.1.1"), "C3": (UNKNOWN, "cut")}, is_synced=True)
    mailing.queue.mark(key("C2"), "bounced_hard", NOW, None, "smtp-1")
    result = materialized(mailing, tmp_path / "shop", "2026-05-05T16:00:00Z")
    counted = {check.check_name: check.metadata for check in result.get_asset_check_evaluations()}[LOW.format(BOUNCES)]
    (verdict, *_) = verdicts(mailing.queue)["spring"]
    assert (counted["messages"].value, counted["events"].value) == (verdict.messages, verdict.events) == (3, 1)


def test_a_shop_without_mail_has_no_such_assets() -> None:
    assert email_assets(mail_shop().model_copy(update={"email": None})) == []
