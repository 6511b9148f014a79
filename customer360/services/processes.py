"""What processes of the services tell the system about themselves."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of prctl(2)


def die_with_parent() -> None:
    """On Linux: get SIGTERM when the thread that started this process ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
