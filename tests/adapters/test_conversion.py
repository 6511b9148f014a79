"""Conversion of foreign files: their landing files, that a second conversion adds nothing, and the count of every row."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from customer360.adapters import conversion
from customer360.adapters.conversion import Converted, Into, convert
from customer360.adapters.formats import ConversionError
from customer360.lake.raw.raw_clicks import write_raw_slice
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop

START = datetime(2026, 5, 1, tzinfo=UTC)
NOW = datetime(2026, 5, 1, 10, 7, tzinfo=UTC)
ENVIRONMENT = {"CUSTOMER360_VISITOR_KEY": "a secret of the shop"}
RULES = "events: [{event: view_item, path: '/p/(?P<product_id>.*)'}]\n"


def log_line(time: str, path: str = "/p/L-100", status: int = 200) -> str:
    return f'203.0.113.9 - - [{time} +0000] "GET {path} HTTP/1.1" {status} 512 "-" "Firefox"\n'


LOG = (
    log_line("30/Apr/2026:23:59:59")
    + log_line("01/May/2026:10:01:12")
    + log_line("01/May/2026:10:01:12")
    + log_line("01/May/2026:10:16:00", "/p/B-7")
    + log_line("01/May/2026:10:16:00", "/p/B-7", 404)
    + "\n"
    + "not a line of a log\n"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "weblog.yaml").write_text(RULES)
    return Settings(shop=small_shop(live=True), place=Place(root=tmp_path / "data"), shop_folder=tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text(LOG)
    return path


def run(settings: Settings, source: Path, into: Into | datetime = Into.EVENT_TIME, **changes: Any) -> Converted:
    values = {"name": "weblog", "now": NOW, "environment": ENVIRONMENT, **changes}
    return convert(settings, values.pop("name"), source, into=into, **values)


def landed(settings: Settings) -> dict[str, list[str]]:
    """The products in each landing file, by its folder."""
    files = sorted(path for path in settings.place.landing.rglob("*") if path.is_file())
    return {
        path.parent.relative_to(settings.place.landing).as_posix(): [
            json.loads(line)["product_id"] for line in path.read_text().splitlines()
        ]
        for path in files
    }


def test_by_event_time_a_click_goes_to_its_slice_and_an_old_one_to_the_history(settings: Settings, log: Path) -> None:
    done = run(settings, log)
    assert landed(settings) == {
        "clicks/2026/05/01/1000": ["L-100", "L-100"],
        "clicks/2026/05/01/1015": ["B-7"],
        "history": ["L-100"],
    }
    assert len(done.written) == 3
    assert list(settings.place.root.glob(".tmp-*")) == []


def test_every_row_is_used_skipped_or_rejected_with_its_line_and_reason(settings: Settings, log: Path) -> None:
    done = run(settings, log)
    assert (done.rows, done.used, done.clicks, done.skipped, done.rejected) == (6, 4, 4, {"status 404": 1}, 1)
    assert done.first_rejects == ["line 7: is not in the combined log format"]
    assert done.rejects_file is not None
    assert json.loads(done.rejects_file.read_text()) == {
        "file": "access.log",
        "line": 7,
        "reason": "is not in the combined log format",
        "row": "not a line of a log",
    }


def test_converting_twice_changes_no_file_compressed_or_not(settings: Settings, log: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in run(settings, log).written}
    packed = log.with_name("access.log.1.gz")
    packed.write_bytes(gzip.compress(LOG.encode()))
    again = run(settings, packed)
    assert (again.written, sorted(again.unchanged)) == ([], sorted(times))
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_other_rules_replace_what_the_same_file_gave_before(settings: Settings, log: Path) -> None:
    run(settings, log)
    (settings.shop_folder / "weblog.yaml").write_text(RULES.replace("/p/(", "/p/(?!L)("))
    done = run(settings, log)
    assert landed(settings) == {"clicks/2026/05/01/1015": ["B-7"]}
    assert len(done.removed) == 2


def test_rejects_that_are_mended_go(settings: Settings, log: Path) -> None:
    log.write_text(LOG.replace("not a line of a log\n", ""))
    assert run(settings, log).rejects_file is None
    assert not (settings.place.quarantine / "adapters").exists()


def test_a_file_goes_to_the_slice_of_now_and_stays_there(settings: Settings, log: Path) -> None:
    run(settings, log, Into.NOW)
    assert set(landed(settings)) == {"clicks/2026/05/01/1000"}
    later = run(settings, log, Into.NOW, now=datetime(2026, 5, 2, tzinfo=UTC))
    assert (len(later.unchanged), set(landed(settings))) == (1, {"clicks/2026/05/01/1000"})
    run(settings, log, datetime(2026, 5, 1, 9, 30, tzinfo=UTC))
    assert set(landed(settings)) == {"clicks/2026/05/01/0930"}


def test_a_log_that_has_grown_adds_only_what_is_new(settings: Settings, log: Path) -> None:
    run(settings, log, Into.NOW)
    log.write_text(LOG + log_line("01/May/2026:10:18:00", "/p/F-20"))
    run(settings, log, Into.NOW)
    counts = write_raw_slice(settings, datetime(2026, 5, 1, 10, tzinfo=UTC))
    assert (counts.files, counts.lines, counts.good, counts.duplicates, counts.quarantined) == (2, 9, 5, 4, 0)


def test_large_files_pass_through_the_disk(settings: Settings, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "SPOOLED_BYTES", 1)
    run(settings, log)
    assert [len(products) for products in landed(settings).values()] == [2, 1, 1]


def test_times_that_no_slice_will_hold_are_rejected(settings: Settings, log: Path) -> None:
    ended = settings.model_copy(
        update={"shop": small_shop(live=False, slices_end=datetime(2026, 5, 1, 10, 15, tzinfo=UTC))},
    )
    assert run(ended, log).first_rejects[0] == "line 4: event_at: 2026-05-01 10:16:00+00:00 lies after slices_end of shop.yaml"
    early = run(settings, log, now=START)
    assert early.first_rejects[0] == "line 2: event_at: 2026-05-01 10:01:12+00:00 lies in the future"


@pytest.mark.parametrize(
    ("into", "reason"),
    [
        (datetime(2026, 5, 1, 10, 5, tzinfo=UTC), "2026-05-01-10:05 is not the start of a 15-minute slice"),
        (datetime(2026, 4, 30, tzinfo=UTC), "slice 2026-04-30-00:00 is never run"),
        (datetime(2026, 5, 1, 10, 15, tzinfo=UTC), "slice 2026-05-01-10:15 lies in the future"),
    ],
)
def test_a_slice_that_never_comes_is_refused(settings: Settings, log: Path, into: datetime, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        run(settings, log, into)
    assert not settings.place.landing.exists()


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("weblog.gz", gzip.compress(LOG.encode())[:-9], "gzip is damaged or cut short"),
        ("weblog.gz", LOG.encode(), "gzip is damaged or cut short"),
        ("ga4.jsonl", LOG.encode(), "has no row in the format ga4; line 1: is not valid JSON"),
        ("snowplow.txt", b"a", r"is of no known type: \.tsv"),
        ("snowplow.csv", b'event\n"page', "not readable as CSV"),
        ("snowplow.csv", b"event,event_id\nx\n", "line 2: has another number of fields than the header"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_leaves_nothing(
    settings: Settings, tmp_path: Path, file: str, content: bytes, reason: str
) -> None:
    source = tmp_path / file
    source.write_bytes(content)
    with pytest.raises(ConversionError, match=reason) as caught:
        run(settings, source, name=file.split(".", maxsplit=1)[0])
    assert file in str(caught.value)
    assert not settings.place.landing.exists()


def test_a_folder_is_no_file(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="is a folder; name its files"):
        run(settings, tmp_path)


def test_bytes_that_are_no_text_stay_one_line(settings: Settings, log: Path) -> None:
    log.write_bytes(LOG.encode().replace(b"/p/B-7", b"/p/\xff\x85"))
    run(settings, log)
    assert landed(settings)["clicks/2026/05/01/1015"] == ["\N{REPLACEMENT CHARACTER}" * 2]


def ga4_event(**changes: Any) -> dict[str, Any]:
    item = {"item_id": "L-100", "price": 10.0, "quantity": 1}
    return {
        "event_name": "view_item",
        "event_timestamp": "1777622472000123",
        "user_pseudo_id": "90.1",
        "items": [item],
        **changes,
    }


def converted_clicks(settings: Settings, tmp_path: Path, *events: dict[str, Any]) -> tuple[Converted, list[dict[str, Any]]]:
    source = tmp_path / "export.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in events))
    done = run(settings, source, name="ga4")
    return done, [json.loads(line) for path in done.written for line in path.read_text().splitlines()]


def test_numeric_ids_of_json_are_whole_numbers_and_placeholders_are_missing(settings: Settings, tmp_path: Path) -> None:
    item = {"item_id": 1001.0, "price": 10.0}
    users = ["c-1", " c-1\u00a0", 1001, 1001.0, "null", "(not set)", "00000000-0000-0000-0000-000000000000", ""]
    _, clicks = converted_clicks(settings, tmp_path, *(ga4_event(user_id=user, items=[item]) for user in users))
    assert [click.get("customer_id") for click in clicks] == ["c-1", "c-1", "1001", "1001", None, None, None, None]
    assert {click["product_id"] for click in clicks} == {"1001"}


def test_an_ambiguous_id_costs_its_row_and_its_value_is_not_shown(settings: Settings, tmp_path: Path) -> None:
    done, clicks = converted_clicks(settings, tmp_path, ga4_event(user_id="1001.0"), ga4_event(user_id="c-1"))
    assert [click["customer_id"] for click in clicks] == ["c-1"]
    (reject,) = done.first_rejects
    assert reject.startswith("line 1: customer_id: is an ambiguous id")
    assert "1001" not in reject


def test_events_of_nobody_are_skipped_but_sales_are_left_to_the_contract(settings: Settings, tmp_path: Path) -> None:
    nobody = {"user_pseudo_id": "00000000-0000-0000-0000-000000000000", "user_id": "-"}
    sale = ga4_event(event_name="purchase", ecommerce={"transaction_id": "o-1"}, **nobody)
    done, clicks = converted_clicks(settings, tmp_path, ga4_event(**nobody), ga4_event(user_pseudo_id=None), sale)
    assert done.skipped == {conversion.ANONYMOUS: 2}
    assert [(click["event_name"], click["amount"]) for click in clicks] == [("purchase", "10.0")]
