"""A new shop's first day: what serves then, against the weeks after it, which were held back.

``FROM=<folder of CDNOW_master.txt> make bench NAME=first_day``, or ``python -m benchmarks.first_day journey generated`` for
some shops: ``cdnow``, ``journey`` (the package of the extra completejourney) and ``generated``. ``customer360 start`` brings
in what is known on the first day. At that moment and one, two and three weeks later, each in a place of its own with the
purchases until then and the models of the first day, the published scores are compared with what was bought in the label
horizon after it.

Of each shop: ``affinity_log_loss`` and ``best_baseline_log_loss`` (nats a row; see ``naive_baselines``), ``purchase_auc`` of
the purchase probability and ``naive_auc`` of the best ranking by recency or frequency, ``promised_rate`` (mean purchase
probability) and ``real_rate``. ``spend_``: mean absolute error (``mae``) and root mean squared error (``rmse``) of
``expected_spend`` in the currency, ``spend_promised`` and ``spend_real`` (means a customer) and ``spend_total_ratio``, their
quotient, beside ``spend_best_baseline_total_ratio``, the one nearest to 1.
``churn_``: log loss and AUC of ``churn_probability``, where the data held back last the churn horizon. The best baseline and
the best ranking are those that are best on these very rows. ``_low`` and ``_high`` are bounds of 95% by a bootstrap over
customers, since the weeks of a customer are alike. The table at the end is that of docs/models.md.

Ends with exit code 1 where what serves is worse than a baseline beyond chance, or where what was promised lies outside the
interval of what came and over a quarter off. Of spend the squared error decides, since the expected amount is what has the
lowest; the absolute error is lowest for the median, which is 0 where fewer than half of the customers buy.
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
from benchmarks.naive_baselines import (
    Baselines,
    ChurnBaselines,
    Known,
    Lines,
    SpendBaselines,
    is_lost,
    naive_scores,
    row_losses,
)
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
MEASURES = {"log_loss": "log loss", "mae": "mean absolute error", "rmse": "root mean squared error"}
AFFINITY_NAMES = {"log_loss": "affinity_log_loss", "auc": "purchase_auc"}
TABLE_HEAD = """| shop | model | measure | served | best baseline | gain (95%) | AUC | best rule | promised | came (95%) |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class Contenders:
    """The baselines of a shop, and the end of the data that were held back. ``churn_horizon`` is that of shop.yaml."""

    affinity: Baselines
    spend: SpendBaselines
    churn: ChurnBaselines
    churn_horizon: timedelta
    held_back_until: datetime


def main() -> None:
    """Run the shops that are named, or all; ends with exit code 1 where one does not hold."""
    source = Path(os.environ["FROM"]) if os.environ.get("FROM") else None
    figures: dict[str, dict[str, float]] = {}
    faults, table = [], []
    for name in sys.argv[1:] or list(SHOPS):
        if name == "cdnow" and (source is None or not (source / CDNOW_FILE).exists()):
            print(f"cdnow is left out: name the folder of {CDNOW_FILE} in FROM")
            continue
        figures[name] = {}
        for model, rows in first_weeks(SHOPS[name](source or Path())).items():
            compared = comparison(rows)
            figures[name] |= named(model, compared.figures)
            faults += [f"{name}: {model}: {fault}" for fault in found_faults(compared.figures)]
            table += table_rows(name, model, compared)
        write_result("first_day", figures)
    print("\n".join([TABLE_HEAD, *table]))
    if faults:
        sys.exit("\n".join(faults))


