"""``customer360 serve``."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from orchestration.console import WELL, environment_of, say, settings_of
from orchestration.runtime.home import prepare_home
from orchestration.runtime.services import ServedAlreadyError, services

EXPECTED = (ServedAlreadyError,)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C. The Dagster home is ``DAGSTER_HOME``, else ``dagster`` in the data folder."""
    os.environ.update(environment_of(options))
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(settings_of(options).place.root.absolute() / "dagster")))
    prepare_home(home)
    with services(home, options.port, say) as served:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: served.end())
        served.run()
    return WELL
