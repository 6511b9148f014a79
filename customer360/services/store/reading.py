"""Reading the store: one snapshot of one version for each answer, across refreshes, compactions and rebuilds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import msgspec

from customer360.offers.customer import Customer, decode
from customer360.recommendations.recommend import Product, Ranked
from customer360.services.store.layout import META, META_KEY, REMAKE_IT, SCHEMA, Meta, StoreError, key_of, open_environment
from customer360.services.store.tables import (
    AFFINITIES,
    BOUGHT,
    COLD_START,
    HOLDOUTS,
    OFFERS,
    PRODUCTS,
    PROFILES,
    RELATED,
    TABLES,
    VISITORS,
)

if TYPE_CHECKING:
    from lmdb import _Database as Database

MAKE_IT = "run a slice of a shop with `serving: true` in its shop.yaml"
CONSENTS = b'{"may_personalise":true,'
_ranked = msgspec.json.Decoder(list[Ranked])
_related = msgspec.json.Decoder(list[tuple[str, str, float, str]])
_bought = msgspec.json.Decoder(list[tuple[str, float | None]])
_product = msgspec.json.Decoder(Product)
_meta = msgspec.msgpack.Decoder(Meta)
SECONDS_BETWEEN_LOOKS = 0.05  # at the link, which a build or a compaction swaps: a look takes as long as two values
MOST_PRODUCTS, MOST_ENTRIES = 20_000, 1_000  # kept decoded in a process: some 10 and 5 MB
DAMAGES = (lmdb.Error, msgspec.DecodeError)
_NO_META = Meta("", ((), ()), 0, datetime(1970, 1, 1, tzinfo=UTC), {}, {}, None, {})


@dataclass(slots=True)
class _Shelf:
    """What was read of one version for any customer: products and cold starts, which most answers need again."""

    products: dict[str, Product] = field(default_factory=dict)
    cold_starts: dict[str, list[Ranked]] = field(default_factory=dict)


@dataclass(slots=True)
class StoreView:
    """One snapshot of the store, until its block ends. What the store does not know is None, or nothing.

    ``head``: how each JSON document of this version begins, with its point in time and number. The block raises ``StoreError``
    where what it reads is damaged.
    """

    meta: Meta
    head: bytes
    _transaction: lmdb.Transaction
    _databases: dict[str, Database]
    _shelf: _Shelf
    _close_reader: Callable[[], None]
    _inputs: tuple[str, bytes | None] = ("", None)

    def __enter__(self) -> StoreView:
        """The snapshot: `StoreReader.view` has opened it."""
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """End the snapshot; the next one opens the store again where it was found damaged."""
        self._transaction.abort()
        if isinstance(error, DAMAGES):
            self._close_reader()
            raise _damaged(error) from error

    def profile(self, customer_id: str) -> bytes | None:
        """The profile of a customer as JSON; ``head`` and all of it but its first brace is the document."""
        return self._get(PROFILES, customer_id)

    def consent_of(self, customer_id: str) -> bool | None:
        """Whether the customer consents to personalisation; None for an unknown one.

        Who has offer inputs does: they are smaller than a profile, and what an offer needs next.
        """
        if self._inputs_of(customer_id) is not None:
            return True
        value = self._get(PROFILES, customer_id)
        return None if value is None else value.startswith(CONSENTS)

    def customer_of(self, visitor_id: str) -> str | None:
        """The one customer of a visitor, where that customer consented to personalisation."""
        value = self._get(VISITORS, visitor_id)
        return None if value is None else value.decode()

    def offer_inputs(self, customer_id: str) -> Customer | None:
        """What a decision on an offer knows of a customer; None for one who is not known, or does not consent."""
        value = self._inputs_of(customer_id)
        return None if value is None else decode(value)

    def holdouts(self, customer_id: str) -> Customer | None:
        """``is_held_out`` and ``withheld`` of a customer, also of one without consent; None where nothing is known of them."""
        value = self._get(HOLDOUTS, customer_id)
        return self.offer_inputs(customer_id) if value is None else decode(value)

    def affinities(self, customer_id: str) -> list[Ranked]:
        """The products that the customer most probably buys, the most probable first."""
        value = self._get(AFFINITIES, customer_id)
        return [] if value is None else _ranked.decode(value)

    def bought(self, customer_id: str, now: float) -> frozenset[str]:
        """Products that the customer bought and is not shown again yet. ``now``: seconds since 1970."""
        value = self._get(BOUGHT, customer_id)
        rows = () if value is None else _bought.decode(value)
        return frozenset(product for product, until in rows if until is None or until > now)

    def cold_start(self, entry: str) -> list[Ranked] | None:
        """The products that visits with this beginning go on to, the most probable first."""
        found = self._shelf.cold_starts.get(entry)
        if found is None and (value := self._get(COLD_START, entry)) is not None:
            found = _ranked.decode(value)
            if len(self._shelf.cold_starts) < MOST_ENTRIES:
                self._shelf.cold_starts[entry] = found
        return found

    def related(self, product_id: str) -> list[tuple[str, str, float, str]]:
        """Relation, product, score and reason of what goes with a product, by relation, the strongest first."""
        value = self._get(RELATED, product_id)
        return [] if value is None else _related.decode(value)

    def product(self, product_id: str) -> Product | None:
        """A listed product."""
        found = self._shelf.products.get(product_id)
        if found is None and (value := self._get(PRODUCTS, product_id)) is not None:
            found = _product.decode(value)
            if len(self._shelf.products) < MOST_PRODUCTS:
                self._shelf.products[product_id] = found
        return found

    def first_rows(self, table: str, most: int) -> Iterator[tuple[str, bytes]]:
        """The first rows of a table by key, with their values as JSON."""
        for key, value in islice(self._transaction.cursor(db=self._databases[table]), most):
            yield bytes(key).decode(), bytes(value)

    def _inputs_of(self, customer_id: str) -> bytes | None:
        if self._inputs[0] != customer_id:
            self._inputs = customer_id, self._get(OFFERS, customer_id)
        return self._inputs[1]

    def _get(self, table: str, text: str) -> bytes | None:
        if not text:  # LMDB has no empty key, and would call the store damaged
            return None
        return self._transaction.get(key_of(text), db=self._databases[table])  # type: ignore[return-value]  # buffers are off


class StoreReader:
    """The store of a folder, for one process and one thread at a time. Nothing is opened before the first view."""

    def __init__(self, folder: Path) -> None:
        self._link = folder / "current"
        self._link_path = str(self._link)
        self._target: str | None = None
        self._environment: lmdb.Environment | None = None
        self._databases: dict[str, Database] = {}
        self._meta, self._head, self._shelf = _NO_META, b"", _Shelf()
        self._meta_id = -1  # of the last transaction that it was read in
        self._next_look = 0.0  # at the link, by the monotonic clock

    def view(self) -> StoreView:
        """One snapshot, for a ``with`` block. Raises ``StoreError`` where there is none that can be read."""
        transaction = self._begin()
        try:
            meta = self._read_meta(transaction)
        except (StoreError, *DAMAGES) as error:
            transaction.abort()
            if isinstance(error, StoreError):
                raise
            self.close()
            raise _damaged(error) from error
        return StoreView(meta, self._head, transaction, self._databases, self._shelf, self.close)

    def close(self) -> None:
        """Close the environment; the next view opens it again."""
        if self._environment is not None:
            self._environment.close()
        self._environment, self._target, self._databases, self._meta_id = None, None, {}, -1

    def _begin(self) -> lmdb.Transaction:
        """A read transaction on the folder that the link names now; tried again where it was swapped meanwhile."""
        for _ in range(3):
            target = self._linked()
            try:
                if target != self._target or self._environment is None:
                    self._open(target)
                return self._environment.begin()  # type: ignore[union-attr]  # `_open` made it
            except lmdb.MapResizedError:
                self._environment.set_mapsize(0)  # type: ignore[union-attr]  # a run has let the store grow
            except (lmdb.Error, msgspec.DecodeError, OSError) as error:
                self.close()
                if str(self._link.readlink()) == target:
                    raise StoreError(f"the store cannot be opened ({type(error).__name__}); {REMAKE_IT}") from error
        raise StoreError(f"the store is being replaced again and again; {REMAKE_IT}")

    def _linked(self) -> str:
        """The folder that the link names, as of the last look at it."""
        monotonic = time.monotonic()
        if self._target is None or monotonic >= self._next_look:
            try:
                linked = os.readlink(self._link_path)  # noqa: PTH115  pathlib's takes six times as long
            except OSError as error:
                self.close()
                raise StoreError(f"there is no store yet; {MAKE_IT}") from error
            self._next_look = monotonic + SECONDS_BETWEEN_LOOKS
            return linked
        return self._target

    def _open(self, target: str) -> None:
        self.close()
        self._environment = environment = open_environment(self._link.with_name(target), readonly=True)
        self._databases = {META: environment.open_db(META.encode(), create=False)}
        with environment.begin() as transaction:
            self._read_meta(transaction)  # a store of another release may have other tables
        self._databases |= {table.name: environment.open_db(table.name.encode(), create=False) for table in TABLES}
        self._target = target

    def _read_meta(self, transaction: lmdb.Transaction) -> Meta:
        """Read again where a transaction was committed since."""
        if transaction.id() != self._meta_id:
            value = transaction.get(META_KEY, db=self._databases[META])
            if value is None:
                raise StoreError(f"the store is half-written; {REMAKE_IT}")
            schema = msgspec.msgpack.decode(value, type=_Schema).schema
            if schema != SCHEMA:
                raise StoreError(f"the store is of another release (schema {schema}, this one reads {SCHEMA}); {REMAKE_IT}")
            self._meta = meta = _meta.decode(value)
            self._head = msgspec.json.encode({"as_of": meta.as_of, "version": meta.version})[:-1] + b","
            self._meta_id, self._shelf = transaction.id(), _Shelf()
        return self._meta


def _damaged(error: BaseException) -> StoreError:
    return StoreError(f"the store is damaged ({type(error).__name__}); {REMAKE_IT}")


class _Schema(msgspec.Struct):
    """Of a record of any release."""

    schema: str
