"""A part of an object store as a temporary local folder with the same names, for ``customer360 check``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, gettempdir

from customer360.lake.landing.listing import is_complete
from customer360.lake.object_store import ObjectStore, StoredObject, StoreError
from customer360.settings import Settings, SettingsError


@contextmanager
def local_copy(settings: Settings, url: str) -> Iterator[Path]:
    """The objects below ``url``, or the one there, as files. Unfinished ones are empty.

    Raises ``SettingsError`` where shop.yaml describes no store, ``FileNotFoundError`` where nothing is there, ``StoreError``.
    """
    storage = settings.shop.object_storage
    if storage is None:
        raise SettingsError(
            f"{url} cannot be read: shop.yaml has no object_storage, which says how; see docs/your-data.md, 'Object storage'"
        )
    bucket, _, key = url.rstrip("/").removeprefix("s3://").partition("/")
    store = ObjectStore(storage, f"s3://{bucket}")
    found = [entry for entry in store.objects(key) if entry.key == key or not key or entry.key.startswith(f"{key}/")]
    if not found:
        raise FileNotFoundError(f"{url} has no objects")
    landing = str(storage.landing or "").removeprefix(f"s3://{bucket}").strip("/")
    is_of_landing = storage.landing is not None and f"{url.rstrip('/')}/".startswith(f"{storage.landing}/")
    with TemporaryDirectory(prefix="customer360-check-") as scratch:
        # The layout recognises landing by its name.
        target = Path(scratch) / "landing" / key[len(landing) :].strip("/") if is_of_landing else Path(scratch) / bucket / key
        _fetch(store, found, key, target)
        yield target


def _fetch(store: ObjectStore, found: list[StoredObject], key: str, target: Path) -> None:
    free = shutil.disk_usage(gettempdir()).free
    if (size := sum(entry.size for entry in found)) > free:
        raise StoreError(f"{store.url_of(key)} has {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free: check a part of it")
    files = {}
    for entry in found:
        inside = PurePosixPath(entry.key[len(key) :].strip("/"))
        if entry.key.endswith("/"):  # the mark of a folder
            continue
        if ".." in inside.parts or "\0" in entry.key:
            raise StoreError(f"{store.url_of(entry.key)} has a name that no file may have")
        files[entry] = target / inside
    folders = {folder for path in files.values() for folder in path.parents}
    for entry, path in files.items():
        if path in folders:
            raise StoreError(f"{store.url_of(entry.key)} is an object and a folder of others; a landing folder cannot be that")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_complete(path.name):
            path.touch()
    store.fetch_all((entry, path) for entry, path in files.items() if is_complete(path.name))
