"""The contracts of what producers write: the click contract (GA4 event names and a campaign's own) and the reference tables.

One declaration serves the validator, ``customer360 check`` and the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from customer360.offers.conditions import CONDITIONS, offer_faults
from customer360.settings import PERSONALISATION, AttributeType, Shop

# Activities of customers, and delivery states of a contact, which are no activities.
CUSTOMER_EVENTS = (
    "page_view",
    "view_item",
    "add_to_cart",
    "remove_from_cart",
    "begin_checkout",
    "purchase",
    "view_promotion",
    "select_promotion",
)
CAMPAIGN_EVENTS = ("campaign_delivered", "campaign_opened", "campaign_clicked")
CONSENT_CHANGED = "consent_changed"  # by the customer, on a public page; what changed is in page_url
EVENT_NAMES = (*CUSTOMER_EVENTS, *CAMPAIGN_EVENTS, CONSENT_CHANGED)
MAX_FUTURE_HOURS = 1
MAX_AGE_DAYS = 400
DUPLICATE_DAYS = 3
KNOWN_SINCE = "known_since"  # of customers
TYPE_NAMES = {
    "VARCHAR": "text",
    "TIMESTAMP": "timestamp, UTC",
    "DOUBLE": "number",
    "BIGINT": "whole number",
    "DECIMAL(18,2)": "number, 2 decimals",
    "BOOLEAN": "true or false",
    "DATE": "date",
}


@dataclass(frozen=True)
class Column:
    """A column of a contract: its DuckDB type and its meaning; see ``values`` for its values.

    ``required``: no value may be empty. ``must_exist``: the column may not be left out, a value may be empty. ``only``: what a
    value must be where there is one. ``is_share``: a value lies from 0 to 1. ``is_address``: an e-mail address; an invalid
    one counts as empty, and costs no row.
    """

    name: str
    type: str
    description: str
    required: bool = False
    personal: bool = False
    must_exist: bool = False
    only: str | None = None
    is_share: bool = False
    is_address: bool = False

    @property
    def is_id(self) -> bool:
        """True where the values are ids, which have one canonical form in all tables. A channel is named like one."""
        return self.type == "VARCHAR" and (self.name.endswith("_id") or self.name == "channel")

    @property
    def is_time_zone(self) -> bool:
        """True where the values are names of time zones."""
        return self.type == "VARCHAR" and self.name == "time_zone"

    @property
    def is_consent(self) -> bool:
        """True for ``consent_<channel>``."""
        return self.type == "BOOLEAN" and self.name.startswith("consent_")


CLICK_COLUMNS = (
    Column("event_id", "VARCHAR", "Id of the event, unique at its producer", required=True),
    Column("event_name", "VARCHAR", "GA4 event name, or what became of a campaign's contact", required=True),
    Column("event_at", "TIMESTAMP", "When it happened, UTC", required=True),
    Column("customer_id", "VARCHAR", "Known customer; this or visitor_id must be there"),
    Column("visitor_id", "VARCHAR", "Browser or device; an event with both ids links them"),
    Column("session_id", "VARCHAR", "Session, where the shop knows it"),
    Column("product_id", "VARCHAR", "Product"),
    Column("category_id", "VARCHAR", "Category; else the product's category"),
    Column("offer_id", "VARCHAR", "Offer shown or clicked"),
    Column("decision_id", "VARCHAR", "Answer of the service that chose the offer; see docs/offers.md"),
    Column("campaign_id", "VARCHAR", "Campaign that brought the visit, or whose contact it was"),
    Column("dwell_seconds", "DOUBLE", "Seconds spent, 0 or more"),
    Column("order_id", "VARCHAR", "Order, for purchase"),
    Column("line_no", "BIGINT", "Line of the order, for purchase; without it every event is a line of its own"),
    Column("quantity", "DOUBLE", "Units bought, for purchase"),
    Column("amount", "DECIMAL(18,2)", "Line total in the shop's currency, for purchase; negative for a return"),
    Column("currency", "VARCHAR", "ISO 4217; empty means the shop's"),
    Column("page_url", "VARCHAR", "Page"),
    Column("referrer", "VARCHAR", "Page before"),
    Column("utm_source", "VARCHAR", "Source of the visit"),
    Column("utm_medium", "VARCHAR", "Medium of the visit"),
    Column("utm_campaign", "VARCHAR", "Campaign of the visit"),
    Column("device", "VARCHAR", "Device class"),
)

ATTRIBUTE_TYPES = {
    AttributeType.TEXT: "VARCHAR",
    AttributeType.INTEGER: "BIGINT",
    AttributeType.DOUBLE: "DOUBLE",
    AttributeType.BOOLEAN: "BOOLEAN",
    AttributeType.DATE: "DATE",
}

# Columns of a raw slice beside the contract's.
RAW_LINEAGE = (
    Column("extra", "VARCHAR", "Columns outside the contract, as one JSON object"),
    Column("slice", "TIMESTAMP", "Start of the arrival slice, UTC"),
    Column("event_key", "BIGINT", "63-bit key of event_id"),
    Column("source_file", "VARCHAR", "File that the line came from, relative to its folder"),
    Column("source_line", "BIGINT", "Line in that file, from 1"),
)


PERSONAL_IDS = {"customer_id", "visitor_id"}


class _Described(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def personal(self) -> bool: ...


def is_personal(columns: Iterable[_Described]) -> bool:
    """Whether rows of these columns are personal data: of one person, or with a value that shop.yaml marks as personal."""
    return any(column.personal or column.name in PERSONAL_IDS for column in columns)


@dataclass(frozen=True)
class ReferenceTable:
    """A reference table's contract. All files in ``landing/reference/<name>/`` together are the table.

    Columns of ``judged_only`` are read and judged, and not kept. ``faults`` judges rows by rules of more than one column: it
    gives the position of each row at fault, its column, and what is wrong.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str
    judged_only: tuple[Column, ...] = ()
    faults: Callable[[Sequence[Mapping[str, Any]]], Iterator[tuple[int, tuple[str, str]]]] | None = None

    @property
    def read_columns(self) -> tuple[Column, ...]:
        """All columns that a file may have."""
        return self.columns + self.judged_only


