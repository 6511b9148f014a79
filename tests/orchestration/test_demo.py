"""What the demo asks for before it starts, and what its report says of profiles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import pytest

from customer360.settings import REPOSITORY, load_shop
from orchestration import demo
from orchestration.demo_report import foremost_profiles, label_counts

RETAIL360 = load_shop(REPOSITORY / "shops" / "retail360" / "shop.yaml")


def _refusal(monkeypatch: pytest.MonkeyPatch, data_dir: Path, shop: str, *options: str) -> str:
    monkeypatch.setenv("SHOP", shop)
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    monkeypatch.setattr("sys.argv", ["demo", *options])
    with pytest.raises(SystemExit) as refused:
        demo.main()
    return str(refused.value)


def test_a_shop_of_published_files_asks_for_their_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = _refusal(monkeypatch, tmp_path, "retail360")
    assert "make demo SHOP=retail360 FROM=<the folder of customer.csv, purchase.csv, product.csv>" in message


def test_a_folder_without_the_files_is_refused_and_the_last_demo_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place, source = tmp_path / "data", tmp_path / "elsewhere"
    place.mkdir()
    source.mkdir()
    (place / "demo").write_text("retail360\n")
    (source / "customer.csv").touch()
    assert f"{source} lacks purchase.csv, product.csv" in _refusal(monkeypatch, place, "retail360", "--from", str(source))
    assert f"{source / 'no'} is not a folder" in _refusal(monkeypatch, place, "retail360", "--from", str(source / "no"))
    assert (place / "demo").exists()


def test_a_shop_that_brings_its_data_refuses_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "leave FROM away" in _refusal(monkeypatch, tmp_path, "synthetic", "--from", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_make_hands_the_folder_on() -> None:
    def commands(*variables: str) -> str:
        made = subprocess.run(["make", "-n", "demo", *variables], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        return made.stdout

    assert 'orchestration.demo --from "../some folder"' in commands("SHOP=retail360", "FROM=../some folder")
    assert "--from" not in commands("SHOP=synthetic")


def test_the_report_shows_the_label_and_every_probability_that_somebody_has() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table customer_profiles as
            select * from (values
                ('1', 'Loyal', 'technology', 0.6, 0.05, 0.05, 0.0001, 0.2999, 'last bought in category technology'),
                ('2', 'Lost', 'none', 0.1, 0.2, 0.1, 0.0001, 0.5999, 'no orders'),
                ('3', 'Loyal', 'none', 0.0, 0.0, 0.2, 0.0001, 0.7999, 'no orders')
            ) as profiles (customer_id, segment, label, probability_technology, probability_apparel, probability_cosmetics,
                probability_other, probability_none, reason_1)
            """
        )
        counts = [line.split() for line in label_counts(connection, RETAIL360).splitlines()]
        profiles = [line.split() for line in foremost_profiles(connection, RETAIL360).splitlines()]
    assert counts == [
        ["label", "customers", "sum_of_probabilities"],
        ["none", "2", "1.7"],
        ["technology", "1", "0.7"],
        ["cosmetics", "0", "0.4"],
        ["apparel", "0", "0.3"],
    ]
    assert profiles[0] == ["customer_id", "segment", "label", "technology", "apparel", "cosmetics", "none", "reason_1"]
    assert [row[0] for row in profiles[1:]] == ["2", "3", "1"]
    assert profiles[3][2:7] == ["technology", "0.600", "0.050", "0.050", "0.300"]
