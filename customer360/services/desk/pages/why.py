"""Why did they (not) get this? A customer and a campaign, from the clicks to reason, approval, sending and result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from customer360.campaigns.audience import AudienceError
from customer360.campaigns.decision_trail import DecisionTrail, Membership, decision_trail, membership
from customer360.campaigns.definition import load_shop_campaigns
from customer360.campaigns.ledger import HOLDOUT, SENT, SUPPRESSED
from customer360.services.desk.access import PERSONAL, VIEW, DeskRequest, page
from customer360.services.desk.audit import PERSONAL_VIEWED, record
from customer360.services.desk.personal import MASK, personal_columns
from customer360.services.desk.show import show

PROFILE = """
select segment, last_activity_at, recency_days, frequency, monetary, purchase_probability, churn_probability, reason_1,
    reason_2, reason_3 from customer_profiles where customer_id = ?
"""
RECENT = """
select happened_at, kind, coalesce(products.name, interactions.product_id) as product
from interactions left join products using (product_id) where customer_id = ? order by happened_at desc limit 8
"""
VERDICT = "select verdict, is_closed from campaign_results where campaign_id = ? and arm = 'contact'"
NAMES = "select campaign_id, name from campaigns"


@page("why/", VIEW, name="why", title=gettext_lazy("Why (not)?"), order=45)
def why(request: DeskRequest) -> HttpResponse:
    """The form, and the trail of the customer and campaign that its query names."""
    customer, campaign = (request.GET.get(name, "").strip() for name in ("customer", "campaign"))
    campaigns, _problems = load_shop_campaigns(request.settings)
    titles = {str(name): str(title) for name, title in _tuples(request, ("campaigns",), NAMES)}
    titles |= {each.campaign_id: each.title for each in campaigns}
    found: dict[str, Any] = {}
    if customer and campaign:
        record(request, PERSONAL_VIEWED, subject=customer, details={"page": "why", "campaign": campaign})
        audience = next((each.audience for each in campaigns if each.campaign_id == campaign), None)
        found = _found(request, customer, campaign, audience)
    chosen = {"customer": customer, "campaign": campaign, "campaigns": sorted(titles.items())}
    return show(request, "desk/why.html", {**chosen, **found})


def _found(request: DeskRequest, customer: str, campaign: str, audience: str | None) -> dict[str, Any]:
    snapshot, shop = request.snapshot, request.settings.shop
    profile = snapshot.read(PROFILE, [customer], of=["customer_profiles"])
    published = snapshot.version.publication.rows
    trail = decision_trail(snapshot.connection, published, snapshot.place, shop, customer_id=customer, campaign_id=campaign)
    found: dict[str, Any] = {
        "profile": None if profile.empty else profile.iloc[0].to_dict(),
        "recent": _tuples(request, ("interactions", "products"), RECENT, customer),
        "trail": trail,
        "summary": summary(trail),
        "entries": trail.entries.to_dict("records"),
        "touches": trail.touches.to_dict("records"),
        "orders": trail.orders.to_dict("records"),
        "verdict": next(iter(_tuples(request, ("campaign_results",), VERDICT, campaign)), None),
    }
    if audience is not None:
        try:
            found |= _masked(request, membership(snapshot.connection, audience, shop, customer))
        except AudienceError as error:
            found["audience_error"] = str(error)
    return found


def _masked(request: DeskRequest, known: Membership | None) -> dict[str, Any]:
    """The membership for the page. Without ``PERSONAL`` neither a personal value nor what follows from it is shown."""
    hidden = frozenset() if request.may(PERSONAL) else personal_columns(request.settings.shop)
    if known is None or hidden.isdisjoint(each.column for each in known.conditions):
        return {"membership": known}
    conditions = [replace(each, value=MASK, holds=None) if each.column in hidden else each for each in known.conditions]
    return {"membership": replace(known, conditions=conditions), "is_membership_hidden": True}


def summary(trail: DecisionTrail) -> str:
    """The answer in a sentence, by the last thing that happened."""
    if len(trail.entries):
        return _of_ledger(trail.entries)
    if len(trail.touches):
        is_control = bool(trail.touches["is_control"].all())
        return _("Another tool held them back as a control.") if is_control else _("They got it from another tool.")
    if trail.planned is not None:
        return _("The newest draft says: %(explanation)s.") % {"explanation": trail.planned["explanation"]}
    return _("They are in no plan of this campaign.")


def _of_ledger(entries: pd.DataFrame) -> str:
    events = set(entries["event"])
    if SENT in events:
        return _("They got it.")
    if SUPPRESSED in events:
        reason = entries.loc[entries["event"] == SUPPRESSED, "detail"].iloc[-1]
        return _("It was approved and then not sent: %(reason)s.") % {"reason": reason}
    if (entries["arm"] == HOLDOUT).any():
        return _("They are held out, to measure what contacts bring.")
    return _("It is approved and will be sent.")


def _tuples(request: DeskRequest, tables: Sequence[str], query: str, *values: str) -> list[tuple[Any, ...]]:
    """The rows of a query, none where one of its tables is not published."""
    return list(request.snapshot.read(query, values, of=tables).itertuples(index=False, name=None))
