"""Whatever happens on the way, the tables are those of the landing files: random shops, random runs, the real dbt project.

Expected values come from ``tests.support.oracle``, which reads the landing folder in plain Python.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
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
# Wider than all short windows and than what parts two visits; narrower ones are as the 15 minutes of the other tests.
WIDTHS = [(360, 60, 4), *(pytest.param(*width, marks=pytest.mark.exhaustive) for width in ((5, 120, 3), (60, 60, 2)))]
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
        near = [arrival for arrival in self.shop.arrivals if abs(arrival - start) < timedelta(days=4)]
        lines = [line for arrival in self.random.sample(near, 10) for line in self.shop.arrivals[arrival][:2]]
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
            if step == where:
                raise Crash(where)
            if step == "dbt" and where == "half of dbt":
                models = self.lab.dbt.models
                first = models[: self.random.randrange(3, len(models) - 3)]
                self.lab.transform("build", "--select", *first, "--exclude-resource-type", "test", "unit_test")
                raise Crash(where)
            if step == "dbt" and where == "a broken model":
                with self.lab.opened() as connection:
                    connection.execute("drop view raw.products")

        return at


def reference(lab: Lab, table: str, rows: list[dict[str, Any]]) -> None:
    """Replace the files of a reference table."""
    folder = lab.landing / "reference" / table
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_history(lab: Lab, shop: RandomShop, slices: list[datetime], seed: int) -> None:
    """These slices' lines as a few history files in no order."""
    lines = [line if isinstance(line, str) else json.dumps(line) for start in slices for line in shop.arrivals.get(start, [])]
    Random(seed).shuffle(lines)
    for number, name in enumerate(("2026/a.jsonl", "2026/b.jsonl", "c.jsonl.gz")):
        path = lab.landing / "history" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = ("\n".join(lines[number::3]) + "\n").encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


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
    shop = random_shop(seed, slices=64)
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references()
    troubles = Troubles(lab, shop, seed)
    repairs = troubles.begin()
    crashes = list(STEPS)
    for batch in troubles.batches(repairs, number=6):
        if crashes and lab.settings.place.warehouse.exists():
            where = crashes.pop()
            with pytest.raises(RuntimeError, match="stg_products" if where == "a broken model" else where):
                lab.run(batch, troubles.crash(where))
        else:
            lab.run(batch)
    assert (crashes, lab.plan().pending) == ([], [])
    assert differences(lab, shop.as_of) == {}

    clean = new_lab(shop.shop)
    shop.write_clean(clean.landing)
    clean.load_references()
    clean.run(shop.slices)
    assert compare(lab.tables(), clean.tables()) == {}

    before = lab.slice_grain()
    assert lab.run(shop.slices[30:33]).pending == shop.slices[30:33]
    assert lab.slice_grain() == before


