"""The OpenAPI 3.1 document, made from the schemas of what enters and leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from customer360.features import Feature, feature_list
from customer360.lake.landing.contracts import CLICK_COLUMNS
from customer360.services.api.collector.collecting import Collected
from customer360.services.api.collector.contract import ID_LENGTH, TEXT_LENGTH
from customer360.services.api.collector.routes import SNOWPLOW_PATH, EventBatch
from customer360.services.api.collector.schemas import TEXT, measurement_payload, tracker_parameters, tracker_payload
from customer360.services.api.mail.routes import OptInAnswer, OptInRequest
from customer360.services.api.mail.webhooks import Taken
from customer360.services.api.problems import MEDIA_TYPE, ProblemDocument
from customer360.services.api.schemas import (
    DEFAULT_COUNT,
    LARGEST,
    LONGEST_ID,
    LONGEST_TEXT,
    MOST_COUNT,
    Health,
    OfferAnswer,
    Profile,
    Readiness,
    Recommendations,
    Related,
    Score,
    ScoreRequest,
)
from customer360.settings import Shop

REFERENCES = "#/components/schemas/{name}"
PROBLEMS = {
    "400": "The body is not valid JSON, or was cut short",
    "401": "No key in force, or not signed",
    "403": "The key lacks the scope",
    "404": "Not known",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "422": "The body does not fit the schema, or a parameter is out of range",
    "429": "Too many requests with this key",
    "503": "The store, the model or the keys cannot be read",
}


def openapi_document(version: str, shop: Shop) -> bytes:
    """The document as JSON; the features of a score are those of the shop."""
    answers = (
        Health,
        Readiness,
        Profile,
        Recommendations,
        OfferAnswer,
        Related,
        Score,
        Collected,
        Taken,
        OptInAnswer,
        ProblemDocument,
    )
    structs = (*answers, ScoreRequest, EventBatch, OptInRequest)
    references, components = msgspec.json.schema_components(structs, ref_template=REFERENCES)
    schemas = dict(zip(structs, references, strict=True))
    components["ScoreRequest"]["properties"]["features"] = _features(feature_list(shop))
    components |= {"Event": _event(), "MeasurementPayload": measurement_payload(), "TrackerPayload": tracker_payload()}
    # Each event is judged by itself, so that a batch may hold whatever: what is no event is refused alone.
    components["EventBatch"]["properties"]["events"]["items"] = {"anyOf": [{"$ref": REFERENCES.format(name="Event")}, {}]}

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

    customer = _path_parameter("customer_id", "C1")
    visitor = _path_parameter("visitor_id", "V1", "A browser key asks for `me`.")
    product = _path_parameter("product_id", "p1")
    count = {"type": "integer", "minimum": 1, "maximum": MOST_COUNT, "default": DEFAULT_COUNT}
    text: dict[str, Any] = {"type": "string", "maxLength": LONGEST_TEXT}
    listed = [
        _query_parameter("n", count, DEFAULT_COUNT, "How many at most"),
        _query_parameter("viewing", text, "p1", "The page's product, which is left out"),
    ]
    page = _query_parameter("page", text, "home", "Where it is shown: kept with the decision")
    signed = {
        "name": "Customer-Token",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Of a browser key: the customer for whom the shop vouches, signed and with an end",
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
        **{
            f"/v1/{kind}/{{{whom['name']}}}/{what}": {
                "get": operation(summary, body(struct), "404", "422", *keyed, scope="offers", parameters=[whom, *own, *more])
            }
            for kind, whom, own in (("customers", customer, []), ("visitors", visitor, [signed]))
            for what, summary, struct, more in (
                ("recommendations", "Products to show now, with reasons", Recommendations, listed),
                ("offer", "The offer to show now, and why", OfferAnswer, [page]),
            )
        },
        "/v1/visitors/{visitor_id}/profile": {
            "get": operation(
                *("The profile of a visitor's customer", body(Profile), "404", "422", *keyed),
                scope="profile",
                parameters=[visitor],
            )
        },
        "/v1/products/{product_id}/related": {
            "get": operation("What goes with a product", body(Related), "404", *keyed, scope="offers", parameters=[product])
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
        "/v1/events": {
            "post": operation(
                "Take events; those that break the contract are refused one by one",
                body(Collected),
                *("400", "408", "413", "422", *keyed),
                scope="events",
                parameters=[signed],
                requestBody={"required": True, "content": body(EventBatch)},
            )
        },
    }
    taken: dict[str, Any] = {"parameters": [signed], "scope": "events"}

    def tracked(name: str) -> dict[str, Any]:
        return {"required": True, "content": {"application/json": {"schema": {"$ref": REFERENCES.format(name=name)}}}}

    measured = operation(
        "Take events of GA4's Measurement Protocol; some were refused",
        body(Collected),
        *("400", "408", "413", "422", *keyed),
        **taken,
        requestBody=tracked("MeasurementPayload"),
    )
    measured["security"].append({"secret": []})
    measured["responses"]["204"] = {"description": "All were taken"}
    anonymous = {
        "name": "SP-Anonymous",
        "in": "header",
        "schema": TEXT,
        "description": "`*`: the visitor is of this request alone",
    }
    taken = {"scope": "events", "parameters": [signed, anonymous]}
    paths["/mp/collect"] = {"post": measured}
    paths[SNOWPLOW_PATH] = {
        "post": operation(
            "Take events of Snowplow's tracker protocol 2; those that are refused are named",
            body(Collected),
            *("400", "408", "413", "422", *keyed),
            **taken,
            requestBody=tracked("TrackerPayload"),
        )
    }
    image = {"image/gif": {"schema": {**TEXT, "contentMediaType": "image/gif"}}}
    pixel = operation("Take an event of Snowplow's tracker protocol 2, with an image for answer", image, *keyed, **taken)
    pixel["parameters"] = [*pixel["parameters"], *tracker_parameters()]
    paths["/i"] = {"get": pixel}
    if shop.email:
        paths["/m/opt-in"] = {
            "post": operation(
                "Ask for e-mail to an address, which gets a confirmation mail where it may",
                body(OptInAnswer),
                *("400", "408", "413", "422"),
                parameters=[signed],
                requestBody={"required": True, "content": body(OptInRequest)},
            )
        }
        paths["/m/webhooks/{provider}"] = {
            "post": operation(
                "Take signed events of a mail provider that is set up",
                body(Taken),
                *("400", "401", "404", "408", "413", "422"),
                parameters=[_path_parameter("provider", "mailgun", "ses, mailgun, sendgrid or postmark")],
                requestBody={"required": True, "content": {"application/json": {"schema": {}}}},
            )
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
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer", "description": "c360_<id>_<secret>"},
                    "secret": {"type": "apiKey", "in": "query", "name": "api_secret", "description": "A browser's key"},
                },
            },
        }
    )


def _event() -> dict[str, Any]:
    """A schema of the click contract; further properties are kept."""
    number: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "string"}]}
    identifier: dict[str, Any] = {"anyOf": [{"type": "string", "maxLength": ID_LENGTH}, {"type": "integer"}]}
    text: dict[str, Any] = {"type": "string", "maxLength": TEXT_LENGTH}
    types = {"TIMESTAMP": {"type": "string", "format": "date-time"}, "VARCHAR": text}
    assigned = {"event_id", "event_at"}  # where they are left out
    properties = {
        column.name: {
            **(identifier if column.is_id else types.get(column.type, number)),
            "description": column.description,
        }
        for column in CLICK_COLUMNS
    }
    required = [column.name for column in CLICK_COLUMNS if column.required and column.name not in assigned]
    example = {"event_name": "view_item", "event_id": "e-1", "visitor_id": "v-1", "product_id": "p-1"}
    return {"type": "object", "properties": properties, "required": required, "examples": [example]}


def _path_parameter(name: str, example: str, description: str = "") -> dict[str, Any]:
    # Of a profile or a product any length may be asked for; what is decided on is bounded.
    schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example, "description": description}


def _query_parameter(name: str, schema: dict[str, Any], example: object, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "example": example, "description": description}


def _features(features: Iterable[Feature]) -> dict[str, Any]:
    """A schema of exactly these features, each with a value of its kind, or null where it is not known."""
    number = {"anyOf": [{"type": "number", "minimum": -LARGEST, "maximum": LARGEST}, {"type": ["boolean", "null"]}]}
    text = {"type": ["string", "boolean", "null"]}
    properties = {
        feature.name: {**(number if feature.kind == "numeric" else text), "description": feature.description}
        for feature in features
    }
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
