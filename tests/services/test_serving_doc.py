"""What docs/serving.md shows runs, and gives what it says; and the page /demo, in a browser."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from customer360.services.api.keys import SCOPES, add_key, keys_file
from customer360.services.api.settings import ApiSettings
from customer360.settings import REPOSITORY, SettingsError
from ml.recommendations.sessions import fit_session_model, save, sessions_of
from tests.services.api_server import api_server, write_shop
from tests.services.served_shop import SHELVES, ServedShop
from tests.support.chromium import chromium

PAGE = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
SHOP_PAGE = (
    '<!doctype html><link rel="icon" href="data:,">'
    '<body data-product="p5"><ul id="for-you"></ul><script type="module">{}</script>'
)


class Served(NamedTuple):
    """The API of a small shop with its demo page; keys of the shop's server and pages; where these are, and their script."""

    client: httpx.Client
    key: str
    page_key: str
    origin: str
    script: list[str]
    data: Path

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("shown")
    shop = ServedShop(root, customers={"C1": {}, "C3": {"segment": "Lost"}}, consented={"C1"}, tables=SHELVES)
    shop.rules = {"offers": {"threshold": 0.05, "exploration_share": 0}}
    shop.publish_and_refresh()
    write_shop(shop.settings)
    events = pd.DataFrame({"session_id": [f"s{n}" for n in range(40) for _ in range(2)], "product_id": ["p5", "p2"] * 40})
    events["happened_at"] = pd.date_range("2026-04-01", periods=80, freq="min")
    save(fit_session_model(sessions_of(events)), shop.settings.place.recommendations / "session_model.npz")
    file, now = keys_file(shop.settings.place), datetime.now(UTC)
    server = add_key(file, "server", SCOPES["server"], now)
    with shop_page() as (origin, script):
        page = add_key(file, "pages", SCOPES["browser"], now, origins=[origin])
        with api_server(shop.settings, root / "log", demo="true") as client:
            yield Served(client, server, page, origin, script, shop.settings.place.root)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def blocks(language: str) -> list[str]:
    """The page's code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@contextmanager
def quiet_page(browser: Browser, **options: object) -> Iterator[Page]:
    """A page of a new visitor; an error on its console fails the test."""
    errors: list[str] = []
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


@pytest.mark.parametrize(("language", "command"), [("python", [sys.executable, "-c"]), ("javascript", ["node", "-e"])])
def test_a_shop_signs_a_customer_as_the_page_shows(language: str, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (signing,) = [block for block in blocks(language) if "hmac.new" in block or "createHmac" in block]
    printed = subprocess.run([*command, signing], capture_output=True, text=True, check=True).stdout.strip()
    assert printed in re.findall(r"^Both print `(.*)`\.$", PAGE, re.MULTILINE)


@pytest.mark.full
def test_every_answer_on_the_page_is_the_one_that_curl_gets(served: Served) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    asked = list(commands())
    assert len(asked) >= 8
    for command, answer in asked:
        own = command.replace("http://127.0.0.1:8360", served.url)
        got = subprocess.run(own, shell=True, capture_output=True, text=True, env={**os.environ, "KEY": served.key}, check=True)
        assert comparable(got.stdout) == comparable(answer), command


def commands() -> Iterator[tuple[str, str]]:
    """The page's commands, which end where their quotes do, each with its answer."""
    for shown in re.split(r"^\$ ", "\n".join(blocks("console")), flags=re.MULTILINE)[1:]:
        lines = shown.splitlines()
        for end in range(1, len(lines) + 1):
            with suppress(ValueError):
                shlex.split("\n".join(lines[:end]))
                yield "\n".join(lines[:end]), "\n".join(lines[end:])
                break


def comparable(answer: str) -> str:
    """An answer without line breaks, and without the id of a decision, which is another one each time."""
    return re.sub(r'(?<="decision_id":")[0-9a-f]{32}', "", "".join(answer.split()))


