"""The collector over HTTP: three protocols, each event judged by itself, none lost that was acknowledged."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import httpx
import jsonschema
import pytest
from snowplow_tracker import (
    Emitter,
    PageView,
    SelfDescribing,
    SelfDescribingJson,
    StructuredEvent,
    Subject,
    Tracker,
)
from snowplow_tracker.typing import PayloadDict

from customer360.lake.object_store import StoreError
from customer360.services.api.app import create
from customer360.services.api.collector import collecting
from customer360.services.api.collector.collecting import Collector, ShopClock
from customer360.services.api.keys import add_key, keys_file
from customer360.services.api.problems import Problem
from customer360.services.api.settings import ApiSettings
from customer360.services.session_memory import SessionMemory, session_folder
from customer360.services.spool import spool_folder
from customer360.settings import Settings
from tests.services.api_server import api_server, write_shop
from tests.services.in_process import Client
from tests.services.served_shop import ServedShop
from tests.services.test_api import problem
from tests.support.chromium import chromium
from tests.support.ports import free_port

pytestmark = pytest.mark.full  # a server of its own
KILLS = 5  # 50 in make bench NAME=collector
ORIGIN = "https://shop.example"
PAGE = f"http://127.0.0.1:{free_port()}"  # of a shop
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce"
TRACK = """({name, url, key, path}) => {
    const tracker = window.snowplowBrowserTracking
    tracker.newTracker(name, url, {appId: key, bufferSize: 2, ...(path && {postPath: path})})
    tracker.trackPageView({}, [name])
    const schema = (entity) => `iglu:com.snowplowanalytics.snowplow.ecommerce/${entity}/jsonschema/1-0-0`
    const action = {schema: schema("snowplow_ecommerce_action"), data: {type: "product_view"}}
    const context = [{schema: schema("product"), data: {id: "L-1", category: "lamps", price: 20, currency: "EUR"}}]
    tracker.trackSelfDescribingEvent({event: action, context}, [name])
    tracker.flushBuffer({}, [name])
}"""


def live_settings(root: Path) -> Settings:
    """A live shop, so that what is collected has a slice by the clock."""
    base = ServedShop(root).settings
    base.place.landing.mkdir(parents=True)
    shop = base.shop.model_copy(update={"live": True, "slices_start": datetime(2026, 5, 1, tzinfo=UTC), "slice_minutes": 1440})
    return base.model_copy(update={"shop": shop})


class Collected:
    """A server of two workers, its keys, and what it has spooled and landed."""

    def __init__(self, settings: Settings, client: httpx.Client) -> None:
        self.settings, self.client = settings, client
        now = datetime.now(UTC)
        file = keys_file(settings.place)
        self.server = add_key(file, "server", ["events", "metrics"], now)
        self.page = add_key(file, "pages", ["events"], now, origins=[ORIGIN, PAGE])

    def post(self, path: str, content: Any, key: str | None = None, **headers: str) -> httpx.Response:
        own = {"Authorization": f"Bearer {key or self.server}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.client.post(path, content=body, headers=own)

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.settings)

    def event(self, event_id: str) -> dict[str, Any]:
        (found,) = [line for line in self.lines() if line["event_id"] == event_id]
        return found


def lines_of(settings: Settings) -> list[dict[str, Any]]:
    """All lines in the spool and in landing."""
    files = [*spool_folder(settings, "clicks").glob("*"), *(settings.place.landing / "clicks").rglob("*.jsonl")]
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collected]:
    settings = live_settings(tmp_path_factory.mktemp("collected"))
    write_shop(settings)
    own = {"workers": 2, "body_bytes": 100_000, "body_seconds": 2, "spool_free_bytes": 0, "snowplow_path": "/com.shop/t"}
    with api_server(settings, settings.shop_folder / "log", **own) as client:
        yield Collected(settings, client)


def test_events_are_on_disk_when_they_are_acknowledged_and_bad_ones_are_refused_alone(served: Collected) -> None:
    at = datetime.now(UTC) - timedelta(minutes=3)
    good = {"event_id": "own-1", "event_name": "view_item", "event_at": at.isoformat(), "customer_id": 7, "colour": "red"}
    answer = served.post("/v1/events", {"events": [good, {"event_name": "view_item"}, 1, {**good, "event_at": "soon"}]})
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": 1,
        "refused": [
            {"index": 1, "field": "visitor_id", "remedy": "is missing, and customer_id too; send one of the two"},
            {"index": 2, "field": "", "remedy": "send an object"},
            {"index": 3, "field": "event_at", "remedy": "send a time such as 2026-05-01T10:15:00Z"},
        ],
    }
    stored = served.event("own-1")
    assert stored == {**good, "customer_id": "7", "event_at": at.isoformat().replace("+00:00", "Z")}


def test_an_event_without_id_and_time_gets_them(served: Collected) -> None:
    before = datetime.now(UTC)
    assert served.post("/v1/events", {"events": [{"event_name": "own-new", "visitor_id": "v1"}]}).json()["accepted"] == 1
    (stored,) = [line for line in served.lines() if line["event_name"] == "own-new"]
    assert len(stored["event_id"]) == 32
    assert before <= datetime.fromisoformat(stored["event_at"]) <= datetime.now(UTC)


def test_a_browser_sends_events_of_its_own_visitor_alone(served: Collected) -> None:
    event = {"event_id": "page-1", "event_name": "view_item", "visitor_id": "forged", "customer_id": "C1", "product_id": "p1"}
    answer = served.post("/v1/events", {"events": [event]}, served.page, Origin=ORIGIN)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    stored = served.event("page-1")
    assert stored["visitor_id"].startswith("v-")
    assert "customer_id" not in stored
    session = SessionMemory(session_folder(served.settings.place)).recall(stored["visitor_id"], None, time.time())
    assert session is not None
    assert [(known.event_name, known.product_id) for known in session.events] == [("view_item", "p1")]
    problem(served.post("/v1/events", {"events": [event]}, served.page, Origin="https://other.example"), 403, "wrong-origin")


def test_the_measurement_protocol_answers_as_ga4_and_takes_its_secret(served: Collected) -> None:
    items = [{"item_id": "L-1", "price": 20, "quantity": 2}]
    sale = {"name": "purchase", "params": {"transaction_id": "ga-1", "items": items}}
    body = {"client_id": "c.1", "events": [sale, {"name": "page_view"}]}
    query = f"/mp/collect?measurement_id=G-1&api_secret={served.server}"
    answer = served.client.post(query, json=body)
    assert (answer.status_code, answer.content) == (204, b"")
    (stored,) = [line for line in served.lines() if line.get("order_id") == "ga-1"]
    assert (stored["amount"], stored["visitor_id"], stored["product_id"]) == ("40.00", "c.1", "L-1")
    body["events"] = [sale, {"name": "page_view", "timestamp_micros": 1}]
    answer = served.client.post(query, json=body)
    assert answer.status_code == 200
    assert [(refused["index"], refused["field"]) for refused in answer.json()["refused"]] == [(1, "timestamp_micros")]
    problem(served.client.post("/mp/collect?api_secret=wrong", json=body), 401, "no-key")
    problem(served.client.post(query, json={"events": []}), 422, "wrong-type")


@pytest.mark.parametrize("path", ["/com.snowplowanalytics.snowplow/tp2", "/com.shop/t"])
def test_a_tracker_posts_with_its_key_as_app_id_or_in_a_header(served: Collected, path: str) -> None:
    events = [{"e": "pv", "p": "srv", "eid": f"sp-{path}-{n}", "uid": "u1", "aid": served.server} for n in range(2)]
    answer = served.client.post(path, json={"schema": "iglu:...", "data": [*events, {"e": "pp", "p": "srv"}]})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "refused": []})
    assert served.event(f"sp-{path}-1")["event_name"] == "page_view"
    headed = {**events[0], "aid": "shop", "eid": f"sp-{path}-headed"}
    assert served.post(path, {"data": [headed]}).status_code == 200
    problem(served.client.post(path, json={"data": [headed]}), 401, "no-key")
    problem(served.post(path, {"data": []}), 422, "wrong-type")


def test_a_tracker_gets_by_its_pixel_whatever_its_query_holds(served: Collected) -> None:
    query = {"e": "pv", "p": "web", "eid": "pixel-1", "aid": served.page, "url": "https://shop.example/{x}?a=b c"}
    agent = {"User-Agent": "Mozilla/5.0 (Macintosh) Safari/605"}
    answer = served.client.get("/i", params=query, headers=agent)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.content.startswith(b"GIF89a")
    assert served.event("pixel-1")["page_url"] == "https://shop.example/{x}"
    host, port = served.client.base_url.host, served.client.base_url.port
    with socket.create_connection((host, port), timeout=60) as raw:  # as no HTTP library would send it
        line = f"GET /i?e=pv&p=srv&eid=pixel-2&uid=%FF%zz{{}}|&aid={served.server}&aid=x HTTP/1.1\r\nHost: x\r\n\r\n"
        raw.sendall(line.encode())
        assert raw.recv(4096).split(b"\r\n")[0] in {b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request"}
    problem(served.client.get("/i"), 401, "no-key")


@pytest.mark.parametrize("method", ["post", "get"])
def test_snowplows_python_tracker_is_understood_as_it_is(served: Collected, method: Literal["post", "get"]) -> None:
    sent: list[PayloadDict] = []
    emitter = Emitter(str(served.client.base_url), method=method, batch_size=4, on_success=sent.extend)
    subject = Subject().set_user_id("u-7").set_domain_user_id("d-7")
    tracker = Tracker("shop", emitter, app_id=served.server, subject=subject, encode_base64=method == "get")
    product = SelfDescribingJson(f"{ECOMMERCE}/product/jsonschema/1-0-0", {"id": "Lämp 1", "category": "lamps", "price": 20})
    action = SelfDescribingJson(f"{ECOMMERCE}/snowplow_ecommerce_action/jsonschema/1-0-2", {"type": "add_to_cart"})
    now = round(time.time() * 1000) - 60_000
    url = f"https://shop.example/lämp?by={method}&utm_source=news letter"
    tracker.track(PageView(url, referrer="https://x.example/?q=a", true_timestamp=now, event_subject=subject))
    tracker.track(SelfDescribing(action, context=[product]))
    tracker.track(StructuredEvent("cart", "open"))
    tracker.flush()
    assert len(sent) == 3
    views, carts, others = (
        [line for line in served.lines() if line["event_id"].startswith(payload["eid"])] for payload in sent
    )
    assert [(line["event_name"], line["utm_source"], line["referrer"]) for line in views] == [
        ("page_view", "news letter", "https://x.example/")
    ]
    assert datetime.fromisoformat(views[0]["event_at"]).timestamp() == now / 1000
    assert [(line["event_name"], line["product_id"], line["category_id"]) for line in carts] == [
        ("add_to_cart", "Lämp 1", "lamps")
    ]
    assert {(line["customer_id"], line["visitor_id"]) for line in (*views, *carts, *others)} == {("u-7", "d-7")}


def test_snowplows_browser_tracker_is_understood_as_it_is(served: Collected, tmp_path: Path) -> None:
    script = browser_tracker(tmp_path)
    with shop_pages(), chromium() as browser:
        page = browser.new_context(user_agent=AGENT).new_page()
        answers: list[tuple[str, int]] = []
        page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
        page.goto(f"{PAGE}/lamps?utm_source=news")
        page.add_script_tag(content=script)
        for post_path in ("", "/com.shop/t"):
            with page.expect_response(lambda answer: answer.request.method == "POST" and answer.ok):
                page.evaluate(
                    TRACK, {"name": f"t{post_path}", "url": str(served.client.base_url), "key": served.page, "path": post_path}
                )
            page.wait_for_timeout(300)
        cookies = page.context.cookies(str(served.client.base_url))
    lines = [line for line in served.lines() if line.get("page_url") == f"{PAGE}/lamps"]
    assert Counter(line["event_name"] for line in lines) == {"page_view": 2, "view_item": 2}
    assert {line["product_id"] for line in lines if line["event_name"] == "view_item"} == {"L-1"}
    assert {(line["utm_source"], line["device"]) for line in lines} == {("news", "desktop")}
    assert len({line["visitor_id"] for line in lines}) == 1  # that of the signed cookie, whatever the tracker says
    assert lines[0]["visitor_id"].startswith("v-")
    assert [cookie["httpOnly"] for cookie in cookies if cookie["name"].endswith("c360_visitor")] == [True]
    assert {status for _, status in answers} == {200}


@contextmanager
def shop_pages() -> Iterator[None]:
    """Pages of a shop at ``PAGE``, on this machine, as the collector: Chromium lets no other page reach it."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>Shop</title>")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", int(PAGE.rpartition(":")[2])), Pages) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield
        finally:
            server.shutdown()


