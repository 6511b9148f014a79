"""``python -m orchestration.runtime.webserver ...``: Dagster's web server, which also serves the place's reports at /reports.

Metadata of assets link there, so that a drift report opens from the UI. ``dagster-webserver`` itself shows everything else.
"""

from __future__ import annotations

import dagster_webserver.app
from dagster_webserver.cli import main as webserver
from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from customer360.settings import Settings


class ReportsWebserver(DagsterWebserver):  # type: ignore[type-arg]  # generic over contexts that are not public
    """Dagster's web server with the reports' route first: the last route of Dagster matches every path."""

    def build_routes(self) -> list[BaseRoute]:
        """Files in the reports' folder alone; one that is not there is 404."""
        folder = Settings.from_environment().place.reports
        folder.mkdir(parents=True, exist_ok=True)
        return [Mount("/reports", StaticFiles(directory=folder)), *super().build_routes()]  # type: ignore[no-untyped-call]


def main() -> None:
    """Be Dagster's web server with this class in place of its own."""
    dagster_webserver.app.DagsterWebserver = ReportsWebserver  # type: ignore[attr-defined]
    webserver()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
