"""A prefix in a bucket of an S3-compatible store: list, get, put, copy, remove; error messages hold no secret.

One PUT makes an object appear whole or not at all. Objects are deleted one by one: not every store supports bulk deletion.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as StoreConnectionError

from customer360.errors import OperatorError
from customer360.settings import ObjectStorage

CONNECT_SECONDS = 5
TRIES = 3
FETCHERS = 8
CHUNK = 1 << 20
PAGE = 1000
# One PUT takes 5 GB at most; a large one is better sent in parts that can be tried again.
ONE_PUT = 1 << 30
PART = 64 << 20
GONE = {"NoSuchKey", "404", "NotFound"}
REFUSED = {"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "403", "Forbidden"}


class StoreError(OperatorError, RuntimeError):
    """The store could not be used: no answer, refused, or wrong content. The message has a remedy and no secret."""


class ObjectGoneError(StoreError):
    """The object is not there, or no longer the one that was listed."""


@dataclass(frozen=True)
class StoredObject:
    """An object; ``key`` is relative to the prefix of its ``ObjectStore``, ``etag`` changes with its content."""

    key: str
    size: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True)
class Page:
    """The result of one listing request, in the order of keys."""

    objects: tuple[StoredObject, ...]
    is_last: bool


class ObjectStore:
    """The objects below one URL."""

    def __init__(self, storage: ObjectStorage, url: str) -> None:
        """Raises ``StoreError`` where a variable with credentials is not set."""
        self.storage = storage
        self.url = url
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.keys = _keys(storage, self.title)
        self.client = _client(storage, *self.keys, os.getpid())

    @property
    def title(self) -> str:
        """The store, for messages."""
        return f"{self.url} at {self.storage.endpoint}" if self.storage.endpoint else self.url

    def url_of(self, key: str) -> str:
        """The URL of an object, for people and for readers."""
        return f"{self.url}/{key}"

    def pages(self, below: str = "", after: str = "") -> Iterator[Page]:
        """Objects whose keys begin with ``below``, from behind the key ``after``; at most 1,000 a page, one request each."""
        for answer in self._answers(below, **({"StartAfter": self.prefix + after} if after else {})):
            yield Page(tuple(self._found(entry) for entry in answer.get("Contents", [])), not answer.get("IsTruncated"))

    def objects(self, below: str = "", after: str = "") -> Iterator[StoredObject]:
        """All objects of ``pages``."""
        for page in self.pages(below, after):
            yield from page.objects

    def folders(self, below: str = "") -> list[str]:
        """Names of what would be the subfolders of ``below`` (which ends in ``/`` or is empty), in order."""
        found = [
            entry["Prefix"] for answer in self._answers(below, Delimiter="/") for entry in answer.get("CommonPrefixes", [])
        ]
        return sorted(prefix.removeprefix(self.prefix + below).rstrip("/") for prefix in found)

    def _answers(self, below: str, **options: str) -> Iterator[dict[str, Any]]:
        """The store's answers to a listing, one request each."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix + below, PaginationConfig={"PageSize": PAGE}, **options
        )
        with self._as_store_errors("cannot be listed"):
            yield from pages

    def read(self, key: str) -> bytes:
        """A small object's content. Raises ``ObjectGoneError``."""
        with self._as_store_errors(f"{key} cannot be read"):
            return bytes(self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read())

    def fetch(self, stored: StoredObject, target: Path) -> None:
        """Write an object to ``target`` as it was listed. Raises ``ObjectGoneError`` where it has changed since."""
        with self._as_store_errors(f"{stored.key} cannot be read"):
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + stored.key)
            size = 0
            with target.open("wb") as file:
                for chunk in answer["Body"].iter_chunks(CHUNK):
                    size += file.write(chunk)
        if (answer["ETag"].strip('"'), size) != (stored.etag, stored.size):
            raise ObjectGoneError(f"{self.title}: {stored.key} has changed while it was read; the next try reads the new one")

    def fetch_all(self, copies: Iterable[tuple[StoredObject, Path]]) -> None:
        """Fetch several at a time. Raises the first error."""
        with ThreadPoolExecutor(FETCHERS) as pool:
            list(pool.map(lambda pair: self.fetch(*pair), copies))

    def put(self, key: str, content: bytes | Path) -> None:
        """Put bytes or a file. A reader sees the old object or the new one, whole; the store checks what arrived."""
        target = {"Bucket": self.bucket, "Key": self.prefix + key}
        with self._as_store_errors(f"{key} cannot be written"):
            if isinstance(content, bytes):
                self.client.put_object(**target, Body=content, ContentMD5=_base64(hashlib.md5(content, usedforsecurity=False)))
            elif content.stat().st_size <= ONE_PUT:
                with content.open("rb") as file:
                    digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
                    file.seek(0)
                    self.client.put_object(**target, Body=file, ContentMD5=_base64(digest))
            else:
                parts = TransferConfig(multipart_threshold=ONE_PUT, multipart_chunksize=PART)
                self.client.upload_file(str(content), **target, Config=parts)

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the store, so that its content need not be sent. Raises ``ObjectGoneError``."""
        with self._as_store_errors(f"{source} cannot be copied"):
            origin = {"Bucket": self.bucket, "Key": self.prefix + source}
            self.client.copy(origin, self.bucket, self.prefix + target)

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._as_store_errors(f"{key} cannot be removed"):
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def exists(self, key: str) -> bool:
        """Whether an object is there."""
        return any(entry.key == key for page in self.pages(key) for entry in page.objects[:1])

    def abort_unfinished(self, below: str) -> int:
        """Abort multipart uploads that a dead process left; returns their number. No other process may be writing."""
        with self._as_store_errors("unfinished uploads cannot be removed"):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self.prefix + below)
            found = [upload for page in pages for upload in page.get("Uploads", [])]
            for upload in found:
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return len(found)

    def _found(self, entry: dict[str, Any]) -> StoredObject:
        key = str(entry["Key"]).removeprefix(self.prefix)
        return StoredObject(key, int(entry["Size"]), str(entry["ETag"]).strip('"'), entry["LastModified"])

    @contextmanager
    def _as_store_errors(self, fault: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            message = self.without_keys(str(error.response.get("Error", {}).get("Message", "")))
            kind = ObjectGoneError if code in GONE else StoreError
            raised = kind(f"{self.title}: {fault}: {code}: {message}{self._remedy(code)}")
        except NoCredentialsError:
            raised = StoreError(f"{self.title}: {fault}: there are no credentials{self._remedy('AccessDenied')}")
        except (StoreConnectionError, HTTPClientError) as error:
            raised = StoreError(f"{self.title}: {fault}: the store does not answer ({type(error).__name__}). It is tried again")
        except BotoCoreError as error:
            raised = StoreError(f"{self.title}: {fault}: {self.without_keys(str(error))}")
        else:
            return
        # Raised here, not above: a chained exception would carry the request, and with it a key's name.
        raise raised

    def without_keys(self, message: str) -> str:
        """A message of the store or its client without keys, at most 300 characters."""
        for secret in self.keys:
            message = message.replace(secret, "...") if secret else message
        return message[:300]

    def _remedy(self, code: str) -> str:
        if code not in REFUSED:
            return ""
        if self.storage.access_key:
            return f". Check what the environment variables {self.storage.access_key} and {self.storage.secret_key} hold"
        return ". Check the credentials of AWS's usual chain, or name variables as access_key and secret_key in shop.yaml"


def _keys(storage: ObjectStorage, title: str) -> tuple[str | None, str | None, str | None]:
    """Access key, secret key and session token from their variables; all None for the chain of AWS."""
    found = []
    for name in (storage.access_key, storage.secret_key, storage.session_token):
        value = os.environ.get(name, "").strip() if name else None
        if value == "":
            raise StoreError(
                f"{title} cannot be used: the environment variable {name} is not set. Set it for every process that runs jobs"
            )
        found.append(value)
    return found[0], found[1], found[2]


@lru_cache(maxsize=8)
def _client(storage: ObjectStorage, access_key: str | None, secret_key: str | None, token: str | None, _process: int) -> Any:
    """A client takes 0.07 s of CPU to make, and the sensor asks every 15 seconds. A forked run must not share connections."""
    addressing = storage.addressing or ("path" if storage.endpoint else "auto")
    return boto3.session.Session().client(
        "s3",
        endpoint_url=storage.endpoint,
        region_name=storage.region or ("us-east-1" if storage.endpoint else None),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=storage.timeout_seconds,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
            s3={"addressing_style": addressing},
            # Newer checksums are refused by stores that know Content-MD5 only.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _base64(digest: Any) -> str:
    return b64encode(digest.digest()).decode()