@pytest.mark.full
def test_a_server_asks_as_the_page_shows(served: Served) -> None:
    (client,) = [block for block in blocks("python") if "httpx" in block]
    environment = {**os.environ, "CUSTOMER360_URL": served.url, "CUSTOMER360_KEY": served.key}
    done = subprocess.run([sys.executable, "-c", client], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "Champion ['4 views of garden & home in 3 days', 'bought garden & home 2 times']\n"


@pytest.mark.full
def test_snowplows_tracker_sends_what_the_page_shows(served: Served) -> None:
    (tracking,) = [block for block in blocks("python") if "snowplow_tracker" in block]
    own = f"KEY = {served.key!r}\n" + tracking.replace("http://127.0.0.1:8360", served.url)
    subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, check=True)
    shown = [json.loads(line) for block in blocks("json") for line in block.splitlines()]
    files = [*served.data.glob("serving/spool/clicks/*"), *served.data.glob("landing/clicks/**/*.jsonl")]
    sent = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    assigned = dict.fromkeys(("event_id", "event_at"))
    assert len(shown) == 2
    for event in shown:
        assert event | assigned in [other | assigned for other in sent]


@pytest.mark.full
def test_a_page_of_the_shop_asks_as_the_page_shows(served: Served, browser: Browser) -> None:
    (snippet,) = [block for block in blocks("javascript") if "fetch" in block]
    served.script[:] = [
        snippet.replace("https://api.shop.example", served.url).replace("c360_3f2a9c01d4e5_...", served.page_key)
    ]
    with quiet_page(browser) as page:
        page.goto(served.origin)
        first = page.locator("#for-you li").first
        expect(first).to_contain_text("Guitar")  # what visits go on to after the drum of this page
        (cookie,) = page.context.cookies(served.url)
        assert (cookie["name"], cookie["httpOnly"]) == ("c360_visitor", True)
        assert page.evaluate("document.cookie") == ""
        page.reload()
        expect(first).to_be_visible()
        assert page.context.cookies(served.url)[0]["value"] == cookie["value"]


@contextmanager
def shop_page() -> Iterator[tuple[str, list[str]]]:
    """The origin of a page of the shop, and where to put its script."""
    content: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(SHOP_PAGE.format(content[0]).encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", content
        server.shutdown()


@pytest.mark.full
def test_clicks_on_the_demo_page_change_recommendations_and_offer(served: Served, browser: Browser) -> None:
    with quiet_page(browser, viewport={"width": 1280, "height": 900}) as page:
        page.goto(f"{served.url}/demo")
        recommended = page.locator("#recommendations .card")
        names = recommended.locator(".view")
        expect(names).to_have_text(["Rose", "Novel"])  # the cold start without what is sold out
        expect(recommended.first.locator(".reason")).to_have_text("popular in the shop")
        page.locator("#catalogue .card", has_text="Drum").locator(".view").click()
        expect(names.first).to_have_text("Guitar")
        expect(page.locator("#changes")).to_contain_text("New since your last click: Guitar")
        expect(page.locator("#offer-name")).to_have_text("Strings for free")
        page.locator("#visitor").select_option("C1")
        expect(names.nth(1)).to_have_text("Novel")  # C1 likes guitars and novels
        expect(names.nth(0)).to_have_text("Guitar")
        expect(names.filter(has_text="Atlas")).to_have_count(0)  # bought already
        expect(page.locator("#problem")).to_be_hidden()
        page.locator("#catalogue .card", has_text="Rose").locator(".add").click()
        expect(page.locator("#cart")).to_have_text("1")
        expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.full
def test_the_demo_page_fits_a_phone(served: Served, browser: Browser) -> None:
    with quiet_page(browser, viewport={"width": 360, "height": 740}, has_touch=True, color_scheme="dark") as page:
        page.goto(f"{served.url}/demo")
        expect(page.locator("#recommendations .card").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.full
def test_the_demo_page_loads_nothing_from_elsewhere(served: Served) -> None:
    page = served.client.get("/demo")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    for path in ("/demo", "/demo/shop.css", "/demo/shop.js"):
        response = served.client.get(path)
        assert response.status_code == 200
        assert re.findall(r"https?://", response.text) == []


def test_no_shop_has_a_demo_page_unless_a_setting_says_so_on_this_machine() -> None:
    assert ApiSettings.from_environment({}).demo is False
    assert ApiSettings.from_environment({"CUSTOMER360_API_DEMO": "true"}).demo is True
    with pytest.raises(SettingsError, match="signs in everybody as anybody"):
        ApiSettings.from_environment({"CUSTOMER360_API_DEMO": "true", "CUSTOMER360_API_HOST": "0.0.0.0"})
