"""Snowplow's enriched events as clicks: e-commerce actions, page views and the older transaction items.

Rows come as the enriched stream's tab-separated lines (``.tsv``, 131 fields, no header), or by column as JSON Lines or as CSV
with a header, as the analytics SDKs and the warehouse loaders write them: ``contexts_<vendor>_<name>_<version>`` with a list of
entities, ``unstruct_event_<vendor>_<name>_<version>`` with an object (in CSV: as JSON).

An action with several products gives one click per product, where the contract counts products. The visitor is
``domain_userid``, else the mobile session's user, else ``network_userid``; the customer is ``user_id``, else the e-commerce
user unless a guest.
Amounts are price times quantity of a product: a transaction's revenue, with tax and shipping, is not split over its products.
Sources: docs.snowplow.io, "Canonical event", "Snowplow Ecommerce".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from customer360.adapters.rows import (
    Click,
    RowError,
    Skip,
    decimal_of,
    device_of,
    first,
    is_robot,
    json_object,
    line_total,
    mappings,
    order_lines,
    record,
    utc_time,
    without_query,
)

ECOMMERCE = "com_snowplowanalytics_snowplow_ecommerce_"
ACTIONS = MappingProxyType(
    {
        "product_view": "view_item",
        "add_to_cart": "add_to_cart",
        "remove_from_cart": "remove_from_cart",
        "transaction": "purchase",
        "refund": "purchase",
        "promo_view": "view_promotion",
        "promo_click": "select_promotion",
        "list_view": "view_item_list",
        "list_click": "select_item",
    }
)
PER_PRODUCT = {"view_item", "add_to_cart", "remove_from_cart"}

# The fields of the enriched stream's lines, in their order: docs.snowplow.io, "Enriched TSV format".
_HEADER = (
    "app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id name_tracker v_tracker v_collector "
    "v_etl user_id user_ipaddress user_fingerprint domain_userid domain_sessionidx network_userid geo_country geo_region "
    "geo_city geo_zipcode geo_latitude geo_longitude geo_region_name ip_isp ip_organization ip_domain ip_netspeed page_url "
    "page_title page_referrer page_urlscheme page_urlhost page_urlport page_urlpath page_urlquery page_urlfragment "
    "refr_urlscheme refr_urlhost refr_urlport refr_urlpath refr_urlquery refr_urlfragment refr_medium refr_source refr_term "
    "mkt_medium mkt_source mkt_term mkt_content mkt_campaign contexts se_category se_action se_label se_property se_value "
    "unstruct_event tr_orderid tr_affiliation tr_total tr_tax tr_shipping tr_city tr_state tr_country ti_orderid ti_sku "
    "ti_name ti_category ti_price ti_quantity pp_xoffset_min pp_xoffset_max pp_yoffset_min pp_yoffset_max useragent br_name "
    "br_family br_version br_type br_renderengine br_lang br_features_pdf br_features_flash br_features_java "
    "br_features_director br_features_quicktime br_features_realplayer br_features_windowsmedia br_features_gears "
    "br_features_silverlight br_cookies br_colordepth br_viewwidth br_viewheight os_name os_family os_manufacturer "
    "os_timezone dvce_type dvce_ismobile dvce_screenwidth dvce_screenheight doc_charset doc_width doc_height tr_currency "
    "tr_total_base tr_tax_base tr_shipping_base ti_currency ti_price_base base_currency geo_timezone mkt_clickid mkt_network "
    "etl_tags dvce_sent_tstamp refr_domain_userid refr_device_tstamp derived_contexts domain_sessionid derived_tstamp "
    "event_vendor event_name event_format event_version event_fingerprint true_tstamp"
)
FIELDS = _HEADER.split()


def clicks(event: Mapping[str, Any]) -> list[Click] | Skip:
    """The clicks of one enriched event, given by its columns. Raises ``RowError`` where it cannot be read."""
    name, action = _name(event)
    if name == "page_ping":
        return Skip("page_ping")
    if name == "transaction":
        return Skip("transaction total: its items are the lines")
    if _is_robot(event):
        return Skip("robot")
    common = {**_common(event), "event_name": name}
    if name == "transaction_item":
        return [{**common, **_transaction_item(event)}]
    products = _entities(event, f"contexts_{ECOMMERCE}product_1")
    if name in {"purchase", "view_promotion", "select_promotion"}:
        common["decision_id"] = _decision(event)
    if name == "purchase":
        found = _order_lines(event, products, -1 if action == "refund" else 1)
    elif name in PER_PRODUCT:
        found = [_product(product) for product in products or [{}]]
    elif name in {"view_promotion", "select_promotion"}:
        promotions = _entities(event, f"contexts_{ECOMMERCE}promotion_1")
        found = [{"offer_id": first(promotion.get("id"))} for promotion in promotions or [{}]]
    else:
        return [common]
    return [{**common, **line, "event_id": f"{common['event_id']}-{number}"} for number, line in enumerate(found, 1)]


def from_json(line: str) -> Mapping[str, Any]:
    """The columns of an event that is one JSON object a line."""
    return json_object(line)


def from_enriched(line: str) -> Mapping[str, Any]:
    """The columns of a tab-separated line of the enriched stream. Raises ``RowError`` on another number of fields."""
    values = line.split("\t")
    if len(values) != len(FIELDS):
        raise RowError(f"has {len(values)} tab-separated fields, an enriched event has {len(FIELDS)}")
    return with_entities(dict(zip(FIELDS, values, strict=True)))


def with_entities(event: dict[str, Any]) -> Mapping[str, Any]:
    """The event with its self-describing fields, which are JSON in text, as columns; without a name it gets its schema's.

    Raises ``RowError`` naming the field.
    """
    for column in ("contexts", "derived_contexts"):
        for entity in mappings(_envelope(event, column), column):
            event.setdefault(_column("contexts", entity), []).append(entity.get("data"))
    unstructured = record(_envelope(event, "unstruct_event"), "unstruct_event")
    if unstructured:
        event[_column("unstruct_event", unstructured)] = unstructured.get("data")
        event["event_name"] = first(event.get("event_name"), str(unstructured.get("schema")).split("/")[1])
    return event


def _envelope(event: dict[str, Any], column: str) -> Any:
    """Add the content of a self-describing field of a line."""
    return record(_parsed(event.pop(column, None), column, {}), column).get("data")


def _column(kind: str, entity: Mapping[str, Any]) -> str:
    """The column for an entity of ``iglu:vendor/name/jsonschema/1-0-0``, without the revision, as the SDKs name it."""
    schema = str(entity.get("schema"))
    parts = schema.removeprefix("iglu:").split("/")
    if len(parts) != 4:
        raise RowError(f"{kind}: {schema!r} is not a schema such as iglu:vendor/name/jsonschema/1-0-0")
    vendor, name, _, version = parts
    return f"{kind}_{vendor.replace('.', '_')}_{name}_{version.split('-')[0]}".lower()


def _name(event: Mapping[str, Any]) -> tuple[str, str | None]:
    """The contract's event name where it has one, else Snowplow's; and the type of an e-commerce action."""
    action = first(_entity(event, f"unstruct_event_{ECOMMERCE}snowplow_ecommerce_action_1").get("type"))
    if action == "checkout_step":
        step = first(_entity(event, f"contexts_{ECOMMERCE}checkout_step_1").get("step"))
        return ("begin_checkout" if str(step) in {"1", "None"} else "checkout_step"), action
    if action is not None:
        return ACTIONS.get(str(action), str(action)), str(action)
    name = first(event.get("event_name"), event.get("event"))
    if name is None:
        raise RowError("event_name: is missing, and event too")
    return str(name), None


def _is_robot(event: Mapping[str, Any]) -> bool:
    """By the IAB's list where that enrichment is on, and by the user agent where there is one."""
    iab = _entity(event, "contexts_com_iab_snowplow_spiders_and_robots_1")
    is_listed = str(_either(iab, "spiderOrRobot", "spider_or_robot")).lower() == "true"
    agent = event.get("useragent")
    return is_listed or (bool(agent) and is_robot(str(agent)))


