"""A grocery chain's 2017 through the product: trained on January to September, judged on every week of October to December.

Complete Journey 2.0 is loaded by its adapter and ``history_job``; features and labels at weekly cut-offs come from the training
model of the dbt project, eight cut-offs a build. A row is a household at a cut-off, its label the category of the next 7 days.
The interval of the gain over the best baseline is by bootstrap over households, since one household's weeks are alike.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cutoffs import features_at
from benchmarks.daemon_run import daemon_runs
from benchmarks.measuring import bench_place, write_result
from customer360.lake.slices import slice_key
from customer360.settings import REPOSITORY, Settings
from ml.bootstrap import clustered_mean_interval
from ml.datasets.training_sets import TrainingSet, build_training_set
from ml.fitting.training import train, train_earlier
from ml.judging.evaluation import evaluate
from ml.measures import row_losses

# Sundays at midnight of the shops, as the warehouse holds times: UTC without a zone.
FIRST, JUDGED_FROM, LAST = (
    pd.Timestamp(day).to_pydatetime() for day in ("2017-03-05 05:00", "2017-10-01 05:00", "2017-12-17 05:00")
)
SEED = 360


def main() -> None:
    """Load, build, train and judge."""
    with bench_place("journey", "completejourney") as root:
        settings = Settings.load(REPOSITORY / "shops" / "completejourney", root)
        importlib.import_module("customer360.adapters.completejourney").write_landing(settings.shop, settings.place)
        with daemon_runs() as runs:
            runs.run("history_job", slice_key(settings.shop.slices_start - settings.shop.slice_width))
        settings = Settings.load(settings.shop_folder, root)  # its categories are known now
        write_result("journey", judged(settings, features(settings, root.with_name("dbt"))))


def features(settings: Settings, target: Path) -> pd.DataFrame:
    """``training_features`` at every week's cut-off, the newest with number 1."""
    weeks = [LAST - timedelta(weeks=week) for week in range((LAST - FIRST).days // 7 + 1)]
    frame = features_at(settings, weeks, target)
    return frame.assign(cutoff_no=(LAST - frame["as_of"]).dt.days // 7 + 1)


def judged(settings: Settings, frame: pd.DataFrame) -> dict[str, float]:
    """Train on what was known by October, and judge each week from then on."""
    horizon = timedelta(days=settings.shop.label_horizon_days)
    is_judged = frame["as_of"] >= JUDGED_FROM
    known = frame[is_judged | (frame["as_of"] + horizon <= JUDGED_FROM)]
    training_set = with_all_judged(settings, known)
    threads = os.cpu_count() or 1
    trained = train(training_set, seed=SEED, threads=threads)
    found = evaluate(training_set, trained, earlier=train_earlier(training_set, trained, seed=SEED, threads=threads))
    best, loss = found.best_baseline
    truth = np.array([training_set.categories.index(label) for label in training_set.validation_labels.astype(str)])
    rows, contenders = training_set.validation, trained.contenders
    served_losses, baseline_losses = (row_losses(contenders[name].probabilities(rows), truth) for name in (found.serves, best))
    households = known.loc[known["as_of"] >= JUDGED_FROM].sort_values(["cutoff_no", "customer_id"], ascending=[False, True])
    gain = clustered_mean_interval(baseline_losses - served_losses, households["customer_id"].to_numpy(dtype=object), SEED)
    scores = found.scores.set_index("contender")
    return {
        "households": float(households["customer_id"].nunique()),
        "rows_train": float(found.rows_train),
        "rows_judged": float(found.rows_validation),
        "log_loss": found.log_loss(found.serves),
        "best_baseline_log_loss": loss,
        **{f"log_loss_{name.replace(' ', '_')}": float(value) for name, value in scores["log_loss"].items()},
        "gain": gain.estimate,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "calibration_error": float(scores.loc[found.serves, "calibration_error"]),
        "macro_f1": float(scores.loc[found.serves, "macro_f1"]),
    }


def with_all_judged(settings: Settings, known: pd.DataFrame) -> TrainingSet:
    """The training set of the last week before October, with every later week to judge on instead of one."""
    first = known.loc[known["as_of"] >= JUDGED_FROM, "cutoff_no"].max()
    trained = build_training_set(renumbered(known[known["cutoff_no"] >= first], int(first)), settings.shop)
    later = [
        build_training_set(renumbered(known[known["cutoff_no"] >= number], int(number)), settings.shop)
        for number in range(int(first), 0, -1)
    ]
    return replace(
        trained,
        validation=pd.concat([week.validation for week in later], ignore_index=True),
        validation_labels=np.concatenate([week.validation_labels for week in later]),
        validation_groups=pd.concat([week.validation_groups for week in later], ignore_index=True),
        validation_customers=np.concatenate([week.validation_customers for week in later]),
    )


def renumbered(frame: pd.DataFrame, newest: int) -> pd.DataFrame:
    """The same rows with ``newest`` as number 1."""
    return frame.assign(cutoff_no=frame["cutoff_no"] - newest + 1)


if __name__ == "__main__":
    main()
