"""Live slices: the same whatever the order, true to their account of faults, continuous with the history."""

import gzip
import json
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from customer360.lake.landing.contracts import CLICK_COLUMNS
from customer360.lake.raw.raw_clicks import write_raw_slice
from customer360.lake.slices import slice_folder
from customer360.settings import REPOSITORY, Place, Settings, Shop
from customer360.simulation import Faults, Simulation, SimulationError, simulate_history, simulate_slice
from tests.simulation.conftest import file_contents

BUSY = Simulation(customers=1_500, days=15, seed=7, events_per_slice=3_000)
EVERYTHING = Faults(
    duplicates_inside=0.03,
    duplicates_across=0.03,
    restamped=0.02,
    late=0.05,
    poison=0.03,
    new_columns={"app_version": "5.2.1"},
    skewed=0.04,
    skew_seconds=90,
)


def lines_of(place: Place, start: datetime) -> dict[str, list[bytes]]:
    folder = slice_folder(place.landing / "clicks", start)
    return {
        path.name: (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).splitlines()
        for path in sorted(folder.iterdir() if folder.exists() else [])
    }


def is_good(line: bytes) -> bool:
    try:
        event = json.loads(line.decode())
    except ValueError:
        return False
    if not isinstance(event, dict) or not {"event_id", "event_name", "event_at"} <= set(event):
        return False
    numbers = [event.get(name, 0) for name in ("dwell_seconds", "amount", "quantity", "line_no")]
    return (
        bool({"customer_id", "visitor_id"} & set(event))
        and event["event_at"][:4] == "2026"
        and all(isinstance(number, int | float) for number in numbers)
        and numbers[0] >= 0
        and event.get("currency", "EUR") == "EUR"
    )


def events_of(place: Place, start: datetime) -> list[dict]:
    return [json.loads(line) for lines in lines_of(place, start).values() for line in lines if is_good(line)]


def at(event: dict) -> datetime:
    return datetime.fromisoformat(event["event_at"])


def test_a_slice_is_the_same_whenever_it_is_made(synthetic_shop, tmp_path):
    first, second = Place(root=tmp_path / "a"), Place(root=tmp_path / "b")
    starts = [synthetic_shop.slices_start + i * synthetic_shop.slice_width for i in range(3)]
    forwards = [simulate_slice(BUSY, synthetic_shop, first, start, EVERYTHING) for start in starts]
    backwards = [simulate_slice(BUSY, synthetic_shop, second, start, EVERYTHING) for start in reversed(starts)]
    assert forwards == backwards[::-1]
    assert file_contents(first.root) == file_contents(second.root)


def test_a_clean_slice_holds_its_own_events_in_several_producers_files(synthetic_shop, tmp_path):
    place, start = Place(root=tmp_path), synthetic_shop.slices_start
    report = simulate_slice(BUSY, synthetic_shop, place, start)
    files = lines_of(place, start)
    assert {name.split("-2026")[0] for name in files} == {"web-1", "web-2", "app"}
    assert {name.partition(".")[2] for name in files} == {"jsonl", "jsonl.gz"}
    events = events_of(place, start)
    assert len(events) == report["total"]["events"] == report["total"]["lines"]
    assert all(start <= at(event) < start + synthetic_shop.slice_width for event in events)
    assert all(event["event_at"].endswith("Z") for event in events)
    assert len({event["event_id"] for event in events}) == len(events)
    names = {column.name for column in CLICK_COLUMNS}
    assert all(set(event) <= names and None not in event.values() for event in events)


def test_faults_are_exactly_those_of_the_account(synthetic_shop, tmp_path):
    place, width = Place(root=tmp_path), synthetic_shop.slice_width
    before = [synthetic_shop.slices_start + i * width for i in range(8)]
    for start in before:
        simulate_slice(BUSY, synthetic_shop, place, start)
    earlier = {event["event_id"]: event["event_at"] for start in before for event in events_of(place, start)}
    start = before[-1] + width
    clean = Place(root=tmp_path / "clean")
    simulate_slice(BUSY, synthetic_shop, clean, start)
    own = {event["event_id"]: event["event_at"] for event in events_of(clean, start)}
    report = simulate_slice(BUSY, synthetic_shop, place, start, EVERYTHING)
    assert json.loads((tmp_path / "truth/slices" / f"{start:%Y-%m-%d-%H%M}.json").read_text()) == report

    total = report["total"]
    for name, lines in lines_of(place, start).items():
        account = report["files"][name]
        assert len(lines) == account["lines"]
        assert sum(not is_good(line) for line in lines) == account["poison"] == sum(account["poison_kinds"].values())
        assert sum(b"app_version" in line for line in lines if is_good(line)) - account["new_columns"] >= 0
    events = events_of(place, start)
    copies = Counter(event["event_id"] for event in events)
    assert set(own) <= set(copies)
    assert set(copies) <= set(own) | set(earlier)
    from_earlier = sum(copies[event_id] for event_id in copies if event_id in earlier)
    sent_again = sum(copies[event_id] - 1 for event_id in own) + from_earlier
    assert sent_again == total["duplicates_inside"] + total["duplicates_across"] + total["restamped"]
    unchanged = sum(earlier.get(event["event_id"]) == event["event_at"] for event in events)
    assert unchanged == total["duplicates_across"]
    times: dict[str, list[datetime]] = {}
    for event in events:
        times.setdefault(event["event_id"], []).append(at(event))
    shifts = [max(times[event_id]) - datetime.fromisoformat(moment) for event_id, moment in own.items()]
    assert sum(shift < timedelta(minutes=-12) for shift in shifts) == total["late"]
    assert min(shifts) >= timedelta(hours=-48)
    assert sum(shift == timedelta(seconds=90) for shift in shifts) <= total["skewed"]
    n = total["events"]
    for name, share in (("duplicates_inside", 0.03), ("duplicates_across", 0.03), ("restamped", 0.02), ("late", 0.05)):
        assert total[name] == round(n * share), name
    assert total["skewed"] == round(n * 0.04)
    assert total["poison"] == pytest.approx(n * 0.03, rel=0.1)
    assert total["lines"] == n + sent_again + total["poison"]


