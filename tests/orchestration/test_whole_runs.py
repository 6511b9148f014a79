"""Whole runs through Dagster: history, training, a slice, the same slice again, a range, a broken reference file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from customer360.features import feature_list
from customer360.lake.publishing.version import current_publication
from customer360.settings import OUTCOMES
from tests.orchestration.place import SIMULATION, Run, Tables, TinyShop
from tests.orchestration.slices import land_all

LAST = 4


@dataclass
class Story:
    """What was published after each run, in order, and the runs."""

    shop: TinyShop
    tables: dict[str, Tables] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    trained: list[tuple[Any, ...]] = field(default_factory=list)

    def after(self, name: str, run: Run) -> None:
        self.runs[name] = run.succeed()
        self.tables[name] = self.shop.tables()

    def events(self, name: str, kind: dg.DagsterEventType) -> list[Any]:
        """Dagster's events of a run of one kind."""
        with self.shop.instance() as instance:
            return [entry.dagster_event for entry in instance.all_logs(self.runs[name].run_id, of_type=kind)]


@pytest.fixture(scope="module")
def story(shop: TinyShop) -> Story:
    shop.restore("ready")
    story = Story(shop)
    story.tables["history"] = shop.tables()
    story.trained = shop.published("select model_version, status, reason from model_versions where model_name = 'affinity'")
    story.report = land_all(shop, LAST + 1)[0]["total"]
    story.after("slice", shop.run("slice_job", shop.key(0)))
    story.after("again", shop.run("slice_job", shop.key(0)))
    story.after("range", shop.run_range(1, LAST))
    return story


def test_a_history_fills_every_table(story: Story) -> None:
    tables = story.tables["history"]
    assert len(tables["customer_features"]) == SIMULATION.customers
    # There is no model yet, and so there are no scores whose outcome is known.
    assert [name for name, rows in tables.items() if not rows] == ["customer_scores", "realised_labels"]


def test_what_a_training_decided_is_published_at_once_with_its_card_and_plots(story: Story) -> None:
    ((version, status, reason),) = story.trained
    assert status in {"promoted", "rejected"}
    folder = story.shop.settings.place.reports / "models" / "affinity" / version
    assert reason in (folder / "card.md").read_text(encoding="utf-8")
    assert {path.name for path in folder.glob("*.png")} == {"calibration.png", "lift.png", "confusion.png", "importance.png"}


