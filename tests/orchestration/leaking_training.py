"""training_job with a leak in the SQL that the check reads: purchases of the hour after the cut-off. Prints what came of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import dagster as dg

from orchestration import dbt
from orchestration.definitions import defs


def leaking(*arguments: Any) -> dbt.CompiledModel:
    """The compiled model as it is, but one slice too many is read."""
    model = dbt.compiled_model(*arguments)
    return replace(model, sql=model.sql.replace("slice < cast('2026", "slice <= cast('2026"))


def main() -> None:
    with patch("assets.predictions.look_ahead_check.compiled_model", leaking), dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def("training_job").execute_in_process(instance=instance, raise_on_error=False)
    (check,) = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "features_do_not_see_the_future"
    ]
    outcome = {
        "success": result.success,
        "passed": check.passed,
        "severity": check.severity.value,
        "blocking": check.blocking,
        "features": str(check.metadata["features_that_changed"].value),
        "description": check.description,
        "materialized": [
            event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key
        ],
    }
    sys.stdout.write("\n" + json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main()
