"""Reference tables and history: what they hold, and that the same seed gives the same files."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from customer360.lake.landing.contracts import CLICK_COLUMNS, EVENT_NAMES, reference_tables
from customer360.settings import Place, Shop
from customer360.simulation import Drift, Simulation, SimulationError, simulate_history
from customer360.simulation.truth import read_simulation
from tests.simulation.conftest import Simulated, file_contents

SMALL = Simulation(customers=150, days=3, seed=11)


@pytest.fixture(scope="module")
def clicks(simulated: Simulated) -> pd.DataFrame:
    return simulated.history().to_pandas()


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(synthetic_shop, tmp_path):
    first, second, third = (Place(root=tmp_path / name) for name in "abc")
    assert simulate_history(SMALL, synthetic_shop, first) == simulate_history(SMALL, synthetic_shop, second)
    simulate_history(Simulation(customers=150, days=3, seed=12), synthetic_shop, third)
    assert file_contents(first.root) == file_contents(second.root)
    assert file_contents(first.landing / "history") != file_contents(third.landing / "history")


def test_history_has_the_contracts_columns_and_types(simulated):
    for path in (simulated.place.landing / "history").glob("*.parquet"):
        described = duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
        assert [(row[0], row[1]) for row in described] == [(column.name, column.type) for column in CLICK_COLUMNS]


def test_every_event_keeps_the_click_contract(clicks, synthetic_shop):
    assert clicks["event_id"].is_unique
    assert clicks["event_id"].str.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").all()
    of_the_mailer = {"campaign_clicked", "consent_changed"}
    assert set(clicks["event_name"]) == set(EVENT_NAMES) - of_the_mailer
    assert (clicks["customer_id"].notna() | clicks["visitor_id"].notna()).all()
    is_purchase = clicks["event_name"] == "purchase"
    for column in ("order_id", "line_no", "quantity", "amount", "currency"):
        assert (clicks[column].notna() == is_purchase).all(), column
    assert clicks.loc[is_purchase, "customer_id"].notna().all()
    assert set(clicks.loc[is_purchase, "currency"]) == {synthetic_shop.currency}
    assert ((clicks["dwell_seconds"] > 0) == (clicks["event_name"] == "view_item")).all()
    is_offer = clicks["event_name"].isin(["view_promotion", "select_promotion"])
    assert (clicks["offer_id"].notna() == is_offer).all()


def test_history_covers_its_days_and_ends_where_the_live_slices_start(simulated, clicks):
    end = simulated.shop.slices_start.replace(tzinfo=None)
    start = end - timedelta(days=15)
    assert clicks["event_at"].min() >= start
    assert clicks["event_at"].min() < start + timedelta(hours=1)
    assert clicks["event_at"].max() < end
    assert clicks["event_at"].max() > end - timedelta(minutes=5)
    for path in (simulated.place.landing / "history").glob("*.parquet"):
        assert set(pd.DatetimeIndex(pq.read_table(path)["event_at"].to_pandas()).strftime("clicks-%Y-%m-%d")) == {path.stem}


def test_amounts_are_price_times_quantity_and_lines_are_numbered(simulated, clicks):
    products = pd.read_csv(simulated.place.landing / "reference/products/products.csv").set_index("product_id")
    lines = clicks[clicks["event_name"] == "purchase"]
    expected = lines["product_id"].map(products["price"]) * lines["quantity"]
    assert np.allclose(lines["amount"].astype(float), expected)
    assert not lines.duplicated(["order_id", "line_no"]).any()
    numbered = lines.groupby("order_id")["line_no"].agg(["min", "max", "count"])
    assert (numbered["min"] == 1).all()
    assert (numbered["max"] == numbered["count"]).all()
    assert (lines.groupby("order_id")["event_at"].nunique() == 1).all()


def test_reference_tables_keep_their_contracts(simulated):
    tables = reference_tables(simulated.shop)
    folder = simulated.place.landing / "reference"
    written = {path.name for path in folder.iterdir()}
    assert written == {"customers", "products", "categories", "offers", "campaigns", "campaign_touches"}
    for name in written:
        file = folder / name / f"{name}.csv"
        header = file.read_text().partition("\n")[0].split(",")
        types = {column.name: column.type for column in tables[name].columns if column.name in header}
        table = duckdb.sql(f"SELECT * FROM read_csv('{file}', columns={types})")
        assert table.columns == header  # no column outside the contract
        frame = table.df()
        assert len(frame) == simulated.counts["reference"][name]
        assert not frame.duplicated(list(tables[name].key)).any()
        for column in tables[name].columns:
            assert not (column.required and frame[column.name].isna().any()), (name, column.name)  # KeyError where it lacks


def test_events_refer_to_rows_of_the_reference_tables(simulated, clicks):
    folder = simulated.place.landing / "reference"
    for column, table in (
        ("customer_id", "customers"),
        ("product_id", "products"),
        ("category_id", "categories"),
        ("offer_id", "offers"),
        ("campaign_id", "campaigns"),
    ):
        known = set(pd.read_csv(folder / table / f"{table}.csv")[column])
        assert set(clicks[column].dropna()) <= known
        assert clicks[column].notna().any()


def test_volumes_are_those_of_a_natural_shop(simulated, clicks):
    a_day = len(clicks) / 15 / 1_500
    assert 3.0 < a_day < 3.6
    last_week = clicks[clicks["event_at"] >= clicks["event_at"].max() - timedelta(days=7)]
    buyers = last_week.loc[last_week["event_name"] == "purchase", "customer_id"].nunique() / 1_500
    assert 0.15 <= buyers <= 0.25
    shown = (clicks["event_name"] == "view_promotion").sum()
    clicked = (clicks["event_name"] == "select_promotion").sum()
    assert 0.006 < clicked / shown < 0.016


def test_some_visits_log_in_half_way_and_a_few_devices_belong_to_two_customers(clicks):
    sessions = clicks.dropna(subset=["session_id"]).groupby("session_id")["customer_id"]
    known, events = sessions.count(), sessions.size()
    assert 0.05 < ((known > 0) & (known < events)).mean() < 0.4
    assert (known == 0).any()
    assert (sessions.nunique() <= 1).all()
    owners = clicks.dropna(subset=["visitor_id", "customer_id"]).groupby("visitor_id")["customer_id"].nunique()
    assert set(owners) == {1, 2}
    assert (owners == 2).mean() < 0.03
    assert clicks["visitor_id"].isna().any()


def test_purchases_follow_the_true_affinity_and_recent_browsing(simulated, clicks):
    truth = pd.read_parquet(simulated.place.root / "truth" / "customers.parquet").set_index("customer_id")
    products = pd.read_csv(simulated.place.landing / "reference/products/products.csv").set_index("product_id")
    clicks = clicks.assign(category=clicks["product_id"].map(products["category_id"]))
    bought = clicks[clicks["event_name"] == "purchase"]
    affinity = truth.filter(like="affinity_").rename(columns=lambda name: name.removeprefix("affinity_"))
    of_bought = [affinity.at[row.customer_id, row.category] for row in bought.itertuples()]
    assert np.mean(of_bought) > 1.5 / 5
    # The category viewed most in the week before says more about the next purchase than the lasting favourite does.
    cut = clicks["event_at"].max() - timedelta(days=7)
    views = clicks[(clicks["event_name"] == "view_item") & clicks["event_at"].between(cut - timedelta(days=7), cut)]
    favourite = views.groupby(["customer_id", "category"]).size().unstack(fill_value=0).idxmax(axis=1)
    after = bought[(bought["event_at"] > cut) & bought["customer_id"].isin(favourite.index)]
    by_browsing = (after["customer_id"].map(favourite) == after["category"]).mean()
    by_affinity = (after["customer_id"].map(affinity.idxmax(axis=1)) == after["category"]).mean()
    assert by_browsing > by_affinity > 0.3


def test_a_touch_of_the_historys_days_converted_where_the_clicks_have_an_order_to_which_contacts_add(simulated, clicks):
    touches = pd.read_csv(simulated.place.landing / "reference/campaign_touches/campaign_touches.csv")
    touches["touched_at"] = pd.to_datetime(touches["touched_at"]).dt.tz_localize(None)
    start = simulated.shop.slices_start.replace(tzinfo=None) - timedelta(days=15)
    recent = touches[touches["touched_at"] >= start]
    orders = clicks[clicks["event_name"] == "purchase"].groupby("customer_id")["event_at"].agg(list)
    has_ordered = np.array(
        [
            any(touch.touched_at <= at < touch.touched_at + timedelta(days=3) for at in orders.get(touch.customer_id, []))
            for touch in recent.itertuples()
        ]
    )
    is_control, converted = recent["is_control"].to_numpy(bool), recent["is_converted"].to_numpy(bool)
    assert is_control.any()
    assert (converted == has_ordered).all()
    assert converted[~is_control].mean() - converted[is_control].mean() > 0.04
    assert recent["expected_conversion"].corr(recent["is_converted"].astype(float)) > 0.1


def test_history_may_be_written_as_json_lines(synthetic_shop, simulated, tmp_path):
    simulation = Simulation(customers=50, days=1, seed=3)
    as_parquet, as_lines = Place(root=tmp_path / "a"), Place(root=tmp_path / "b")
    simulate_history(simulation, synthetic_shop, as_parquet)
    simulate_history(simulation, synthetic_shop, as_lines, file_type="jsonl.gz")
    rows = [
        json.loads(line)
        for path in sorted(as_lines.landing.glob("history/*.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    expected = pq.read_table(as_parquet.landing / "history").sort_by("event_at").to_pylist()
    assert len(rows) == len(expected)
    for row, other in zip(sorted(rows, key=lambda row: row["event_at"]), expected, strict=True):
        assert None not in row.values()
        assert datetime.fromisoformat(row.pop("event_at")) == other.pop("event_at").replace(tzinfo=UTC)
        assert row == {k: float(v) if k == "amount" else v for k, v in other.items() if v is not None}


def test_the_truth_stays_out_of_landing(simulated):
    names = {path.name for path in simulated.place.root.iterdir()}
    assert names == {"landing", "truth"}
    assert {path.name for path in simulated.place.landing.iterdir()} == {"history", "reference"}
    columns = set(simulated.history().column_names)
    for path in simulated.place.landing.glob("reference/*/*.csv"):
        columns |= set(pd.read_csv(path, nrows=1).columns)
    assert not {
        name
        for name in columns
        if name.startswith("affinity") or name in {"probability", "propensity", "buying", "orders_anyway"}
    }
    assert not list(simulated.place.root.rglob(".tmp-*"))


def test_a_drift_changes_prices_traffic_and_interests_from_its_date_on(synthetic_shop, tmp_path):
    start = synthetic_shop.slices_start - timedelta(days=4)
    drift = Drift(start, traffic_mix=2.0, price_level=1.25, swap=("computers", "beauty"))
    place = Place(root=tmp_path)
    simulate_history(Simulation(customers=1_000, days=8, seed=5, drift=drift), synthetic_shop, place)
    clicks = pq.read_table(place.landing / "history").to_pandas()
    prices = pd.read_csv(place.landing / "reference/products/products.csv").set_index("product_id")
    edge = start.replace(tzinfo=None)
    before, after = clicks[clicks["event_at"] < edge], clicks[clicks["event_at"] >= edge + timedelta(minutes=30)]

    def level(frame):
        lines = frame[frame["event_name"] == "purchase"]
        return (lines["amount"].astype(float) / lines["quantity"] / lines["product_id"].map(prices["price"])).round(2).unique()

    def paid(frame):
        return (frame.loc[frame["page_url"].str.endswith("/"), "utm_medium"].isin(["cpc", "social"])).mean()

    def share(frame, customers, category):
        viewed = frame[(frame["event_name"] == "view_item") & frame["customer_id"].isin(customers)]["product_id"]
        return (viewed.map(prices["category_id"]) == category).mean()

    assert list(level(before)) == [1.0]
    assert list(level(after)) == [1.25]
    assert paid(after) > 1.5 * paid(before)
    truth = pd.read_parquet(tmp_path / "truth" / "customers.parquet")
    technical = truth.loc[truth["affinity_computers"] > 0.5, "customer_id"]
    assert share(before, technical, "computers") > 0.4
    assert share(after, technical, "computers") < 0.2
    assert share(after, technical, "beauty") > 0.4


def test_after_a_drift_of_what_is_bought_people_browse_as_before_and_buy_the_other_category(synthetic_shop, tmp_path):
    start = synthetic_shop.slices_start - timedelta(days=4)
    clicks = {}
    for name, drift in (("calm", None), ("drifted", Drift(start, bought_swap=("computers", "beauty")))):
        place = Place(root=tmp_path / name)
        simulate_history(Simulation(customers=1_000, days=8, seed=5, drift=drift), synthetic_shop, place)
        clicks[name] = pq.read_table(place.landing / "history").to_pandas().set_index("event_id")
        assert read_simulation(place).drift == drift
    calm, drifted = clicks["calm"], clicks["drifted"]
    categories = pd.read_csv(place.landing / "reference/products/products.csv").set_index("product_id")["category_id"]
    is_purchase = calm["event_name"] == "purchase"
    pd.testing.assert_frame_equal(calm[~is_purchase], drifted.loc[calm.index[~is_purchase]])
    bought = pd.DataFrame(
        {name: frame.loc[calm.index[is_purchase], "product_id"].map(categories) for name, frame in clicks.items()}
    )
    # a visit that goes on over the edge buys as it began
    at = calm.loc[is_purchase, "event_at"]
    before, after = bought[at < start.replace(tzinfo=None)], bought[at >= start.replace(tzinfo=None) + timedelta(hours=1)]
    assert (before["calm"] == before["drifted"]).all()
    expected = after["calm"].replace({"computers": "beauty", "beauty": "computers"})
    assert (after["drifted"] == expected).all()
    assert set(after["calm"]) >= {"computers", "beauty", "fitness"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"categories": ["photography", "computers", "toys", "apparel", "beauty"]}, "lists toys; leaves out fitness"),
        ({"channels": ["email", "call", "sms", "pigeon"]}, "channels pigeon"),
        ({"dayparts": {"night": {"from": 0, "to": 6}}}, "dayparts night"),
        ({"attributes": {"shoe_size": {"type": "integer"}}}, "attributes shoe_size"),
    ],
)
def test_a_shop_that_is_not_the_synthetic_one_is_refused_with_the_remedy(synthetic_shop, tmp_path, change, words):
    values = synthetic_shop.model_dump(by_alias=True, exclude={"resolved_categories"}) | change
    with pytest.raises(SimulationError, match=words):
        simulate_history(SMALL, Shop.model_validate(values), Place(root=tmp_path))
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_simulation_of_nothing_is_refused():
    for wrong in (
        {"customers": 0},
        {"days": 0},
        {"events_per_slice": 0},
        {"base_conversion": 1.0},
        {"touch_days": 3},
        {"control_share": 1.0},
    ):
        with pytest.raises(SimulationError):
            Simulation(**wrong)
