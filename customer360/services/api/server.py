"""The server that starts the workers. It does not import their application: that counts into the folder which is named here."""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from granian.constants import Interfaces
from granian.server import Server

from customer360.services.api.keys import SCOPES, add_key, keys_file, read_keys, revoke_key
from customer360.services.api.settings import PREFIX, ApiSettings
from customer360.services.spool import recover_spools
from customer360.settings import Settings

APPLICATION = "customer360.services.api.app:create_from_environment"
DEMO_KEY = "page /demo"  # its name in the list of keys
STOP_SECONDS = 10  # a worker that is told to stop while it starts does not hear it (granian 2.8)
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported


def serve(settings: Settings, own: ApiSettings) -> None:
    """Start the workers and serve until SIGTERM or Ctrl-C; then what they took moves into its slice.

    The counts of an earlier start are removed.
    """
    folder = Path(settings.place.serving) / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if own.demo:
        os.environ |= _demo(settings, own)
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
        recover_spools(settings, is_last=True)


def _demo(settings: Settings, own: ApiSettings) -> dict[str, str]:
    """What /demo needs: a browser key in place of that of an earlier start, and a secret where the shop has none."""
    file, now = keys_file(settings.place), datetime.now(UTC)
    for key in read_keys(file):
        if key.name == DEMO_KEY and key.revoked_at is None:
            revoke_key(file, key.id, now)
    origins = [f"http://{host}:{own.port}" for host in ("127.0.0.1", "localhost", "[::1]")]
    made = {f"{PREFIX}DEMO_KEY": add_key(file, DEMO_KEY, SCOPES["browser"], now, origins=origins)}
    has_secret = own.customer_secret or own.customer_secret_file
    return made if has_secret else {**made, f"{PREFIX}CUSTOMER_SECRET": secrets.token_hex(32)}
