"""A synthetic shop with a loaded history, and the product's functions for its features, trainings and published tables.

The shop is the demo's with RFM windows of 60 days: a history of 78 days fills them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import duckdb
import numpy as np
import pandas as pd
import yaml

from benchmarks.cutoffs import features_at
from customer360.lake.engine import literal
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.publications import SLICE_LOG
from customer360.lake.raw.history import write_history
from customer360.lake.reference.reference import load_reference
from customer360.lake.warehouse.cutoffs import cutoff_weights, weekly_cutoffs
from customer360.lake.warehouse.slice_log import mark_transformed, plan_transform
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Simulation, simulate_history
from ml.arrays import Floats
from ml.datasets import training_sets
from ml.datasets.targets import AFFINITY
from ml.fitting import training
from ml.frames import feature_matrix
from ml.judging import evaluation, promotion
from ml.measures import row_losses
from ml.serving.scoring import score
from ml.versions.model_store import LoadedModel, ModelStore, version_name
from orchestration.runtime.dbt_run import invoke

SEED = 360
NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RFM_DAYS, MONITORED_DAYS = 60, 240
TABLES = ("monitoring_activity", "monitoring_customers", "product_activity", "traffic_sources")


@dataclass
class SimulatedShop:
    """A loaded history of ``days`` days that ends at ``end`` (plain UTC)."""

    settings: Settings
    days: int

    @property
    def end(self) -> datetime:
        """Where the history ends."""
        return self.settings.shop.slices_start.replace(tzinfo=None)

    def features(self, moments: Sequence[datetime]) -> pd.DataFrame:
        """Features and labels as of each moment, labels whenever known."""
        return features_at(self.settings, moments, self.settings.place.dbt_target / "features")

    def training_frame(self, at: datetime, changes: Sequence[datetime] = ()) -> pd.DataFrame:
        """What a training at that moment is made from."""
        cutoffs = weekly_cutoffs(self.settings.shop, self.end - self.days * DAY, at)
        frame = self.features(cutoffs)
        number = {cutoff: no for no, cutoff in enumerate(cutoffs, 1)}
        weight = dict(zip(cutoffs, cutoff_weights(cutoffs, changes), strict=True))
        return frame.assign(cutoff_no=frame["as_of"].map(number), weight=frame["as_of"].map(weight))

    def train(self, frame: pd.DataFrame, champion: LoadedModel | None = None) -> tuple[LoadedModel, promotion.Decision]:
        """A version from ``training_frame``, judged against the champion by the gate."""
        training_set = training_sets.build_training_set(frame, self.settings.shop)
        trained = training.train(training_set, seed=SEED, threads=1)
        judged = evaluation.evaluate(training_set, trained, champion.model if champion else None)
        store, version = ModelStore(self.settings.place.models), version_name(NOW, training_set.fingerprint)
        store.save(AFFINITY, version, trained=trained, training_set=training_set, evaluation=judged, created_at=NOW)
        model = trained.model
        return store.load(AFFINITY, version, model.features, model.categories), promotion.decide(judged)

    @contextmanager
    def published(self, scores: pd.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
        """What a drift report reads, as of the end of the history, with these kept scores."""
        with duckdb.connect() as connection:
            connection.execute(f"attach {literal(str(self.settings.place.warehouse))} as warehouse (read_only); use warehouse")
            for name in TABLES:
                connection.execute(f"create temp view {name} as from marts.{name}")
            connection.execute(f"create temp table slice_log as {SLICE_LOG}")
            connection.register("kept", scores)
            connection.execute("create temp table customer_scores_daily as from kept")
            yield connection


@contextmanager
def simulated_shop(simulation: Simulation) -> Iterator[SimulatedShop]:
    """The simulated shop, loaded in a folder of this process; dbt's parsed project stays there for the next call."""
    folder = Path(os.environ.get("BENCH_DIR", tempfile.gettempdir())) / f"customer360-drift-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    shop = yaml.safe_load((REPOSITORY / "shops" / "synthetic" / "shop.yaml").read_text(encoding="utf-8"))
    shop["rfm"]["window_days"] = RFM_DAYS
    (folder / "shop").mkdir(exist_ok=True)
    (folder / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    settings = Settings.load(folder / "shop", folder)
    try:
        with patch("customer360.features.MONITORED_DAYS", MONITORED_DAYS):
            _load(settings, simulation)
            yield SimulatedShop(settings, simulation.days)
    finally:
        for path in folder.iterdir():
            if path.name not in {"dbt", "shop"}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _load(settings: Settings, simulation: Simulation) -> None:
    simulate_history(simulation, settings.shop, settings.place)
    for table in reference_tables(settings.shop):
        load_reference(settings, table, NOW)
    write_history(settings)
    with open_warehouse(settings.place) as connection:
        plan_transform(connection, settings, NOW)
    models = [*(f"+{name}" for name in TABLES), "+training_features"]
    selection = ["build", "--quiet", "--select", *models, "--exclude", "training_features"]
    types = ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
    done = invoke(settings, [*selection, *types], settings.place.dbt_target / "load", _ignore_result)
    if not done.success:
        raise RuntimeError(f"dbt failed; its log is in {settings.place.dbt_target}")
    with open_warehouse(settings.place) as connection:
        mark_transformed(connection, NOW)


def _ignore_result(_: object) -> None:
    """Ignore dbt's results."""


def kept_scores(features: pd.DataFrame, loaded: LoadedModel) -> pd.DataFrame:
    """``customer_scores_daily`` of these moments."""
    names = ["customer_id", "as_of", *(feature.name for feature in loaded.model.features)]
    return score(features[names], loaded).to_pandas()


def losses(loaded: LoadedModel, rows: pd.DataFrame) -> Floats:
    """Log loss of each row with its label, in nats."""
    matrix = feature_matrix(rows, loaded.model.features, "training_features")
    truth = np.array([loaded.model.categories.index(str(label)) for label in rows["label"]])
    return row_losses(loaded.model.probabilities(matrix), truth)