def _common(event: Mapping[str, Any]) -> Click:
    session = _entity(event, "contexts_com_snowplowanalytics_snowplow_client_session_1")
    user = _entity(event, f"contexts_{ECOMMERCE}user_1")
    is_guest = str(user.get("is_guest")).lower() == "true"
    at = first(event.get("derived_tstamp"), event.get("collector_tstamp"))
    event_id = first(event.get("event_id"))
    if event_id is None:
        raise RowError("event_id: is missing")
    return {
        "event_id": event_id,
        "event_at": utc_time(str(at), "derived_tstamp"),
        "customer_id": first(event.get("user_id"), None if is_guest else user.get("id")),
        "visitor_id": first(event.get("domain_userid"), _either(session, "userId", "user_id"), event.get("network_userid")),
        "session_id": first(event.get("domain_sessionid"), _either(session, "sessionId", "session_id")),
        "page_url": without_query(event.get("page_url")),
        "referrer": without_query(event.get("page_referrer")),
        "utm_source": first(event.get("mkt_source")),
        "utm_medium": first(event.get("mkt_medium")),
        "utm_campaign": first(event.get("mkt_campaign")),
        "device": "mobile" if event.get("platform") == "mob" else device_of(event.get("useragent")),
    }


def _product(product: Mapping[str, Any]) -> Click:
    return {"product_id": first(product.get("id")), "category_id": first(product.get("category"))}


