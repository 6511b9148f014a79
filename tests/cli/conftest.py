"""A shop and a data folder of their own, and the command called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from customer360.lake.raw.history import write_history
from customer360.lake.raw.raw_clicks import SliceCounts, raw_slice_folder, write_raw_slice
from customer360.lake.slices import slice_folder, slice_start
from customer360.settings import REPOSITORY, Settings
from orchestration.cli import main

SHOP = (REPOSITORY / "docs" / "examples" / "your-shop" / "shop.yaml").read_text(encoding="utf-8")


@dataclass
class Ran:
    """What a command ended with and said."""

    code: int
    out: str
    err: str


@dataclass
class Shop:
    """A shop in a temporary folder: a replay with slices of 15 minutes from 2026-05-01 08:00 UTC, in EUR."""

    folder: Path
    data: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        self.capsys.readouterr()
        try:
            code = main(["--shop", str(self.folder), "--data-dir", str(self.data), *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = self.capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    @property
    def settings(self) -> Settings:
        return Settings.load(self.folder, self.data)

    @property
    def landing(self) -> Path:
        return self.data / "landing"

    def change(self, old: str, new: str) -> None:
        """Edit shop.yaml."""
        path = self.folder / "shop.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def land(self, key: str, name: str, lines: Iterable[dict[str, Any] | str]) -> Path:
        """Write a JSON Lines file into a slice (or ``history``)."""
        folder = self.landing / "history" if key == "history" else slice_folder(self.landing / "clicks", slice_start(key))
        folder.mkdir(parents=True, exist_ok=True)
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path = folder / name
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return path

    def run_slice(self, key: str) -> SliceCounts:
        """What a run of the slice does with its files."""
        return write_raw_slice(self.settings, slice_start(key))

    def run_history(self) -> SliceCounts:
        return write_history(self.settings).counts

    def raw_ids(self, key: str) -> list[str]:
        """The event ids of a raw slice."""
        table = pq.read_table(raw_slice_folder(self.data / "raw", slice_start(key)) / "part.parquet", partitioning=None)
        return sorted(table["event_id"].to_pylist())

    def landed_files(self) -> dict[str, str]:
        """Every file in landing with its text."""
        files = sorted(path for path in self.landing.rglob("*") if path.is_file())
        return {path.relative_to(self.landing).as_posix(): path.read_text(encoding="utf-8") for path in files}


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.yaml").write_text(SHOP.replace("live: true", "live: false"), encoding="utf-8")
    return Shop(folder, tmp_path / "data", capsys)


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    """A good event; arguments replace or, where they are None, remove its values."""

    def make(event_id: str, **values: Any) -> dict[str, Any]:
        fields = {
            "event_id": event_id,
            "event_name": "view_item",
            "event_at": "2026-05-01T08:03:00Z",
            "customer_id": "c-1",
            "product_id": "L-100",
            **values,
        }
        return {name: value for name, value in fields.items() if value is not None}

    return make
