"""``customer360 simulate``: history, slices, and a stream that Ctrl-C ends."""

from __future__ import annotations

import pytest

from customer360.lake.atomic import write_text
from customer360.settings import REPOSITORY
from customer360.simulation import Drift, Simulation, read_simulation, simulate_history, stream
from orchestration.commands import simulate

SMALL = ("--customers", "300", "--days", "2", "--seed", "7")


@pytest.fixture
def synthetic(shop):
    """The synthetic shop in a data folder of its own."""
    shop.folder = REPOSITORY / "shops" / "synthetic"
    return shop


def slices(shop):
    return sorted(path.relative_to(shop.landing / "clicks").as_posix() for path in shop.landing.glob("clicks/*/*/*/*"))


def test_history_and_slices_are_written_and_keep_the_contracts(synthetic):
    ran = synthetic("simulate", *SMALL, "--slices", "2")
    assert ran.code == 0
    assert "history    2 days of 300 customers, seed 7 ..." in ran.out
    assert slices(synthetic) == ["2026/04/30/1600", "2026/04/30/1615"]
    assert synthetic("check", str(synthetic.landing)).code == 0


def test_later_slices_follow_those_in_landing_and_fit_the_history(synthetic):
    synthetic("simulate", "history", *SMALL)
    synthetic("simulate", "slices", "--slices", "1")
    synthetic("simulate", "slices", "--slices", "1")
    assert slices(synthetic) == ["2026/04/30/1600", "2026/04/30/1615"]
    assert read_simulation(synthetic.settings.place) == Simulation(customers=300, days=2, seed=7)


def test_faults_are_told_in_numbers(synthetic):
    clean = synthetic("simulate", "slices", *SMALL, "--slices", "1").out
    bad = synthetic("simulate", "slices", *SMALL, "--slices", "1", "--faults", "everyday").out
    assert "0 late, 0 copies, 0 broken" in clean
    assert "0 broken" not in bad
    assert synthetic("check", str(synthetic.landing)).code == 1


def test_a_history_is_not_mixed_with_another(synthetic):
    synthetic("simulate", "history", *SMALL)
    again = synthetic("simulate", "history")
    assert (again.code, "is there already" in again.out) == (0, True)
    other = synthetic("simulate", "history", "--customers", "41")
    assert other.code == 2
    assert "has files that were made otherwise" in other.err


def test_the_parameters_of_a_drifting_world_are_remembered(synthetic, tmp_path):
    settings = synthetic.settings
    drift = Drift(settings.shop.slices_start, price_level=1.2, swap=("fitness", "beauty"))
    simulation = Simulation(customers=5, days=1, drift=drift)
    simulate_history(simulation, settings.shop, settings.place)
    assert read_simulation(settings.place) == simulation


def test_impossible_parameters_are_wrong_usage(synthetic):
    ran = synthetic("simulate", "--customers", "0")
    assert (ran.code, "customers >= 1" in ran.err) == (2, True)
    assert synthetic("simulate", "--days", "-1").code == 2
    assert synthetic("simulate", "stream", "--speed", "0").code == 2


def test_a_shop_of_other_categories_cannot_be_simulated(shop):
    ran = shop("simulate")
    assert ran.code == 2
    assert ran.err.startswith("customer360: ")


def test_ctrl_c_ends_a_stream_cleanly(synthetic, monkeypatch):
    def interrupted(*args, **options):
        now = [0.0]
        arriving = stream(*args, **options, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
        for _ in range(4):
            yield next(arriving)
        raise KeyboardInterrupt

    monkeypatch.setattr("customer360.simulation.stream", interrupted)
    ran = synthetic("simulate", "stream", *SMALL, "--speed", "10")
    assert ran.code == 0
    assert ran.out.count(" lines\n") + ran.out.count(" line\n") == 4
    assert ran.out.endswith("stopped\n")
    assert len([path for path in synthetic.landing.rglob("*") if path.is_file()]) == 4


def test_a_stream_of_a_live_shop_waits_for_the_next_slice(synthetic, monkeypatch, tmp_path):
    text = (synthetic.folder / "shop.yaml").read_text("utf-8")
    synthetic.folder = tmp_path / "shop"
    write_text(synthetic.folder / "shop.yaml", text.replace("live: false", "live: true"))
    assert synthetic("simulate", "stream", "--speed", "10").code == 2
    waited: list[float] = []
    monkeypatch.setattr(simulate.time, "sleep", waited.append)
    monkeypatch.setattr("customer360.simulation.stream", lambda *args, **options: iter(()))
    assert synthetic("simulate", "stream").code == 0
    assert 0 <= waited[0] <= 900


def test_a_retailer_is_written_as_the_files_of_a_newcomer_without_a_shop(shop, tmp_path):
    folder = tmp_path / "my-files"
    shop.folder = tmp_path / "nowhere"
    ran = shop(
        "simulate", "retailer", "--into", str(folder), "--lines", "500", "--customers", "50", "--days", "90", "--seed", "7"
    )
    assert (ran.code, ran.err) == (0, "")
    assert {path.name for path in folder.iterdir()} == {"purchases.csv", "products.csv", "customers.csv"}
    assert "customers.csv  50 rows" in ran.out
    assert shop("simulate", "retailer").code == 2