def _order_lines(event: Mapping[str, Any], products: Sequence[Mapping[str, Any]], sign: int) -> list[Click]:
    """One line per product, or one for an order without products."""
    kind = "refund" if sign < 0 else "transaction"
    order = _entity(event, f"contexts_{ECOMMERCE}{kind}_1")
    total = "refund_amount" if sign < 0 else "revenue"
    number = first(order.get("transaction_id"))
    if products:
        lines = [
            {
                **_product(product),
                "order_id": number,
                "quantity": first(product.get("quantity"), 1),
                "amount": line_total(product),
                "currency": first(product.get("currency"), order.get("currency")),
            }
            for product in products
        ]
    else:
        lines = [{"order_id": number, "amount": decimal_of(order, total), "currency": first(order.get("currency"))}]
    return order_lines(lines, sign)


def _transaction_item(event: Mapping[str, Any]) -> Click:
    """The line of an order in the tracker's older commands ``addTrans`` and ``addItem``. The product identifies a line."""
    return {
        "event_name": "purchase",
        "order_id": first(event.get("ti_orderid")),
        "product_id": first(event.get("ti_sku")),
        "line_no": 1,
        "category_id": first(event.get("ti_category")),
        "quantity": first(event.get("ti_quantity"), 1),
        "amount": line_total(event, "ti_price", "ti_quantity"),
        "currency": first(event.get("ti_currency"), event.get("tr_currency")),
    }


def _decision(event: Mapping[str, Any]) -> str | None:
    """The ``decision_id`` of the service that showed an offer, in whichever entity the shop sends it."""
    own = (name for name in event if name.startswith(("contexts_", "unstruct_event_")))
    return first(*(entity.get("decision_id") for name in own for entity in _entities(event, name)))  # type: ignore[no-any-return]


def _either(entity: Mapping[str, Any], *names: str) -> Any:
    """A property under the name of the schema, or of the warehouse's column."""
    return first(*(entity.get(name) for name in names))


def _entity(event: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """The first entity of a column, empty where there is none."""
    return next(iter(_entities(event, column)), {})


def _entities(event: Mapping[str, Any], column: str) -> Sequence[Mapping[str, Any]]:
    """All entities of a column in whatever minor version; a loader writes ``..._1`` or ``..._1_0_0``."""
    for name in event:
        if name == column or name.startswith(f"{column}_"):
            value = _parsed(event[name], name, [])
            found = mappings([value] if isinstance(value, dict) else value, name)
            if found:
                return found
    return []


def _parsed(value: Any, column: str, empty: Any) -> Any:
    """A value that may be JSON in text."""
    if value in (None, ""):
        return empty
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{column}: is not valid JSON: {error}") from error