def first_weeks(shop: FirstDayShop) -> dict[str, pd.DataFrame]:
    """Start the shop on its first day, serve it with the same models in the weeks after: rows of ``at_moment`` by model."""
    folder = Path(tempfile.mkdtemp(prefix="customer360-first-day-", dir=os.environ.get("BENCH_DIR")))
    try:
        first = folder / "0"
        shop.write(folder / "shop-0", first, shop.first_day)
        settings = start(folder / "shop-0", first)
        contenders = contenders_of(shop, settings)
        parts = [at_moment(settings, contenders)]
        for week in range(1, WEEKS):
            root = folder / str(week)
            shop.write(folder / f"shop-{week}", root, shop.first_day + timedelta(weeks=week))
            for kept in ("models", "raw/categories.json"):
                _copy(first / kept, root / kept)
            parts.append(at_moment(serve_again(folder / f"shop-{week}", root), contenders))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    models = {model: [part[model] for part in parts if model in part] for model in parts[0]}
    return {model: pd.concat(frames) for model, frames in models.items()}


def contenders_of(shop: FirstDayShop, settings: Settings) -> Contenders:
    """Fit the baselines on what is known on the first day."""
    lines = Lines.of(shop.purchases, settings.shop.category_ids, timedelta(days=settings.shop.label_horizon_days))
    churn_horizon = timedelta(days=settings.shop.churn_horizon_days)
    return Contenders(
        Baselines.fit(lines, shop.first_day),
        SpendBaselines.fit(lines, shop.first_day),
        ChurnBaselines.fit(lines, shop.first_day, churn_horizon),
        churn_horizon,
        shop.purchases["purchased_at"].max().normalize() + timedelta(days=1),
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


def at_moment(settings: Settings, contenders: Contenders) -> dict[str, pd.DataFrame]:
    """By model that serves, what was served beside the baselines and what came: a row per published customer, its index.

    Columns are pairs: a measure and a contender ("served" or a baseline), with the loss of the row; "ranking" and a contender,
    with its score of who comes; "amount" and a baseline, with its amount; and ("value", "promised") and
    ("value", "came"), shares or amounts.
    """
    publication = current_publication(settings.place)
    if publication is None or publication.as_of is None:
        raise RuntimeError(f"nothing is published in {settings.place.root}")
    as_of: datetime = publication.as_of.replace(tzinfo=None)
    with open_version(settings.place) as version:
        scores = version.connection.execute("select customer_id, category_id, probability from customer_scores").df()
        values = version.connection.execute("select * from customer_value").df().set_index("customer_id")
    if scores.empty:
        raise RuntimeError(f"no affinity model serves in {settings.place.root}: there are no scores")
    lines = contenders.affinity.lines
    wide = scores.pivot_table(index="customer_id", columns="category_id", values="probability")
    unknown = set(wide.columns) ^ set(lines.classes)
    if unknown:
        raise RuntimeError(f"the scores and the purchases differ in these categories: {', '.join(sorted(unknown))}")
    known = lines.known(as_of).of(wide.index)
    frames = {
        "affinity": affinity_rows(wide[list(lines.classes)].to_numpy(), lines.labels(as_of, wide.index), contenders, known)
    }
    values = values.reindex(wide.index)
    if values["expected_spend"].notna().all():
        came = lines.spend(as_of, as_of + lines.horizon, wide.index)
        frames["spend"] = spend_rows(
            values["expected_spend"].to_numpy(), came, contenders.spend.amounts(as_of, known), wide.index
        )
    else:
        print(f"{settings.shop.name}, {as_of:%Y-%m-%d}: spend is not compared: no spend model serves")
    needed = as_of + contenders.churn_horizon
    if needed > contenders.held_back_until:
        reason = f"{needed:%Y-%m-%d} is after the data that were held back, which end {contenders.held_back_until:%Y-%m-%d}"
        print(f"{settings.shop.name}, {as_of:%Y-%m-%d}: churn is not compared: {reason}")
    elif values["churn_probability"].notna().all():
        lost = is_lost(lines, as_of, contenders.churn_horizon, wide.index)
        frames["churn"] = churn_rows(values["churn_probability"].to_numpy(), lost, contenders.churn.probabilities(known), known)
    else:
        print(f"{settings.shop.name}, {as_of:%Y-%m-%d}: churn is not compared: no churn model serves")
    return frames


def affinity_rows(served: Floats, truth: Integers, contenders: Contenders, known: Known) -> pd.DataFrame:
    """Probabilities (rows x classes, "none" last) beside those of the baselines."""
    models = {"served": served, **contenders.affinity.probabilities(known)}
    promised = 1 - served[:, -1]
    columns = {
        **{("log_loss", name): row_losses(probabilities, truth) for name, probabilities in models.items()},
        **{("ranking", name): scores for name, scores in {"served": promised, **naive_scores(known)}.items()},
        ("value", "promised"): promised,
        ("value", "came"): truth < served.shape[1] - 1,
    }
    return pd.DataFrame(columns, index=known.counts.index)


def spend_rows(served: Floats, came: Floats, baselines: Mapping[str, Floats], customers: pd.Index) -> pd.DataFrame:
    """Expected amounts beside those of the baselines. Of squared errors the level of many rows is the root of their mean."""
    amounts = {"served": served, **baselines}
    columns = {
        **{("mae", name): np.abs(amount - came) for name, amount in amounts.items()},
        **{("rmse", name): (amount - came) ** 2 for name, amount in amounts.items()},
        **{("amount", name): amount for name, amount in baselines.items()},
        ("value", "promised"): served,
        ("value", "came"): came,
    }
    return pd.DataFrame(columns, index=customers)


def churn_rows(served: Floats, lost: Booleans, baselines: Mapping[str, Floats], known: Known) -> pd.DataFrame:
    """P(no order within the churn horizon) beside that of the baselines."""
    models = {"served": served, **baselines}
    rankings = {**{f"bands of {name}": scores for name, scores in baselines.items() if name != "prior"}, "served": served}
    rankings |= {name: -scores for name, scores in naive_scores(known).items()}
    columns = {
        **{("log_loss", name): row_losses(np.column_stack([1 - p, p]), lost.astype(np.int64)) for name, p in models.items()},
        **{("ranking", name): scores for name, scores in rankings.items()},
        ("value", "promised"): served,
        ("value", "came"): lost,
    }
    return pd.DataFrame(columns, index=known.counts.index)


@dataclass(frozen=True)
class Comparison:
    """``figures`` of a served model, and the name of the best baseline by measure, "ranking" among them."""

    figures: dict[str, float]
    best: dict[str, str]


def comparison(rows: pd.DataFrame) -> Comparison:
    """What serves against the baselines that are best on these rows of ``at_moment``."""
    measures = [name for name in MEASURES if name in rows]
    levels = {name: {column: _level(name, rows[name][column].to_numpy()) for column in rows[name]} for name in measures}
    came = rows["value"]["came"].to_numpy()
    promised = rows["value"]["promised"].to_numpy(np.float64)
    best = {
        name: min((column for column in found if column != "served"), key=found.__getitem__) for name, found in levels.items()
    }
    aucs = {}
    if "ranking" in rows:
        aucs = {column: auc(rows["ranking"][column].to_numpy(), came) for column in rows["ranking"]}
        best["ranking"] = max((column for column in aucs if column != "served"), key=aucs.__getitem__)
    pairs = {name: [rows[name][column].to_numpy() for column in (best[name], "served")] for name in best}

    def measure(chosen: Integers) -> dict[str, float]:
        """What has an interval, on these rows."""
        found = {
            f"{name}_gain": _level(name, pairs[name][0][chosen]) - _level(name, pairs[name][1][chosen]) for name in measures
        }
        if "ranking" in pairs:
            naive, served = (auc(scores[chosen], came[chosen]) for scores in pairs["ranking"])
            found["auc_gain"] = served - naive
        else:
            found["total_ratio"] = float(promised[chosen].sum() / came[chosen].sum())
        return found | {"real": float(came[chosen].mean())}

    figures: dict[str, float] = {"rows": float(len(rows)), "customers": float(rows.index.nunique())}
    for name in measures:
        figures |= {name: levels[name]["served"], f"best_baseline_{name}": levels[name][best[name]]}
        figures |= {f"{name}_{_slug(column)}": level for column, level in levels[name].items() if column != "served"}
    if "amount" in rows:
        ratios = {column: float(rows["amount"][column].sum() / came.sum()) for column in rows["amount"]}
        figures["best_baseline_total_ratio"] = min(ratios.values(), key=lambda ratio: abs(ratio - 1))
        figures |= {f"total_ratio_{_slug(column)}": ratio for column, ratio in ratios.items()}
    if aucs:
        figures |= {"auc": aucs["served"], "naive_auc": aucs[best["ranking"]]}
    return Comparison({**figures, "promised": float(promised.mean()), **clustered(measure, rows.index)}, best)


def _level(measure: str, losses: Floats) -> float:
    mean = float(losses.mean())
    return mean**0.5 if measure == "rmse" else mean


def _slug(name: str) -> str:
    return name.replace(",", "").replace("'", "").replace(" ", "_")


def named(model: str, figures: Mapping[str, float]) -> dict[str, float]:
    """The figures under the names of the results: those of affinity without the model's, other models' with it."""
    if model != "spend":
        figures = {name.replace("promised", "promised_rate").replace("real", "real_rate"): figures[name] for name in figures}
    if model == "affinity":
        return {AFFINITY_NAMES.get(name, name): value for name, value in figures.items()}
    return {f"{model}_{name}": value for name, value in figures.items()}


def table_rows(shop: str, model: str, compared: Comparison) -> list[str]:
    """A row of the Markdown table for each measure of loss."""
    figures, best = compared.figures, compared.best
    write = _amount if "rmse" in best else _share
    ranked = ["-", "-"]
    if "ranking" in best:
        ranked = [_loss(figures["auc"]), f"{_loss(figures['naive_auc'])} {best['ranking']}"]
    came = f"{write(figures['real'])} ({write(figures['real_low'])} to {write(figures['real_high'])})"
    lines = []
    for measure in (name for name in best if name != "ranking"):
        gain, low, high = (_loss(figures[f"{measure}_gain{bound}"]) for bound in ("", "_low", "_high"))
        against = f"{_loss(figures[f'best_baseline_{measure}'])} {best[measure]}"
        cells = [shop, model, MEASURES[measure], _loss(figures[measure]), against, f"{gain} ({low} to {high})"]
        lines.append(f"| {' | '.join([*cells, *ranked, write(figures['promised']), came])} |")
    return lines


def _loss(value: float) -> str:
    """Four decimals below 1, two above, without a leading zero."""
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _amount(value: float) -> str:
    return f"{value:.2f}"


def clustered(measure: Callable[[Integers], dict[str, float]], customers: pd.Index) -> dict[str, float]:
    """Each figure of ``measure`` with its 95% bounds, ``_low`` and ``_high``: customers are drawn with all their rows."""
    rows_of = list(pd.Series(customers).groupby(customers).indices.values())
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
    """What does not hold of a model's figures, as sentences."""
    faults = []
    if any(figures.get(f"{measure}_gain_high", 0) < 0 for measure in ("log_loss", "rmse")):
        faults.append("what serves is worse than its best baseline beyond chance")
    if figures.get("auc_gain_high", 0) < 0:
        faults.append("its probability ranks worse than recency or frequency beyond chance")
    is_outside = not figures["real_low"] <= figures["promised"] <= figures["real_high"]
    if is_outside and abs(figures["promised"] / figures["real"] - 1) > TOLERANCE:
        write = _amount if "total_ratio" in figures else _share
        faults.append(f"{write(figures['promised'])} a customer was promised, {write(figures['real'])} came")
    return faults


if __name__ == "__main__":
    main()
