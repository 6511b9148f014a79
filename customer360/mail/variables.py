"""The values of a message's variables, and each customer's language, from one published version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.lake.engine import quoted, registered
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.tables import declared_tables
from customer360.mail.links import is_allowed_target
from customer360.mail.message import Message, Variable, VariableType
from customer360.mail.templates import Product
from customer360.mail.values import printable_line
from customer360.settings import Shop
from customer360.snapshot import Snapshot

PROFILES, AFFINITY, PRODUCTS = "customer_profiles", "product_affinity", "products"
LANGUAGE = "language"  # the attribute with a customer's language, such as nl or pt-BR, and the column of ``message_values``
CAMPAIGN_FIELDS = ("campaign_id", "title", "kind", "offer_id", "starts_on", "ends_on")


def known_sources(shop: Shop) -> dict[str, list[str]]:
    """The columns that a variable's source may name, by the first word of the source."""
    customers = [column.name for column in declared_tables(shop)[PROFILES].columns]
    offers = [column.name for column in reference_tables(shop)["offers"].columns]
    return {"customer": customers, "offer": offers, "campaign": list(CAMPAIGN_FIELDS)}


def message_values(snapshot: Snapshot, message: Message, campaign: Campaign, customer_ids: Collection[str]) -> pd.DataFrame:
    """A row for each customer (index customer_id): a column for each variable, as it is published, and ``language``.

    All that differs by customer is read in one query. Recommendations are lists of ``Product`` in their order, each with a
    price, and a picture and a page of the shop's domains: others are left out, since a message could not show them.
    """
    shop, variables = snapshot.shop, message.variables
    columns = {name: variable.source.partition(".")[2] for name, variable in variables.items() if _is_of(variable, "customer")}
    if LANGUAGE in shop.attributes:
        columns[LANGUAGE] = LANGUAGE
    lists = [name for name, variable in variables.items() if variable.type is VariableType.PRODUCTS]
    frame = _rows(snapshot, columns, customer_ids, with_products=bool(lists))
    found = pd.DataFrame({name: frame[name] for name in columns}, index=frame.index)
    if lists:
        recommended = _recommended(frame["products"], shop.email.link_domains if shop.email else [])
        found = found.assign(**dict.fromkeys(lists, recommended))
    shared = dict(_shared(snapshot, variables, campaign))
    found = found.assign(
        **{name: pd.Series([value] * len(found), index=found.index, dtype=object) for name, value in shared.items()}
    )
    wanted = found[LANGUAGE] if LANGUAGE in found else pd.Series(None, index=found.index, dtype=object)
    chosen = {value: message.language_for(value) for value in wanted.dropna().unique()}
    return found.assign(**{LANGUAGE: wanted.map(chosen).fillna(message.languages[0])})


def _is_of(variable: Variable, origin: str) -> bool:
    return variable.source.startswith(f"{origin}.")


def _shared(snapshot: Snapshot, variables: Mapping[str, Variable], campaign: Campaign) -> Iterator[tuple[str, Any]]:
    """What is the same for all customers: the campaign and its offer."""
    offer: dict[str, Any] = {}
    if campaign.offer_id is not None and any(_is_of(variable, "offer") for variable in variables.values()):
        rows = snapshot.read("from offers where offer_id = ?", [campaign.offer_id], of=["offers"])
        offer = {str(name): value for name, value in rows.iloc[0].items()} if len(rows) else {}
    for name, variable in variables.items():
        origin, _, column = variable.source.partition(".")
        if origin in ("offer", "campaign"):
            yield name, offer.get(column) if origin == "offer" else getattr(campaign, column, None)


def _rows(
    snapshot: Snapshot, columns: Mapping[str, str], customer_ids: Collection[str], *, with_products: bool
) -> pd.DataFrame:
    """Customers with these columns of their profiles and, where asked for, the list of what is recommended to them."""
    chosen = pd.DataFrame({"customer_id": pd.Series(list(customer_ids), dtype="str")})
    selected = ["chosen.customer_id"]
    joined = ""
    # A version that was published before the shop had an attribute lacks its column.
    published = set(snapshot.read(f"from {PROFILES} limit 0").columns) if columns and snapshot.has(PROFILES) else set()
    for name, column in columns.items():
        value = f"profiles.{quoted(column)}" if column in published else "null"
        selected.append(f"{value} as {quoted(name)}")
    if published:
        joined += f" left join {PROFILES} as profiles using (customer_id)"
    if with_products:
        selected.append("recommended.products")
        joined += f" left join ({_recommended_query(snapshot)}) as recommended using (customer_id)"
    with registered(snapshot.connection, "chosen", chosen):
        return (
            snapshot.read(f"select {', '.join(selected)} from chosen{joined}").set_index("customer_id").loc[list(customer_ids)]
        )


def _recommended_query(snapshot: Snapshot) -> str:
    """SQL of customer_id and the list of the recommended products that have all that a message shows."""
    has_all = snapshot.has(AFFINITY) and snapshot.has(PRODUCTS)
    if not has_all or "picture_url" not in snapshot.read(f"from {PRODUCTS} limit 0"):
        return "select null::varchar as customer_id, null::varchar[] as products where false"
    fields = "name := products.name, price := products.price, picture := picture_url, link := product_url, reason := reason"
    return f"""
        select customer_id, list(struct_pack({fields}) order by rank) as products
        from {AFFINITY} semi join chosen using (customer_id) join {PRODUCTS} as products using (product_id)
        where products.name is not null and products.price > 0 and picture_url is not null and product_url is not null
        group by customer_id
    """


def _recommended(lists: pd.Series[Any], domains: Sequence[str]) -> pd.Series[Any]:
    """The lists as products. The same product for the same reason is one object, however many customers have it."""
    known: dict[tuple[Any, ...], Product | None] = {}

    def product(fields: Mapping[str, Any]) -> Product | None:
        key = tuple(fields.values())
        if key not in known:
            is_ours = is_allowed_target(fields["picture"], domains) and is_allowed_target(fields["link"], domains)
            name, reason = printable_line(fields["name"]), printable_line(fields["reason"])
            known[key] = (
                Product(name, Decimal(str(fields["price"])), fields["picture"], fields["link"], reason) if is_ours else None
            )
        return known[key]

    def products(listed: Any) -> list[Product]:
        return [found for fields in listed if (found := product(fields))] if hasattr(listed, "__len__") else []

    return lists.map(products)