def test_models_without_enough_to_learn_from_report_what_is_missing_and_fail_no_run(story: Story) -> None:
    with story.shop.instance() as instance:
        reported = {}
        for name in ("spend", "churn"):
            event = instance.get_latest_materialization_event(dg.AssetKey(["predictions", f"{name}_model"]))
            assert event is not None
            assert event.asset_materialization is not None
            reported[name] = {key: str(value.value) for key, value in event.asset_materialization.metadata.items()}
            run = instance.get_run_by_id(event.run_id)
            assert run is not None
            assert run.status is dg.DagsterRunStatus.SUCCESS
            logs = instance.all_logs(event.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
            checks = [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]
            own = [check for check in checks if check.asset_key == dg.AssetKey(["predictions", f"{name}_model"])]
            assert len(own) == 2
            assert {(check.passed, check.severity) for check in own} == {(False, dg.AssetCheckSeverity.WARN)}
    assert {metadata["decision"] for metadata in reported.values()} == {"not trained"}
    assert "at least 200 and 50 are needed" in reported["spend"]["missing"]
    # 7 days after the labels' 3: the latest cut-off's is unknown, the second judges, a third would have to train.
    assert "two cut-offs that are 7 days (churn_horizon_days) apart" in reported["churn"]["missing"]
    assert reported["churn"]["cutoffs"] == "2, of which 1 are 7 days and 2 more ago; 3 are needed"
    assert reported["churn"]["to_do"] == "raise training.cutoffs in shop.yaml from 2 to 3"
    ((first,),) = story.shop.published("select min(slice) from slice_log")
    # 5 days of history, the labels' 3 and 2 more, and three cut-offs a week apart.
    assert reported["churn"]["enough_history_from"] == f"{first + timedelta(days=5 + 3 + 2 + 14):%Y-%m-%d %H:%M} UTC"


def test_everyone_has_a_value_before_and_after_the_first_champion(story: Story) -> None:
    columns = "select {} from customer_value order by customer_id"
    before, after = story.tables["history"]["customer_value"], story.tables["range"]["customer_value"]
    assert len(before) == SIMULATION.customers
    assert {row[1:7] for row in before} == {(None,) * 6}
    assert {(row[2], row[3], row[5], row[6]) for row in after} == {(None,) * 4}
    scores = dict(story.shop.published("select customer_id, 1 - probability from customer_scores where category_id = 'none'"))
    assert dict(story.shop.published(columns.format("customer_id, purchase_probability"))) == scores
    assert len(after) == len(scores) == len(story.tables["range"]["customer_features"])
    assert story.shop.published(
        "select count(*) from customer_profiles inner join customer_value using (customer_id) "
        "where customer_profiles.purchase_probability = customer_value.purchase_probability"
    ) == [(len(scores),)]


def test_a_slice_changes_what_is_published(story: Story) -> None:
    before, after = story.tables["history"], story.tables["slice"]
    changed = {name for name in after if after[name] != before.get(name)}
    assert {"customer_features", "customer_scores", "customer_value", "customer_profiles", "traffic", "slice_log"} <= changed
    assert {row[1] for row in after["customer_features"]} == {(story.shop.slice(1)).replace(tzinfo=None)}


def test_every_line_that_landed_is_accounted_for(story: Story) -> None:
    events = story.events("slice", dg.DagsterEventType.ASSET_MATERIALIZATION)
    (raw,) = [event for event in events if event.asset_key == dg.AssetKey(["raw", "clicks"])]
    counts = {name: value.value for name, value in raw.materialization.metadata.items()}
    assert raw.partition == story.shop.key(0)
    assert counts["lines"] == story.report["lines"]
    assert counts["quarantined"] == story.report["poison"] > 0
    assert story.report["duplicates_inside"] > 0
    assert story.report["late"] > 0
    assert counts["good"] + counts["quarantined"] + counts["duplicates"] == counts["lines"]


def test_checks_of_a_slice_pass(story: Story) -> None:
    # Few lines and three of them broken; no usual volume yet; and after the first slice the others are not published.
    # The tiny shop has too little history for models of spend and churn.
    warnings = {"few_lines_quarantined", "last_slice_has_usual_volume", "spend_champion_is_served", "churn_champion_is_served"}
    warnings |= {"beginnings_beat_popularity"}
    excused = {"slice": {*warnings, "last_slice_is_fresh"}, "range": warnings}
    for name, checks in excused.items():
        events = story.events(name, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        evaluations = [event.asset_check_evaluation_data for event in events]
        assert len(evaluations) >= 11
        assert {evaluation.check_name for evaluation in evaluations if not evaluation.passed} <= checks


def test_a_rerun_leaves_equal_tables(story: Story) -> None:
    assert story.tables["again"] == story.tables["slice"]


def test_a_range_is_one_run_that_records_every_slice(story: Story) -> None:
    events = story.events("range", dg.DagsterEventType.ASSET_MATERIALIZATION)
    recorded = [event.partition for event in events if event.asset_key == dg.AssetKey(["raw", "clicks"])]
    assert recorded == [story.shop.key(number) for number in range(1, LAST + 1)]
    starts = [row[0] for row in story.tables["range"]["slice_log"] if row[1] == "clicks"]
    assert starts == [story.shop.slice(number).replace(tzinfo=None) for number in range(LAST + 1)]


def test_a_broken_reference_file_fails_its_asset_and_the_last_good_version_stays(story: Story) -> None:
    folder = story.shop.data / "landing" / "reference" / "products"
    version = (story.shop.data / "raw" / "products" / "history.parquet").read_bytes()
    published = current_publication(story.shop.settings.place)
    (file,) = folder.glob("*.csv")
    good = file.read_text(encoding="utf-8")
    header, *rows = good.splitlines()
    without_ids = ["," + row.partition(",")[2] for row in rows]
    file.write_text("\n".join([header, *without_ids]) + "\n", encoding="utf-8")
    try:
        run = story.shop.run("daily_job", assets=[["raw", "products"]])
        assert run.wait() == 1
        story.runs["broken"] = run
        (failure,) = story.events("broken", dg.DagsterEventType.STEP_FAILURE)
        message = failure.event_specific_data.error_display_string
        assert f"{len(rows)} of {len(rows)} rows" in message
        assert "product_id" in message
        assert "the last good version stays in force" in message
        assert (story.shop.data / "raw" / "products" / "history.parquet").read_bytes() == version
        assert current_publication(story.shop.settings.place) == published
    finally:
        file.write_text(good, encoding="utf-8")


def test_the_tables_have_the_columns_that_the_feature_list_declares(story: Story) -> None:
    shop = story.shop
    names = [feature.name for feature in feature_list(shop.settings.shop)]
    served = [name for (name, *_) in shop.published("describe customer_features")]
    trained = [name for (name, *_) in shop.published("describe training_features")]
    assert served == ["customer_id", "as_of", *names]
    assert trained == ["cutoff_no", "as_of", "customer_id", *names, *OUTCOMES]
    manifest = json.loads(next(shop.data.glob("models/affinity/*/manifest.json")).read_text(encoding="utf-8"))
    assert [feature["name"] for feature in manifest["features"]] == names
    assert manifest["categories"] == [*shop.settings.shop.category_ids, "none"]
