"""Dagster's web server as the desk asks it: a run of any job does in the test's own process what the test gives it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RUN = "2f1d7cbc-6b5a-4f4e-9a0c-0d1f2a3b4c5d"


@contextmanager
def dagster(work: Callable[[], object]) -> Iterator[str]:
    """Its address. The first time that a run is asked for it has started, from then on it is done."""
    asked: list[str] = []

    def answer(query: str) -> dict[str, Any]:
        if "repositoriesOrError" in query:
            repository = {"name": "repository", "location": {"name": "location"}, "jobs": [{"name": "campaign_job"}]}
            return {"repositoriesOrError": {"nodes": [repository]}}
        if "launchRun" in query:
            work()
            return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": RUN}}}
        if "runOrError" in query:
            status = "SUCCESS" if asked else "STARTED"
            asked.append(query)
            steps = [{"stepKey": "campaign_plan", "status": "SUCCESS" if status == "SUCCESS" else "IN_PROGRESS"}]
            return {"runOrError": {"runId": RUN, "jobName": "campaign_job", "status": status, "stepStats": steps}}
        return {"assetNodes": []}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
            content = json.dumps({"data": answer(query)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
