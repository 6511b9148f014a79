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
    further: str = "",
) -> str:
    return f'{host} - {user} [{time}] "{request}" {status} 512 "{referrer}" "{agent}"{further}'


def read(text: str, **changes: Any) -> list[Click] | Skip:
    return weblog.clicks(text, Weblog.model_validate({**RULES, **changes}), KEY, EventIds())


def only_click(text: str, **changes: Any) -> Click:
    found = read(text, **changes)
    assert isinstance(found, list)
    (click,) = found
    return {column: value for column, value in click.items() if value is not None}


def test_a_request_becomes_the_click_that_its_rule_says() -> None:
    text = line(
        "GET /p/L-100?utm_source=news&utm_campaign=may&mail=a@b.example HTTP/2.0", referrer="https://shop.example/?q=lamp"
    )
    click = only_click(text)
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
    assert only_click(line(time=time))["event_at"] == utc


def test_parameters_of_the_query_fill_the_columns_that_a_rule_names() -> None:
    click = only_click(line("POST /cart?sku=B-7&n=4&sku=B-8 HTTP/1.1", status=303))
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
    assert only_click(line(user="c-1", further=' "gzip" "v-90"'), **fields)["visitor_id"] == "v-90"
    assert "visitor_id" not in only_click(line(user="c-1", further=' "gzip" "-"'), **fields)
    with pytest.raises(RowError, match=r"has 1 fields in quotes behind the user agent, weblog\.yaml names 2"):
        read(line(further=' "gzip"'), **fields)


def test_the_user_is_the_customer_unless_the_shop_says_otherwise() -> None:
    assert only_click(line(user="jane doe"))["customer_id"] == "jane doe"
    assert "customer_id" not in only_click(line(user="jane"), user="ignore")
    assert "customer_id" not in only_click(line(user="-"))


def test_escapes_of_apache_and_nginx_are_read() -> None:
    click = only_click(
        line(r"GET /c/\"x\" HTTP/1.1", referrer=r"https://a.example/\xc3\xa9\x22", agent=r"Moz \"illa\" \\ iPad")
    )
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
    assert only_click(line(status=304))["event_name"] == "view_item"


def request(head: str, request_line: str = "GET /p/L-100 HTTP/1.1", agent: str = FIREFOX) -> str:
    return f'{head} [01/May/2026:10:01:12 +0200] "{request_line}" 200 512 "-" "{agent}"'


CLIENT = only_click(line(host="203.0.113.9"))["visitor_id"]


@pytest.mark.parametrize(
    ("head", "customer"),
    [
        ("203.0.113.9 - -", None),
        ("203.0.113.9, 10.0.0.1 - -", None),  # %{X-Forwarded-For}i
        ("203.0.113.9, 10.0.0.1 - jane", "jane"),
        ("203.0.113.9,10.0.0.1 - jane", "jane"),
        ("203.0.113.9,10.0.0.1,172.16.0.1 - -", None),
        ("203.0.113.9 , 10.0.0.1 - jane", "jane"),
        ('"203.0.113.9,10.0.0.1" - doe,jane', "doe,jane"),
        ("203.0.113.9, ::ffff:104.129.200.79, 10.0.0.1 - jane doe", "jane doe"),
        ("203.0.113.9 10.0.0.1 - -", None),  # %{X-Forwarded-For}i %h
        ("203.0.113.9, 192.0.2.4 10.0.0.1 - jane", "jane"),
        ('"203.0.113.9, 10.0.0.1" - jane', "jane"),
        ("203.0.113.9:51744 - -", None),  # a balancer that adds the port
        ("203.0.113.9:51744, 10.0.0.1:80 - -", None),
        ("unknown, 203.0.113.9 - -", None),  # RFC 7239 and Squid: a proxy that hides its client
        ("- 203.0.113.9 - jane", "jane"),
        ("shop.example:443 203.0.113.9 - -", None),  # vhost_combined: %v:%p
        ("shop.example 203.0.113.9, 10.0.0.1 - jane", "jane"),
        ("www.shop.example:80 203.0.113.9 - jane", "jane"),
    ],
)
def test_the_first_address_of_a_list_is_the_client_with_or_without_a_virtual_host(head: str, customer: str | None) -> None:
    click = only_click(request(head))
    assert (click["visitor_id"], click.get("customer_id")) == (CLIENT, customer)


