"""Lines of web server logs: what is a click, what is skipped and why, and what is no line of a log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer360.adapters import weblog
from customer360.adapters.rows import Click, EventIds, RowError, Skip
from customer360.adapters.weblog import Weblog
from customer360.settings import SettingsError

KEY = b"a secret of the shop"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
RULES: dict[str, Any] = {
    "events": [
        {"event": "view_item", "path": r"/p/(?P<product_id>[\w-]+)"},
        {
            "event": "add_to_cart",
            "path": "/cart",
            "method": "POST",
            "query": {"product_id": "sku", "quantity": "n"},
            "redirects": True,
        },
        {"event": "page_view", "path": "/|/c/.*"},
    ],
}


def line(
    request: str = "GET /p/L-100 HTTP/1.1",
    *,
    host: str = "203.0.113.9",
    user: str = "-",
    time: str = "01/May/2026:10:01:12 +0200",
    status: int = 200,
    referrer: str = "-",
    agent: str = FIREFOX,
    rest: str = "",
) -> str:
    return f'{host} - {user} [{time}] "{request}" {status} 512 "{referrer}" "{agent}"{rest}'


def read(text: str, **changes: Any) -> list[Click] | Skip:
    return weblog.clicks(text, Weblog.model_validate({**RULES, **changes}), KEY, EventIds())


def one(text: str, **changes: Any) -> Click:
    found = read(text, **changes)
    assert isinstance(found, list)
    (click,) = found
    return {column: value for column, value in click.items() if value is not None}


def test_a_request_becomes_the_click_that_its_rule_says() -> None:
    text = line(
        "GET /p/L-100?utm_source=news&utm_campaign=may&mail=a@b.example HTTP/2.0", referrer="https://shop.example/?q=lamp"
    )
    click = one(text)
    assert len(click.pop("visitor_id")) == len(click.pop("event_id")) == 32
    assert click == {
        "event_name": "view_item",
        "event_at": datetime(2026, 5, 1, 8, 1, 12, tzinfo=UTC),
        "product_id": "L-100",
        "page_url": "/p/L-100",
        "referrer": "https://shop.example/",
        "utm_source": "news",
        "utm_campaign": "may",
        "device": "desktop",
    }


@pytest.mark.parametrize(
    ("time", "utc"),
    [
        ("31/Dec/2025:23:59:59 -0130", datetime(2026, 1, 1, 1, 29, 59, tzinfo=UTC)),
        ("01/Jan/2026:00:00:00 +0545", datetime(2025, 12, 31, 18, 15, tzinfo=UTC)),
        ("29/Feb/2028:12:00:00 +0000", datetime(2028, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_offsets_are_converted_to_utc(time: str, utc: datetime) -> None:
    assert one(line(time=time))["event_at"] == utc


def test_parameters_of_the_query_fill_the_columns_that_a_rule_names() -> None:
    click = one(line("POST /cart?sku=B-7&n=4&sku=B-8 HTTP/1.1", status=303))
    assert (click["event_name"], click["product_id"], click["quantity"]) == ("add_to_cart", "B-7", "4")


def test_the_address_stays_out_and_tells_visitors_apart_with_the_agent_and_the_key() -> None:
    visitors = {
        weblog.clicks(text, Weblog.model_validate(RULES), key, EventIds())[0]["visitor_id"]  # type: ignore[index]
        for key in (KEY, b"another secret here")
        for text in (line(), line(host="2001:db8::7"), line(agent="Mozilla/5.0 (iPhone) Mobile"))
    }
    assert len(visitors) == 6
    assert "2001:db8" not in str(read(line(host="2001:db8::7")))


def test_a_logged_cookie_is_the_visitor_and_a_missing_one_is_not_made_up() -> None:
    fields = {"further_fields": ["-", "visitor_id"]}
    assert one(line(user="c-1", rest=' "gzip" "v-90"'), **fields)["visitor_id"] == "v-90"
    assert "visitor_id" not in one(line(user="c-1", rest=' "gzip" "-"'), **fields)
    with pytest.raises(RowError, match=r"has 1 fields in quotes behind the user agent, weblog\.yaml names 2"):
        read(line(rest=' "gzip"'), **fields)


def test_the_user_is_the_customer_unless_the_shop_says_otherwise() -> None:
    assert one(line(user="jane doe"))["customer_id"] == "jane doe"
    assert "customer_id" not in one(line(user="jane"), user="ignore")
    assert "customer_id" not in one(line(user="-"))


def test_escapes_of_apache_and_nginx_are_read() -> None:
    click = one(line(r"GET /c/\"x\" HTTP/1.1", referrer=r"https://a.example/\xc3\xa9\x22", agent=r"Moz \"illa\" \\ iPad"))
    assert (click["page_url"], click["referrer"], click["device"]) == ('/c/"x"', 'https://a.example/é"', "tablet")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (line("GET /logo.PNG HTTP/1.1"), "static file"),
        (line(agent="Googlebot/2.1 (+http://www.google.com/bot.html)"), "robot"),
        (line(agent="-"), "robot"),
        (line(status=404), "status 404"),
        (line(status=302), "status 302"),
        (line("HEAD / HTTP/1.1"), "HEAD that no rule names"),
        (line("GET /account HTTP/1.1"), "GET that no rule names"),
        (line("-", status=408), "no HTTP request"),
        (line(r"\x16\x03\x01", status=400), "no HTTP request"),
    ],
)
def test_what_is_no_click_is_skipped_with_its_reason(text: str, reason: str) -> None:
    assert read(text) == Skip(reason)


def test_a_page_that_came_from_a_cache_was_seen() -> None:
    assert one(line(status=304))["event_name"] == "view_item"


@pytest.mark.parametrize(
    "text", ["", "GET /", line()[:-1], line(time="1/5/2026 10:00"), line(time="31/Feb/2026:00:00:00 +0000")]
)
def test_what_is_no_line_of_a_log_is_an_error(text: str) -> None:
    with pytest.raises(RowError, match="is not"):
        read(text)


@given(st.text())
def test_no_text_breaks_the_adapter(text: str) -> None:
    for whole in (text, line(text.replace('"', "'")), line(agent=text), line(time=text), text + line() + text):
        try:
            assert read(whole) is not None
        except RowError as error:
            assert str(error)


def test_equal_lines_are_requests_of_their_own_and_a_grown_file_keeps_its_ids() -> None:
    rules = Weblog.model_validate(RULES)

    def ids(*lines: str) -> list[str]:
        seen = EventIds()
        return [click["event_id"] for text in lines for click in weblog.clicks(text, rules, KEY, seen)]  # type: ignore[union-attr]

    short = ids(line(), line(), line(host="203.0.113.8"))
    assert len(set(short)) == 3
    assert ids(line(), line(), line(host="203.0.113.8"), line())[:3] == short


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("events: []", "events: List should have at least 1 item"),
        ("events: [{event: viewitem, path: /}]", "viewitem is no event of the click contract"),
        ("events: [{event: view_item, path: '('}]", "regular expression"),
        ("events: [{event: view_item, path: '/(?P<sku>.*)'}]", "sku: no column of the click contract"),
        ("events: [{event: view_item, path: /, query: {event_at: t}}]", "event_at: no column of the click contract"),
        ("events: [{event: view_item, path: /, paht: /}]", "Extra inputs are not permitted"),
        ("events: [{event: view_item, path: /}]\nfurther_fields: [cookie]", "write - to skip one"),
        ("events: [", "is not valid YAML"),
    ],
)
def test_a_mistake_in_the_rules_is_told_with_its_place(tmp_path: Path, yaml: str, said: str) -> None:
    (tmp_path / "weblog.yaml").write_text(yaml)
    with pytest.raises(SettingsError, match=said) as caught:
        weblog.load_weblog(tmp_path)
    assert str(tmp_path / "weblog.yaml") in str(caught.value)


def test_without_rules_or_a_key_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"weblog\.yaml does not exist: it says which request is which event"):
        weblog.load_weblog(tmp_path)
    rules = Weblog.model_validate(RULES)
    with pytest.raises(SettingsError, match="CUSTOMER360_VISITOR_KEY has to hold a secret of 16 characters"):
        weblog.visitor_key(rules, {"CUSTOMER360_VISITOR_KEY": "short"})
    assert weblog.visitor_key(rules.model_copy(update={"further_fields": ("visitor_id",)}), {}) == b""