def browser_tracker(folder: Path) -> str:
    """@snowplow/browser-tracker from npm's registry; the test is skipped where it cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: apt-get install npm")
    options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    command = ["npm", "install", *options, "@snowplow/browser-tracker@4.10.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"npm could not install @snowplow/browser-tracker: {done.stderr.strip()[:300]}")
    return (folder / "node_modules/@snowplow/browser-tracker/dist/index.umd.min.js").read_text(encoding="utf-8")


def test_an_anonymous_tracker_sets_no_cookie(served: Collected) -> None:
    event = {"e": "pv", "p": "web", "eid": "anonymous-1", "aid": served.page}
    headers = {"SP-Anonymous": "*", "User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/140"}
    answer = served.client.post("/com.snowplowanalytics.snowplow/tp2", json={"data": [event]}, headers=headers)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert served.event("anonymous-1")["visitor_id"].startswith("u-")


@pytest.mark.parametrize("path", ["/v1/events", "/mp/collect", "/com.snowplowanalytics.snowplow/tp2"])
@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        pytest.param(b"", 400, "no-json", id="javascript-tracker 751: a beacon that lost its body"),
        (b"{", 400, "no-json"),
        (b"\xff", 400, "no-json"),
        (b"[1]", 422, "wrong-type"),
        (b'{"events": 1, "data": 1}', 422, "wrong-type"),
        (b'{"events": [], "data": []}', 422, "wrong-type"),
        (b'{"events": [' + b"[" * 1000 + b"]" * 1000 + b'], "data": []}', 422, "too-deep"),
        (b'{"events": [' + b'{"a":' * 10_000, 422, "too-deep"),
        pytest.param(gzip.compress(b'{"events": []}'), 400, "no-json", id="compressed"),
        (b"x" * 10_000_000, 413, "too-large"),
    ],
)
def test_a_bad_body_is_a_problem(served: Collected, path: str, body: bytes, status: int, kind: str) -> None:
    problem(served.post(path, body), status, kind)


def test_a_slow_client_is_told_so(served: Collected) -> None:
    host, port = served.client.base_url.host, served.client.base_url.port
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.server}\r\nContent-Length: 100\r\n\r\n{{"
    with socket.create_connection((host, port), timeout=60) as slow:
        slow.sendall(head.encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_too_many_events_and_ten_thousand_bad_ones_are_refused(served: Collected) -> None:
    problem(served.post("/v1/events", {"events": [1] * 1001}), 422, "wrong-type")
    answer = served.post("/v1/events", {"events": [None] * 1000}).json()
    assert (answer["accepted"], len(answer["refused"])) == (0, 1000)


def test_what_was_taken_and_what_waits_is_counted(served: Collected) -> None:
    served.post("/v1/events", {"events": [{"event_name": "view_item", "visitor_id": "v1"}, {}]})
    text = served.client.get("/metrics", headers={"Authorization": f"Bearer {served.server}"}).text
    counts = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for outcome in ("accepted", "refused"):
        assert float(counts[f'customer360_api_events_total{{outcome="{outcome}",protocol="own"}}']) >= 1
    spooled = sum(file.stat().st_size for file in spool_folder(served.settings, "clicks").iterdir())
    assert float(counts['customer360_api_spool_bytes{source="clicks"}']) == spooled > 0


def test_the_document_describes_events_and_answers(served: Collected) -> None:
    document = served.client.get("/openapi.json").json()
    event = {"$ref": "#/components/schemas/Event", "components": document["components"]}
    jsonschema.Draft202012Validator(event).validate({"event_name": "view_item", "visitor_id": "v1", "amount": "1.5"})
    answer = {"$ref": "#/components/schemas/Collected", "components": document["components"]}
    jsonschema.Draft202012Validator(answer).validate(served.post("/v1/events", {"events": [1]}).json())


def test_no_stack_trace_and_no_key_is_in_the_log(served: Collected) -> None:
    text = (served.settings.shop_folder / "log").read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert served.server not in text


def test_a_disk_without_room_is_a_problem_to_retry(tmp_path: Path) -> None:
    settings = live_settings(tmp_path)
    key = add_key(keys_file(settings.place), "server", ["events"], datetime.now(UTC))
    client = Client(create(settings, ApiSettings(spool_free_bytes=2**60)), key)
    answer = client.ask("POST", "/v1/events", json={"events": [{"event_name": "view_item", "visitor_id": "v1"}]})
    assert "Send all of them again" in problem(answer, 503, "spool-full")
    assert answer.headers["retry-after"] == "5"
    assert lines_of(settings) == []


def test_no_acknowledged_event_is_lost_or_twice_when_the_only_worker_is_killed_as_soon_as_it_answers(tmp_path: Path) -> None:
    settings = live_settings(tmp_path)
    write_shop(settings)
    acknowledged: list[str] = []
    with api_server(settings, tmp_path / "log", workers=1, spool_free_bytes=0, burst=10**6) as client:
        key = Collected(settings, client).server
        stop = threading.Event()
        senders = [
            threading.Thread(target=send, args=(client.base_url, key, name, acknowledged, stop)) for name in ("a", "b", "c")
        ]
        for sender in senders:
            sender.start()
        await_count(acknowledged, 40)
        killed = set()
        for _ in range(KILLS):
            ((worker, server),) = workers_of(tmp_path).items()
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
            await_count(acknowledged, len(acknowledged) + 40)  # by the worker that was started in its place
        os.kill(server, signal.SIGKILL)
        stop.set()
        for sender in senders:
            sender.join()
        await_none(lambda: workers_of(tmp_path))
    with api_server(settings, tmp_path / "log", workers=1):
        pass
    assert len(killed) == KILLS
    assert list(spool_folder(settings, "clicks").iterdir()) == []
    counts = Counter(line["event_id"] for line in lines_of(settings))
    assert set(acknowledged) <= counts.keys()
    assert max(counts.values()) == 1


def test_a_server_whose_workers_cannot_start_ends_with_an_error(tmp_path: Path) -> None:
    settings = live_settings(tmp_path)
    write_shop(settings)
    spool = spool_folder(settings, "")
    spool.parent.mkdir(parents=True)
    spool.write_bytes(b"")  # where a folder has to be
    log = tmp_path / "log"
    with pytest.raises(AssertionError, match="NotADirectoryError"), api_server(settings, log, workers=2):
        pass


def await_count(acknowledged: list[str], count: int) -> None:
    for _ in range(300):
        if len(acknowledged) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{len(acknowledged)} events were acknowledged within 30 seconds, not {count}")


def await_none(read: Callable[[], object]) -> None:
    for _ in range(600):
        if not read():
            return
        time.sleep(0.1)
    raise AssertionError(f"{read()} are there after a minute")


def send(url: httpx.URL, key: str, name: str, acknowledged: list[str], stop: threading.Event) -> None:
    """Send batches of two events of new ids, one after the other, and note the acknowledged ids."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=5) as client:
        number = 0
        while not stop.is_set():
            number += 1
            ids = [f"{name}-{number}-{part}" for part in range(2)]
            batch = {"events": [{"event_id": event_id, "event_name": "view_item", "visitor_id": name} for event_id in ids]}
            try:
                answer = client.post("/v1/events", json=batch)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200 and answer.json()["accepted"] == 2:
                acknowledged += ids


