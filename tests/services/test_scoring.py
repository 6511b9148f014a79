"""Scores of features that a client sends are those of the batch, row for row, with the same reasons."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from customer360.features import feature_list
from customer360.services.api.keys import SCOPES, add_key, keys_file
from customer360.services.api.problems import Problem
from customer360.services.api.scoring import Scorer
from customer360.settings import REPOSITORY, Place, Settings
from ml.datasets.training_sets import build_training_set
from ml.serving.reasons import reasons
from ml.serving.scoring import score
from ml.versions.model_store import ModelStore
from ml.versions.shop_models import servable_for_shop
from tests.services.api_server import api_server, write_shop
from tests.services.served_shop import SHELVES, ServedShop

sys.path.insert(0, str(REPOSITORY / "tests" / "ml"))
from published_frames import feature_frame, small_shop, training_frame
from trained_models import NOW, Trained

pytestmark = pytest.mark.full  # trains a model, and starts a server


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop whose champion is v1."""
    folder = tmp_path_factory.mktemp("scored")
    made = Settings(shop=small_shop(serving=True), place=Place(root=folder / "data"), shop_folder=folder)
    write_shop(made)
    trained = Trained.of(build_training_set(training_frame(made.shop, customers=500, cutoffs=3), made.shop))
    store = ModelStore(made.place.models)
    trained.save(store, "v1")
    store.promote("affinity", "v1", "the first", NOW)
    return made


@pytest.fixture(scope="module")
def customers(settings: Settings) -> pd.DataFrame:
    return feature_frame(settings.shop, customers=40, seed=8).assign(as_of=pd.Timestamp("2026-05-01 10:00"))


def feature_names(settings: Settings) -> list[str]:
    return [feature.name for feature in feature_list(settings.shop)]


def features_of(row: pd.Series[Any], names: list[str]) -> dict[str, Any]:
    """The features of a customer as a JSON client sends them."""
    loaded: dict[str, Any] = json.loads(row[names].to_json())
    return loaded


def test_scores_and_reasons_are_those_of_the_batch(settings: Settings, customers: pd.DataFrame) -> None:
    scorer = Scorer(settings)
    loaded = servable_for_shop(settings, "affinity").loaded
    assert loaded is not None
    titles = {"fitness": "Sports & fitness"}
    batch = score(customers, loaded).to_pandas()
    texts = reasons(customers, loaded, settings.shop, titles).set_index("customer_id")
    names = feature_names(settings)
    for _, row in customers.iterrows():
        answer = scorer.score(features_of(row, names), titles)
        own = batch[batch["customer_id"] == row["customer_id"]].set_index("category_id")
        assert {entry.category_id: entry.probability for entry in answer.affinities} == own["probability"].to_dict()
        assert answer.label == own.index[own["is_label"]][0]
        why = texts.loc[row["customer_id"]]
        assert answer.top_category_id == why["category_id"]
        assert answer.reasons == [text for text in why[["reason_1", "reason_2", "reason_3"]] if isinstance(text, str)]
        assert answer.model_version == "v1"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"views_3d": "many"}, "1 no number: views_3d"),
        ({"region": 7}, "1 no text: region"),
        ({"views_3d": 10**400}, "1 too large: views_3d"),
        ({"shoe_size": 43}, "1 unknown: shoe_size"),
        ({"views_3d": ...}, "1 missing: views_3d"),
    ],
)
def test_features_that_are_not_the_champions_are_named(
    settings: Settings, customers: pd.DataFrame, change: dict[str, Any], detail: str
) -> None:
    names = feature_names(settings)
    features = {**features_of(customers.iloc[0], names), **change}
    with pytest.raises(Problem) as refused:
        Scorer(settings).score({name: value for name, value in features.items() if value is not ...}, {})
    assert (refused.value.document.status, refused.value.document.detail) == (422, detail)


def test_another_champion_answers_without_a_restart(settings: Settings, customers: pd.DataFrame, tmp_path: Path) -> None:
    store = ModelStore(settings.place.models)
    names = feature_names(settings)
    served = ServedShop(settings.shop_folder)
    served.customers = {"C1": {}}
    key = add_key(keys_file(settings.place), "tests", ["score"], datetime.now(UTC))
    body = {"features": features_of(customers.iloc[0], names)}
    with api_server(settings, tmp_path / "log") as client:

        def ask() -> Any:
            return client.post("/v1/score", json=body, headers={"Authorization": f"Bearer {key}"})

        assert ask().json()["type"] == "urn:customer360:problem:no-store"
        served.publish_and_refresh()
        first = ask().json()
        trained = Trained.of(build_training_set(training_frame(settings.shop, customers=400, cutoffs=3), settings.shop))
        trained.save(store, "v2")
        store.promote("affinity", "v2", "a better one", NOW)
        second = ask().json()
        store.roll_back("affinity", "v1", "it was no better", NOW, "tests")
        assert (first["model_version"], second["model_version"]) == ("v1", "v2")
        assert ask().json() == first


@pytest.mark.parametrize("examples", [3, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_schemathesis_finds_no_answer_outside_the_document(settings: Settings, tmp_path: Path, examples: int) -> None:
    """Requests by the document's schemas and against them; each answer has a status, a type and a body that it names."""
    served = ServedShop(
        settings.shop_folder, customers={"C1": {}}, visitors={"V1": "C1"}, consented={"C1"}, tables=dict(SHELVES)
    )
    served.publish_and_refresh()
    key = add_key(keys_file(settings.place), "schemathesis", SCOPES["server"], datetime.now(UTC))
    with api_server(settings, tmp_path / "log") as client:
        tool = Path(sys.executable).with_name("schemathesis")
        command = [tool, "run", str(client.base_url.join("/openapi.json")), "--header", f"Authorization: Bearer {key}"]
        options = ["--max-examples", str(examples), "--seed", "1", "--no-color"]
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "15 selected / 15 total" in done.stdout
