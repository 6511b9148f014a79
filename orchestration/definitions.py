"""Everything that Dagster serves, assembled."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.campaigns.campaign_ledger import campaign_ledger
from assets.campaigns.campaign_plan import campaign_plans
from assets.campaigns.campaign_results import campaign_results
from assets.monitoring.drift_report import drift
from assets.monitoring.slice_checks import last_slice_has_usual_volume, last_slice_is_fresh
from assets.predictions.customer_scores import customer_scores
from assets.predictions.look_ahead_check import features_do_not_see_the_future
from assets.predictions.training import MODEL_ASSETS, training_features
from assets.publishing.customer_profiles import customer_profiles
from assets.publishing.in_store import STORE_ASSETS
from assets.publishing.published import published
from assets.raw.click_history import raw_click_history
from assets.raw.clicks import raw_clicks
from assets.raw.key_check import keys_are_listed
from assets.raw.reference import REFERENCE_ASSETS
from assets.transform.line_check import no_line_in_doubt
from assets.transform.warehouse import warehouse_models
from orchestration.campaign_jobs import approve_campaign, send_job, withdraw_campaign
from orchestration.jobs import (
    campaign_job,
    daily_job,
    freshness_job,
    history_job,
    maintenance_job,
    slice_job,
    training_job,
    warehouse_job,
)
from orchestration.model_jobs import promote_model, reject_model, rollback_model
from orchestration.resources import Platform
from orchestration.schedules import SCHEDULES
from sensors.click_slices import click_slices
from sensors.drift_alert import drift_alert
from sensors.run_failure import run_failure, run_recovery


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions of the shop of this environment, with other resources where a test gives them."""
    resources = {"platform": Platform.from_environment()}
    return dg.Definitions(
        assets=dg.with_source_code_references(
            [
                raw_clicks,
                raw_click_history,
                *REFERENCE_ASSETS,
                warehouse_models,
                training_features,
                *MODEL_ASSETS,
                customer_scores,
                customer_profiles,
                published,
                *STORE_ASSETS,
                campaign_ledger,
                campaign_plans,
                campaign_results,
                drift,
            ]
        ),
        asset_checks=[
            last_slice_is_fresh,
            last_slice_has_usual_volume,
            features_do_not_see_the_future,
            no_line_in_doubt,
            keys_are_listed,
        ],
        jobs=[
            slice_job,
            history_job,
            warehouse_job,
            training_job,
            daily_job,
            campaign_job,
            freshness_job,
            maintenance_job,
            promote_model,
            reject_model,
            rollback_model,
            approve_campaign,
            withdraw_campaign,
            send_job,
        ],
        schedules=SCHEDULES,
        sensors=[click_slices, drift_alert, run_failure, run_recovery],
        resources={**resources, **(resource_overrides or {})},
    )


defs = build_defs()
