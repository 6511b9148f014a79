"""Commands on a shop whose landing and published versions are in an object store."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import yaml

from customer360.lake.landing.location import find_landing
from customer360.lake.publishing.store_publishing import upload_current
from customer360.lake.slices import slice_start
from customer360.settings import REPOSITORY
from tests.cli.test_cli_status import LAST, NEXT, SLICE, publish_slice
from tests.support.object_store import ACCESS_KEY, SECRET_KEY, SECRET_VARIABLE, empty_store, storage_yaml, upload

EXAMPLES = REPOSITORY / "docs" / "examples" / "your-shop"


@pytest.fixture
def server(monkeypatch):
    return empty_store(monkeypatch)


@pytest.fixture
def in_store(shop, server):
    use(shop, storage_yaml(server))
    return shop


def use(shop, storage):
    path = shop.folder / "shop.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8")) | {"object_storage": storage}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def put_event(server, event, key, name):
    start = slice_start(key)
    server.put(f"landing/clicks/{start:%Y/%m/%d/%H%M}/{name}.jsonl", json.dumps(event(name)) + "\n")


@pytest.mark.parametrize("example", ["landing", "landing-broken"])
def test_check_says_of_a_url_what_it_says_of_the_same_folder(in_store, server, example):
    upload(server, EXAMPLES / example)
    local = in_store("check", str(EXAMPLES / example))
    remote = in_store("check", "s3://acme/landing")
    assert (remote.code, remote.out) == (local.code, local.out.replace(f"{EXAMPLES / example}/", ""))
    server.put("landing/clicks/2026/05/01/0800/_half.jsonl", "{")
    assert "not read: 1 unfinished file, named .*, _* or *.tmp" in in_store("check", "s3://acme/landing").out


def test_check_judges_a_slice_or_one_object_by_its_url(in_store, server):
    upload(server, EXAMPLES / "landing-broken")
    for part in ("clicks/2026/05/01/0805", "clicks/2026/05/01/0815/web.jsonl", "reference/products"):
        remote = in_store("check", f"s3://acme/landing/{part}")
        local = in_store("check", str(EXAMPLES / "landing-broken" / part))
        assert (remote.code, remote.out) == (local.code, local.out)
    missing = in_store("check", "s3://acme/landing/nothing")
    assert (missing.code, missing.err.strip()) == (2, "customer360: s3://acme/landing/nothing has no objects")


def test_check_of_a_url_needs_a_store_in_shop_yaml(shop):
    ran = shop("check", "s3://acme/landing")
    assert ran.code == 2
    assert "shop.yaml has no object_storage" in ran.err


def test_status_lists_the_store_and_says_which_version_its_readers_have(in_store, server, event):
    for key in (SLICE, NEXT, LAST):
        put_event(server, event, key, "web")
    publish_slice(in_store, SLICE)
    out = in_store("status").out
    assert "landing    s3://acme/landing\n" in out
    assert "in store   nothing yet; s3://acme/published" in out
    assert f"waiting    2 closed slices with new files: {SLICE} to {NEXT}" in out
    assert f"1 open slice with files so far: {LAST}" in out
    storage = in_store.settings.shop.object_storage
    upload_current(in_store.settings.place, storage, datetime.now(UTC))
    assert "in store   version 1; s3://acme/published" in in_store("status").out
    publish_slice(in_store, NEXT)
    out = in_store("status").out
    assert "in store   version 1, published " in out
    assert "behind: the check store_is_up_to_date" in out


def test_status_works_without_the_store_and_says_what_it_does_not_know(in_store, server, event, monkeypatch):
    publish_slice(in_store, SLICE)
    use(in_store, storage_yaml(server, endpoint="http://127.0.0.1:1"))
    ran = in_store("status")
    assert ran.code == 3
    assert "waiting    not known: s3://acme/landing at http://127.0.0.1:1: cannot be listed: the store does not" in ran.out
    assert "not known whether it is up to date" in ran.out
    assert "           up to date" not in ran.out
    monkeypatch.delenv(SECRET_VARIABLE)
    ran = in_store("status")
    assert f"the environment variable {SECRET_VARIABLE} is not set" in ran.out
    assert not any(secret in ran.out + ran.err for secret in (ACCESS_KEY, SECRET_KEY))


def test_converted_files_are_sent_to_the_store_and_follow_a_new_conversion(in_store, server, tmp_path):
    export = tmp_path / "events.jsonl"
    export.write_text('{"event_timestamp": "1777622472000123", "event_name": "page_view", "user_pseudo_id": "v-90"}\n')
    ran = in_store("adapt", "ga4", str(export))
    assert (ran.code, "sent to   s3://acme/landing" in ran.out) == (0, True)
    (key,) = server.keys("landing/")
    assert key.startswith("landing/clicks/2026/05/01/0800/ga4-")
    in_store("adapt", "ga4", str(export), "--into", "2026-05-01-08:15")
    assert [key[:31] for key in server.keys("landing/")] == ["landing/clicks/2026/05/01/0815/"]
    assert [len(listing.files) for _, listing in find_landing(in_store.settings).slices()] == [1]


def test_a_simulation_is_not_written_where_nobody_would_read_it(in_store):
    ran = in_store("simulate", "slices")
    assert ran.code == 2
    assert "landing of lamps is s3://acme/landing, and simulated files go into folders only" in ran.err
    assert not in_store.landing.exists()
