"""``customer360 start`` on the files of a retailer without clicks: to a plan, again, interrupted, with a bad file."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from customer360.lake.publishing.version import current_publication, open_version
from customer360.lake.warehouse.warehouse import warehouse_lock
from customer360.settings import REPOSITORY
from customer360.simulation.retailer import Retailer, simulate_retailer, write_retailer
from orchestration.runtime.services import alone
from tests.orchestration.place import Tables, TinyShop, wait_until

RETAILER = Retailer(lines=3_000, customers=200, days=200)
SHOP_YAML = """
name: newcomer
title: A newcomer
time_zone: Europe/London
currency: GBP
slices_start: 2026-05-01T00:00:00Z
slices_end: 2026-05-01T00:15:00Z
live: false
categories: [kitchen, garden, lighting, toys]
attributes:
  country: {type: text, description: Country}
label_horizon_days: 7
training: {cutoffs: 3, min_history_days: 30}
channels: [email]
dayparts:
  day: {from: 8, to: 18}
"""
CAMPAIGN = """
title: Newsletter
audience: everyone
value_per_conversion: 10
channels:
  email: {cost: 0.02}
holdout_share: 0.2
"""
SECONDS = 500.0
# What says when a run was: columns, and tables of a row a training, report or salt
OF_THE_RUN = re.compile("model_version|raw_fingerprint|planned_at|transformed_at|repaired_at")
NOT_COMPARED = {
    "campaign_ledger",
    "model_versions",
    "customer_scores_daily",
    "drift_metrics",
    "campaign_plan",
    "campaign_briefs",
}


class Newcomer(TinyShop):
    """A place with files in landing and nothing else."""

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("customer360")), "start", *arguments]

    def go(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a start whose output is piped."""
        ran = subprocess.run(
            self.command(*arguments),
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return ran.returncode, ran.stdout

    def go_until(self, job: str, log: Path, number: int) -> int:
        """Start, send a signal once a run of a job has begun, and return the exit code."""
        process = self.start(log, "customer360", "start")
        try:
            wait_until(lambda: dg.DagsterRunStatus.STARTED in self.runs().get(job, ()), SECONDS, f"{job} begins", every=0.2)
            process.send_signal(number)
            return process.wait(timeout=SECONDS)
        finally:
            process.kill()
            process.wait()

    def runs(self) -> dict[str, list[dg.DagsterRunStatus]]:
        """States of the runs by job."""
        found: dict[str, list[dg.DagsterRunStatus]] = {}
        with self.instance() as instance:
            for run in instance.get_runs():
                found.setdefault(run.job_name, []).append(run.status)
        return found

    def compared(self) -> Tables:
        """Every published table, without the names of model versions, which hold the time of the training."""
        with open_version(self.settings.place) as version:
            connection, found = version.connection, {}
            for name in version.publication.rows.keys() - NOT_COMPARED:
                columns = [row[0] for row in connection.execute(f"describe {name}").fetchall()]
                shown = ", ".join(f'"{column}"' for column in columns if not OF_THE_RUN.search(column))
                found[name] = connection.execute(f"select {shown} from {name} order by all").fetchall()
            return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """Files only; saved as "files"."""
    root = tmp_path_factory.mktemp("newcomer")
    newcomer = Newcomer(root, folder=root / "shop")
    (newcomer.folder / "campaigns").mkdir(parents=True)
    (newcomer.folder / "shop.yaml").write_text(SHOP_YAML, encoding="utf-8")
    (newcomer.folder / "campaigns" / "newsletter.yaml").write_text(CAMPAIGN, encoding="utf-8")
    write_retailer(simulate_retailer(RETAILER), root / "files")
    for name in ("purchases", "products", "customers"):
        folder = newcomer.data / "landing" / "reference" / name
        folder.mkdir(parents=True)
        (root / "files" / f"{name}.csv").rename(folder / f"{name}.csv")
    newcomer.save("files")
    return newcomer


@pytest.fixture(scope="module")
def planned(place: Newcomer) -> tuple[str, Tables]:
    """The output of an uninterrupted start, and what it published; saved as "planned"."""
    place.restore("files")
    code, output = place.go()
    assert code == 0, output
    place.save("planned")
    return output, place.compared()


def test_one_command_goes_from_files_to_a_plan_and_names_its_log(place: Newcomer, planned: tuple[str, Tables]) -> None:
    output, tables = planned
    truth = simulate_retailer(RETAILER)
    place.restore("planned")
    orders = truth.lines
    assert f"customers   {len(tables['customer_profiles']):,}" in output
    assert (
        len(truth.customers)
        <= len(tables["customer_profiles"])
        <= len(orders["customer_id"].dropna().unique()) + len(truth.customers)
    )
    publication = current_publication(place.settings.place)
    assert publication is not None
    assert f"{publication.as_of:%Y-%m-%d %H:%M}" == "2026-05-01 00:15"
    assert place.published("select count(*) from campaign_plan where decision = 'contact'")[0][0] > 0
    assert re.search(r"newsletter +[\d,]+ contacts, [\d,]+ held out, [\d,]+ left out of ", output)
    assert f"debug output in {place.data}/start.log" in output
    assert "RUN_START" not in output
    assert "START sql" in (place.data / "start.log").read_text(encoding="utf-8")
    assert re.search(r"response +none serves: campaign_touch_history has 0 contacts", output)
    assert re.search(r"affinity +\S+ serves: .*\n +what answers: (The|A) (trees|baseline|blend)", output)


def test_a_start_that_is_repeated_does_nothing_and_says_so(place: Newcomer, planned: tuple[str, Tables]) -> None:
    place.restore("planned")
    before, version = place.runs(), current_publication(place.settings.place)
    code, output = place.go()
    assert code == 0
    assert "Everything was done before" in output
    assert (place.runs(), current_publication(place.settings.place)) == (before, version)


@pytest.mark.exhaustive  # a minute: test_killed_runs.py kills runs of the same jobs
def test_a_plan_that_was_killed_is_made_by_the_next_start_and_nothing_before_it_is_done_again(
    place: Newcomer, planned: tuple[str, Tables], tmp_path: Path
) -> None:
    place.restore("planned")
    second, done = place.folder / "campaigns" / "second.yaml", place.runs()
    second.write_text(CAMPAIGN.replace("Newsletter", "Second"), encoding="utf-8")
    try:
        assert place.go_until("daily_job", tmp_path / "start.txt", signal.SIGKILL) == -signal.SIGKILL
        code, output = place.go()
    finally:
        second.unlink()
    assert code == 0, output
    assert "load   is done with these files" in output
    assert "train  is done with these files" in output
    assert place.runs() == done | {"daily_job": [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, *done["daily_job"]]}
    assert "second" in output.rpartition("Plan")[2]
    assert place.published("select distinct campaign_id from campaign_plan order by all") == [("newsletter",), ("second",)]


@pytest.mark.exhaustive  # a minute and a half: test_start_functions.py has the interrupts, the test above a kill
def test_after_a_kill_and_an_interrupt_the_next_start_goes_on_to_the_same_tables(
    place: Newcomer, planned: tuple[str, Tables], tmp_path: Path
) -> None:
    place.restore("files")
    log = tmp_path / "start.txt"
    assert place.go_until("history_job", log, signal.SIGKILL) == -signal.SIGKILL
    assert place.runs()["history_job"] == [dg.DagsterRunStatus.STARTED]
    assert place.go_until("training_job", log, signal.SIGINT) == 130
    assert "interrupted: customer360 start goes on from here" in log.read_text(encoding="utf-8")
    assert set(place.runs()["history_job"]) == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}
    assert place.go_until("daily_job", log, signal.SIGKILL) == -signal.SIGKILL
    code, output = place.go()
    assert code == 0
    assert "load   is done with these files" in output
    assert "train  is done with these files" in output
    assert place.runs()["history_job"].count(dg.DagsterRunStatus.SUCCESS) == 1
    assert place.compared() == planned[1]


