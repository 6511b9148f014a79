"""Dagster's web server with the place's reports: what the UI links to opens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget

from customer360.settings import REPOSITORY
from orchestration.runtime.webserver import PlaceWebserver
from tests.support.ports import free_port

MISSING = ("/reports/drift/2026-05-02.html", "/reports/%2e%2e/secret.txt", "/reports/link.txt", "/reports/")
DRIFT = "/reports/drift/2026-05-01.html"


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address. Beside the reports lies a file that is not served."""
    data = tmp_path_factory.mktemp("data")
    port = free_port()
    report = data / "reports" / "drift" / Path(DRIFT).name
    report.parent.mkdir(parents=True)
    report.write_text("<p>drift</p>", encoding="utf-8")
    (data / "secret.txt").write_text("secret", encoding="utf-8")
    (data / "reports" / "link.txt").symlink_to(data / "secret.txt")
    (data / "home").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.runtime.webserver", "--empty-workspace", "--port", str(port)],
        cwd=REPOSITORY,
        env={**os.environ, "DATA_DIR": str(data), "SHOP": "synthetic", "DAGSTER_HOME": str(data / "home")},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                get(f"{address}/server_info")
                break
            except urllib.error.URLError:
                assert process.poll() is None, "the web server ended"
                assert time.monotonic() < deadline, "the web server does not answer"
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def test_a_report_opens_as_html_and_the_ui_is_there(server: str) -> None:
    assert get(server + DRIFT) == (200, b"<p>drift</p>")
    assert b"dagster_webserver_version" in get(f"{server}/server_info")[1]
    assert get(f"{server}/assets")[0] == 200


def test_prometheus_reads_the_state_of_the_place_and_the_runs(server: str) -> None:
    status, text = get(f"{server}/metrics")
    assert status == 200
    lines = text.decode().splitlines()
    assert 'customer360_state{state="unknown"} 1.0' in lines  # nothing is published yet
    assert any(line.startswith("customer360_disk_free_bytes ") for line in lines)
    assert "# TYPE customer360_runs gauge" in lines


def test_reports_and_metrics_stay_at_the_root_where_dagster_has_a_path_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with (
        dg.instance_for_test(temp_dir=str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        routes = PlaceWebserver(context, "/dagster").build_routes()
    assert [getattr(route, "path", "") for route in routes] == ["/reports", "/metrics", "/dagster", "/"]


@pytest.mark.parametrize(
    "path", ["/reports/drift/2026-05-02.html", "/reports/%2e%2e/secret.txt", "/reports/link.txt", "/reports/"]
)
def test_nothing_but_files_of_the_reports_folder_is_served(server: str, path: str) -> None:
    assert get(server + path)[0] == 404
