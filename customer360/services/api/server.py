"""The server that starts the workers, and starts anew those that died.

It imports their application before it forks them, so that a new one answers in a fraction of a second; and not before the
folder is named that they count into, which prometheus_client reads when it is imported.
"""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.server.mp import MPServer

from customer360.logs import json_logging
from customer360.loopback import LOOPBACK_HOSTS
from customer360.services.api.keys import SCOPES, add_key, keys_file, read_keys, revoke_key
from customer360.services.api.settings import METRICS_FOLDER, PREFIX, ApiSettings, ready_file
from customer360.services.spool import recover_spools
from customer360.settings import Settings

MODULE = "customer360.services.api.app"
DEMO_KEY = "page /demo"  # its name in the list of keys
STOP_SECONDS = 10  # a worker that is told to stop while it starts does not hear it (granian 2.8)
LOOK_SECONDS = 5.0  # between looks for dead workers, whose deaths are also told
PAUSE_SECONDS = 1.0  # between starts of workers that die again and again


class Workers(MPServer):
    """Starts each worker anew that died, as often as it dies.

    Granian's own loop ends the server where a worker dies within 5.5 seconds of its start, so that two kills in a row stop all
    answers, and may miss one of two that die at once. This one ends, with status 1, where a worker died before any was ready.
    """

    def _serve_loop(self, spawn_target: Callable[..., None], target_loader: Callable[..., Any]) -> None:
        while not self.interrupt_signal:
            dead = [worker.idx for worker in self.wrks if not worker.inner.is_alive()]
            if dead and not ready_file().exists():
                self.interrupt_children = dead  # of whom the status tells
                return
            self.interrupt_children.clear()
            if dead:
                self._respawn_workers(dead, spawn_target, target_loader)
                time.sleep(PAUSE_SECONDS)
            self.main_loop_interrupt.wait(LOOK_SECONDS)
            self.main_loop_interrupt.clear()


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
