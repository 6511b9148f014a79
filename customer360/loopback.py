"""Which hosts are this machine: what must not cross a network in the clear goes to those alone."""

from __future__ import annotations

import ipaddress

LOOPBACK = "127.0.0.1"
LOOPBACK_HOSTS = (LOOPBACK, "localhost", "[::1]")  # as URLs and the header Host write them


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
