"""Reading the store: one snapshot of one version for each answer, across refreshes, compactions and rebuilds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import msgspec

from customer360.services.store.layout import (
    META,
    META_KEY,
    PROFILES,
    REMAKE_IT,
    SCHEMA,
    VISITORS,
    Meta,
    StoredProfile,
    StoreError,
    key_of,
    open_environment,
)

if TYPE_CHECKING:
    from lmdb import _Database as Database

MAKE_IT = "run a slice of a shop with `serving: true` in its shop.yaml"
_profile = msgspec.msgpack.Decoder(StoredProfile)
_meta = msgspec.msgpack.Decoder(Meta)
_NO_META = Meta("", 0, datetime(1970, 1, 1, tzinfo=UTC), (), (), {}, {})


@dataclass(frozen=True)
class StoreView:
    """One snapshot of the store; valid within the block that opened it."""

    meta: Meta
    _transaction: lmdb.Transaction
    _databases: dict[str, Database]

    def profile(self, customer_id: str) -> StoredProfile | None:
        """The profile of a customer; None for an unknown one."""
        value = self._transaction.get(key_of(customer_id), db=self._databases[PROFILES])
        if value is None:
            return None
        profile = _profile.decode(value)
        return profile if profile.customer_id == customer_id else None

    def customer_of(self, visitor_id: str) -> str | None:
        """The one customer of a visitor, where that customer consented to personalisation; None for others."""
        value = self._transaction.get(key_of(visitor_id), db=self._databases[VISITORS])
        return None if value is None else bytes(value).decode("utf-8", "surrogatepass")


class StoreReader:
    """The store of a folder, for one process and one thread at a time. Nothing is opened before the first view."""

    def __init__(self, folder: Path) -> None:
        self._link = folder / "current"
        self._link_path = str(self._link)
        self._target: str | None = None
        self._environment: lmdb.Environment | None = None
        self._databases: dict[str, Database] = {}
        self._meta: tuple[bytes, Meta] = (b"", _NO_META)

    @contextmanager
    def view(self) -> Iterator[StoreView]:
        """One snapshot, to read from until the block ends. Raises ``StoreError`` where there is none that can be read."""
        transaction = self._begin()
        try:
            yield StoreView(self._read_meta(transaction), transaction, self._databases)
        except (lmdb.Error, msgspec.DecodeError) as error:
            self.close()
            raise StoreError(f"the store is damaged ({type(error).__name__}); {REMAKE_IT}") from error
        finally:
            transaction.abort()

    def close(self) -> None:
        """Close the environment; the next view opens it again."""
        if self._environment is not None:
            self._environment.close()
        self._environment, self._target, self._databases = None, None, {}

    def _begin(self) -> lmdb.Transaction:
        """A read transaction on the folder that the link names now; tried again where it was swapped meanwhile."""
        for _ in range(3):
            try:
                target = os.readlink(self._link_path)  # noqa: PTH115  a microsecond, and pathlib's takes six
            except OSError as error:
                self.close()
                raise StoreError(f"there is no store yet; {MAKE_IT}") from error
            try:
                if target != self._target or self._environment is None:
                    self._open(target)
                return self._environment.begin()  # type: ignore[union-attr]  # `_open` made it
            except lmdb.MapResizedError:
                self._environment.set_mapsize(0)  # type: ignore[union-attr]  # a run has let the store grow
            except (lmdb.Error, OSError) as error:
                self.close()
                if str(self._link.readlink()) == target:
                    raise StoreError(f"the store cannot be opened ({type(error).__name__}); {REMAKE_IT}") from error
        raise StoreError(f"the store is being replaced again and again; {REMAKE_IT}")

    def _open(self, target: str) -> None:
        self.close()
        self._environment = environment = open_environment(self._link.with_name(target), readonly=True)
        self._databases = {name: environment.open_db(name.encode(), create=False) for name in (META, PROFILES, VISITORS)}
        self._target = target

    def _read_meta(self, transaction: lmdb.Transaction) -> Meta:
        value = transaction.get(META_KEY, db=self._databases[META])
        if value is None:
            raise StoreError(f"the store is half-written; {REMAKE_IT}")
        if value != self._meta[0]:
            self._meta = (bytes(value), _meta.decode(value))
        meta = self._meta[1]
        if meta.schema != SCHEMA:
            raise StoreError(f"the store is of another release (schema {meta.schema}, this one reads {SCHEMA}); {REMAKE_IT}")
        return meta
