"""A template whose children do what their request says, without Dagster: it is there in a moment."""

import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import get_context
from typing import Any

from orchestration.runtime.template import serve

HELPER = subprocess.Popen(["true"])  # as libraries have them: a process of the template that is no run
LOCKS = [get_context("spawn").RLock()]  # as dbt has them: named, and known to a tracker, which is a child of the template


def execute(request: dict[str, Any]) -> int:
    """Exit with a code, be killed or raise, after as many seconds as it is told."""
    LOCKS.append(get_context("spawn").RLock())
    time.sleep(request["seconds"])
    if request["do"] == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if request["do"] == "raise":
        raise RuntimeError("as it was told")
    return int(request["do"])


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), execute)
