"""The proxy of deploy/Caddyfile lets a request reach Dagster only where the desk says so."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from customer360.settings import REPOSITORY
from tests.orchestration.place import wait_until
from tests.support.ports import free_port


class Desk(BaseHTTPRequestHandler):
    """Answers as the desk does: 204 to an admin, 403 to others, to the login who is not signed in."""

    def do_GET(self) -> None:
        role = self.headers.get("Cookie", "")
        is_asked = self.path.partition("?")[0] == "/may/operate/"  # the query of the request comes along
        if is_asked:
            self.send_response({"admin": 204, "viewer": 403}.get(role, 302))
            self.send_header("Location", f"/login/?next={self.headers.get('X-Forwarded-Uri')}&host={self.headers.get('Host')}")
        else:
            self.send_response(200)
        self.end_headers()
        self.wfile.write(b"" if is_asked else f"desk {self.path}".encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Pipeline(BaseHTTPRequestHandler):
    """Answers what it was asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"dagster {self.path}".encode())

    log_message = Desk.log_message


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[httpx.Client]:
    if not shutil.which("caddy"):
        pytest.skip("Caddy is not installed: apt-get install caddy")
    port = free_port()
    with answering(Desk) as desk, answering(Pipeline) as pipeline:
        text = (REPOSITORY / "deploy" / "Caddyfile").read_text(encoding="utf-8")
        text = text.replace("desk:8380", f"127.0.0.1:{desk}").replace("pipeline:3000", f"127.0.0.1:{pipeline}")
        (tmp_path / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}", encoding="utf-8")
        command = ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
        environment = {"DESK_HOST": f"http://127.0.0.1:{port}", "HOME": str(tmp_path)}
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(command, cwd=tmp_path, env={**environment, "PATH": "/usr/bin"}, stdout=log, stderr=log) as caddy,
            httpx.Client(base_url=environment["DESK_HOST"]) as client,
        ):
            wait_until(lambda: answers(client), 30, "the proxy answers")
            yield client
            caddy.terminate()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("path", ["/dagster/runs?view=all", "/dagster", "/reports/drift/x.html"])
def test_the_desk_decides_who_reaches_dagster(proxy: httpx.Client, path: str) -> None:
    host = str(proxy.base_url.netloc.decode())
    asked = proxy.get(path)
    assert (asked.status_code, asked.headers["Location"]) == (302, f"/login/?next={path}&host={host}")
    assert proxy.get(path, headers={"Cookie": "viewer"}).status_code == 403
    assert proxy.get(path, headers={"Cookie": "admin"}).text == f"dagster {path}"
    assert proxy.get("/metrics").text == "desk /metrics"  # those of Dagster are not reached from outside
    assert proxy.get("/campaigns/").text == "desk /campaigns/"