@pytest.mark.exhaustive  # a minute; tests/cli/test_progress_display.py has the line of a terminal
def test_a_table_that_cannot_be_read_costs_that_table_and_a_terminal_shows_one_line_with_models_and_percentages(
    place: Newcomer,
) -> None:
    """The shop has too little history for models."""
    place.restore("files")
    shop_yaml = place.folder / "shop.yaml"
    shop_yaml.write_text(SHOP_YAML.replace("min_history_days: 30", "min_history_days: 3000"), encoding="utf-8")
    customers = place.data / "landing/reference/customers/customers.csv"
    customers.write_text("PK\x03\x04 this is no table", encoding="utf-8")
    try:
        code, shown = _on_a_terminal(place)
    finally:
        shop_yaml.write_text(SHOP_YAML, encoding="utf-8")
    assert code == 1
    assert "raw/customers was not loaded, and the others were" in shown
    assert place.published("select count(*) from rfm_segments")[0][0] > 100
    assert place.published("select count(*) from customer_attributes") == [(0,)]
    assert re.search(r"warehouse_models  \d+ of \d+ models and tests, \d+%", shown)
    assert "\x1b[2K" in shown  # the line is cleared and written again


def _on_a_terminal(place: Newcomer) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    environment = {**place.environment, "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(place.command(), cwd=REPOSITORY, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError as error:  # the other end is closed
        assert error.errno == errno.EIO
    code = process.wait(timeout=SECONDS)
    os.close(ours)
    return code, b"".join(chunks).decode()


@pytest.mark.parametrize("way", ["warehouse", "home"])
def test_whoever_is_at_work_on_the_place_is_named_and_nothing_changes(place: Newcomer, way: str) -> None:
    place.restore("files")
    hold: dict[str, Callable[[], object]] = {
        "warehouse": lambda: warehouse_lock(place.settings.place, "run of somebody"),
        "home": lambda: alone(place.home, "customer360 serve"),
    }
    with hold[way]():  # type: ignore[attr-defined]  both are context managers
        code, output = place.go()
    assert code == 2
    assert f"process {os.getpid()}" in output
    assert ("run of somebody" if way == "warehouse" else "customer360 serve") in output
    assert not place.settings.place.published.exists()


def test_an_empty_place_is_told_what_to_put_where(tmp_path: Path, place: Newcomer) -> None:
    empty = Newcomer(tmp_path, folder=place.folder)
    code, output = empty.go()
    assert code == 2
    assert f"there is nothing to load in {tmp_path}/data/landing" in output
    assert "reference/purchases/" in output
    assert "customer360 init" in output
    assert not empty.data.exists()


@pytest.mark.exhaustive
def test_a_shop_without_a_past_is_loaded_by_its_slices_and_their_orders_are_known_to_the_plan(tmp_path: Path) -> None:
    place = Newcomer(tmp_path, folder=tmp_path / "shop")
    (place.folder / "campaigns").mkdir(parents=True)
    two_slices = SHOP_YAML.replace("slices_end: 2026-05-01T00:15:00Z", "slices_end: 2026-05-01T00:30:00Z")
    (place.folder / "shop.yaml").write_text(two_slices, encoding="utf-8")
    (place.folder / "campaigns" / "newsletter.yaml").write_text(CAMPAIGN, encoding="utf-8")
    customers = place.data / "landing" / "reference" / "customers" / "customers.csv"
    customers.parent.mkdir(parents=True)
    customers.write_text("customer_id,consent_email,country\nc1,true,FR\nc2,true,DE\n", encoding="utf-8")

    def sell(order: str, minute: int, customer: str, amount: float) -> None:
        folder = place.data / "landing" / "clicks" / "2026" / "05" / "01" / f"00{minute // 15 * 15:02}"
        folder.mkdir(parents=True, exist_ok=True)
        event = {"event_id": order, "event_name": "purchase", "event_at": f"2026-05-01T00:{minute:02}:00Z"}
        event |= {"customer_id": customer, "order_id": order, "product_id": "p", "category_id": "toys"}
        (folder / f"{order}.jsonl").write_text(json.dumps({**event, "amount": amount}) + "\n", encoding="utf-8")

    sell("o1", 5, "c1", 10.0)
    sell("o2", 20, "c1", 5.0)
    sell("o3", 25, "c2", 7.0)
    code, output = place.go()
    assert code == 0, output
    assert "nothing is from before slices_start" in output
    orders = "select order_id, amount from customer_orders order by all"
    assert place.published(orders) == [("o1", 10), ("o2", 5), ("o3", 7)]
    assert place.published("select country from customer_features order by all") == [("DE",), ("FR",)]
    assert re.search(r"newsletter +\d contacts?, \d held out, \d left out of 2; values: prior", output)

    sell("o4", 29, "c2", 3.0)
    code, output = place.go()
    assert code == 0, output
    assert place.published(orders) == [("o1", 10), ("o2", 5), ("o3", 7), ("o4", 3)]
    assert place.published("select sum(orders), sum(revenue) from orders_daily") == [(4, 25)]
    assert "Everything was done before" in place.go()[1]
