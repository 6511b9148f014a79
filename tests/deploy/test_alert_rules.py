"""The files of deploy/monitoring: rules that Prometheus takes, of metrics that there are, with pages that there are."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml
from prometheus_client import REGISTRY

from customer360.lake.engine import connect
from customer360.lake.publishing.publishing import publish
from customer360.services.api import metrics as _api_metrics
from customer360.services.api.collector import collecting as _collecting
from customer360.services.metrics import place_metrics
from customer360.settings import REPOSITORY, Place, Settings
from orchestration.runtime.run_metrics import run_metrics
from tests.services.test_metrics import DRIFT, SLICE_LOG
from tests.support.random_shop import small_shop

FOLDER = REPOSITORY / "deploy" / "monitoring"
NAME = re.compile(r"\bcustomer360_\w+")
OF_API = (_api_metrics.REQUESTS, _api_metrics.SECONDS, _collecting.EVENTS)


def expressions() -> list[str]:
    """Of all alerts and panels."""
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return alerts + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_that_is_named_exists(tmp_path: Path) -> None:
    settings = Settings(shop=small_shop(live=True, email=EMAIL), shop_folder=REPOSITORY, place=Place(root=tmp_path))
    now = datetime(2026, 5, 1, 12, 35, tzinfo=UTC)
    with connect(tmp_path / ".tmp") as connection:
        publish(settings.place, connection, {"slice_log": SLICE_LOG, "drift_metrics": DRIFT}, now, now)
    with dg.DagsterInstance.ephemeral() as instance:
        families = [*place_metrics(settings, now), *run_metrics(instance, now), *REGISTRY.collect()]
    existing = {"customer360_api_spool_bytes"}
    for family in families:
        existing |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(named) > 20
    assert named - existing == set()


EMAIL = {
    "sender": {"name": "Lamps", "address": "hello@lamps.example"},
    "postal_address": "1 Main Street",
    "public_url": "https://lamps.example",
    "link_domains": ["lamps.example"],
    "return_path_domain": "bounces.lamps.example",
    "unsubscribe_mailto": "unsubscribe@lamps.example",
}


def test_every_alert_names_a_page_of_the_runbook() -> None:
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))
    headings = re.findall(r"^## (.+)$", (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert {"Customer360Behind", "Customer360JobFailed", "Customer360Drift", "Customer360DiskFull"} <= {
        a["alert"] for a in alerts
    }
    for alert in alerts:
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert page == "docs/runbook.md"
        assert anchor in anchors, alert["alert"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus")
def test_promtool_takes_the_rules_and_their_tests(tmp_path: Path) -> None:
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules-test.yaml"]):
        ran = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    shutil.copy(FOLDER / "rules.yaml", tmp_path)
    key = tmp_path / "key"
    key.touch()
    config = (FOLDER / "prometheus.yaml").read_text(encoding="utf-8").replace("/etc/prometheus/customer360-api-key", str(key))
    (tmp_path / "prometheus.yaml").write_text(config, encoding="utf-8")
    ran = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yaml"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
