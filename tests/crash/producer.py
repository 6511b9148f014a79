"""Producers that never rest, and their own account of what they landed."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from customer360.lake.slices import slice_folder
from customer360.simulation import Faults
from customer360.simulation.slices import ProducedFile, slice_files
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.writing import packed, write_bytes
from tests.orchestration.place import SIMULATION, TinyShop

NO_GZIP = b"\x1f\x8b\x08\x00 this is no gzip"
HELD_FOR = (1, 2, 3)  # slices that a late or a mended file comes after its own
BEHIND = 3


def unpacked(file: ProducedFile) -> list[bytes]:
    """The lines of a produced file."""
    return (gzip.decompress(file.content) if file.name.endswith(".gz") else file.content).splitlines()


@dataclass
class Account:
    """What the tables must come to: ids of the events by the slice in which they first arrived, lines, and bad entries."""

    ids: dict[datetime, set[str]] = field(default_factory=dict)
    lines: int = 0
    bad: int = 0
    files: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("late", "repaired", "sent twice", "broken"), 0))

    @property
    def events(self) -> int:
        return sum(len(ids) for ids in self.ids.values())


@dataclass(eq=False)
class Producer(threading.Thread):
    """Lands slice after slice, at most ``BEHIND`` ahead of what is published.

    The faults of an everyday producer are in every file; files come late, are sent again in a later slice, are replaced by
    mended ones, or are no gzip at all. What is landed follows from the seed alone; when, does not.
    """

    shop: TinyShop
    seed: int
    published: Callable[[], int]
    landed: int = 0
    account: Account = field(default_factory=Account)
    error: Exception | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._random = random.Random(self.seed)
        self._clicks = self.shop.data / "landing" / "clicks"
        self._world = SyntheticShop.build(SIMULATION, self.shop.settings.shop)
        self._held: list[tuple[int, datetime, str, bytes]] = []
        self._earlier: list[ProducedFile] = []

    def run(self) -> None:
        try:
            while not self.stopped.wait(1):
                if self.landed - self.published() < BEHIND:
                    self.land()
        except Exception as error:  # noqa: BLE001  the main thread says it
            self.error = error

    def land(self) -> None:
        """The next slice, and whatever was held back until now."""
        start = self.shop.slice(self.landed)
        for file in slice_files(self._world, start, Faults.everyday()):
            self._land(start, file)
        clean = slice_files(self._world, start, Faults())
        self.account.ids[start] = {json.loads(line)["event_id"] for file in clean for line in unpacked(file)}
        if self._earlier and self._random.random() < 0.15:
            copy = self._random.choice(self._earlier)
            self._count("sent twice", copy)
            self._write(start, f"again-{copy.name}", copy.content)
        if self._random.random() < 0.1:
            self.account.files["broken"] += 1
            self.account.lines, self.account.bad = self.account.lines + 1, self.account.bad + 1
            self._write(start, "broken.jsonl.gz", NO_GZIP)
        if not slice_folder(self._clicks, start).exists():  # at night nobody may visit: then no earlier slice would be closed
            self._write(start, "nobody.jsonl", b"")
        self.landed += 1
        self._release(self.landed)

    def _land(self, start: datetime, file: ProducedFile) -> None:
        fate, after = self._random.random(), self.landed + self._random.choice(HELD_FOR)
        if fate < 0.2:
            self._count("late", file)
            self._held.append((after, start, file.name, file.content))
        elif fate < 0.4:
            self._count("repaired", file)
            lines = unpacked(file)
            self._write(start, file.name, packed(lines[: len(lines) // 2], file.name))
            self._held.append((after, start, file.name, file.content))
        else:
            self._count(None, file)
            self._write(start, file.name, file.content)
        self._earlier = [*self._earlier[-9:], file]

    def _count(self, kind: str | None, file: ProducedFile) -> None:
        self.account.lines += file.report["lines"]
        self.account.bad += file.report["poison"]
        if kind:
            self.account.files[kind] += 1

    def _release(self, number: int) -> None:
        for held in [held for held in self._held if held[0] < number]:
            self._held.remove(held)
            self._write(*held[1:])

    def _write(self, start: datetime, name: str, content: bytes) -> None:
        write_bytes(slice_folder(self._clicks, start) / name, content)

    def finish(self) -> int:
        """Stop, land what is still held back and a file that closes the last slice; the number of closed slices.

        The file is empty: a slice without files would close none.
        """
        self.stopped.set()
        self.join(timeout=60)
        if self.error is not None:
            raise self.error
        self._release(self.landed + max(HELD_FOR) + 1)
        self._write(self.shop.slice(self.landed), "closes-the-last.jsonl", b"")
        return self.landed
