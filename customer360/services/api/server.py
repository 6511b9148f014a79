"""The server that starts the workers, and starts anew those that died.

It imports their application before it forks them, so that a new one answers in a fraction of a second; and not before the
folder is named that they count into, which prometheus_client reads when it is imported.
"""

from __future__ import annotations

import gc
import os
import secrets
import shutil
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from granian.constants import Interfaces

from customer360.logs import json_logging
from customer360.loopback import LOOPBACK_HOSTS
from customer360.services.api.keys import SCOPES, add_key, keys_file, read_keys, revoke_key
from customer360.services.api.settings import METRICS_FOLDER, PREFIX, ApiSettings, ready_file
from customer360.services.processes import Workers
from customer360.services.spool import recover_spools
from customer360.settings import Settings

MODULE = "customer360.services.api.app"
DEMO_KEY = "page /demo"  # its name in the list of keys
STOP_SECONDS = 10  # a worker that is told to stop while it starts does not hear it (granian 2.8)


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
    import_module(MODULE)
    gc.collect()
    gc.freeze()  # workers leave the pages of what is imported as they are, and share them
    server = Workers(
        f"{MODULE}:create_from_environment",
        factory=True,
        address=own.host,
        port=own.port,
        interface=Interfaces.ASGINL,
        workers=own.workers,
        workers_kill_timeout=STOP_SECONDS,
        log_access=False,
        log_dictconfig=json_logging(),
        websockets=False,
    )
    server.has_started = ready_file().exists
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
    origins = [f"http://{host}:{own.port}" for host in LOOPBACK_HOSTS]
    made = {f"{PREFIX}DEMO_KEY": add_key(file, DEMO_KEY, SCOPES["browser"], now, origins=origins)}
    has_secret = own.customer_secret or own.customer_secret_file
    return made if has_secret else {**made, f"{PREFIX}CUSTOMER_SECRET": secrets.token_hex(32)}
