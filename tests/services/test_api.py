"""The API over HTTP: answers, who gets them, and a problem document for each failure; never another customer's data."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from customer360.services.api.app import create
from customer360.services.api.keys import add_key, keys_file, read_keys, revoke_key
from customer360.services.api.schemas import Profile
from customer360.services.api.settings import ApiSettings
from customer360.services.store.layout import store_folder
from tests.services.api_server import api_server, write_shop
from tests.services.in_process import Client
from tests.services.served_shop import AS_OF, ServedShop

pytestmark = pytest.mark.full  # a server of its own
CANARY = "canary-4711"


class Served:
    """A shop, its server and a key with every scope."""

    def __init__(self, shop: ServedShop, client: httpx.Client, key: str, log: Path) -> None:
        self.shop, self.client, self.key, self.log = shop, client, key, log

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        return self.client.get(path, headers={"Authorization": f"Bearer {self.key if key is None else key}"})

    def post(self, path: str, content: Any) -> httpx.Response:
        return self.client.post(path, content=content, headers={"Authorization": f"Bearer {self.key}"})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    secret = {"age": 4711, "next_contact_campaign_id": CANARY}
    shop = ServedShop(
        root,
        customers={"C1": secret, "C 2/ä": {"model_version": None, "reason_1": None, "reason_2": None}, "C3": {}},
        visitors={"V1": "C1"},
        consented={"C1"},
    )
    shop.publish_and_refresh()
    write_shop(shop.settings)
    key = add_key(keys_file(shop.settings.place), "tests", ["profile", "score", "metrics"], datetime.now(UTC))
    with api_server(shop.settings, root / "log", workers=2, body_bytes=65536, body_seconds=2) as client:
        yield Served(shop, client, key, root / "log")


def problem(response: httpx.Response, status: int, kind: str) -> str:
    """The detail of a problem document of this kind."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (document["type"], document["status"]) == (f"urn:customer360:problem:{kind}", status)
    assert document["title"]
    assert "Traceback" not in response.text
    assert set(document) <= {"type", "title", "status", "detail"}
    return str(document.get("detail", ""))


def test_a_profile_is_that_of_the_store_and_nothing_beyond_the_schema(served: Served) -> None:
    response = served.get("/v1/customers/C1/profile")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-store"
    answer = response.json()
    assert set(answer) == set(Profile.__struct_fields__)
    assert answer["affinities"][:2] == [
        {"category_id": "none", "probability": 0.52},
        {"category_id": "garden & home", "probability": 0.3},
    ]
    assert answer["attributes"] == {"city": "Utrecht", "is_member": True}
    assert (answer["segment"], answer["monetary"], answer["version"]) == ("Champion", 99.5, 1)
    assert datetime.fromisoformat(answer["as_of"]) > AS_OF
    assert CANARY not in response.text
    assert "4711" not in response.text


def test_an_id_with_a_slash_and_a_customer_without_scores_are_answered(served: Served) -> None:
    answer = served.get("/v1/customers/C%202%2F%C3%A4/profile").json()
    assert (answer["customer_id"], answer["affinities"], answer["reasons"]) == ("C 2/ä", [], [])


@pytest.mark.parametrize("customer_id", ["C9", "c1", "C1%00", "%FF%FE", "C1'--", "..%2FC1", "x" * 3000])
def test_an_unknown_id_is_not_found(served: Served, customer_id: str) -> None:
    detail = problem(served.get(f"/v1/customers/{customer_id}/profile"), 404, "unknown-customer")
    assert "C1" not in detail


def test_keys_have_scopes_and_end(served: Served) -> None:
    file = keys_file(served.shop.settings.place)
    now = datetime.now(UTC)
    metrics, revoked = add_key(file, "prometheus", ["metrics"], now), add_key(file, "old", ["profile"], now)
    revoke_key(file, read_keys(file)[-1].id, now)
    secret = metrics.split("_", 2)[2]
    assert secret not in file.read_text(encoding="utf-8")
    time.sleep(1.2)  # keys are looked at once a second
    problem(served.get("/v1/customers/C1/profile", metrics), 403, "no-scope")
    assert served.get("/metrics", metrics).status_code == 200
    forged = [revoked, "-", "x", metrics[:-1], metrics[:-1] + "~", f"c360_{'0' * 12}_{secret}", served.key + "x"]
    for key in forged:
        response = served.get("/v1/customers/C1/profile", key)
        problem(response, 401, "no-key")
        assert response.headers["www-authenticate"] == "Bearer"


