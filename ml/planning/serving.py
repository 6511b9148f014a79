"""Which predictions plans use: those of the models that serve, else smoothed rates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC

import duckdb

from customer360.settings import Settings
from ml.datasets.targets import ORGANIC_RESPONSE, RESPONSE
from ml.planning.campaign_planning import PlanningInputs
from ml.planning.predictions import Predict
from ml.planning.rate_predictions import rate_predictions
from ml.planning.response_predictions import ResponsePredictor
from ml.responses.published import read_response_inputs
from ml.responses.without_contact import effect_is_usable
from ml.versions.shop_models import servable_for_shop


@dataclass(frozen=True)
class Served:
    """Predictions, the version of the response model (None: rates), and in words what their value is and why."""

    predict: Predict
    model_version: str | None
    basis: str


def served_predictions(connection: duckdb.DuckDBPyConnection, settings: Settings, planning: PlanningInputs) -> Served:
    """The predictions for plans of the published version that ``connection`` reads, of ``planning``'s customers and moment."""
    response = servable_for_shop(settings, RESPONSE).loaded
    if response is None:
        touches = connection.execute("select * from campaign_touch_history order by touch_id").df()
        times = connection.execute("select * from customer_purchase_times").df()
        predict = rate_predictions(planning.customers, touches, times, settings.shop)
        said = "no response model serves, so values are smoothed rates of past touches: predicted response, not effect"
        return Served(predict, None, said)
    inputs, known_at = read_response_inputs(settings)
    without = servable_for_shop(settings, ORGANIC_RESPONSE).loaded
    effect = effect_is_usable(inputs.touches, settings.shop, known_at, without.version if without else None)
    at = planning.as_of.astimezone(UTC).replace(tzinfo=None)
    predict = ResponsePredictor(response, without if effect.is_usable else None, inputs, at, settings.shop)
    kind = "effects of contacts" if effect.is_usable else "predicted response, not effect"
    return Served(predict, response.version, f"values are {kind}: {effect.reason}")
