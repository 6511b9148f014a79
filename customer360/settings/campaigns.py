"""Settings of campaigns and offers: dayparts, limits, what is supposed of contacts, and where they are posted."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from customer360.settings.fields import Identifier, Strict, matching


class Daypart(Strict):
    """Local hours [from, to)."""

    start: Annotated[int, Field(ge=0, le=23, alias="from")]
    end: Annotated[int, Field(ge=1, le=24, alias="to")]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"it ends after it starts; got from {self.start} to {self.end}")
        return self


class FrequencyCap(Strict):
    """At most ``contacts`` on any ``days`` consecutive days, in the customer's time zone."""

    contacts: Annotated[int, Field(ge=1)]
    days: Annotated[int, Field(ge=1, le=366)]


class PriorEffect(Strict):
    """What a contact adds to the share of customers who order, as documented campaigns have it: used while nothing is measured.

    ``mean`` and ``standard_deviation`` of that difference of shares, in a test whose customers without contact ordered at
    ``base_rate``; ``ml.effects.prior`` carries them over to a shop's own base rate. The defaults: Hillstrom, the MineThatData
    e-mail analytics challenge, 2008. 64,000 customers at random; within two weeks .57% of those without an e-mail ordered,
    1.25% and .88% of those with one of two e-mails, so .68 and .31 percentage points more: .5 on average.

    Where only this is known, up to ``largest_holdout_share`` is held out, as much as finds the effect four times out of five,
    and ``exploration_share`` gets a combination that is drawn at random; a campaign's own shares count where they are larger.
    """

    mean: Annotated[float, Field(ge=-0.5, le=0.5)] = 0.005
    standard_deviation: Annotated[float, Field(gt=0, le=0.5)] = 0.005
    base_rate: Annotated[float, Field(gt=0, lt=1)] = 0.0057
    largest_holdout_share: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    exploration_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Webhook(Strict):
    """Where the contacts of a channel are posted; ``secret`` names the environment variable with the key of signatures."""

    webhook: Annotated[
        str,
        matching(
            r"(https://[A-Za-z0-9.-]+|https?://(localhost|127\.0\.0\.1|\[::1\]))(:\d{1,5})?(/\S*)?",
            "write https://host/path, the address of the tool; http is for localhost alone",
        ),
    ]
    secret: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None


class CampaignRules(Strict):
    """Limits of every campaign; a campaign's own file may be stricter, not laxer.

    A customer converts by an order within ``attribution_days`` x 24 hours after the contact. ``global_holdout_share`` of the
    customers is contacted by no campaign; ``global_holdout_salt`` draws them (the ledger keeps the salt that was used first).
    ``days_ahead``: a plan reaches from the day after it is made so many days. ``capacity_per_day``: contacts by channel that
    all campaigns share, such as the calls that a call centre makes. Caps and the gap count the contacts of all campaigns.
    ``prior_effect``: what is supposed of contacts until campaigns with a control group have measured it. ``hand_over``: by
    channel the tool that its contacts are posted to.
    """

    attribution_days: Annotated[int, Field(ge=1, le=90)] = 3
    global_holdout_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    global_holdout_salt: Annotated[str, Field(min_length=1)] = "customer360"
    days_ahead: Annotated[int, Field(ge=1, le=28)] = 7
    minimum_gap_days: Annotated[int, Field(ge=0, le=366)] = 2
    frequency_cap: FrequencyCap | None = None
    capacity_per_day: dict[Identifier, Annotated[int, Field(ge=0)]] = {}
    prior_effect: PriorEffect = PriorEffect()
    hand_over: dict[Identifier, Webhook] = {}


class OfferRules(Strict):
    """How an offer is chosen; see docs/offers.md.

    An offer is shown for affinity where that to its products among the customer's ``top_products`` most likely ones exceeds
    ``threshold``. ``exploration_share`` of the decisions draw any offer that the customer may see: others are judged by it.
    ``policy``: `auto` lets what was learned of logged decisions serve once it wins; `priority_list` keeps to the list.
    """

    top_products: Annotated[int, Field(ge=1, le=20)] = 3
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    exploration_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    policy: Literal["auto", "priority_list"] = "auto"
