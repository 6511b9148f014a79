"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on, below those that Linux gives to outgoing connections, which could take them meanwhile."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < number:
            port = random.SystemRandom().randrange(10_000, 32_768)
            try:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]