@pytest.mark.parametrize(("minutes", "slices", "seed"), WIDTHS)
def test_features_as_of_a_slice_are_the_same_whether_or_not_later_ones_exist(
    new_lab: NewLab, minutes: int, slices: int, seed: int
) -> None:
    """History first, then live slices with a new version of the reference tables in between, on other slice widths.

    Sixty slices of six hours are 15 days: of their first cut-off it is known who churned within 3 days, of the last it is not.
    """
    horizons = {"label_horizon_days": 2, "churn_horizon_days": 3} if minutes == 360 else {}
    age = {"age": Attribute(type="integer").model_dump()}
    shop = random_shop(seed, slices, small_shop(minutes, attributes=age, training={"cutoffs": 3}, **horizons))
    parts = [shop.slices[: slices // 2], shop.slices[slices // 2 : slices * 3 // 4], shop.slices[slices * 3 // 4 :]]
    lab = new_lab(shop.shop.model_copy(update={"slices_start": parts[1][0].replace(tzinfo=UTC)}))
    write_history(lab, shop, parts[0], seed)
    shop.write(lab.landing, only={*parts[1], *parts[2]})
    customers = [{**row, "age": 20 + number} for number, row in enumerate(shop.reference["customers"])]
    reference(lab, "customers", customers)
    listed = parts[1][1]  # after the first cut-off: whom it does not know, models do not learn from
    lab.load_references(listed.replace(tzinfo=UTC))
    known: dict[datetime, oracle.Table] = {}
    then: dict[datetime, set[str]] = {}

    lab.history()
    lab.run()
    known[parts[1][0]] = features_without_attributes_match(lab, parts[1][0])
    then[parts[1][0]] = oracle.known(lab.landing, lab.shop, parts[1][0]).known_then(listed)
    lab.run(Random(seed).sample(parts[1], len(parts[1])))
    known[parts[2][0]] = features_without_attributes_match(lab, parts[2][0])
    then[parts[2][0]] = oracle.known(lab.landing, lab.shop, parts[2][0]).known_then(listed)

    reference(lab, "customers", [{**row, "age": row["age"] + 50} for row in customers] + [{"customer_id": "C50", "age": 9}])
    moved = [
        {**row, "category_id": "books" if row["product_id"] == "P3" else row["category_id"]}
        for row in shop.reference["products"]
    ]
    reference(lab, "products", moved)
    reference(lab, "purchases", shop.reference["purchases"][10:])
    lab.load_references(parts[2][0].replace(tzinfo=UTC) + timedelta(minutes=1))
    lab.run(parts[2])
    known[shop.as_of] = features_without_attributes_match(lab, shop.as_of)
    then[shop.as_of] = oracle.known(lab.landing, lab.shop, shop.as_of).known_then(listed)

    trained = lab.training_features(list(known))
    for moment, features in known.items():
        later = oracle.outcomes(lab.landing, lab.shop, moment, shop.as_of, {customer for (customer,) in features})
        rows = {key: oracle.Row({**row, **later[key[0]]}) for key, row in features.items() if key[0] in then[moment]}
        assert trained[moment] == rows
    assert [{"C02", "C98", "C99"} - customers for customers in then.values()] == [{"C02", "C99"}, set(), set()]
    ages = [known[moment]["C01",]["age"] for moment in known]
    assert ages == [20, 20, 70]
    rows = [row for table in trained.values() for row in table.values()]
    assert len({row["label"] for row in rows}) > 2
    assert {row["is_churned"] for row in rows} == ({True, False, None} if minutes == 360 else {None})
    assert lab.query("select cutoff_no, weight from marts.training_features group by all order by all") == [
        (number, 0.5 + number) for number in range(1, len(known) + 1)
    ]


def test_segments_of_a_week_ago_are_those_of_then_without_what_became_known_later(new_lab: NewLab) -> None:
    """Late events come and purchases are corrected in the week; C02 is known since the middle of it, by the reference table."""
    age = {"age": Attribute(type="integer").model_dump()}
    shop = random_shop(5, 60, small_shop(360, attributes=age))
    past = shop.as_of - timedelta(days=7)
    lab = new_lab(shop.shop)
    shop.write(lab.landing)
    lab.load_references(shop.slices[0].replace(tzinfo=UTC))
    lab.run([start for start in shop.slices if start < past])
    segments = "select customer_id, segment, monetary from marts.rfm_segments"
    then = {customer: row for customer, *row in lab.query(segments)}
    known = oracle.known(lab.landing, lab.shop, past).known_then(shop.slices[0])

    reference(lab, "purchases", shop.reference["purchases"][10:])
    lab.load_references(past.replace(tzinfo=UTC) + timedelta(minutes=1))
    lab.run([start for start in shop.slices if start >= past])
    lab.transform("run", "--select", "customer_segments_weekly", "segment_moves")
    now = {customer: row for customer, *row in lab.query(segments)}
    weekly = "select customer_id, segment, monetary from marts.customer_segments_weekly where as_of = timestamp"
    assert {customer: row for customer, *row in lab.query(f"{weekly} '{past}'")} == {who: then[who] for who in known}
    assert {customer: row for customer, *row in lab.query(f"{weekly} '{shop.as_of}'")} == now
    assert then.keys() - known == {"C02"}
    columns = "previous_segment, segment, customers, previous_monetary, monetary"
    moved = f"select {columns} from marts.segment_moves where as_of = timestamp"
    moves: dict[tuple[str, str], list[Any]] = {}
    for who in now.keys() | known:
        before = then[who] if who in known else ["(not known)", 0]
        row = moves.setdefault((before[0], now[who][0]), [0, 0, 0])
        moves[before[0], now[who][0]] = [row[0] + 1, row[1] + before[1], row[2] + now[who][1]]
    assert {(old, new): row for old, new, *row in lab.query(f"{moved} '{shop.as_of}'")} == moves
    assert len({old for old, new in moves if old != new}) > 1


def features_without_attributes_match(lab: Lab, as_of: datetime) -> oracle.Table:
    """Check the state as of a point against the oracle; returns the features, attributes and all."""
    assert lab.query("select as_of from ops.clock") == [(as_of,)]
    found = lab.tables()
    features = found["customer_features"]
    found["customer_features"] = {
        key: oracle.Row({name: value for name, value in row.items() if name not in lab.shop.attributes})
        for key, row in features.items()
    }
    assert compare(found, oracle.state(lab.landing, lab.shop, as_of)) == {}
    return features
