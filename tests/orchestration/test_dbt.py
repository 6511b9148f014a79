"""dbt in a run's own process: what it is asked for, how it ends, and that nothing is declared twice."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_dbt import dbt_assets

from customer360.features import dbt_vars, feature_list
from customer360.lake.raw.raw_clicks import write_raw_slice
from customer360.lake.warehouse.slice_log import mark_transformed, plan_transform
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import REPOSITORY, Settings, load_shop
from customer360.simulation import simulate_history, simulate_slice
from orchestration.dbt import DAILY, SLICE_CHECK, ShopTranslator, manifest_path, tagged_checks, untagged
from orchestration.resources import Platform
from orchestration.runtime.dbt_run import DbtError, build, invoke, parsed_manifest, selected_nodes
from tests.orchestration.place import SIMULATION, TINY, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file.*dbt.log:ResourceWarning")  # dbt does not close its log file

BEFORE_PUBLISHING = {
    "every_kept_click_is_counted",
    "not_null_customer_features_customer_id",
    "customer_category_activity_has_unique_keys",
    "unique_customer_features_customer_id",
    "unique_rfm_segments_customer_id",
    "traffic_has_unique_keys",
}
VISITOR_LINKS_KEY = "int_visitor_links_by_slice_has_unique_keys"
LINKS, EMPTY = "int_visitor_links_by_slice", ("--indirect-selection", "empty")
SLOW = "select count(*) from range(40000000000) as many"


@dataclass
class Project:
    """The dbt project for a copy of the tiny shop, as the assets see it."""

    settings: Settings
    opened: list[str] = field(default_factory=list)

    @property
    def platform(self) -> Platform:
        return Platform(shop_folder=str(self.settings.shop_folder), data_dir=str(self.settings.place.root))

    @property
    def nodes(self) -> list[dict[str, Any]]:
        manifest = json.loads(manifest_path(self.settings).read_text(encoding="utf-8"))
        return [
            node for node in manifest["nodes"].values() if "training_features" not in str((node["name"], node["depends_on"]))
        ]

    def names(self, *kinds: str) -> set[str]:
        return {node["name"] for node in self.nodes if node["resource_type"] in kinds}

    def tagged(self, tag: str) -> set[str]:
        return {node["name"] for node in self.nodes if tag in node["tags"]}

    def assets(self) -> dg.AssetsDefinition:
        """Assets that build what is selected, and note the tables of the warehouse as soon as dbt has ended."""

        @dbt_assets(
            manifest=manifest_path(self.settings),
            exclude="tag:training",
            dagster_dbt_translator=ShopTranslator(),
            name="models",
        )
        def models(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
            try:
                yield from build(context, platform)
            finally:
                self.opened += self.tables()

        return models

    def selected(self, assets: dg.AssetsDefinition, *unchanged: str) -> set[str]:
        """The names that dbt is asked for."""
        manifest = json.loads(manifest_path(self.settings).read_text(encoding="utf-8"))
        names = selected_nodes(assets, manifest, ShopTranslator(), unchanged)
        assert len(names) == len(set(names))
        return set(names)

    def tables(self) -> list[str]:
        with open_warehouse(self.settings.place) as connection:
            return [name for (name,) in connection.execute("select table_name from duckdb_tables() order by 1").fetchall()]

    def invoke(self, *arguments: str) -> Any:
        return invoke(self.settings, arguments, self.settings.place.dbt_target / "test", lambda _: None)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("dbt")
    (root / "shop").mkdir()
    shutil.copy(TINY / "shop.yaml", root / "shop")
    return Project(Settings.load(root / "shop", root / "data"))


def test_a_slice_builds_all_but_the_daily_models_and_runs_the_tests_that_guard_what_is_published(project: Project) -> None:
    assets = project.assets()
    checks = set(tagged_checks(assets, manifest_path(project.settings), SLICE_CHECK))
    selected = project.selected(assets.subset_for(set(untagged(assets, DAILY)), checks))
    assert selected == (project.names("model", "seed") - project.tagged(DAILY)) | BEFORE_PUBLISHING


def test_a_run_of_everything_also_runs_the_tests_that_are_no_checks(project: Project) -> None:
    assets = project.assets()
    checks = set(assets.check_keys)
    everything = project.selected(assets)
    no_checks = project.names("test") - {key.name for key in checks}
    assert {"every_kept_click_is_counted", VISITOR_LINKS_KEY} <= no_checks
    assert everything == project.names("model", "seed", "test")
    left_out = sorted(checks)[0]
    others = project.selected(assets.subset_for(set(assets.keys), checks - {left_out}))
    assert everything - others == no_checks - {"every_kept_click_is_counted"} | {left_out.name}


def test_checks_say_when_they_run_and_only_those_of_a_slice_block(project: Project) -> None:
    specs = {spec.name: spec for spec in project.assets().check_specs}
    blocking = {name for name, spec in specs.items() if spec.blocking}
    assert blocking == BEFORE_PUBLISHING & specs.keys()
    for name, spec in specs.items():
        description = spec.description or ""
        assert description.endswith((". Runs with every slice, before its tables are published.", "night (warehouse_job)."))
        assert ("Runs with every slice" in description) == (name in BEFORE_PUBLISHING)
    described = {
        "not_null_customer_features_customer_id": "customer_id has a value in every row.",
        "customer_orders_has_unique_keys": "One row per customer_id and order_id.",
        "customer_orders_customer_id_is_in_customer_features": "Every customer_id has a row in customer_features.",
        "rfm_segments_fm_score_has_known_values": "Every fm_score is one of 1, 2, 3, 4, 5.",
        "customer_consents_channel_is_in_shop_yaml": "Every channel is one of the channels of shop.yaml.",
        "monitoring_activity_category_id_is_in_shop_yaml": "Every category_id is one of the categories of shop.yaml, or (none)",
    }
    for name, text in described.items():
        assert str(specs[name].description).startswith(text)


def test_tables_of_customers_are_personal_and_each_model_links_its_file(project: Project) -> None:
    specs = {spec.key.path[-1]: spec for spec in project.assets().specs}
    personal = {name for name, spec in specs.items() if spec.tags["personal_data"] == "yes"}
    assert {"stg_purchases", "stg_campaign_touches", "customer_attributes", "customer_features"} <= personal
    assert personal.isdisjoint({"traffic", "product_activity", "stg_products", "segment_grids"})
    file = specs["traffic"].metadata["dagster/code_references"].code_references[0].file_path
    assert file.endswith("traffic.sql")


def test_what_has_not_changed_is_left_out(project: Project) -> None:
    everything, changed = project.selected(project.assets()), project.selected(project.assets(), DAILY)
    assert everything - changed == project.tagged(DAILY) & project.names("model")


def test_a_model_that_fails_is_named_with_dbts_log_and_the_warehouse_is_let_go(project: Project) -> None:
    assets = project.assets()
    keys = [dg.AssetKey(["seeds", "segment_grids"]), dg.AssetKey(["intermediate", "int_customers"])]
    run = dg.materialize([assets], selection=keys, resources={"platform": project.platform}, raise_on_error=False)
    (failed,) = run.get_step_failure_events()
    error = failed.step_failure_data.error
    assert error is not None
    assert error.cls_name == DbtError.__name__
    assert "int_customers: " in error.message
    log = project.settings.place.dbt_target / f"models-{run.run_id}" / "dbt.log"
    assert f"Its log is {log}" in error.message
    assert "int_customers" in log.read_text(encoding="utf-8")
    assert [event.asset_key for event in run.get_asset_materialization_events()] == keys[:1]
    assert project.opened == ["segment_grids"]


def test_an_interrupt_cancels_the_query_and_lets_the_warehouse_go(project: Project) -> None:
    parsed_manifest(project.settings)
    log = project.settings.place.dbt_target / "test" / "dbt.log"
    before = threading.enumerate()

    def interrupt() -> None:
        wait_until(lambda: log.exists() and "range(40000000000)" in log.read_text(encoding="utf-8"), 60, "dbt works")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(DagsterExecutionInterruptedError):
        project.invoke("show", "--inline", SLOW)
    thread.join()
    assert threading.enumerate() == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    project.tables()


def test_one_process_builds_twice_first_in_full_and_then_what_has_changed(project: Project) -> None:
    settings = project.settings
    simulate_history(SIMULATION, settings.shop, settings.place)
    counts = []
    for number in (0, 1):
        start = settings.shop.slices_start + number * settings.shop.slice_width
        simulate_slice(SIMULATION, settings.shop, settings.place, start)
        write_raw_slice(settings, start)
        with open_warehouse(settings.place) as connection:
            plan = plan_transform(connection, settings, datetime.now(UTC))
        assert [pending.replace(tzinfo=UTC) for pending in plan.pending] == [start]
        assert project.invoke("build", "--select", "stg_clicks", "stg_repeated_clicks", LINKS, *EMPTY).success
        with open_warehouse(settings.place) as connection:
            mark_transformed(connection, datetime.now(UTC))
            rows = connection.execute(f"select slice, count(*) from intermediate.{LINKS} group by 1 order by 1").fetchall()
        counts.append(rows)
    assert [len(rows) for rows in counts] == [1, 2]
    assert counts[1][0] == counts[0][0]


def test_a_changed_shop_is_parsed_again_and_an_unchanged_one_is_not(project: Project) -> None:
    before = parsed_manifest(project.settings)
    assert parsed_manifest(project.settings) is before
    yaml = project.settings.shop_folder / "shop.yaml"
    yaml.write_text(yaml.read_text(encoding="utf-8").replace("live: false", "live: true"), encoding="utf-8")
    assert parsed_manifest(Settings.load(project.settings.shop_folder, project.settings.place.root)) is not before


def test_dbt_vars_hold_what_shop_yaml_and_the_feature_list_say() -> None:
    for path in (TINY, *sorted((REPOSITORY / "shops").glob("*"))):
        shop = load_shop(path / "shop.yaml", resolved_categories=["one", "two"])
        variables = dbt_vars(shop)
        assert [entry["id"] for entry in variables["categories"]] == shop.category_ids
        assert [entry["name"] for entry in variables["attributes"]] == list(shop.attributes)
        assert [entry["name"] for entry in variables["features"]] == [feature.name for feature in feature_list(shop)]
        assert variables["windows_days"] == shop.windows_days
        assert variables["label_horizon_days"] == shop.label_horizon_days
