"""Processes of the services: workers that are started anew, and what they tell the system about themselves."""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from granian.server.mp import MPServer

_PR_SET_PDEATHSIG = 1  # of prctl(2)
LOOK_SECONDS = 5.0  # between looks for dead workers, whose deaths are also told
PAUSE_SECONDS = 1.0  # between starts of workers that die again and again


def die_with_parent() -> None:
    """On Linux: get SIGTERM when the thread that started this process ends, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Workers(MPServer):
    """Starts each worker anew that died, as often as it dies.

    Granian's own loop ends the server where a worker dies within 5.5 seconds of its start, so that two kills in a row stop all
    answers, and may miss one of two that die at once. This one ends, with status 1, where a worker died before ``has_started``
    says that one was ready.
    """

    has_started: Callable[[], bool]

    def _serve_loop(self, spawn_target: Callable[..., None], target_loader: Callable[..., Any]) -> None:
        while not self.interrupt_signal:
            dead = [worker.idx for worker in self.wrks if not worker.inner.is_alive()]
            if dead and not self.has_started():
                self.interrupt_children = dead  # of whom the status tells
                return
            self.interrupt_children.clear()
            if dead:
                self._respawn_workers(dead, spawn_target, target_loader)
                time.sleep(PAUSE_SECONDS)
            self.main_loop_interrupt.wait(LOOK_SECONDS)
            self.main_loop_interrupt.clear()