def test_paths_and_methods_that_are_not_there_are_problems(served: Served) -> None:
    problem(served.get("/v1/nothing"), 404, "no-path")
    response = served.client.delete("/v1/score")
    problem(response, 405, "no-method")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "no-json"),
        (b"{", 400, "no-json"),
        (b'{"features": {"\xff": 1}}', 400, "no-json"),
        (b'{"features": 1e999}', 422, "wrong-type"),
        (b'{"features": [1]}', 422, "wrong-type"),
        (b'{"features": {"age": {"a": 1}}}', 422, "wrong-type"),
        (b'{"features": {}, "more": 1}', 422, "wrong-type"),
        (b"[1]", 422, "wrong-type"),
        (b"[" * 1000 + b"]" * 1000, 422, "wrong-type"),
        (b'{"features": {"a": ' + b"[" * 1000 + b"]" * 1000 + b"}}", 422, "wrong-type"),
        (b'{"other": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 422, "wrong-type"),
        (b"x" * 10_000_000, 413, "too-large"),
        (b'{"features": {}}', 503, "no-champion"),
    ],
)
def test_a_bad_body_is_a_problem(served: Served, body: bytes, status: int, kind: str) -> None:
    problem(served.post("/v1/score", body), status, kind)


def test_a_body_without_a_length_is_read_up_to_the_limit(served: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 10_000

    with httpx.Client(timeout=60) as client:  # the server ends this connection, in the middle of the body
        url, headers = served.client.base_url.join("/v1/score"), {"Authorization": f"Bearer {served.key}"}
        problem(client.post(url, content=chunks(), headers=headers), 413, "too-large")


def test_a_slow_client_is_told_so_and_keeps_nobody_waiting(served: Served) -> None:
    host, port = served.client.base_url.host, served.client.base_url.port
    head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\nContent-Length: 100\r\n\r\n{{"
    with socket.create_connection((host, port), timeout=60) as slow:
        slow.sendall(head.encode())
        assert served.get("/v1/customers/C1/profile").status_code == 200
        answer = slow.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"urn:customer360:problem:too-slow" in answer


def test_metrics_are_the_sums_of_all_workers(served: Served) -> None:
    line = 'customer360_api_requests_total{endpoint="profile",status="200"} '

    def count() -> float:
        text = served.get("/metrics").text
        return next((float(row.removeprefix(line)) for row in text.splitlines() if row.startswith(line)), 0.0)

    before, url = count(), served.client.base_url.join("/v1/customers/C1/profile")
    for _ in range(40):  # on connections of their own, so that both workers answer
        response = httpx.get(url, headers={"Authorization": f"Bearer {served.key}"}, timeout=60)
        assert response.status_code == 200
    assert count() == before + 40


def test_the_openapi_document_describes_the_answers(served: Served) -> None:
    document = served.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    schema = {"$ref": "#/components/schemas/Profile", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(served.get("/v1/customers/C1/profile").json())
    problems = {"$ref": "#/components/schemas/ProblemDocument", "components": document["components"]}
    jsonschema.Draft202012Validator(problems).validate(served.get("/v1/nothing").json())


def test_the_next_version_and_a_lost_store_are_seen_without_a_restart(served: Served) -> None:
    assert served.get("/readyz").json()["status"] == "ready"
    root = store_folder(served.shop.settings.place)
    link = root / "current"
    target = link.readlink()
    link.unlink()
    for path in ("/readyz", "/v1/customers/C1/profile"):
        response = _looked_again(served, path, 503)
        assert "run a slice" in problem(response, 503, "no-store")
        assert response.headers["retry-after"] == "60"
    half = root / "half"
    half.mkdir()
    shutil.copy(root / target / "data.mdb", half / "data.mdb")
    with (half / "data.mdb").open("r+b") as file:
        file.truncate(3 * 4096)
    link.symlink_to("half")
    assert "cut short" in problem(served.get("/v1/customers/C1/profile"), 503, "no-store")
    link.unlink()
    link.symlink_to(target)
    served.shop.customers["C3"] = {"segment": "Lost"}
    served.shop.publish_and_refresh()
    answer = _looked_again(served, "/v1/customers/C3/profile", 200).json()
    assert (answer["segment"], answer["version"]) == ("Lost", served.shop.slices)


def _looked_again(served: Served, path: str, status: int) -> httpx.Response:
    """The first answer with a status: each of the workers looks at the store's link some times a second."""
    for _ in range(600):
        responses = [served.get(path) for _ in range(8)]  # of either worker
        if {response.status_code for response in responses} == {status}:
            return responses[-1]
        time.sleep(0.1)
    raise AssertionError(responses[-1].text)


def test_no_stack_trace_and_no_value_of_a_customer_is_in_the_log(served: Served) -> None:
    text = served.log.read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert CANARY not in text
    assert json.dumps(served.key)[1:-1] not in text


def test_a_key_that_asks_too_often_waits(shop: ServedShop) -> None:
    shop.publish_and_refresh()
    file = keys_file(shop.settings.place)
    first, second = (add_key(file, name, ["profile"], datetime.now(UTC)) for name in ("one", "two"))
    app = create(shop.settings, ApiSettings(requests_per_second=0.01, burst=3))

    def ask(key: str) -> httpx.Response:
        return Client(app, key).get("/v1/customers/C1/profile")

    assert [ask(first).status_code for _ in range(4)] == [200, 200, 200, 429]
    response = ask(first)
    problem(response, 429, "too-many-requests")
    assert int(response.headers["retry-after"]) > 1
    assert ask(second).status_code == 200
