"""Marked secrets and personal data go through runs, failures, commands and alerts: none is found outside its place."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.services.alerts import Alert, AlertError, send
from customer360.settings import REPOSITORY, Settings
from orchestration.cli import main
from sensors.run_failure import what_broke
from tests.orchestration.place import TINY, TinyShop, tiny_shop

# Values of environment variables and shop.yaml may be stored nowhere; personal data only in the folders of rows (OF_ROWS).
WEBHOOK, DATABASE, SALT = "canary-webhook-7f3a", "canary-database-9c1e", "canary-salt-44d2"
ADDRESS, SEARCH, NEVER, PERSON, AGE, TWICE, CUT, NESTED, BYTES, VISITOR, READ, FEATURE, PROFILE = (
    f"canary-{name}"
    for name in (
        *("mail", "search", "never", "name", "age", "twice", "cut", "nested", "bytes"),
        *("visitor", "read", "feature", "profile"),  # in runs that fail
    )
)
INBOX, NO_INBOX = "canary-inbox", "canary-no inbox"  # customers' e-mail addresses, a good one and one that is none
SECRETS = (WEBHOOK, DATABASE, SALT)
PERSONAL = (ADDRESS, SEARCH, NEVER, PERSON, AGE, TWICE, CUT, NESTED, BYTES, VISITOR, READ, FEATURE, PROFILE)
EMAIL = """
email:
  sender: {name: Tiny shop, address: news@shop.example}
  postal_address: 1 Main Street, Springfield
  public_url: https://shop.example
  link_domains: [shop.example]
  return_path_domain: bounces.shop.example
  unsubscribe_mailto: unsubscribe@shop.example