def reference_tables(shop: Shop) -> dict[str, ReferenceTable]:
    """The reference tables of a shop, by name; customers carry the shop's attributes and channels' consents.

    Addresses of customers, and of products' pictures and pages, are columns of shops with an ``email`` block alone.
    """
    attributes = tuple(
        Column(name, ATTRIBUTE_TYPES[spec.type], spec.description or name, personal=spec.personal)
        for name, spec in shop.attributes.items()
    )
    consents = tuple(
        Column(f"consent_{channel}", "BOOLEAN", f"May be contacted by {channel}; empty means no") for channel in shop.channels
    )
    if shop.serving:
        consents += (
            Column(
                f"consent_{PERSONALISATION}",
                "BOOLEAN",
                "May be recognised on a device and shown what is chosen for the customer; empty means no",
            ),
        )
    addresses: tuple[Column, ...] = ()
    pictures: tuple[Column, ...] = ()
    if shop.email is not None:
        text = "E-mail address; empty, or none that can be mailed, means that the customer gets no e-mail"
        addresses = (Column("email", "VARCHAR", text, personal=True, is_address=True),)
        pictures = (
            Column("picture_url", "VARCHAR", "Address of its picture, https, for messages"),
            Column("product_url", "VARCHAR", "Address of its page, for messages"),
        )
    tables = (
        ReferenceTable(
            "customers",
            ("customer_id",),
            (
                Column("customer_id", "VARCHAR", "Customer", required=True),
                Column("time_zone", "VARCHAR", "IANA time zone; empty means the shop's"),
                Column(
                    KNOWN_SINCE,
                    "TIMESTAMP",
                    "Since when the shop knows the customer, UTC; models learn from no moment before it. Empty means since the "
                    "first event, order or load that lists the customer",
                ),
                *consents,
                *addresses,
                *attributes,
            ),
            "Customers with their attributes and consents",
        ),
        ReferenceTable(
            "products",
            ("product_id",),
            (
                Column("product_id", "VARCHAR", "Product", required=True),
                Column("name", "VARCHAR", "Name"),
                Column("category_id", "VARCHAR", 'Category; empty counts as "other"', must_exist=True),
                Column("price", "DECIMAL(18,2)", "List price in the shop's currency"),
                Column("is_for_sale", "BOOLEAN", "Whether it may be recommended; empty means yes"),
                Column("stock", "DOUBLE", "Units in stock; empty means enough, 0 or less that it is not recommended"),
                *pictures,
            ),
            "Products with their category",
        ),
        ReferenceTable(
            "categories",
            ("category_id",),
            (
                Column("category_id", "VARCHAR", "Category", required=True),
                Column("name", "VARCHAR", "Name", required=True),
            ),
            "Categories with their names",
        ),
        ReferenceTable(
            "purchases",
            ("order_id", "product_id", "line_no"),
            (
                Column("order_id", "VARCHAR", "Order", required=True),
                Column("product_id", "VARCHAR", "Product", required=True),
                Column("line_no", "BIGINT", "Line of the order; without it every row is a line of its own"),
                Column("customer_id", "VARCHAR", "Customer; empty for a guest order", must_exist=True),
                Column("category_id", "VARCHAR", "Category; else the product's"),
                Column("purchased_at", "TIMESTAMP", "When, UTC", required=True),
                Column("quantity", "DOUBLE", "Units"),
                Column("amount", "DECIMAL(18,2)", "Line total in the shop's currency; negative for a return", required=True),
            ),
            "Purchases outside the click stream; a row here wins over a purchase event of the same line",
            (Column("currency", "VARCHAR", "ISO 4217; empty means the shop's", only=shop.currency),),
        ),
        ReferenceTable(
            "offers",
            ("offer_id",),
            (
                Column("offer_id", "VARCHAR", "Offer", required=True),
                Column("name", "VARCHAR", "Name", required=True),
                Column("category_id", "VARCHAR", "Category whose products it is for"),
                Column("product_id", "VARCHAR", "Product that it is for"),
                Column("product_ids", "VARCHAR", "Products that it is for, separated by a vertical bar"),
                Column(
                    "condition",
                    "VARCHAR",
                    f"When it may be shown: {', '.join(CONDITIONS)}; empty: specific_products with products, else always",
                ),
                Column("parameters", "VARCHAR", "Parameters of the condition, as in users=1000; see docs/offers.md"),
                Column("priority", "BIGINT", "Rank on the campaign manager's list, 1 first; empty comes last"),
                Column("is_default", "BOOLEAN", "Shown where nothing else is; without one the last of the list is the default"),
                Column("starts_on", "DATE", "First day, shop-local"),
                Column("ends_on", "DATE", "Last day, shop-local"),
                Column("most_shown_24h", "BIGINT", "At most so many times to a customer in 24 hours; empty means no limit"),
                Column("most_shown_30d", "BIGINT", "At most so many times to a customer in 30 days; empty means no limit"),
                Column("stock", "BIGINT", "Orders that may use it, counted from its first day; empty means no limit"),
                Column("campaign_id", "VARCHAR", "Campaign that it belongs to: those whom it holds out never see the offer"),
            ),
            "Offers with their products, condition, dates, priority and limits",
            faults=partial(offer_faults, shop=shop),
        ),
        ReferenceTable(
            "campaigns",
            ("campaign_id",),
            (
                Column("campaign_id", "VARCHAR", "Campaign", required=True),
                Column("name", "VARCHAR", "Name", required=True),
                Column("kind", "VARCHAR", "Kind of campaign"),
                Column("offer_id", "VARCHAR", "Offer that it carries"),
                Column("starts_on", "DATE", "First day, shop-local"),
                Column("ends_on", "DATE", "Last day, shop-local"),
            ),
            "Campaigns with their dates",
        ),
        ReferenceTable(
            "campaign_touches",
            ("touch_id",),
            (
                Column("touch_id", "VARCHAR", "Touch", required=True),
                Column("campaign_id", "VARCHAR", "Campaign", required=True),
                Column("customer_id", "VARCHAR", "Customer", required=True),
                Column("touched_at", "TIMESTAMP", "When, UTC", required=True),
                Column("is_time_known", "BOOLEAN", "False where touched_at is only a campaign's start; empty means true"),
                Column("channel", "VARCHAR", "Channel, one of shop.yaml's; empty where unknown"),
                Column("is_converted", "BOOLEAN", "The customer did what the campaign asked for", required=True),
                Column("converted_at", "TIMESTAMP", "When, UTC"),
                Column(
                    "is_control",
                    "BOOLEAN",
                    "Held back to compare with: not contacted, touched_at is when it would have been; empty means false",
                ),
                Column(
                    "is_randomised",
                    "BOOLEAN",
                    "Channel, day and daypart were drawn at random among those allowed; empty means false",
                ),
                Column(
                    "expected_conversion",
                    "DOUBLE",
                    "Probability from 0 to 1 that the contact converts, as the tool that made it expected; empty where unknown",
                    is_share=True,
                ),
            ),
            "Contacts made by campaigns, and those held back for a control group, with what came of them",
        ),
        ReferenceTable(
            "suppressions",
            ("customer_id", "channel"),
            (
                Column("customer_id", "VARCHAR", "Customer", required=True),
                Column("channel", "VARCHAR", "Channel, one of shop.yaml's; empty means every channel"),
                Column("reason", "VARCHAR", "Why, such as complaint, bounce or legal"),
                Column("suppressed_at", "TIMESTAMP", "Since when, UTC"),
            ),
            "Customers who must not be contacted, whatever they consented to",
        ),
    )
    return {table.name: table for table in tables}


def contracts_markdown(shop: Shop) -> str:
    """Every table that a shop may bring, with its columns, types and meaning, as Markdown."""
    parts = ["### Clicks", "", *_column_table(CLICK_COLUMNS)]
    for table in reference_tables(shop).values():
        key = ", ".join(f"`{name}`" for name in table.key)
        parts += [
            "",
            f"### {table.name}",
            "",
            f"{table.description}. One row per {key}.",
            "",
            *_column_table(table.read_columns),
        ]
    return "\n".join(parts) + "\n"


def _column_table(columns: tuple[Column, ...]) -> list[str]:
    """Lines of a Markdown table."""
    rows = [
        f"| `{column.name}` | {TYPE_NAMES[column.type]} | {_presence(column)} | {column.description} |" for column in columns
    ]
    return ["| column | type | | meaning |", "|---|---|---|---|", *rows]


def _presence(column: Column) -> str:
    return "required" if column.required else "column required" if column.must_exist else ""
