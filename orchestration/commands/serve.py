"""``customer360 serve``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from orchestration.console import WELL, Invocation, say


def serve(
    invocation: Invocation,
    port: Annotated[int | None, typer.Option(min=0, help="Of the web server; without it there is none.")] = None,
) -> int:
    """Keep Dagster's daemon, code server and web server running.

    Ends with SIGTERM or Ctrl-C. The Dagster home is $DAGSTER_HOME, else dagster in the data folder.
    """
    from orchestration.runtime.home import prepare_home
    from orchestration.runtime.services import services

    os.environ.update(invocation.environment)
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(invocation.settings.place.root.absolute() / "dagster")))
    prepare_home(home)
    with services(home, port, say) as served:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: served.end())
        served.run()
    return WELL