"""
OF_ROWS = ("landing", "raw", "quarantine", "published", "warehouse.duckdb", "shop")


@dataclass
class CanaryShop(TinyShop):
    """The tiny shop with marked values in its environment, its shop.yaml and its data.

    ``printed``: all that runs and commands printed; ``alerts``: the texts of the alerts of failed runs.
    """

    printed: str = ""
    alerts: list[str] = field(default_factory=list)

    @property
    def shop_folder(self) -> Path:
        return self.data / "shop"

    @property
    def settings(self) -> Settings:
        return Settings.load(self.shop_folder, self.data)

    @property
    def environment(self) -> dict[str, str]:
        secrets = {
            "CUSTOMER360_ALERT_WEBHOOK": f"https://shop:{WEBHOOK}@127.0.0.1:1/{WEBHOOK}",
            "SHOP_DATABASE": f"postgresql://shop:{DATABASE}@db.example/shop",
            "SHOP_DATABASE_PASSWORD": DATABASE,
        }
        return {**super().environment, "SHOP": str(self.shop_folder), **secrets}

    def write(self, folder: str, name: str, content: str | bytes) -> None:
        target = self.data / "landing" / folder
        target.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def change(self, sql: str) -> None:
        """Change the warehouse outside the product, as a manual mistake or an interrupted upgrade would."""
        with duckdb.connect(str(self.settings.place.warehouse)) as connection:
            connection.execute(sql)

    def fail(self, number: int, step: str, assets: Sequence[Sequence[str]] = ()) -> None:
        """Run a slice that fails at a step; keep its output and the text of its alert."""
        run = self.run("slice_job", self.key(number), assets=assets)
        assert run.wait() == 1, run.log.read_text(encoding="utf-8")[-4000:]
        self.printed += run.log.read_text(encoding="utf-8")
        with self.instance() as instance:
            events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        (failure,) = [entry.get_dagster_event() for entry in events]
        assert failure.step_key == step
        self.alerts.append(Alert("slice_job", self.key(number), run.run_id, [step], what_broke(failure)).text)


def typed_wrongly(value: str) -> bytes:
    """A Parquet file whose customer is a structure and whose time is bytes."""
    column = {
        "event_id": ["p1"],
        "event_name": ["view_item"],
        "customer_id": [{"mail": NESTED}],
        "event_at": [value.encode()],
    }
    pq.write_table(pa.table(column), buffer := io.BytesIO())
    return buffer.getvalue()


def event(number: int, **values: object) -> str:
    fields = {"event_id": f"e{number}", "event_name": "view_item", "event_at": "2026-04-30T16:05:00Z", "customer_id": "c-1"}
    return json.dumps({**fields, **values}) + "\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CanaryShop:
    """A shop after failed loads, a slice with good, bad and cut lines, and commands."""
    place = CanaryShop(tmp_path_factory.mktemp("canaries"))
    place.home.mkdir(parents=True)
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", place.home)
    place.shop_folder.mkdir()
    shutil.copytree(tiny_shop().root / "ready" / "models", place.data / "models")  # a champion, so that scoring can fail
    yaml = (TINY / "shop.yaml").read_text(encoding="utf-8")
    assert "global_holdout_salt: customer360" in yaml
    (place.shop_folder / "shop.yaml").write_text(
        yaml.replace("global_holdout_salt: customer360", f"global_holdout_salt: {SALT}") + EMAIL, encoding="utf-8"
    )

    slice_folder = f"clicks/{place.slice(0):%Y/%m/%d/%H%M}"
    good = [event(n, page_url=f"https://shop/?mail={ADDRESS}@example.org", search_words=SEARCH) for n in range(3)]
    bad = [event(10, event_at=f"{NEVER}@example.org"), event(11, dwell_seconds=f"{NEVER} x"), event(12, currency=NEVER)]
    place.write(slice_folder, "web.jsonl", "".join([*good, *bad, f'{{"customer": "{CUT}']))
    place.write(slice_folder, "app.csv", f'event_id,event_name\n"{CUT}')
    place.write(slice_folder, "typed.parquet", typed_wrongly(BYTES))
    header = "customer_id,consent_email,age,name,email\n"
    inboxes = f"{INBOX}@example.com", f"{NO_INBOX}@example.com"
    customers = ("reference/customers", "customers.csv")
    place.write(*customers, f"{header}c-1,true,41,{PERSON},{inboxes[0]}\nc-2,true,41,,{inboxes[1]}\n")
    runs = [place.run("history_job", place.key(-1), assets=[["raw", "customers"]]).succeed()]
    for text in (f"c-1,true,{AGE},{PERSON},{inboxes[0]}\n", f"{TWICE},true,4,,\n" * 3, f'c-1,true,4,"{PERSON}" {CUT}\n'):
        place.write(*customers, header + text)
        runs.append(place.run("history_job", place.key(-1), assets=[["raw", "customers"]]))
        assert runs[-1].wait() == 1
    place.write(*customers, f"{header}c-1,true,41,{PERSON},{inboxes[0]}\nc-2,true,41,,{inboxes[1]}\n")
    runs.append(place.run("slice_job", place.key(0)).succeed())
    fail_at_every_stage(place)
    logs = [run.log.read_text(encoding="utf-8") for run in runs]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        for name, value in place.environment.items():
            patch.setenv(name, value)
        for command in ("status", "categories", "contracts"):
            assert main([command]) == 0
    place.printed += "".join([*logs, printed.getvalue(), *place.alerts])
    return place


def fail_at_every_stage(place: CanaryShop) -> None:
    """A file that cannot be read; dbt, scoring and publishing over values of another type than theirs."""
    folder = f"clicks/{place.slice(1):%Y/%m/%d/%H%M}"
    place.write(folder, "web.jsonl", event(20, customer_id=VISITOR, page_url=f"https://shop/?mail={READ}@example.org"))
    unreadable = place.data / "landing" / folder / "unreadable.jsonl"
    unreadable.symlink_to("/proc/self/mem")  # reading it is an error of input and output
    place.fail(1, "raw__clicks")
    unreadable.unlink()
    for table in ("int_activity_by_slice", "int_visitor_links_by_slice"):
        place.change(f"alter table intermediate.{table} alter customer_id type integer using 1")
    place.fail(1, "warehouse_models")
    for table in ("int_activity_by_slice", "int_visitor_links_by_slice"):
        place.change(f"alter table intermediate.{table} alter customer_id type varchar")
    scored = [["predictions", "customer_scores"], ["predictions", "customer_value"]]
    place.change(f"alter table marts.customer_features alter age type varchar using '{FEATURE}'")
    place.fail(1, "predictions__customer_scores", assets=scored)
    place.change(
        "insert into marts.customer_attributes by name "
        f"select 'c-1' as customer_id, 'age' as attribute_name, '{PROFILE}' as value"
    )
    place.fail(1, "publishing__customer_profiles", assets=[["publishing", "customer_profiles"]])


def places_of(value: str, root: Path) -> set[str]:
    """Files below ``root`` that hold a value, as it is or in a database's pages; their first folder is enough to know."""
    found = set()
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and value.encode() in path.read_bytes():
            found.add(path.relative_to(root).as_posix())
    return found


