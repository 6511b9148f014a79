"""The store's client against a real server: its error messages, and that no reader sees a partial object."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from customer360.lake import object_store
from customer360.lake.object_store import ObjectGoneError, StoreError
from customer360.settings import ObjectStorage, Shop
from tests.support.object_store import (
    ACCESS_KEY,
    ACCESS_VARIABLE,
    BUCKET,
    SECRET_KEY,
    SECRET_VARIABLE,
    ObjectStore,
    storage_yaml,
)
from tests.support.random_shop import small_shop

LANDING = f"s3://{BUCKET}/landing"


def client(server: ObjectStore, **changes: object) -> object_store.ObjectStore:
    return object_store.ObjectStore(ObjectStorage(**storage_yaml(server, **changes)), LANDING)


def test_a_listing_has_every_object_over_many_pages_once_and_in_order(
    server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A year of its own: this server goes on listing folders whose objects are gone.
    keys = [f"clicks/2031/05/0{day}/{hour:02}00/web.jsonl" for day in (1, 2) for hour in range(12)]
    for key in keys:
        server.put(f"landing/{key}", key)
    server.put("landing-of-others/clicks/x", "x")
    monkeypatch.setattr(object_store, "PAGE", 5)
    pages = list(client(server).pages("clicks/"))
    assert [len(page.objects) for page in pages] == [5, 5, 5, 5, 4]
    assert [page.is_last for page in pages] == [False, False, False, False, True]
    assert [entry.key for page in pages for entry in page.objects] == keys
    assert [entry.key for entry in client(server).objects("clicks/", after="clicks/2031/05/02/0900/")] == keys[21:]
    assert client(server).folders("clicks/2031/05/") == ["01", "02"]


def test_more_than_a_thousand_objects_are_listed(server: ObjectStore) -> None:
    for number in range(1_003):
        server.put(f"landing/history/{number:05}.csv", b"")
    assert [len(page.objects) for page in client(server).pages("history/")] == [1000, 3]


def test_an_object_that_changed_since_it_was_listed_is_not_taken_for_the_listed_one(
    server: ObjectStore, tmp_path: Path
) -> None:
    server.put("landing/a", "old content")
    (listed,) = client(server).objects()
    server.put("landing/a", "new content")  # of the same size, and within the same second
    with pytest.raises(ObjectGoneError, match="a has changed while it was read"):
        client(server).fetch(listed, tmp_path / "a")
    server.client.delete_object(Bucket=BUCKET, Key="landing/a")
    with pytest.raises(ObjectGoneError, match="NoSuchKey"):
        client(server).fetch(listed, tmp_path / "a")


def test_large_files_go_in_parts_and_parts_of_a_dead_upload_are_given_up(
    server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "ONE_PUT", 1 << 20)
    monkeypatch.setattr(object_store, "PART", 5 << 20)
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (12 << 12))
    store = client(server)
    store.put("large", large)
    assert server.get("landing/large") == large.read_bytes()

    begun = server.client.create_multipart_upload(Bucket=BUCKET, Key="landing/versions/half")
    part = {"Bucket": BUCKET, "Key": "landing/versions/half", "UploadId": begun["UploadId"], "PartNumber": 1}
    server.client.upload_part(**part, Body=b"x" * (5 << 20))
    assert [entry.key for entry in store.objects()] == ["large"]
    assert store.abort_unfinished("versions/") == 1
    assert server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (SECRET_VARIABLE, "canary-wrong-77", "SignatureDoesNotMatch.*Check what the environment variables SHOP_S3_ACCESS_KEY"),
        (ACCESS_VARIABLE, "canary-wrong-77", "InvalidAccessKeyId.*Check what the environment variables SHOP_S3_ACCESS_KEY"),
        (SECRET_VARIABLE, "", "the environment variable SHOP_S3_SECRET_KEY is not set"),
    ],
)
def test_errors_on_wrong_credentials_name_their_variables(
    server: ObjectStore, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StoreError, match=message) as raised:
        list(client(server).objects())
    shown: BaseException | None = raised.value
    while shown is not None:
        assert not any(secret in f"{shown!r}" for secret in (ACCESS_KEY, SECRET_KEY, "canary-wrong-77"))
        shown = shown.__cause__ if shown.__suppress_context__ else shown.__context__


def test_a_bucket_that_is_not_there_is_named(server: ObjectStore) -> None:
    store = object_store.ObjectStore(ObjectStorage(**storage_yaml(server)), "s3://no-such-bucket/landing")
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/landing at http://127\.0\.0\.1:.* NoSuchBucket"):
        list(store.objects())


def test_a_store_that_is_away_or_never_answers_is_given_up_soon(server: ObjectStore) -> None:
    with pytest.raises(StoreError, match=r"the store does not answer \(EndpointConnectionError"):
        list(client(server, endpoint="http://127.0.0.1:1").objects())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken: list[socket.socket] = []
        threading.Thread(target=lambda: [taken.append(silent.accept()[0]) for _ in range(3)], daemon=True).start()
        with pytest.raises(StoreError, match=r"the store does not answer \(ReadTimeoutError"):
            list(client(server, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=1).objects())
        assert len(taken) == object_store.TRIES
        for connection in taken:
            connection.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"}, "give the name of an environment variable"),
        ({"access_key": "AKIAIOSFODNN7EXAMPLE"}, "give the name of an environment variable"),
        ({"secret_key": None}, "give access_key and secret_key together"),
        ({"endpoint": "https://user:password@store.example"}, "write the store's address as https://host"),
        ({"landing": "https://acme.s3.amazonaws.com/landing"}, "write s3://bucket or s3://bucket/prefix"),
        ({"landing": "s3://acme/../other"}, "write s3://bucket or s3://bucket/prefix"),
        ({"publish": f"{LANDING}/published"}, "must not lie inside one another"),
        ({"landing": None, "publish": None}, "give landing, publish or both"),
        ({"bucket": "acme"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_work_or_hold_a_key_are_refused(changes: dict[str, object], message: str) -> None:
    plain = {"landing": LANDING, "access_key": ACCESS_VARIABLE, "secret_key": SECRET_VARIABLE}
    with pytest.raises(ValueError, match=message) as raised:
        small_shop(object_storage=plain | changes)
    assert "EXAMPLE" not in str(raised.value)
    assert "password@" not in str(raised.value)


def test_a_shop_without_a_store_needs_no_settings_of_one() -> None:
    shop: Shop = small_shop()
    assert shop.object_storage is None


def test_messages_of_a_store_are_shown_without_the_keys(server: ObjectStore) -> None:
    message = f"The key {ACCESS_KEY} signed with {SECRET_KEY} is not known"
    assert client(server).without_keys(message) == "The key ... signed with ... is not known"
