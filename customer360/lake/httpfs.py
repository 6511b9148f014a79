"""DuckDB reading an object store by URL, as BI tools do: the httpfs extension from its wheel, with the shop's credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import duckdb

from customer360.lake.engine import connect, literal, load_extension
from customer360.lake.object_store import ObjectStore


@contextmanager
def reading(store: ObjectStore, scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own that can read ``s3://`` URLs of the store; ``scratch`` keeps the extension's file."""
    with connect(scratch) as connection:
        load_extension(connection, "httpfs", scratch)
        connection.execute(f"set http_timeout = {store.storage.timeout_seconds}")
        if certificates := os.environ.get("AWS_CA_BUNDLE"):
            connection.execute(f"set ca_cert_file = {literal(certificates)}")
        options = ", ".join(f"{name} {value}" for name, value in _secret(store).items())
        connection.execute(f"create temporary secret object_store (type s3, scope {literal(store.url)}, {options})")
        yield connection


def _secret(store: ObjectStore) -> dict[str, str]:
    """The options of DuckDB's secret; with AWS's chain the keys of this moment."""
    key, secret, token = store.keys
    if key is None and (found := boto3.session.Session().get_credentials()) is not None:
        key, secret, token = found.get_frozen_credentials()
    scheme, _, host = (store.storage.endpoint or "https://").partition("://")
    addressing = store.storage.addressing or ("path" if host else "virtual")
    values = {"key_id": key, "secret": secret, "session_token": token, "region": store.client.meta.region_name}
    values |= {"endpoint": host, "url_style": "path" if addressing == "path" else "vhost"}
    return {name: literal(value) for name, value in values.items() if value} | {"use_ssl": str(scheme == "https").lower()}