def test_the_canaries_were_there_to_be_found(shop: CanaryShop) -> None:
    assert places_of(SALT, shop.data) == {"shop/shop.yaml"}
    for value in (ADDRESS, SEARCH, NEVER, CUT):
        assert any(name.startswith("landing/") for name in places_of(value, shop.data)), value
    assert "quarantine 6 lines" in shop.printed
    assert "age: is not a whole number" in shop.printed
    assert "repeats the key (customer_id) of customers.csv row 1" in shop.printed
    ((profiles, good, quarantined),) = shop.published(
        "select (select count(*) from customer_profiles), good, quarantined from slice_log where source = 'clicks'"
    )
    assert (profiles, good, quarantined) == (2, 3, 6)


@pytest.mark.parametrize("value", SECRETS)
def test_a_secret_of_the_environment_or_of_shop_yaml_is_written_nowhere(shop: CanaryShop, value: str) -> None:
    assert places_of(value, shop.root) - {"data/shop/shop.yaml"} == set()
    assert value not in shop.printed


@pytest.mark.parametrize("value", PERSONAL)
def test_personal_data_stay_in_the_files_of_rows(shop: CanaryShop, value: str) -> None:
    found = places_of(value, shop.data)
    assert {name for name in found if not name.startswith(OF_ROWS)} == set()
    assert value not in shop.printed


@pytest.mark.parametrize("value", [INBOX, NO_INBOX])
def test_an_address_stays_where_it_was_landed_and_in_the_versions_of_its_table(shop: CanaryShop, value: str) -> None:
    folders = {name.partition("/")[0] for name in places_of(value, shop.data)}
    assert {"landing"} <= folders <= {"landing", "raw", "quarantine"}
    assert value not in shop.printed


@pytest.mark.parametrize(
    "address",
    [
        f"https://hooks.example/{WEBHOOK} ",
        f"https://hooks.example/{WEBHOOK}\n",
        f"https://shop:{WEBHOOK}@hooks.example/",
        f"https://[{WEBHOOK}/",
        f"https://hooks.example:{WEBHOOK}/",
        f"https://{WEBHOOK}\u2100.example/",
        f"https://hooks.example/\u00e4{WEBHOOK}",
        f"{WEBHOOK}",
        f"http://127.0.0.1:1/{WEBHOOK}",
    ],
)
def test_an_alert_that_cannot_be_sent_does_not_tell_its_address(address: str) -> None:
    with pytest.raises(AlertError) as raised:
        send(address, Alert("slice_job", "", "", [], "a test"))
    shown: BaseException | None = raised.value
    while shown is not None:
        assert WEBHOOK not in str(shown)
        shown = shown.__cause__ if shown.__suppress_context__ else shown.__context__