def test_every_share_above_zero_shows_even_in_a_small_slice(synthetic_shop, tmp_path):
    small = Simulation(customers=100, days=2, seed=1)
    total = simulate_slice(small, synthetic_shop, Place(root=tmp_path), synthetic_shop.slices_start, Faults.everyday())["total"]
    names = ("duplicates_inside", "restamped", "late", "poison")
    assert min(total[name] for name in names) >= 1


def test_a_truncated_file_ends_in_the_middle(synthetic_shop, tmp_path):
    place, start = Place(root=tmp_path), synthetic_shop.slices_start
    report = simulate_slice(BUSY, synthetic_shop, place, start, Faults(truncated_files=1))
    assert report["total"]["truncated_files"] == 1
    for name, account in report["files"].items():
        content = (slice_folder(place.landing / "clicks", start) / name).read_bytes()
        if account["is_truncated"]:
            with pytest.raises((EOFError, zlib.error)):
                gzip.decompress(content)
        elif name.endswith(".gz"):
            assert len(gzip.decompress(content).splitlines()) == account["lines"]


def with_slices(shop: Shop, minutes: int, start: datetime) -> Shop:
    values = shop.model_dump(by_alias=True, exclude={"resolved_categories"})
    return Shop.model_validate({**values, "slice_minutes": minutes, "slices_start": start})


@pytest.mark.parametrize("minutes", [5, 60, 1440])
def test_any_slice_width_cuts_the_same_traffic(synthetic_shop, tmp_path, minutes):
    simulation = Simulation(customers=600, days=1, seed=9)
    start = datetime(2026, 3, 29, tzinfo=UTC)
    ids = {}
    for width in (15, minutes):
        shop = with_slices(synthetic_shop, width, start)
        place = Place(root=tmp_path / str(width))
        moments = [start + number * shop.slice_width for number in range(max(60 // width, 1))]
        for moment in moments:
            simulate_slice(simulation, shop, place, moment)
        events = [event for moment in moments for event in events_of(place, moment)]
        ids[width] = {event["event_id"] for event in events if at(event) < start + timedelta(hours=1)}
    assert ids[15] == ids[minutes]
    assert len(ids[15]) > 5


def test_visits_go_on_from_the_history_into_the_first_slice(synthetic_shop, tmp_path):
    simulation = Simulation(customers=2_000, days=1, seed=2, events_per_slice=2_000)
    place = Place(root=tmp_path)
    simulate_history(simulation, synthetic_shop, place)
    faults = Faults(duplicates_across=0.2)
    total = simulate_slice(simulation, synthetic_shop, place, synthetic_shop.slices_start, faults)["total"]
    history = pq.read_table(place.landing / "history").to_pandas()
    live = events_of(place, synthetic_shop.slices_start)
    known = set(history["event_id"])
    again = [event for event in live if event["event_id"] in known]
    own = [event for event in live if event["event_id"] not in known]
    assert len(again) == total["duplicates_across"] == round(len(own) * 0.2)
    assert all(at(event) >= synthetic_shop.slices_start for event in own)
    assert len({event.get("session_id") for event in own} & set(history["session_id"].dropna())) > 10


def test_a_moment_that_starts_no_live_slice_is_refused(synthetic_shop, tmp_path):
    place, start = Place(root=tmp_path), synthetic_shop.slices_start
    for wrong in (start + timedelta(minutes=1), start - synthetic_shop.slice_width, start.replace(tzinfo=None)):
        with pytest.raises(SimulationError):
            simulate_slice(BUSY, synthetic_shop, place, wrong)
    with pytest.raises(SimulationError, match=r"Faults\.late"):
        Faults(late=1.5)


def test_the_load_is_the_one_that_was_asked_for(synthetic_shop, tmp_path):
    loaded = Simulation(customers=1_000, seed=3, events_per_slice=20_000, flat=True)
    total = simulate_slice(loaded, synthetic_shop, Place(root=tmp_path), synthetic_shop.slices_start)["total"]
    assert total["events"] == pytest.approx(20_000, rel=0.08)


def test_the_validator_quarantines_exactly_the_poison(tmp_path):
    settings = Settings.load(REPOSITORY / "shops" / "synthetic", tmp_path)
    start = settings.shop.slices_start
    total = simulate_slice(BUSY, settings.shop, settings.place, start, EVERYTHING)["total"]
    counts = write_raw_slice(settings, start)
    assert (counts.lines, counts.quarantined) == (total["lines"], total["poison"])
    copies = total["duplicates_inside"] + total["duplicates_across"] + total["restamped"]
    assert total["duplicates_inside"] <= counts.duplicates <= copies
    assert counts.good == total["events"] + copies - counts.duplicates