def workers_of(root: Path) -> dict[int, int]:
    """The worker processes of the server of this place, with the server: those with its DATA_DIR that have no child."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"DATA_DIR={root}/data".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return {process: parent for process, parent in found.items() if process not in {*found.values()}}


def test_a_start_moves_what_killed_processes_left_of_every_source(tmp_path: Path) -> None:
    settings = live_settings(tmp_path)
    for source in ("clicks", "offer_decisions"):
        folder = spool_folder(settings, source)
        folder.mkdir(parents=True)
        (folder / "api-left.jsonl").write_bytes(b'{"a": 1}\n{"torn')
    Collector(settings, SessionMemory(session_folder(settings.place)), ShopClock(settings), 0)
    found = {path.parents[4].name: path.read_bytes() for path in settings.place.landing.rglob("*.jsonl")}
    assert found == {"clicks": b'{"a": 1}\n', "offer_decisions": b'{"a": 1}\n'}


def test_processes_of_a_replayed_shop_have_one_clock_whenever_they_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = live_settings(tmp_path)
    settings = live.model_copy(update={"shop": live.shop.model_copy(update={"live": False})})
    ShopClock(settings).now()
    (seen,) = (Path(settings.place.serving) / "clock").iterdir()
    os.utime(seen, (1e9, 1e9))
    monkeypatch.setattr(time, "time", lambda: 1e9 + 100)
    for clock in (ShopClock(settings), ShopClock(settings)):
        assert clock.now() == settings.shop.slices_start + timedelta(seconds=100)


def test_the_clock_of_a_replayed_shop_outlives_a_rewound_landing_and_a_lost_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = live_settings(tmp_path)
    settings = live.model_copy(update={"shop": live.shop.model_copy(update={"live": False})})
    folder = Path(settings.place.serving) / "clock"
    folder.mkdir(parents=True)
    for later in ("20990101T000000Z", "20990102T000000Z"):  # seen before landing was rewound
        (folder / later).touch()
    monkeypatch.setattr(collecting, "CLOCK_SECONDS", 0.0)
    clock = ShopClock(settings)
    start = settings.shop.slices_start
    assert start <= clock.now() < start + settings.shop.slice_width

    def away(*_: object) -> datetime:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(collecting, "shop_now", away)
    assert start <= clock.now() < start + settings.shop.slice_width
    with pytest.raises(Problem, match="time is not known"):
        ShopClock(settings).now()
