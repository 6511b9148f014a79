"""A place is brought to this release: again and again, after a death at any step, and never one of a newer release."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from customer360.place_format import FORMAT, PlaceError, place_format
from customer360.settings import REPOSITORY, Place, Settings
from orchestration.cli import main
from orchestration.runtime import upgrading
from orchestration.runtime.services import ServedAlreadyError, Services, alone
from orchestration.runtime.upgrading import upgrade_place
from tests.support.random_shop import small_shop


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A place of a release that noted no format, with the Dagster home of 0.1.0."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster"))
    (tmp_path / "data" / "dagster").mkdir(parents=True)
    older = "event_log_storage:\n  module: orchestration.event_log\n  class: OpenEventLog\n"
    older += "run_launcher:\n  module: orchestration.run_launcher\n  class: WarmRunLauncher\n"
    (tmp_path / "data" / "dagster" / "dagster.yaml").write_text(older, encoding="utf-8")
    return Settings(shop=small_shop(), shop_folder=REPOSITORY, place=Place(root=tmp_path / "data"))


def test_an_upgrade_that_dies_at_any_step_is_none_and_is_made_good(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    home, done = settings.place.root / "dagster", list[str]()
    for dies_at in (next(iter(upgrading.STEPS)), [*upgrading.STEPS][-1]):
        with monkeypatch.context() as patch:
            patch.setitem(upgrading.STEPS, dies_at, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                upgrade_place(settings, home, done.append)
        assert place_format(settings.place) == 0
    done.clear()
    for _ in range(2):
        upgrade_place(settings, home, done.append)
        assert place_format(settings.place) == FORMAT
    assert done == [*upgrading.STEPS, *upgrading.STEPS]
    assert "orchestration.runtime.launcher" in (home / "dagster.yaml").read_text(encoding="utf-8")


def test_a_place_that_is_served_is_not_upgraded(settings: Settings) -> None:
    home = settings.place.root / "dagster"
    with alone(home, "customer360 serve"), pytest.raises(ServedAlreadyError, match=f"serve, process {os.getpid()}"):
        upgrade_place(settings, home, lambda _: None)
    assert place_format(settings.place) == 0


@pytest.mark.parametrize("command", [["upgrade"], ["serve"], ["status"], ["backup", "x"], ["api", "serve"], ["desk", "serve"]])
def test_a_place_of_a_newer_release_is_refused(
    command: list[str], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    note = settings.place.root / "place.json"
    note.write_text(json.dumps({"format": FORMAT + 1, "version": "7.0.0"}), encoding="utf-8")
    before = sorted(settings.place.root.rglob("*"))
    assert main([*command, "--data-dir", str(settings.place.root)]) == 2
    assert "is of release 7.0.0" in capsys.readouterr().err
    assert sorted(settings.place.root.rglob("*")) == before


def test_serve_upgrades_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Services, "run", lambda _: None)
    monkeypatch.setenv("DATA_DIR", str(settings.place.root))
    monkeypatch.setenv("SHOP", "synthetic")
    assert main(["serve"]) == 0
    assert place_format(settings.place) == FORMAT


def test_a_damaged_note_is_an_error(settings: Settings) -> None:
    for text in ("", "[]", '{"format": "x", "version": "1"}', '{"format": 1}'):
        (settings.place.root / "place.json").write_text(text, encoding="utf-8")
        with pytest.raises(PlaceError, match=r"place\.json is damaged"):
            place_format(settings.place)
