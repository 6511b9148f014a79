"""The server that starts the workers. It does not import their application: that counts into the folder which is named here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from granian.constants import Interfaces
from granian.server import Server

from customer360.services.api.settings import ApiSettings
from customer360.services.spool import recover_spools
from customer360.settings import Settings

APPLICATION = "customer360.services.api.app:create_from_environment"
STOP_SECONDS = 10  # a worker that is told to stop while it starts does not hear it (granian 2.8)
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported


def serve(settings: Settings, own: ApiSettings) -> None:
    """Start the workers and serve until SIGTERM or Ctrl-C; then what they took moves into its slice.

    The counts of an earlier start are removed.
    """
    folder = Path(settings.place.serving) / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ |= {METRICS_FOLDER: str(folder), "SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)}
    server = Server(
        APPLICATION,
        factory=True,
        address=own.host,
        port=own.port,
        interface=Interfaces.ASGINL,
        workers=own.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_access=False,
        websockets=False,
    )
    try:
        server.serve()
    finally:
        recover_spools(settings)
