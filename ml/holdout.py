"""The holdout: customers who are never contacted, so that the effect of contacts can be measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def in_holdout(customer_ids: Iterable[str], salt: str, share: float) -> npt.NDArray[np.bool_]:
    """True for about ``share`` of the customers: those with the lowest sha256 of "salt:customer_id".

    Depends on nothing else: the same on every machine and every day, whoever else is a customer. A new salt draws a new holdout.
    """
    limit = int(share * 2**64)
    drawn = [
        int.from_bytes(hashlib.sha256(f"{salt}:{customer}".encode()).digest()[:8], "big") < limit for customer in customer_ids
    ]
    return np.array(drawn, dtype=bool)
