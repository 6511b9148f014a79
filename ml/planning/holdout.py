"""The holdout: customers who are never contacted, so that the effect of contacts can be measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def in_holdout(customer_ids: Iterable[str], salt: str, share: float) -> npt.NDArray[np.bool_]:
    """True for about ``share`` of the customers: those with the lowest sha256 of "salt:customer_id".

    It depends on nothing else: the same on every machine and day, whoever else is a customer. A new salt draws a new one.
    """
    limit = int(share * 2**64)
    digests = (hashlib.sha256(f"{salt}:{customer}".encode()).digest() for customer in customer_ids)
    return np.array([int.from_bytes(digest[:8], "big") < limit for digest in digests], dtype=bool)
