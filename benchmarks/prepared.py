"""A place with 60 days of history and a champion, that can be put back as it was, and landed slices of any size."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon_run import DaemonRuns, daemon_runs
from benchmarks.measuring import Measured, bench_place
from customer360.lake.landing.listing import list_slice
from customer360.lake.slices import slice_folder, slice_key
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Simulation, simulate_history, simulate_slice

ID = b'"event_id":"'


@dataclass
class Prepared:
    """The place, and runs on it. The environment of this process names it."""

    settings: Settings
    runs: DaemonRuns

    @property
    def key(self) -> str:
        """The first slice."""
        return slice_key(self.settings.shop.slices_start)

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.settings.place.root

    def restore(self) -> None:
        """Put everything back as it was after the training."""
        shutil.rmtree(self.root)
        shutil.copytree(self._saved, self.root, symlinks=True)

    def save(self) -> None:
        """Keep the place as it is now for ``restore``."""
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.root, self._saved, symlinks=True)

    @property
    def _saved(self) -> Path:
        return self.root.with_name("saved")

    def land(self, simulation: Simulation, times: int = 1) -> int:
        """Land the first slice, its events ``times`` over under ids of their own; the number of lines."""
        settings, start = self.settings, self.settings.shop.slices_start
        lines: int = simulate_slice(simulation, settings.shop, settings.place, start)["total"]["lines"]
        folder = slice_folder(settings.place.landing / "clicks", start)
        for file in list_slice(settings.place.landing, start).files:
            packed = file.name.endswith(".gz")
            content = gzip.decompress(file.path.read_bytes()) if packed else file.path.read_bytes()
            for number in range(1, times):
                again = content.replace(ID, ID + f"{number}-".encode())
                target = folder / f"{number:03d}-{file.name}"
                target.write_bytes(gzip.compress(again, 1) if packed else again)
        return lines * times

    def slice(self) -> Measured:
        """Run the first slice."""
        return self.runs.run("slice_job", self.key)


@contextmanager
def prepared(simulation: Simulation) -> Iterator[Prepared]:
    """The synthetic shop with ``simulation``'s history loaded and a model trained, in a folder that is removed at the end."""
    with bench_place("bench", "synthetic") as root:
        settings = Settings.load(REPOSITORY / "shops" / "synthetic", root)
        simulate_history(simulation, settings.shop, settings.place)
        with daemon_runs() as runs:
            runs.run("history_job", slice_key(settings.shop.slices_start - settings.shop.slice_width))
            runs.run("training_job")
            place = Prepared(settings, runs)
            place.save()
            yield place