def test_a_proxys_address_in_parentheses_follows_that_of_the_balancer() -> None:
    assert only_click(request("10.0.2.100 (203.0.113.9, 162.158.74.157) - jane"))["customer_id"] == "jane"
    assert only_click(request("10.0.2.101 (-) - jane"))["customer_id"] == "jane"


def test_hosts_by_name_are_clients_too() -> None:
    names = ("localhost - -", "ip-217-105-39-28.isp.example - -", "shop.example:443 ip-217-105-39-28.isp.example - jane")
    clicks = [only_click(request(head)) for head in names]
    assert len({click["visitor_id"] for click in clicks}) == 2
    assert [click.get("customer_id") for click in clicks] == [None, None, "jane"]


@pytest.mark.parametrize("head", ["- - -", "- - jane"])
def test_without_an_address_there_is_no_visitor(head: str) -> None:
    assert "visitor_id" not in only_click(request(head))


@pytest.mark.parametrize(
    "head",
    [
        "66.249.79.94 - shop.example shop.example -",  # %h %l %v %V %u
        "203.0.113.9 - - -",
        "203.0.113.9 - - 10.0.0.1",
        "203.0.113.9",
        "203.0.113.9 -",
        "- -",
        "",
    ],
)
def test_fields_at_other_places_are_refused_and_become_no_customer(head: str) -> None:
    with pytest.raises(RowError, match=r"is not in the combined log format|before the time are not: address"):
        read(request(head))


@pytest.mark.parametrize(
    ("request_line", "path"),
    [
        ("GET http://shop.example/p/L-100 HTTP/1.1", "/p/L-100"),  # a proxy asks with the whole URL
        ("GET http://shop.example:80/p/L-100?u=http://x.example/ HTTP/1.1", "/p/L-100"),
        ("GET /p/L-100?back=https://shop.example/c HTTP/1.1", "/p/L-100"),
        ("GET //p/L-100 HTTP/1.1", "/p/L-100"),
        ("GET /p//L-100 HTTP/1.1", "/p/L-100"),
        ("GET /p/L-100;jsessionid=0A1B2C HTTP/1.1", "/p/L-100"),
        ("GET /p/L-100#reviews HTTP/1.1", "/p/L-100"),
        ("GET /p/L-100?q=a b HTTP/1.1", "/p/L-100"),  # blanks that nginx logs as they came
        ("GET /p/L-100", "/p/L-100"),  # HTTP/0.9
        ("GET /p/L-100 HTTP/3", "/p/L-100"),
    ],
)
def test_the_path_is_found_in_whatever_form_a_request_names_it(request_line: str, path: str) -> None:
    click = only_click(request("203.0.113.9 - -", request_line))
    assert (click["page_url"], click["product_id"]) == (path, "L-100")


@pytest.mark.parametrize(
    "request_line", ["", "-", "x00Cookie: mstshash=Administr", "CONNECT shop.example:443 HTTP/1.1", "OPTIONS * HTTP/1.1"]
)
def test_what_asks_for_no_page_is_skipped(request_line: str) -> None:
    assert isinstance(read(request("203.0.113.9 - -", request_line)), Skip)


CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"


