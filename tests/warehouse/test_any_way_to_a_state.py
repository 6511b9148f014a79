"""Whatever happens on the way, the tables are those of the landing files: random shops, random runs, the real dbt project.

Expected values come from ``tests.support.oracle``, which reads the landing folder in plain Python.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from customer360.settings import Attribute, Shop
from tests.support import oracle
from tests.support.lab import Crash, Lab
from tests.support.random_shop import RandomShop, random_shop, small_shop

NewLab = Callable[[Shop], Lab]
STEPS = ("plan", "dbt", "half of dbt", "a broken model", "mark")


class Troubles:
    """What goes wrong on the way, all of it mended in the end: the landing folder is then the one of ``shop.write``."""

    def __init__(self, lab: Lab, shop: RandomShop, seed: int) -> None:
        self.lab, self.shop, self.random = lab, shop, Random(seed)

    def folder(self, start: datetime) -> Path:
        return self.lab.landing / "clicks" / start.strftime("%Y/%m/%d/%H%M")

    def begin(self) -> dict[str, list[datetime]]:
        """Slices with a file too few, a file of other content, a file too many. All of them are repaired by ``mend``."""
        full = [start for start in self.shop.slices if len(list(self.folder(start).glob("*"))) > 1]
        self.random.shuffle(full)
        repairs = {"a file appears": full[0:6], "a file is replaced": full[6:12], "a file is removed": full[12:18]}
        for start in repairs["a file appears"]:
            (self.folder(start) / "part-0.jsonl").rename(self.folder(start) / ".part-0.jsonl")
        for start in repairs["a file is replaced"]:
            file = self.folder(start) / "part-0.jsonl"
            file.rename(self.folder(start) / "_right")
            file.write_text(self.lines_of_others(start))
        for start in repairs["a file is removed"]:
            (self.folder(start) / "zz.jsonl").write_text(self.lines_of_others(start))
        return repairs

    def lines_of_others(self, start: datetime) -> str:
        """Events of slices up to 4 days around, which become copies here or make the others copies."""
        near = [one for one in self.shop.arrivals if abs(one - start) < timedelta(days=4)]
        lines = [line for one in self.random.sample(near, 10) for line in self.shop.arrivals[one][:2]]
        return "".join(json.dumps(line) + "\n" for line in lines if isinstance(line, dict))

    def mend(self, start: datetime) -> None:
        """Bring one slice's folder to what it shall be."""
        for name, right in ((".part-0.jsonl", "part-0.jsonl"), ("_right", "part-0.jsonl")):
            if (self.folder(start) / name).exists():
                (self.folder(start) / name).replace(self.folder(start) / right)
        (self.folder(start) / "zz.jsonl").unlink(missing_ok=True)

    def batches(self, repairs: dict[str, list[datetime]], number: int) -> Iterator[list[datetime]]:
        """Every slice once in random order, some twice; repairs come some batches after the slice's first run."""
        order = self.random.sample(self.shop.slices, len(self.shop.slices))
        cuts = sorted(self.random.sample(range(1, len(order)), number - 1))
        broken = [start for starts in repairs.values() for start in starts]
        for first, last in zip([0, *cuts], [*cuts, len(order)], strict=True):
            again = self.random.sample(order[:first], min(first, 4))
            mended = [start for start in broken if start in order[:first] and self.random.random() < 0.5]
            for start in mended:
                self.mend(start)
                broken.remove(start)
            yield [*order[first:last], *again, *mended]
        for start in broken:
            self.mend(start)
        yield broken

    def crash(self, where: str) -> Callable[[str], None]:
        """A run's death at one of ``STEPS``."""

        def at(step: str) -> None:
            if step == "mark" and where in ("half of dbt", "a broken model"):
                raise Crash(where)
            if step != where:
                if step == "dbt" and where == "half of dbt":
                    models = self.lab.dbt.models
                    self.lab.transform("build", "--select", *models[: self.random.randrange(1, len(models))], *WITHOUT_TESTS)
                    raise Crash(where)
                if step == "dbt" and where == "a broken model":
                    with self.lab.opened() as connection:
                        connection.execute("drop view raw.products")
                return
            raise Crash(where)

        return at


WITHOUT_TESTS = ("--exclude-resource-type", "test", "unit_test")


def differences(lab: Lab, as_of: datetime) -> dict[str, dict[Any, Any]]:
    """Rows in which the warehouse and the oracle differ, by table: key -> (warehouse, oracle)."""
    return compare(lab.tables(), oracle.state(lab.landing, lab.shop, as_of))


def compare(found: dict[str, oracle.Table], expected: dict[str, oracle.Table]) -> dict[str, dict[Any, Any]]:
    assert found.keys() == expected.keys()
    assert all(expected.values()), "a table without rows proves nothing"
    return {
        name: {
            key: (found[name].get(key), row.get(key))
            for key in found[name].keys() | row.keys()
            if found[name].get(key) != row.get(key)
        }
        for name, row in expected.items()
        if found[name] != row
    }


@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("SEEDS", "1").split(",")])
def test_random_runs_repairs_and_crashes_end_like_clean_ordered_input(new_lab: NewLab, seed: int) -> None:
    shop = random_shop(seed)
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references()
    troubles = Troubles(lab, shop, seed)
    repairs = troubles.begin()
    crashes = list(STEPS)
    for batch in troubles.batches(repairs, number=7):
        where = crashes.pop() if crashes and lab.settings.place.warehouse.exists() else ""
        with suppress(Crash, RuntimeError):
            lab.run(batch, troubles.crash(where))
    assert crashes == []
    lab.run()
    assert differences(lab, shop.as_of) == {}

    clean = new_lab(shop.shop)
    shop.write_clean(clean.landing)
    clean.load_references()
    clean.run(shop.slices)
    assert compare(lab.tables(), clean.tables()) == {}
    assert compare(clean.tables(), oracle.state(clean.landing, shop.shop, shop.as_of)) == {}

    before = lab.slice_grain()
    assert lab.run(shop.slices[60:63]).pending == shop.slices[60:63]
    assert lab.slice_grain() == before
