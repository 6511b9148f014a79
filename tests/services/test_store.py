"""The store: equal to a rebuild after any changes, whole after a kill, of bounded size, and read without waiting."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count, takewhile
from pathlib import Path

import lmdb
import msgspec
import pytest

from customer360.campaigns.ledger import known_salt
from customer360.offers.customer import Customer
from customer360.offers.decisions import draw_key
from customer360.services.api.schemas import Affinity, Profile
from customer360.services.store import writing
from customer360.services.store.layout import META, META_KEY, StoreError, key_of, store_folder
from customer360.services.store.reading import StoreReader
from customer360.services.store.tables import PROFILES, TABLES, VISITORS
from customer360.settings import REPOSITORY
from tests.services.served_shop import AS_OF, SHELVES, ServedShop

SALT = ServedShop(Path()).settings.shop.campaigns.global_holdout_salt
NAMES = [table.name for table in TABLES]
KILLED = """
import sys
from pathlib import Path
from customer360.services.store.writing import refresh_store
from customer360.settings import Place, Settings
from customer360.snapshot import open_snapshot
from tests.services.served_shop import ServedShop

with open_snapshot(ServedShop(Path(sys.argv[1])).settings) as snapshot:
    print("open", flush=True)
    refresh_store(snapshot)
"""


READER = """
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from functools import partial
from customer360.services.store import reading
from customer360.services.store.layout import open_environment
from customer360.services.store.reading import StoreReader

reading.open_environment = partial(open_environment, map_size=1 << 16)  # so that it has to grow
reader, stack = StoreReader(Path(sys.argv[1])), ExitStack()
for line in sys.stdin:
    if line == "open\\n":
        stack.close()
        view = stack.enter_context(reader.view())
    print(view.meta.version, json.loads(view.profile("C1"))["segment"], flush=True)
