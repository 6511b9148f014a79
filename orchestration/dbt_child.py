"""dbt as a child that dies with its run, and that knows the shop: ``customer360-dbt <any dbt arguments>``.

Without it, a dbt process whose run was killed would go on holding the warehouse, and the retry would collide with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time

from customer360.features import dbt_vars
from customer360.lake.warehouse import lock_holder
from customer360.settings import REPOSITORY, Place, Settings

PR_SET_PDEATHSIG = 1
WITHOUT_VARS = {"--version", "-v", "--help", "-h", "deps", "clean", "debug"}


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; where it cannot (not Linux), look once a second."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def is_orphan(place: Place) -> bool:
    """True when the run that started this process died while it was loading: too early for the kernel to have been asked.

    The run holds the warehouse, and the lock names its process.
    """
    try:
        return int(json.loads(lock_holder(place))["process"]) != os.getppid()
    except (ValueError, KeyError, TypeError):
        return True


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment that the dbt project reads."""
    return {
        "CUSTOMER360_WAREHOUSE": str(settings.place.warehouse),
        "DBT_PROJECT_DIR": str(REPOSITORY / "dbt_project"),
        "DBT_PROFILES_DIR": str(REPOSITORY / "dbt_project"),
        "DBT_TARGET_PATH": str(settings.place.dbt_target),
        "DBT_LOG_PATH": str(settings.place.dbt_target),
    }


def with_vars(arguments: list[str], settings: Settings) -> list[str]:
    """The arguments with the shop's ``--vars``, unless they are of a kind that takes none."""
    if not arguments or arguments[0] in WITHOUT_VARS or "--vars" in arguments:
        return arguments
    return [*arguments, "--vars", json.dumps(dbt_vars(settings.shop), sort_keys=True)]


def main() -> None:
    """Run dbt in this process."""
    settings = Settings.from_environment()
    if os.environ.get("DAGSTER_DBT_CLI"):
        die_with_parent()
        if is_orphan(settings.place):
            sys.exit("the run that started dbt is gone: dbt does nothing")
    for name, value in dbt_environment(settings).items():
        os.environ.setdefault(name, value)
    from dbt.cli.main import cli  # noqa: PLC0415  dbt reads the environment that was just set while it loads

    sys.argv = ["dbt", *with_vars(sys.argv[1:], settings)]
    cli()


if __name__ == "__main__":
    main()
