"""What holds for every test, and which of them belong to the fast tier (``make check``).

A test is ``full``, and runs with ``make test`` alone, when its folder is one of ``FULL_FOLDERS``, when its module imports a
server or a whole pipeline, or when it is marked so itself. A test of the fast tier that takes over ``FAST_CPU_SECONDS`` fails.
"""

import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
FULL_FOLDERS = {
    *("benchmarks", "crash", "daemon", "dbt", "docs", "independent", "orchestration", "safety", "simulation", "upgrade"),
    "warehouse",
}
FULL_MODULES = {"tests.support.dovecot", "tests.support.lab", "tests.support.object_store", "tests.support.postgres"}
FULL_FIXTURES = {"server", "postgres", "in_store"}
# Files that take over half a minute, some with make test-all alone, the longest first. Of the first three only one needs the
# tiny shop, which the others copy: it is made meanwhile.
LONGEST = (
    "test_killed_services.py",
    "test_start.py",
    "test_pages_in_a_browser.py",
    "test_daemon.py",
    "test_killed_runs.py",
    "test_models_through_dagster.py",
    "test_earlier_place.py",
    "test_scoring.py",
    "test_daily_job.py",
    "test_stock_dagster.py",
    "test_shop_in_a_store.py",
    "test_journey.py",
    "test_dbt.py",
    "test_any_way_to_a_state.py",
    "test_look_ahead_check.py",
    "test_schedules.py",
    "test_full_disk_in_dbt.py",
    "test_dbt_project.py",
    "test_canaries.py",
    "test_sending.py",
    "test_sessions.py",
    "test_retailer_truth.py",
    "test_totals.py",
    "test_look_ahead.py",
    "test_response_through_dagster.py",
    "test_value_through_dagster.py",
    "test_whole_runs.py",
    "test_matured_scores.py",
)
FAST = "not full"
FAST_CPU_SECONDS = 3.0

# The same examples in every run, and none that fails because the machine is busy.
hypothesis.settings.register_profile(
    "suite", derandomize=True, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("suite")

# A background job of a shell without job control ignores interrupts, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of the folders that the fast tier leaves out: dbt and Dagster cost each worker seconds."""
    is_left_out = collection_path.parent == TESTS and collection_path.name in FULL_FOLDERS
    return True if is_left_out and config.option.markexpr == FAST else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what does not belong to the fast tier, and begin with the longest files, so that no worker is left with one."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        module = getattr(item, "module", None)
        imported = {getattr(value, "__module__", "") for value in vars(module).values()} if module else set()
        fixtures = set(getattr(item, "fixturenames", ()))
        is_exhaustive = item.get_closest_marker("exhaustive") is not None
        if folder in FULL_FOLDERS or imported & FULL_MODULES or fixtures & FULL_FIXTURES or is_exhaustive:
            item.add_marker(pytest.mark.full)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that is too slow for the fast tier, by the CPU time of its process and of those that it started."""
    began = _cpu_seconds()
    yield
    used = _cpu_seconds() - began
    if item.config.option.markexpr == FAST and used > FAST_CPU_SECONDS:
        pytest.fail(f"took {used:.1f} CPU seconds, too long for make check: mark it with pytest.mark.full")


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
