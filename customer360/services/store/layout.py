"""Where the store lies, what its record of itself holds, and how it is opened.

``<data>/serving/store/current`` is a link to the folder of an LMDB environment, swapped by rename. Each of ``TABLES`` is a
database of it, and ``meta`` holds one ``Meta``.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import lmdb
import msgspec

from customer360.errors import OperatorError
from customer360.offers.customer import Customer
from customer360.offers.offers import BookContents
from customer360.offers.policy import PolicyState
from customer360.services.store.tables import LONG_KEY, LONGEST_KEY, TABLES, attributes, categories
from customer360.settings import Place, Shop

META = "meta"
META_KEY = b"meta"
MAP_SIZE = 1 << 30  # of address space, doubled where it does not suffice; the file grows with its content
MAX_DATABASES = 16
MAX_READERS = 512  # processes that read at a time
REMAKE_IT = "the next slice makes it anew, and so does customer360 api serve when it starts"


class StoreError(OperatorError, RuntimeError):
    """The store cannot be read. The message says why, and what makes it good; it holds no value of a row."""


class TableState(msgspec.Struct, frozen=True):
    """Of what a table was made. ``sources``: a hash of the published files; ``digests``: the version that its digests name."""

    sources: str
    digests: int


class OfferState(msgspec.Struct, frozen=True):
    """What decisions on offers need beside the customer. ``draw_key``: hexadecimal. ``policy``: what was learned.

    ``basis``: of the book that what the list chooses for each customer was found with; None where that is not one.
    """

    book: BookContents
    basis: str | None
    draw_key: str
    policy: PolicyState | None


class Meta(msgspec.Struct, frozen=True):
    """Of which published version the rows are: its number, its point in time (UTC), rows and state by table.

    ``schema``: of the release that wrote it; ``shop``: the categories and attributes that values hold. ``titles``: the
    categories' names. ``offers``: None until offers are published.
    """

    schema: str
    shop: tuple[tuple[str, ...], tuple[str, ...]]
    version: int
    as_of: datetime
    rows: dict[str, int]
    titles: dict[str, str]
    offers: OfferState | None
    tables: dict[str, TableState]

    def has_layout_of(self, shop: Shop) -> bool:
        """Whether values are encoded as this release encodes those of the shop."""
        return (self.schema, self.shop) == (SCHEMA, shop_layout(shop))


# What a reader relies on: how values are made, and the records that it decodes.
SCHEMA = hashlib.sha256(repr((TABLES, msgspec.json.schema_components((Meta, Customer)))).encode()).hexdigest()[:16]


def shop_layout(shop: Shop) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of a shop the values depend on."""
    return categories(shop), attributes(shop)


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
    if len(key) <= LONGEST_KEY and not text.startswith(LONG_KEY):
        return key
    return (LONG_KEY + hashlib.sha256(key).hexdigest()).encode()
