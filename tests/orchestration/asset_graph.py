"""The asset graph of this environment's shop as plain data, without descriptions; written to the file that is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.definitions import defs as shop_defs


def asset_graph(defs: dg.Definitions) -> dict[str, Any]:
    """Assets with group, dependencies, partitions and checks; jobs with their assets; schedules and sensors."""
    graph = defs.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "partitions": type(graph.get(key).partitions_def).__name__ if graph.get(key).is_partitioned else None,
            "checks": sorted(check.name for check in graph.get(key).check_keys),
        }
        for key in graph.get_all_asset_keys()
        if graph.get(key).is_materializable
    }
    jobs = {
        job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for job in defs.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    repository = defs.get_repository_def()
    return {
        "assets": dict(sorted(assets.items())),
        "jobs": dict(sorted(jobs.items())),
        "schedules": {schedule.name: str(schedule.cron_schedule) for schedule in repository.schedule_defs},
        "sensors": {sensor.name: str(sensor.default_status.value) for sensor in repository.sensor_defs},
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asset_graph(shop_defs), indent=1, sort_keys=True) + "\n", encoding="utf-8")