@pytest.mark.parametrize(
    "agent",
    [
        f"Mozilla/5.0 (Linux; Android 13; CUBOT P80) {CHROME}",
        "Mozilla/5.0 (Linux; U; Android 9; en-us; CUBOT) AppleWebKit/534.30 Mobile Safari/534.30",
        f"Mozilla/5.0 (Linux; Android 7.0; CUBOT_NOTE_S) {CHROME}",
        f"Mozilla/5.0 (Linux; Android 11; Spider X1) {CHROME}",
        f"Mozilla/5.0 (Linux; Android 11; Smart Monitor M8) {CHROME}",
        "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15 (Technology Preview)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 [FBAN/FBIOS;FBAV/470.0]",
        "Lamps/3.2 CFNetwork/1485 Darwin/23.1.0",  # the shop's own app
        "Dalvik/2.1.0 (Linux; U; Android 13; CUBOT P80 Build/TP1A)",
    ],
)
def test_people_are_no_robots(agent: str) -> None:
    assert only_click(line(agent=agent))["event_name"] == "view_item"


@pytest.mark.parametrize(
    "agent",
    [
        *("", "okhttp/4.9.0", "Go-http-client/2.0", "Java/17.0.2", "Dart/3.2 (dart:io)", "GuzzleHttp/7", "PostmanRuntime/7.36"),
        *("python-requests/2.32", "python-httpx/0.27", "axios/1.6.0", "curl/8.1", "Wget/1.21", "Hetzner_System_Monitoring"),
        *("facebookexternalhit/1.1", "WhatsApp/2.23.20.0", "Scrapy/2.11 (+https://scrapy.org)"),
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.0; +https://openai.com/gptbot)",
        "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 Mobile Safari/537.36 (compatible; Bytespider)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
    ],
)
def test_robots_and_programs_are_skipped(agent: str) -> None:
    assert read(line(agent=agent)) == Skip("robot")


def test_a_shop_adds_robots_of_its_own_and_takes_people_off_the_lists() -> None:
    assert read(line(agent="Mozilla/5.0 OurMonitor"), robots="OurMonitor") == Skip("robot")
    assert only_click(line(agent="okhttp/4.9.0"), people="^okhttp/")["event_name"] == "view_item"


@pytest.mark.parametrize(
    "text", ["", "GET /", line()[:-1], line(time="1/5/2026 10:00"), line(time="31/Feb/2026:00:00:00 +0000")]
)
def test_what_is_no_line_of_a_log_is_an_error(text: str) -> None:
    with pytest.raises(RowError, match="is not"):
        read(text)


@given(st.text())
def test_no_text_breaks_the_adapter(text: str) -> None:
    for candidate in (text, line(text.replace('"', "'")), line(agent=text), line(time=text), text + line() + text):
        try:
            assert read(candidate) is not None
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
    ("yaml", "message"),
    [
        ("events: []", "events: List should have at least 1 item"),
        ("events: [{event: viewitem, path: /}]", "viewitem is no event of the click contract"),
        ("events: [{event: view_item, path: '('}]", "regular expression"),
        ("events: [{event: view_item, path: '/(?P<sku>.*)'}]", "sku: no column of the click contract"),
        ("events: [{event: view_item, path: /, query: {event_at: t}}]", "event_at: no column of the click contract"),
        ("events: [{event: view_item, path: /, paht: /}]", r"there is no such setting \(did you mean path\?\)"),
        ("events: [{event: view_item, path: /}]\nfurther_fields: [cookie]", "write - to skip one"),
        ("events: [", "is not valid YAML"),
    ],
)
def test_a_mistake_in_the_rules_is_reported_with_its_place(tmp_path: Path, yaml: str, message: str) -> None:
    (tmp_path / "weblog.yaml").write_text(yaml)
    with pytest.raises(SettingsError, match=message) as caught:
        weblog.load_weblog(tmp_path)
    assert str(tmp_path / "weblog.yaml") in str(caught.value)


def test_without_rules_or_a_key_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"weblog\.yaml does not exist: it says which request is which event"):
        weblog.load_weblog(tmp_path)
    rules = Weblog.model_validate(RULES)
    with pytest.raises(SettingsError, match="CUSTOMER360_VISITOR_KEY has to hold a secret of 16 characters"):
        weblog.visitor_key(rules, {"CUSTOMER360_VISITOR_KEY": "short"})
    assert weblog.visitor_key(rules.model_copy(update={"further_fields": ("visitor_id",)}), {}) == b""
