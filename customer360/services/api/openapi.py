"""The OpenAPI 3.1 document, made from the schemas of what enters and leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from customer360.features import Feature, feature_list
from customer360.services.api.problems import MEDIA_TYPE, ProblemDocument
from customer360.services.api.schemas import LARGEST, Health, Profile, Readiness, Score, ScoreRequest
from customer360.settings import Shop

REFERENCES = "#/components/schemas/{name}"
PROBLEMS = {
    "400": "The body is not valid JSON, or was cut short",
    "401": "No key in force",
    "403": "The key lacks the scope",
    "404": "Not known",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "422": "The body does not fit the schema",
    "429": "Too many requests with this key",
    "503": "The store, the model or the keys cannot be read",
}


def openapi_document(version: str, shop: Shop) -> bytes:
    """The document as JSON; the features of a score are those of the shop."""
    structs = (Health, Readiness, Profile, ScoreRequest, Score, ProblemDocument)
    references, components = msgspec.json.schema_components(structs, ref_template=REFERENCES)
    schemas = dict(zip(structs, references, strict=True))
    components["ScoreRequest"]["properties"]["features"] = _features(feature_list(shop))

    def operation(summary: str, answer: dict[str, Any], *problems: str, scope: str = "", **more: Any) -> dict[str, Any]:
        problem = {MEDIA_TYPE: {"schema": schemas[ProblemDocument]}}
        refused = {status: {"description": PROBLEMS[status], "content": problem} for status in problems}
        secured = {"security": [{"key": []}], "description": f"Needs a key with the scope `{scope}`."} if scope else {}
        return {
            "summary": summary,
            **secured,
            **more,
            "responses": {"200": {"description": summary, "content": answer}, **refused},
        }

    def body(struct: type[msgspec.Struct]) -> dict[str, Any]:
        return {"application/json": {"schema": schemas[struct]}}

    customer = {
        "name": "customer_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": "C1",
    }
    keyed = ("401", "403", "429", "503")
    paths = {
        "/healthz": {"get": operation("The process answers", body(Health))},
        "/readyz": {"get": operation("The store can be read", body(Readiness), "503")},
        "/metrics": {
            "get": operation(
                "Counts and times, for Prometheus", {"text/plain": {"schema": {"type": "string"}}}, *keyed, scope="metrics"
            )
        },
        "/v1/customers/{customer_id}/profile": {
            "get": operation("A customer's profile", body(Profile), "404", *keyed, scope="profile", parameters=[customer])
        },
        "/v1/score": {
            "post": operation(
                "The champion's scores of features",
                body(Score),
                *("400", "408", "413", "422", *keyed),
                scope="score",
                requestBody={"required": True, "content": body(ScoreRequest)},
            )
        },
    }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Customer 360",
                "version": version,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "c360_<id>_<secret>"}},
            },
        }
    )


def _features(features: Iterable[Feature]) -> dict[str, Any]:
    """A schema of exactly these features, each with a value of its kind, or null where it is not known."""
    number = {"anyOf": [{"type": "number", "minimum": -LARGEST, "maximum": LARGEST}, {"type": ["boolean", "null"]}]}
    text = {"type": ["string", "boolean", "null"]}
    properties = {
        feature.name: {**(number if feature.kind == "numeric" else text), "description": feature.description}
        for feature in features
    }
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
