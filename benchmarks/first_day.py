"""A new shop's first day: what serves then, against the weeks after it, which were held back.

``FROM=<folder of CDNOW_master.txt> make bench NAME=first_day``, or ``python -m benchmarks.first_day journey generated`` for
some shops: ``cdnow``, ``journey`` (the package of the extra completejourney) and ``generated``. ``customer360 start`` brings
in what is known on the first day. At that moment and one, two and three weeks later, each in a place of its own with the
purchases until then and the models of the first day, the published scores are compared with what was bought in the label
horizon after it.

Of each shop: ``affinity_log_loss`` and ``best_baseline_log_loss`` (nats a row; see ``naive_baselines``), ``purchase_auc`` of
the purchase probability and ``naive_auc`` of the best ranking by recency or frequency, ``promised_rate`` (mean purchase
probability) and ``real_rate``. The best baseline and the best ranking are those that are best on these very rows. ``_low``
and ``_high`` are bounds of 95% by a bootstrap over customers, since the weeks of a customer are alike. Ends with exit code 1
where what serves is worse than a baseline beyond chance, or where the promised rate lies outside the interval of the real one
and over a quarter off.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.first_day_shops import CDNOW_FILE, SHOPS, FirstDayShop
from benchmarks.measuring import write_result
from benchmarks.naive_baselines import NONE, Baselines, Lines, naive_scores, row_losses
from customer360.lake.publishing.version import current_publication, open_version
from customer360.lake.slices import slice_key
from customer360.settings import REPOSITORY, Settings
from ml.arrays import Booleans, Floats, Integers
from ml.bootstrap import interval
from ml.measures import auc

WEEKS = 4
RESAMPLES = 500
SEED = 360
TOLERANCE = 0.25


@dataclass(frozen=True)
class Served:
    """What was served and what came: a row per customer and moment.

    ``models`` are probabilities (rows x classes) by contender, ``rankings`` scores of who buys.
    """

    customers: pd.Series
    truth: Integers
    models: dict[str, Floats]
    rankings: dict[str, Floats]

    @property
    def buys(self) -> Booleans:
        """Whether the label is a category."""
        return np.asarray(self.truth < self.models["served"].shape[1] - 1)


def main() -> None:
    """Run the shops that are named, or all; ends with exit code 1 where one does not hold."""
    source = Path(os.environ["FROM"]) if os.environ.get("FROM") else None
    figures: dict[str, dict[str, float]] = {}
    faults = []
    for name in sys.argv[1:] or list(SHOPS):
        if name == "cdnow" and (source is None or not (source / CDNOW_FILE).exists()):
            print(f"cdnow is left out: name the folder of {CDNOW_FILE} in FROM")
            continue
        served = first_weeks(SHOPS[name](source or Path()))
        figures[name] = compared(served)
        faults += [f"{name}: {fault}" for fault in found_faults(figures[name])]
        write_result("first_day", figures)
    if faults:
        sys.exit("\n".join(faults))


def first_weeks(shop: FirstDayShop) -> Served:
    """Start the shop on its first day, and serve it with the same models in the weeks after."""
    folder = Path(tempfile.mkdtemp(prefix="customer360-first-day-", dir=os.environ.get("BENCH_DIR")))
    try:
        first = folder / "0"
        shop.write(folder / "shop-0", first, shop.first_day)
        settings = start(folder / "shop-0", first)
        lines = Lines.of(shop.purchases, settings.shop.category_ids, timedelta(days=settings.shop.label_horizon_days))
        baselines = Baselines.fit(lines, shop.first_day)
        parts = [at_moment(settings, baselines)]
        for week in range(1, WEEKS):
            root = folder / str(week)
            shop.write(folder / f"shop-{week}", root, shop.first_day + timedelta(weeks=week))
            for kept in ("models", "raw/categories.json"):
                _copy(first / kept, root / kept)
            parts.append(at_moment(serve_again(folder / f"shop-{week}", root), baselines))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Served(
        pd.concat([part.customers for part in parts], ignore_index=True),
        np.concatenate([part.truth for part in parts]),
        {name: np.concatenate([part.models[name] for part in parts]) for name in parts[0].models},
        {name: np.concatenate([part.rankings[name] for part in parts]) for name in parts[0].rankings},
    )


def start(shop_folder: Path, root: Path) -> Settings:
    """``customer360 start``; what it says goes to the terminal."""
    options = ["--shop", str(shop_folder), "--data-dir", str(root)]
    subprocess.run([sys.executable, "-m", "orchestration.cli", "start", *options], check=True)  # noqa: S603  own module
    return Settings.load(shop_folder, root)


def serve_again(shop_folder: Path, root: Path) -> Settings:
    """Load what is known later and serve it with the models that are in the place: ``history_job`` alone."""
    home = root / "dagster"
    home.mkdir()
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", home)
    shop = Settings.load(shop_folder, root).shop
    tags = json.dumps({"dagster/partition": slice_key(shop.slices_start - shop.slice_width)})
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "orchestration.definitions", "-j", "history_job"]
    where = {**os.environ, "DATA_DIR": str(root), "SHOP": str(shop_folder), "DAGSTER_HOME": str(home)}
    done = subprocess.run([*command, "--tags", tags], env=where, capture_output=True, text=True, check=False)  # noqa: S603  own job
    if done.returncode:
        raise RuntimeError(f"history_job failed in {root}:\n{(done.stdout + done.stderr)[-2000:]}")
    return Settings.load(shop_folder, root)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy(source, target)


def at_moment(settings: Settings, baselines: Baselines) -> Served:
    """The published scores beside the baselines, of the customers that are published, and what came after."""
    publication = current_publication(settings.place)
    if publication is None or publication.as_of is None:
        raise RuntimeError(f"nothing is published in {settings.place.root}")
    as_of: datetime = publication.as_of.replace(tzinfo=None)
    with open_version(settings.place) as version:
        scores = version.connection.execute("select customer_id, category_id, probability from customer_scores").df()
    if scores.empty:
        raise RuntimeError(f"no affinity model serves in {settings.place.root}: there are no scores")
    wide = scores.pivot_table(index="customer_id", columns="category_id", values="probability")
    classes = list(baselines.lines.classes)
    unknown = set(wide.columns) ^ set(classes)
    if unknown:
        raise RuntimeError(f"the scores and the purchases differ in these categories: {', '.join(sorted(unknown))}")
    known = baselines.lines.known(as_of).of(wide.index)
    served = wide[classes].to_numpy()
    return Served(
        pd.Series(wide.index),
        baselines.lines.labels(as_of, wide.index),
        {"served": served, **baselines.probabilities(known)},
        {"served": 1 - served[:, classes.index(NONE)], **naive_scores(known)},
    )


def compared(served: Served) -> dict[str, float]:
    """The figures of a shop."""
    losses = {name: row_losses(probabilities, served.truth) for name, probabilities in served.models.items()}
    means = {name: float(values.mean()) for name, values in losses.items() if name != "served"}
    aucs = {name: auc(scores, served.buys) for name, scores in served.rankings.items()}
    best = min(means, key=lambda name: means[name])
    naive = max((name for name in aucs if name != "served"), key=lambda name: aucs[name])
    promised = served.rankings["served"]

    def measure(rows: Integers) -> dict[str, float]:
        """What has an interval, on these rows."""
        ranked = {name: auc(served.rankings[name][rows], served.buys[rows]) for name in ("served", naive)}
        return {
            "log_loss_gain": float((losses[best][rows] - losses["served"][rows]).mean()),
            "auc_gain": ranked["served"] - ranked[naive],
            "real_rate": float(served.buys[rows].mean()),
        }

    bounds = clustered(measure, served.customers)
    print(f"best baseline: {best}; best ranking: {naive}; " + ", ".join(f"{name} {loss:.4f}" for name, loss in means.items()))
    return {
        "rows": float(len(served.truth)),
        "customers": float(served.customers.nunique()),
        "affinity_log_loss": float(losses["served"].mean()),
        "best_baseline_log_loss": means[best],
        **{f"log_loss_{name.replace(',', '').replace(' ', '_')}": loss for name, loss in means.items()},
        "purchase_auc": aucs["served"],
        "naive_auc": aucs[naive],
        "promised_rate": float(promised.mean()),
        **bounds,
    }


def clustered(measure: Callable[[Integers], dict[str, float]], customers: pd.Series) -> dict[str, float]:
    """Each figure of ``measure`` with its 95% bounds, ``_low`` and ``_high``: customers are drawn with all their rows."""
    rows_of = list(customers.groupby(customers.to_numpy()).indices.values())
    generator = np.random.default_rng(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, len(rows_of), len(rows_of))
        drawn.append(measure(np.concatenate([rows_of[number] for number in chosen])))
    figures = {}
    for name, value in measure(np.arange(len(customers))).items():
        found = interval(value, np.array([resample[name] for resample in drawn]))
        figures |= {name: value, f"{name}_low": found.low, f"{name}_high": found.high}
    return figures


def found_faults(figures: Mapping[str, float]) -> list[str]:
    """What does not hold of a shop, as sentences."""
    faults = []
    if figures["log_loss_gain_high"] < 0:
        faults.append("what serves is worse than its best baseline beyond chance")
    if figures["auc_gain_high"] < 0:
        faults.append("the purchase probability ranks worse than recency or frequency beyond chance")
    is_outside = not figures["real_rate_low"] <= figures["promised_rate"] <= figures["real_rate_high"]
    if is_outside and abs(figures["promised_rate"] / figures["real_rate"] - 1) > TOLERANCE:
        faults.append(f"{figures['promised_rate']:.1%} were promised to buy and {figures['real_rate']:.1%} did")
    return faults


if __name__ == "__main__":
    main()
