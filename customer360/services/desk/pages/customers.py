"""Customers: found by id or attribute, and what is known of one of them, as of the published version."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd
from django.http import Http404, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from customer360.lake.engine import quoted
from customer360.lake.reference.customer_queries import consent_versions_query
from customer360.services.desk.access import PERSONAL, VIEW, DeskRequest, page
from customer360.services.desk.audit import PERSONAL_VIEWED, record
from customer360.services.desk.personal import masked, personal_columns
from customer360.services.desk.show import show

MOST_FOUND, MOST_ENTRIES, WEEKS = 50, 100, 5
# What the timeline is made of: of each published table its moments, what they are, and of what.
TIMELINE = {
    "customer_orders": """
        select ordered_at as happened_at, if(lines > 0, 'order', 'return') as kind, order_id as what, null as detail, amount
        from customer_orders where customer_id = $id
    """,
    "interactions": """
        select happened_at, kind, coalesce(name, product_id) as what, null as detail, null as amount
        from interactions left join products using (product_id)
        where customer_id = $id and kind <> 'purchase'
    """,
    "campaign_ledger": """
        select event_at as happened_at, event as kind, campaign_id as what,
            concat_ws(', ', channel, daypart, arm, detail) as detail, amount
        from campaign_ledger where customer_id = $id
    """,
    "campaign_activity": """
        select event_at as happened_at, activity as kind, campaign_id as what, null as detail, null as amount
        from campaign_activity where customer_id = $id and {is_other}
    """,
    "campaign_touch_history": """
        select touched_at as happened_at, if(is_control, 'control', 'contact') as kind, campaign_id as what,
            concat_ws(', ', channel, 'by another tool') as detail, null as amount
        from campaign_touch_history where customer_id = $id and is_time_known and {is_other}
    """,
    "offer_decisions": """
        select decided_at as happened_at, 'offer' as kind, coalesce(offers.name, offer_id) as what,
            concat_ws(', ', reason, if(is_clicked, 'clicked', null), if(is_bought, 'bought', null)) as detail,
            revenue as amount
        from offer_decisions left join offers using (offer_id) where customer_id = $id
    """,
}
JOINED = {"interactions": "products", "offer_decisions": "offers"}
# What the ledger has of its own contacts, it says itself.
NOT_IN_LEDGER = "campaign_id not in (select campaign_id from campaign_ledger where customer_id = $id)"
ROWS = {
    "lifetime": ("customer_lifetime", "from customer_lifetime where customer_id = $id"),
    "offer": ("current_offers", "from current_offers where customer_id = $id"),
    "segments": (
        "customer_segments_weekly",
        "select as_of, segment, monetary from customer_segments_weekly where customer_id = $id "
        f"order by as_of desc limit {WEEKS}",
    ),
    "scores": (
        "customer_scores",
        "select category_id, probability, rank from customer_scores where customer_id = $id order by probability desc",
    ),
    "plans": (
        "campaign_plan",
        "select campaign_id, decision, reason, explanation, channel, contact_date from campaign_plan where customer_id = $id "
        "order by campaign_id",
    ),
}


@page("customers/", VIEW, name="customers", title=_("Customers"), order=20)
def customers(request: DeskRequest) -> HttpResponse:
    """Customers whose id begins with what is searched, or who have it as an attribute; personal ones for those who may.

    Attributes are looked through where no id is exactly this and the ids leave room: they are read of everybody.
    """
    wanted = request.GET.get("q", "").strip()
    found = _found(request, wanted) if wanted else None
    return show(request, "desk/customers.html", {"wanted": wanted, "found": found, "most": MOST_FOUND})


@page("customers/<path:customer_id>/", VIEW, name="customer")
def customer(request: DeskRequest, customer_id: str) -> HttpResponse:
    """One customer. Each view is in the audit log."""
    asked = {"id": customer_id}
    profile = request.snapshot.read("from customer_profiles where customer_id = $id", asked, of=["customer_profiles"])
    if profile.empty:
        raise Http404(gettext("No published customer has this id."))
    attributes = [name for name in request.settings.shop.attributes if name in profile.columns]
    known = masked(request, profile).to_dict("records")[0]
    record(request, PERSONAL_VIEWED, subject=customer_id, details={"page": "customer"})
    tables = {name: request.snapshot.read(query, asked, of=[table]).to_dict("records") for name, (table, query) in ROWS.items()}
    consents = request.snapshot.connection.execute(
        f"from ({consent_versions_query(request.settings.place, request.settings.shop)}) "
        "where customer_id = $id order by channel, valid_from desc",
        {"id": customer_id},
    ).df()
    lifetime = tables.pop("lifetime")
    context = {
        **tables,
        "customer_id": customer_id,
        "profile": known,
        "attributes": [(name, known[name]) for name in attributes],
        "reasons": [known[name] for name in ("reason_1", "reason_2", "reason_3") if isinstance(known.get(name), str)],
        "lifetime": lifetime[0] if lifetime else None,
        "consents": consents.to_dict("records"),
        "timeline": _timeline(request, customer_id),
        "most": MOST_ENTRIES,
        "notes": _notes(known, lifetime, consents, [name for name in attributes if pd.isna(known[name])]),
    }
    return show(request, "desk/customer.html", context)


def _found(request: DeskRequest, wanted: str) -> list[dict[Hashable, Any]]:
    if not request.snapshot.has("customer_profiles"):
        return []
    shop = request.settings.shop
    hidden = frozenset() if request.may(PERSONAL) else personal_columns(shop)
    present = {name for name, *_ in request.snapshot.connection.execute("describe customer_profiles").fetchall()}
    searched = [name for name in shop.attributes if name in present and name not in hidden]
    rows = _matching(request, "starts_with(customer_id, $q)", wanted)
    if searched and len(rows) < MOST_FOUND and wanted not in set(rows["customer_id"]):
        by_attribute = " or ".join(f"lower(cast({quoted(name)} as varchar)) = lower($q)" for name in searched)
        others = _matching(request, f"not starts_with(customer_id, $q) and ({by_attribute})", wanted)
        rows = pd.concat([rows, others], ignore_index=True).head(MOST_FOUND) if len(rows) else others
    if searched and set(searched) & personal_columns(shop):
        record(request, PERSONAL_VIEWED, details={"search": True, "customers": len(rows)})
    return rows.to_dict("records")


def _matching(request: DeskRequest, condition: str, wanted: str) -> pd.DataFrame:
    query = (
        "select customer_id, segment, frequency, monetary, last_activity_at from customer_profiles "
        f"where {condition} order by customer_id = $q desc, customer_id limit {MOST_FOUND}"
    )
    return request.snapshot.read(query, {"q": wanted})


def _timeline(request: DeskRequest, customer_id: str) -> list[dict[Hashable, Any]]:
    has = request.snapshot.has
    is_other = NOT_IN_LEDGER if has("campaign_ledger") else "true"
    parts = [
        f"({query.replace('{is_other}', is_other)})"
        for table, query in TIMELINE.items()
        if has(table) and has(JOINED.get(table, table))
    ]
    if not parts:
        return []
    query = f"{' union all by name '.join(parts)} order by happened_at desc, kind, what limit {MOST_ENTRIES}"
    return request.snapshot.connection.execute(query, {"id": customer_id}).df().to_dict("records")


def _notes(profile: dict[Hashable, Any], lifetime: list[Any], consents: pd.DataFrame, missing: list[str]) -> list[str]:
    """What is missing or in doubt, in words."""
    notes = [gettext("Nothing is known of: %(names)s.") % {"names": ", ".join(missing)}] if missing else []
    if pd.isna(profile.get("last_activity_at")):
        notes.append(gettext("No event and no order yet: probabilities rest on attributes alone."))
    if consents.empty or consents["is_allowed"].isna().all():
        notes.append(gettext("No consent is known, so no channel is allowed."))
    if lifetime and isinstance(lifetime[0]["reason"], str):
        notes.append(gettext("Expected spend: %(reason)s.") % {"reason": lifetime[0]["reason"]})
    return notes
