"""Where the store lies, what its tables hold, and how a value is encoded.

``<data>/serving/store/current`` is a link to the folder of an LMDB environment, swapped by rename. Its tables are databases of
LMDB: ``profiles`` (customer id to ``StoredProfile``), ``visitors`` (visitor id to customer id) and ``meta`` (one ``Meta``).
Values are MessagePack by msgspec, as arrays in the order of a struct's fields.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from customer360.errors import OperatorError
from customer360.settings import NONE, Place, Shop

PROFILES, VISITORS, META = "profiles", "visitors", "meta"
META_KEY = b"meta"
MAP_SIZE = 1 << 30  # of address space, doubled where it does not suffice; the file grows with its content
MAX_DATABASES = 16
MAX_READERS = 512  # processes that read at a time
LONGEST_KEY = 511  # bytes, as LMDB is built
LONG_KEY = "sha256:"  # in place of a longer id
REMAKE_IT = "the next slice makes it anew"


class StoreError(OperatorError, RuntimeError):
    """The store cannot be read. The message says why, and what makes it good; it holds no value of a row."""


class StoredProfile(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a customer as of the last slice. Money is in the shop's currency, times are ISO 8601 in UTC.

    ``may_personalise``: the consent to personalisation. ``probabilities`` are in the order of ``Meta.categories``, empty
    without a champion; ``attributes``, none of them personal, in that of ``Meta.attributes``.
    """

    customer_id: str
    may_personalise: bool
    segment: str | None
    recency_days: int | None
    frequency: int | None
    monetary: float | None
    label: str | None
    probabilities: list[float]
    model_version: str | None
    purchase_probability: float | None
    expected_spend: float | None
    churn_probability: float | None
    top_category_id: str | None
    reasons: list[str]
    reasons_as_of: str | None
    last_activity_at: str | None
    attributes: list[Any]


SCHEMA = hashlib.sha256(json.dumps(msgspec.json.schema(StoredProfile), sort_keys=True).encode()).hexdigest()[:16]


class Meta(msgspec.Struct, frozen=True):
    """Of which published version the rows are: its number, its point in time (UTC), the layout of values, rows by table.

    ``titles``: the categories' names.
    """

    schema: str
    version: int
    as_of: datetime
    categories: tuple[str, ...]
    attributes: tuple[str, ...]
    rows: dict[str, int]
    titles: dict[str, str]

    def has_layout_of(self, shop: Shop) -> bool:
        """Whether values are encoded as this release encodes those of the shop."""
        layout = (SCHEMA, categories(shop), attributes(shop))
        return (self.schema, self.categories, self.attributes) == layout


def categories(shop: Shop) -> tuple[str, ...]:
    """The classes of the affinity model, in the order of a profile's probabilities."""
    return (*shop.category_ids, NONE)


def attributes(shop: Shop) -> tuple[str, ...]:
    """The attributes that a profile holds: those that shop.yaml does not mark as personal."""
    return tuple(name for name, spec in shop.attributes.items() if not spec.personal)


def store_folder(place: Place) -> Path:
    """The folder of the store; ``current`` in it is the link that readers follow."""
    return place.serving / "store"


def open_environment(folder: Path, *, readonly: bool = False, map_size: int = MAP_SIZE, sync: bool = True) -> lmdb.Environment:
    """The LMDB environment of a folder. Raises ``StoreError`` where its file is shorter than the pages that it counts.

    A page that is not there would end the process (SIGBUS), not the request.
    """
    environment = lmdb.open(
        str(folder),
        map_size=map_size,
        max_dbs=MAX_DATABASES,
        max_readers=MAX_READERS,
        readonly=readonly,
        create=not readonly,
        sync=sync,
        metasync=sync,
    )
    if (folder / "data.mdb").stat().st_size < (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]:
        environment.close()
        raise StoreError(f"the store is cut short; {REMAKE_IT}")
    return environment


def key_of(text: str) -> bytes:
    """The key of an id: its UTF-8, or a hash where that is too long for a key."""
    key = text.encode("utf-8", "surrogatepass")
    return key if len(key) <= LONGEST_KEY else (LONG_KEY + hashlib.sha256(key).hexdigest()).encode()
