"""Marked secrets and personal data go through runs, failures, commands and alerts: none turns up where it does not belong."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from customer360.services.alerts import Alert, AlertError, send
from customer360.settings import REPOSITORY, Settings
from orchestration.cli import main
from tests.orchestration.place import TINY, TinyShop

# Environment variables and shop.yaml: nowhere at all. What customers said and are: only where rows are kept.
WEBHOOK, DATABASE, SALT = "canary-webhook-7f3a", "canary-database-9c1e", "canary-salt-44d2"
ADDRESS, SEARCH, NEVER, PERSON, AGE, TWICE, CUT = (
    f"canary-{what}" for what in ("mail", "search", "never", "name", "age", "twice", "cut")
)
SECRETS = (WEBHOOK, DATABASE, SALT)
PERSONAL = (ADDRESS, SEARCH, NEVER, PERSON, AGE, TWICE, CUT)
OF_ROWS = ("landing", "raw", "quarantine", "published", "warehouse.duckdb", "shop")


@dataclass
class CanaryShop(TinyShop):
    """The tiny shop with marked values in its environment, its shop.yaml and its data; ``said`` is all that was printed."""

    said: str = ""

    @property
    def folder(self) -> Path:
        return self.data / "shop"

    @property
    def settings(self) -> Settings:
        return Settings.load(self.folder, self.data)

    @property
    def environment(self) -> dict[str, str]:
        secrets = {
            "CUSTOMER360_ALERT_WEBHOOK": f"https://shop:{WEBHOOK}@127.0.0.1:1/{WEBHOOK}",
            "SHOP_DATABASE": f"postgresql://shop:{DATABASE}@db.example/shop",
            "SHOP_DATABASE_PASSWORD": DATABASE,
        }
        return {**super().environment, "SHOP": str(self.folder), **secrets}

    def write(self, folder: str, name: str, text: str) -> None:
        target = self.data / "landing" / folder
        target.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text, encoding="utf-8")


def event(number: int, **values: object) -> str:
    fields = {"event_id": f"e{number}", "event_name": "view_item", "event_at": "2026-04-30T16:05:00Z", "customer_id": "c-1"}
    return json.dumps({**fields, **values}) + "\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> CanaryShop:
    """A shop after failed loads, a slice with good, bad and cut lines, and commands."""
    place = CanaryShop(tmp_path_factory.mktemp("canaries"))
    place.home.mkdir(parents=True)
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", place.home)
    place.folder.mkdir()
    yaml = (TINY / "shop.yaml").read_text(encoding="utf-8")
    assert "holdout_salt: customer360" in yaml
    (place.folder / "shop.yaml").write_text(
        yaml.replace("holdout_salt: customer360", f"holdout_salt: {SALT}"), encoding="utf-8"
    )

    slice_folder = f"clicks/{place.slice(0):%Y/%m/%d/%H%M}"
    good = [event(n, page_url=f"https://shop/?mail={ADDRESS}@example.org", search_words=SEARCH) for n in range(3)]
    bad = [event(10, event_at=f"{NEVER}@example.org"), event(11, dwell_seconds=f"{NEVER} x"), event(12, currency=NEVER)]
    place.write(slice_folder, "web.jsonl", "".join([*good, *bad, f'{{"customer": "{CUT}']))
    place.write(slice_folder, "app.csv", f'event_id,event_name\n"{CUT}')
    header = "customer_id,consent_email,age,name\n"
    customers = ("reference/customers", "customers.csv")
    runs = []
    for text in (f"c-1,true,{AGE},{PERSON}\n", f"{TWICE},true,4,\n{TWICE},true,4,\n", f'c-1,true,4,"{PERSON}" {CUT}\n'):
        place.write(*customers, header + text)
        runs.append(place.run("history_job", place.key(-1), assets=[["raw", "customers"]]))
        assert runs[-1].wait() == 1
    place.write(*customers, f"{header}c-1,true,41,{PERSON}\n")
    runs.append(place.run("slice_job", place.key(0)).succeed())
    said = [run.log.read_text(encoding="utf-8") for run in runs]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        for name, value in place.environment.items():
            patch.setenv(name, value)
        for command in ("status", "categories", "contracts"):
            assert main([command]) == 0
    place.said = "".join([*said, printed.getvalue()])
    return place


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
    assert "quarantine 5 lines" in shop.said
    assert "age: is not of type BIGINT" in shop.said
    assert "appear more than once" in shop.said
    ((columns, good, quarantined),) = shop.published(
        "select (select count(*) from customer_profiles), good, quarantined from slice_log where source = 'clicks'"
    )
    assert (columns, good, quarantined) == (1, 3, 5)


@pytest.mark.parametrize("value", SECRETS)
def test_a_secret_of_the_environment_or_of_shop_yaml_is_written_nowhere(shop: CanaryShop, value: str) -> None:
    assert places_of(value, shop.root) - {"data/shop/shop.yaml"} == set()
    assert value not in shop.said


@pytest.mark.parametrize("value", PERSONAL)
def test_personal_data_stay_in_the_files_of_rows(shop: CanaryShop, value: str) -> None:
    found = places_of(value, shop.data)
    assert {name for name in found if not name.startswith(OF_ROWS)} == set()
    assert value not in shop.said


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
