"""``python -m orchestration.runtime.webserver ...``: Dagster's web server, which also has the place's /reports and /metrics.

Metadata of assets link to reports, so that a drift report opens from the UI; Prometheus reads the metrics, which hold nothing
about customers. ``dagster-webserver`` itself shows everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import dagster_webserver.app
from dagster_webserver.cli import main as webserver
from dagster_webserver.webserver import DagsterWebserver
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from customer360.services.metrics import place_metrics
from customer360.settings import Settings
from orchestration.runtime.run_metrics import run_metrics


class PlaceCollector(Collector):
    """Metrics of the place and of Dagster's runs at the moment of asking."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def collect(self) -> Iterator[Metric]:
        """Read them."""
        now = datetime.now(UTC)
        yield from place_metrics(Settings.from_environment(), now)
        yield from run_metrics(self._instance, now)


class PlaceWebserver(DagsterWebserver):  # type: ignore[type-arg]  # generic over contexts that are not public
    """Dagster's web server with the place's routes first: the last route of Dagster matches every path.

    They are at the root also where Dagster's own are below a path prefix.
    """

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus, in its text format."""
        registry = CollectorRegistry()
        registry.register(PlaceCollector(self._process_context.instance))
        return Response(await run_in_threadpool(generate_latest, registry), media_type=CONTENT_TYPE_LATEST)

    def build_routes(self) -> list[BaseRoute]:
        """Files in the reports' folder alone; one that is not there is 404."""
        folder = Settings.from_environment().place.reports
        folder.mkdir(parents=True, exist_ok=True)
        own = [Mount("/reports", StaticFiles(directory=folder)), Route("/metrics", self.metrics)]
        return [*own, *super().build_routes()]  # type: ignore[no-untyped-call]


def main() -> None:
    """Be Dagster's web server with this class in place of its own."""
    dagster_webserver.app.DagsterWebserver = PlaceWebserver  # type: ignore[attr-defined]
    webserver()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
