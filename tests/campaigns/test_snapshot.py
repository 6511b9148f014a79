"""A snapshot reads one published version, whatever is published meanwhile, and each frame once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from customer360.campaigns.definition import load_campaigns
from customer360.campaigns.drafts import write_definition
from customer360.campaigns.ledger import append
from customer360.lake.publishing.publishing import publish
from customer360.lake.reference.reference import load_reference
from customer360.settings import REPOSITORY, Settings
from customer360.snapshot import Snapshot, open_snapshot
from ml.planning.inputs import audiences_of, planning_inputs
from ml.planning.serving import served_predictions
from ml.responses.contact_rows import known_campaigns, response_inputs

AS_OF = datetime(2026, 5, 1, 22, 30, tzinfo=UTC)


def tables(number: int, zone: str = "Europe/Amsterdam") -> dict[str, str]:
    """Published tables in which every value names the version that it is of."""
    who = f"'C{number}' as customer_id"
    at = f"timestamp '2026-04-{number:02} 10:00'"
    return {
        "rfm_segments": f"select {who}, 'segment {number}' as segment",
        "customer_time_zones": f"select {who}, '{zone}' as time_zone",
        "customer_purchase_times": f"select {who}, 3 as day_of_week, 19 as local_hour, 1 as orders",
        "customer_orders": f"select {who}, 'O{number}' as order_id, {at} as ordered_at, {number}.00 as amount, 1 as lines, "
        f"{at} as as_of",
        "campaign_touch_history": f"select 'T{number}' as touch_id, 'K' as campaign_id, {who}, 'email' as channel, "
        f"{at} as touched_at, true as is_time_known, cast({at} as date) as local_date, 1 as day_of_week, 9 as local_hour, "
        "false as is_converted, null::timestamp as converted_at, false as is_control, false as is_randomised",
        "campaigns": f"select 'K{number}' as campaign_id, null::varchar as kind, null::varchar as offer_id",
        "offers": f"select 'F{number}' as offer_id, null::varchar as category_id",
        "customer_features": f"select {who}, {number} as age",
    }


def publish_version(settings: Settings, number: int, **changes: str) -> None:
    with duckdb.connect() as connection:
        publish(settings.place, connection, tables(number, **changes), AS_OF + timedelta(days=number), AS_OF)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(REPOSITORY / "tests" / "shops" / "tiny", tmp_path / "data")


def versions_in(value: Any) -> set[str]:
    """The numbers of all versions that frames, lists and dicts of a result were read from."""
    if isinstance(value, pd.DataFrame):
        ids = [column for column in ("customer_id", "touch_id", "offer_id") if column in value.columns]
        return {str(entry)[1:] for column in ids for entry in value[column].dropna()}
    parts = vars(value).values() if hasattr(value, "__dict__") else ()
    return set().union(*(versions_in(part) for part in parts)) if parts else set()


READS: list[Callable[[Snapshot], Any]] = [
    lambda snapshot: snapshot.touches,
    lambda snapshot: snapshot.orders,
    lambda snapshot: snapshot.time_zones,
    lambda snapshot: snapshot.offers,
    lambda snapshot: snapshot.rows_of("customer_orders", pd.Series(["C1", "C2", "C3", "C4"])),
    lambda snapshot: planning_inputs(snapshot, AS_OF, "a test"),
    response_inputs,
]


@pytest.mark.full
@pytest.mark.parametrize("first", range(len(READS)))
def test_all_that_is_read_is_of_the_version_that_was_opened(settings: Settings, first: int) -> None:
    publish_version(settings, 1)
    with open_snapshot(settings) as snapshot:
        found = set()
        for number, read in enumerate([*READS[first:], *READS[:first]], start=2):
            found |= versions_in(read(snapshot))
            publish_version(settings, number)
        assert found == {"1"}
        assert snapshot.as_of == AS_OF + timedelta(days=1)
        assert snapshot.orders_known_until == pd.Timestamp("2026-04-01 10:00")
        assert snapshot.version.publication.version == 1
        # The predictions are of the snapshot's touches and purchase times, of its customer alone.
        served_predictions(snapshot, planning_inputs(snapshot, AS_OF, "a test").customers)
    with open_snapshot(settings) as snapshot:
        assert versions_in(snapshot.touches) == {str(len(READS) + 1)}


def test_a_frame_is_read_once_so_that_two_readers_of_it_agree(settings: Settings) -> None:
    publish_version(settings, 1)
    with open_snapshot(settings) as snapshot:
        before = snapshot.ledger
        row = {"event": ["salt"], "event_at": [pd.Timestamp("2026-05-01")], "detail": ["later"]}
        append(settings.place, pd.DataFrame(row), AS_OF, "a test")
        assert snapshot.ledger is before
        assert snapshot.touches is snapshot.touches
        assert len(before) == 0
    with open_snapshot(settings) as snapshot:
        assert list(snapshot.ledger["detail"]) == ["later"]


@pytest.mark.parametrize("zone", ["PST", "EDT", "Europe/Nowhere", "../../etc/passwd", "America", "", "+02:00"])
def test_a_time_zone_that_python_does_not_know_is_the_shops_and_is_counted(settings: Settings, zone: str) -> None:
    publish_version(settings, 1, zone=zone)
    with open_snapshot(settings) as snapshot:
        assert list(snapshot.time_zones["time_zone"]) == ["Europe/Amsterdam"] == [settings.shop.time_zone]
        assert snapshot.unknown_zones == 1
        assert list(planning_inputs(snapshot, AS_OF, "a test").customers["time_zone"]) == ["Europe/Amsterdam"]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "PST8PDT"])
def test_a_time_zone_that_python_knows_stays(settings: Settings, zone: str) -> None:
    publish_version(settings, 1, zone=zone)
    with open_snapshot(settings) as snapshot:
        assert list(snapshot.time_zones["time_zone"]) == [zone]
        assert snapshot.unknown_zones == 0


def test_an_approved_campaign_is_what_it_was_when_it_was_planned_whatever_its_file_says_now(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(REPOSITORY / "tests" / "shops" / "tiny", folder)
    shutil.rmtree(folder / "campaigns", ignore_errors=True)
    (folder / "campaigns").mkdir()
    text = "title: T\nkind: {kind}\naudience: everyone\nvalue_per_conversion: 5\nchannels: {{email: {{}}}}\n"
    for name in ("approved", "waiting"):
        (folder / "campaigns" / f"{name}.yaml").write_text(text.format(kind="new"), encoding="utf-8")
    settings = Settings.load(folder, tmp_path / "data")
    publish_version(settings, 1)
    campaigns, problems = load_campaigns(settings.campaign_folder, settings.shop)
    assert problems == []
    for day, kind in (("2026-05-01", "older"), ("2026-05-09", "newest")):
        changed = campaigns[0].model_copy(update={"kind": kind})
        write_definition(settings.place.campaigns / "plans" / "approved", f"approved-{day}-0", changed)
    with open_snapshot(settings) as snapshot:
        found = known_campaigns(snapshot).set_index("campaign_id")["kind"].fillna("unknown")
    assert found.to_dict() == {"approved": "newest", "waiting": "new", "K1": "unknown"}


def test_before_the_first_slice_is_published_there_is_no_snapshot(settings: Settings) -> None:
    with pytest.raises(FileNotFoundError, match="nothing is published below"), open_snapshot(settings):
        pass
    with duckdb.connect() as connection:
        publish(settings.place, connection, tables(1), None, AS_OF)
    with pytest.raises(FileNotFoundError, match="run history_job or a slice"), open_snapshot(settings):
        pass


def test_customers_of_the_future_are_in_no_audience(settings: Settings) -> None:
    file = settings.place.landing / "reference" / "customers" / "customers.csv"
    file.parent.mkdir(parents=True)
    moment = f"{AS_OF:%Y-%m-%dT%H:%M:%S}"
    file.write_text(f"customer_id,known_since\nC1,{moment}.000001Z\nC2,{moment}Z\nC3,\n", encoding="utf-8")
    load_reference(settings, "customers", AS_OF)
    everyone = "select unnest(['C1', 'C2', 'C3', 'C4']) as customer_id, 30 as age"
    with duckdb.connect() as connection:
        publish(settings.place, connection, {**tables(1), "customer_features": everyone}, AS_OF, AS_OF)
    (campaign,), _ = load_campaigns(settings.campaign_folder, settings.shop, [])
    with open_snapshot(settings) as snapshot:
        audiences, problems = audiences_of(snapshot, [campaign.model_copy(update={"audience": "everyone"})])
    assert not problems
    assert [list(ids) for ids in audiences.values()] == [["C2", "C3", "C4"]]
