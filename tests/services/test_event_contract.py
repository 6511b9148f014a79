"""Events judged when they arrive: what is accepted is not quarantined by its slice, and means there what it meant here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from customer360.lake.landing.contracts import CLICK_COLUMNS
from customer360.services.api.collector.contract import EVENT_BYTES, Arrived, EventError, checked, line_of
from tests.safety.slices import NOON, land, run_slice, settings_at

ARRIVED = Arrived(NOON + timedelta(minutes=7), "EUR")
GOOD = {"event_id": "e1", "event_name": "view_item", "event_at": "2026-05-01T08:00:00Z", "visitor_id": "v1"}
SALE = {**GOOD, "event_name": "purchase", "order_id": "o1", "amount": 19.5}

ids = st.sampled_from(
    [
        "v-1",
        " v 1 ",
        "1001.0",
        "1e5",
        "1.e5",
        "null",
        "(not set)",
        "-",
        "0",
        "é",
        "e\u0301",
        "a\u200bb",
        "\ufeffv",
        "\x00",
        "v\t1",
    ]
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-1000, 1000, places=3).map(str),
    st.sampled_from([0, 1, 2.5, "5.55e-17", "1e400", " 7 ", "0x10", "1_000", 9999999999999999.99, "1e-400", "+3", ".5"]),
)
times = st.one_of(
    st.datetimes(datetime(2025, 1, 1), datetime(2026, 6, 1), timezones=st.just(UTC)).map(datetime.isoformat),  # noqa: DTZ001
    st.sampled_from(
        ["2026-05-01 10:00:00", "2026-05-01T10:00:00.123456789+02:00", "2026-05-01T10:00:00-23:59", "2026-05-01", 1e9]
    ),
)
anything = st.one_of(
    ids, numbers, times, st.text(max_size=20), st.booleans(), st.none(), st.lists(st.integers(), max_size=2), st.just({"a": {}})
)
by_type = {"TIMESTAMP": times, "DOUBLE": numbers, "BIGINT": numbers, "DECIMAL(18,2)": numbers}
changes = st.dictionaries(st.sampled_from([column.name for column in CLICK_COLUMNS]), st.none(), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries(
        {column.name: by_type.get(column.type, ids) | anything for column in CLICK_COLUMNS if column.name in names}
    )
)
unknown = st.dictionaries(st.text(max_size=8), anything, max_size=2)
events = st.builds(lambda good, own, more: {**more, **good, **own}, st.sampled_from([GOOD, SALE]), changes, unknown)


@pytest.mark.full
@hypothesis_settings(max_examples=8)
@given(st.lists(events, min_size=100, max_size=200))
def test_what_is_accepted_is_not_quarantined_and_keeps_its_meaning(made: list[dict[str, Any]]) -> None:
    accepted: list[dict[str, Any]] = []
    lines: list[bytes] = []
    for number, event in enumerate(made):
        try:
            click = checked(msgspec.json.decode(json.dumps({**event, "event_id": f"e{number}"})), ARRIVED)
            lines.append(line_of(click))
            accepted.append(click)
        except EventError as error:
            assert error.field in {"", *event}
            assert error.remedy
    with TemporaryDirectory() as root:
        settings = settings_at(Path(root))
        land(settings, {"api.jsonl": b"\n".join(lines)})
        outcome = run_slice(settings)
    assert [(row["reason"], row["text"]) for row in outcome.bad] == []
    good = {row["event_id"]: row for row in outcome.good}
    for click in accepted:
        row = good[click["event_id"]]
        for column in CLICK_COLUMNS:
            value = click.get(column.name)
            expected = value.replace(tzinfo=None) if isinstance(value, datetime) else value
            assert row[column.name] == expected, (column.name, click)


@pytest.mark.parametrize(
    ("change", "field", "remedy"),
    [
        ({"event_name": None}, "event_name", "is missing"),
        ({"event_at": "yesterday"}, "event_at", "2026-05-01T10:15:00Z"),
        ({"event_at": 1777622400}, "event_at", "send a time"),
        ({"event_at": "2026-05-01T13:07:01Z"}, "event_at", "future"),
        ({"event_at": "2025-03-01T00:00:00Z"}, "event_at", "history"),
        ({"visitor_id": "(not set)"}, "visitor_id", "send one of the two"),
        ({"customer_id": "1001.0"}, "customer_id", "ambiguous"),
        ({"customer_id": True}, "customer_id", "send a text"),
        ({"product_id": 1.5}, "product_id", "whole number"),
        ({"page_url": 7}, "page_url", "send text"),
        ({"page_url": "x" * 9000}, "page_url", "at most 8192"),
        ({"dwell_seconds": -1}, "dwell_seconds", "below 0"),
        ({"dwell_seconds": "long"}, "dwell_seconds", "send a number"),
        ({"line_no": 1.5}, "line_no", "whole number"),
        ({"event_name": "purchase"}, "order_id", "is missing in a purchase"),
        ({"event_name": "purchase", "order_id": "o1"}, "amount", "is missing in a purchase"),
        ({"currency": "USD"}, "currency", "send amounts in EUR"),
        ({"note": "x" * EVENT_BYTES}, "", "at most 65536 bytes"),
        ({"note": "\ud800"}, "", "valid Unicode"),
    ],
)
def test_a_refusal_names_the_field_and_the_remedy(change: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(EventError) as refused:
        line_of(checked({**GOOD, **change}, ARRIVED))
    assert refused.value.field == field
    assert remedy in refused.value.remedy


def test_numbers_as_text_amounts_and_ids_have_the_contracts_form() -> None:
    given = {**SALE, "customer_id": 1001.0, "amount": "19.505", "quantity": "2", "line_no": 1.0, "coupon": "MAY"}
    line = json.loads(line_of(checked(given, ARRIVED)))
    assert line == {
        **SALE,
        "customer_id": "1001",
        "amount": "19.51",
        "quantity": 2.0,
        "line_no": 1,
        "coupon": "MAY",
    }
    assert checked({**SALE, "amount": "-0.005"}, ARRIVED)["amount"] == Decimal("-0.01")