"""


@contextmanager
def another_reader(shop: ServedShop) -> Iterator[Callable[[str], str]]:
    """A process that reads C1 when asked: in a new view for "open", else in the one that it has."""
    command = [sys.executable, "-c", READER, str(store_folder(shop.settings.place))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as process:
        assert process.stdin
        assert process.stdout

        def ask(line: str) -> str:
            print(line, file=process.stdin, flush=True)
            return process.stdout.readline().strip()  # type: ignore[union-attr]

        yield ask
        process.stdin.close()


def content(shop: ServedShop) -> dict[str, dict[bytes, bytes]]:
    """Every value of the store by table and key."""
    folder = (store_folder(shop.settings.place) / "current").resolve()
    with lmdb.open(str(folder), readonly=True, max_dbs=16) as environment:
        databases = {name: environment.open_db(name.encode(), create=False) for name in (table.name for table in TABLES)}
        with environment.begin() as transaction:
            return {
                name: {bytes(key): bytes(value) for key, value in transaction.cursor(db=database)}
                for name, database in databases.items()
            }


def read(shop: ServedShop, customer_id: str) -> Profile | None:
    reader = StoreReader(store_folder(shop.settings.place))
    try:
        with reader.view() as view:
            found = view.profile(customer_id)
            assert view.consent_of(customer_id) == (None if found is None else customer_id in shop.consented)
            return None if found is None else msgspec.json.decode(view.head + found[1:], type=Profile)
    finally:
        reader.close()


def test_a_profile_is_what_is_published_without_personal_attributes_and_plans(shop: ServedShop) -> None:
    refresh = shop.publish_and_refresh()
    assert (refresh.built_because, refresh.rows) == (
        "there was none",
        {**dict.fromkeys(NAMES, 0), "profiles": 3, "visitors": 2},
    )
    assert read(shop, "C1") == Profile(
        customer_id="C1",
        as_of=AS_OF + timedelta(minutes=15),
        version=1,
        may_personalise=True,
        segment="Champion",
        recency_days=3,
        frequency=4,
        monetary=99.5,
        label="garden & home",
        affinities=[
            *(Affinity("none", 0.52), Affinity("garden & home", 0.3), Affinity("books", 0.1), Affinity("music", 0.05)),
            Affinity("other", 0.03),
        ],
        model_version="v7",
        purchase_probability=0.48,
        expected_spend=12.5,
        churn_probability=None,
        top_category_id="garden & home",
        reasons=["4 views of garden & home in 3 days", "bought garden & home 2 times"],
        reasons_as_of="2026-05-01T09:30:00.000Z",
        last_activity_at="2026-05-01T09:59:59.500Z",
        attributes={"city": "Utrecht", "is_member": True},
    )
    assert all(b"K1" not in value for value in content(shop)[PROFILES].values())
    assert read(shop, "C4") is None


def test_a_visitor_is_linked_only_where_the_customer_consents(shop: ServedShop) -> None:
    shop.publish_and_refresh()
    assert content(shop)[VISITORS] == {b"V1": b"C1", b"V2": b"C2"}
    shop.consented = {"C1", "C3"}
    shop.publish_and_refresh()
    assert content(shop)[VISITORS] == {b"V1": b"C1", b"V3": b"C3"}
    assert [read(shop, name).may_personalise for name in ("C1", "C2", "C3")] == [True, False, True]  # type: ignore[union-attr]


def test_only_changed_rows_are_written_and_a_rebuild_gives_the_same_bytes(shop: ServedShop) -> None:
    chance = random.Random(5)
    shop.customers |= {f"D{number:03d}": {"monetary": number} for number in range(60)}
    shop.customers["ä" * 400] = {}  # 800 bytes: longer than a key of LMDB
    shop.publish_and_refresh()
    for turn in range(5):
        names = sorted(shop.customers)
        touched = chance.sample(names, 7)
        for name in touched[:4]:
            shop.customers[name] = {"recency_days": 1000 + turn, "reason_3": f"reason of {turn}"}
        for name in touched[4:]:
            del shop.customers[name]
        shop.customers[f"new{turn}"] = {}
        shop.visitors = {f"W{number}": chance.choice(names) for number in range(turn, turn + 9)}
        shop.consented = {name for name in names if chance.random() < 0.9}
        shop.publish()
        before = content(shop)
        refresh = shop.refresh()
        after = content(shop)
        assert not refresh.built_because
        pairs = [(name, key) for name in after for key in after[name] if before[name].get(key) != after[name][key]]
        assert refresh.changed == len(pairs)
        assert refresh.removed == sum(key not in after[name] for name in before for key in before[name])
        assert len(after[PROFILES]) == len(shop.customers)
        shop.refresh(anew=True)
        assert content(shop) == after
    assert read(shop, "ä" * 400) is not None or "ä" * 400 not in shop.customers


def test_what_offers_and_recommendations_rest_on_is_what_is_published(shop: ServedShop) -> None:
    shop.tables = dict(SHELVES)
    shop.publish_and_refresh()
    with StoreReader(store_folder(shop.settings.place)).view() as view:
        assert view.affinities("C1") == [("p2", 0.25, "you viewed this lately"), ("p1", 0.125, "popular in Books")]
        assert view.bought("C1", AS_OF.timestamp() + 1e9) == {"p4"}
        assert view.bought("C2", 0) == set()
        assert view.cold_start("music") == [("p5", 0.7, "popular after Music")]
        assert view.cold_start("books") is None
        assert view.related("p2") == [
            ("also_bought", "p1", 0.4, "bought together with Guitar"),
            ("also_viewed", "p5", 0.6, "viewed together with Guitar"),
            ("also_viewed", "p3", 0.5, "viewed together with Guitar"),
        ]
        assert view.product("p2") == ("Guitar", "music", True, 3, 120)
        assert view.offer_inputs("C1") == Customer(
            "C1", segment="Champions", products=(("p2", 0.25),), tastes={"books": 0.5, "music": 0.25}
        )
        offers = view.meta.offers
        assert offers is not None
        assert [row.offer_id for row in offers.book.offers] == ["o-all", "o-loyal", "o-music"]
        assert offers.book.category_products == {"music": ("p2", "p5")}
        assert bytes.fromhex(offers.draw_key) == draw_key(known_salt(shop.settings.place, SALT))


def test_a_list_is_refreshed_where_one_of_its_rows_changed_and_a_table_that_goes_is_emptied(shop: ServedShop) -> None:
    shop.tables = dict(SHELVES)
    shop.publish_and_refresh()
    liked = SHELVES["product_affinity"]
    more = f"{liked} union all select 'C2', 'p6', 3, .1, 'popular in the shop'"
    for tables, counts in (
        ({"product_affinity": more}, (1, 0)),
        ({"product_affinity": f"from ({liked}) where customer_id <> 'C1'"}, (1, 1)),
        ({"product_affinity": liked.replace("'p2', 1", "'p2', 3")}, (3, 0)),
        ({"cold_start": f"{SHELVES['cold_start']} limit 0"}, (0, 2)),
        ({"products": f"{SHELVES['products']} limit 3"}, (0, 4)),  # what C1 bought is unlisted as well
    ):
        shop.tables |= tables
        refresh = shop.publish_and_refresh()
        assert (refresh.changed, refresh.removed, refresh.built_because) == (*counts, "")
        refreshed = content(shop)
        shop.refresh(anew=True)
        assert content(shop) == refreshed


def test_a_list_that_lies_in_two_batches_is_whole(shop: ServedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.tables = {
        "product_affinity": "select 'C' || c as customer_id, 'p' || r as product_id, r as rank, 1 / r as probability, "
        "'because' as reason from range(1, 300) as customers (c), range(1, 20) as ranks (r)"
    }
    monkeypatch.setattr(writing, "BATCH", 7)
    shop.publish_and_refresh()
    with StoreReader(store_folder(shop.settings.place)).view() as view:
        for customer in range(1, 300):
            assert [row.product_id for row in view.affinities(f"C{customer}")] == [f"p{rank}" for rank in range(1, 20)]


def test_nothing_is_written_where_nothing_changed(shop: ServedShop) -> None:
    shop.publish_and_refresh()
    folder = (store_folder(shop.settings.place) / "current").resolve()
    shop.refresh()
    written = (folder / "data.mdb").stat().st_mtime_ns
    refresh = shop.refresh()
    assert (refresh.changed, refresh.removed, refresh.built_because) == (0, 0, "")
    assert (folder / "data.mdb").stat().st_mtime_ns == written


def test_a_reader_keeps_its_snapshot_and_the_next_view_is_the_new_version(shop: ServedShop) -> None:
    shop.publish_and_refresh()
    with another_reader(shop) as ask:
        assert ask("open") == "1 Champion"
        shop.customers["C1"] = {"segment": "Loyal"}
        assert not shop.publish_and_refresh().built_because
        assert ask("") == "1 Champion"
        assert ask("open") == "2 Loyal"
        shop.customers["C1"] = {"segment": "Lost"}
        shop.publish()
        shop.refresh(anew=True)
        assert ask("") == "2 Loyal"
        assert ask("open") == "3 Lost"


@pytest.mark.full
def test_a_killed_refresh_leaves_one_whole_version(shop: ServedShop) -> None:
    """Each kill comes later, from before the first write to after the last, however slow the machine is."""
    shop.customers |= {f"D{number:04d}": {} for number in range(800)}
    shop.publish_and_refresh()
    seen: set[bool] = set()
    for turn in takewhile(lambda turn: turn < 4 or seen != {False, True}, count()):
        for name in list(shop.customers)[turn::4]:
            shop.customers[name] = {"recency_days": 1000 + turn}
        shop.publish()
        command = [sys.executable, "-c", KILLED, str(shop.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
            assert process.stdout
            assert process.stdout.readline() == b"open\n"
            time.sleep(0.02 * (2**turn - 1))
            process.send_signal(signal.SIGKILL)
        reader = StoreReader(store_folder(shop.settings.place))
        with reader.view() as view:
            version = view.meta.version
        reader.close()
        seen.add(version == shop.slices)
        after_kill = content(shop)
        refresh = shop.refresh()
        assert not refresh.built_because
        refreshed = content(shop)
        assert (after_kill == refreshed) == (version == shop.slices)
        shop.refresh(anew=True)
        assert content(shop) == refreshed
        leftovers = [path.name for path in store_folder(shop.settings.place).iterdir()]
        assert len(leftovers) == 3, leftovers  # the lock, the link and its folder


def test_the_map_grows_and_disk_use_is_bounded(shop: ServedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAP_SIZE", 1 << 16)
    monkeypatch.setattr(writing, "SPARE_BYTES", 1 << 16)
    long = {"reason_1": "because " * 60}
    shop.customers |= {f"D{number:04d}": long for number in range(2000)}
    built = shop.publish_and_refresh()
    assert built.bytes > 1 << 20
    sizes = []
    with another_reader(shop) as ask:
        for turn in range(4):
            shop.customers |= {f"E{turn}{number:04d}": long for number in range(300)}
            for name in random.Random(turn).sample(sorted(shop.customers), 700):
                shop.customers[name] = {"reason_1": f"{turn} " * 200}
            refresh = shop.publish_and_refresh()
            assert not refresh.built_because
            sizes.append(refresh.bytes)
            assert ask("open").startswith(f"{shop.slices} ")
    assert max(sizes) < 2 * shop.refresh(anew=True).bytes + (1 << 17)


@pytest.mark.parametrize("damage", ["missing", "cut short", "no environment", "half-written", "other schema"])
def test_a_store_that_cannot_be_read_is_named_and_made_good(shop: ServedShop, damage: str) -> None:
    shop.publish_and_refresh()
    root = store_folder(shop.settings.place)
    whole = content(shop)
    data = (root / "current").resolve() / "data.mdb"
    if damage == "missing":
        (root / "current").unlink()
    elif damage == "cut short":
        data.write_bytes(data.read_bytes()[: 3 * 4096])
    elif damage == "no environment":
        data.write_bytes(b"\0" * 100_000)
    else:
        with lmdb.open(str(data.parent), max_dbs=16) as environment, environment.begin(write=True) as transaction:
            database = environment.open_db(META.encode(), txn=transaction)
            if damage == "half-written":
                transaction.delete(META_KEY, db=database)
            else:
                value = bytes(transaction.get(META_KEY, db=database) or b"")
                transaction.put(META_KEY, value.replace(b"\xa6schema\xb0", b"\xa6schema\xb0X", 1)[:-1], db=database)
    reader = StoreReader(root)
    with pytest.raises(StoreError, match=r"slice"), reader.view() as view:
        view.profile("C1")
    reader.close()
    made = writing.remake_store(shop.settings)  # as `customer360 api serve` does
    assert made is not None
    assert made.built_because
    assert content(shop) == whole
    assert writing.remake_store(shop.settings) is None


def test_an_id_that_is_a_hash_of_another_gets_nothing(shop: ServedShop) -> None:
    name = "n" * 600
    shop.customers[name] = {}
    shop.publish_and_refresh()
    assert read(shop, name) is not None
    assert read(shop, key_of(name).decode()) is None
