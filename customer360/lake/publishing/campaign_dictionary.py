"""What the published tables of campaigns mean: plan and ledger."""

from __future__ import annotations

from customer360.lake.publishing.published_table import DAILY, MONEY, PublishedColumn, PublishedTable


def campaign_tables() -> list[PublishedTable]:
    """The tables in the order of the flow."""
    return [_plan(), _ledger()]


def _plan() -> PublishedTable:
    return PublishedTable(
        "campaign_plan",
        "The newest plans, of all campaigns: who is contacted, how and when, who is held back, and why others are left out. "
        "One row per campaign and customer of its audience. A plan is a draft until somebody approves it; then its rows are in "
        "campaign_ledger, and the next plan counts on them. Earlier plans are files in plans/.",
        (
            PublishedColumn("campaign_id", "VARCHAR", "Campaign: the name of its file"),
            PublishedColumn("plan_version", "VARCHAR", "The campaign's plan; equal inputs give the same version"),
            PublishedColumn("plan_date", "DATE", "Day on which it was made, shop-local"),
            PublishedColumn("customer_id", "VARCHAR", "Customer"),
            PublishedColumn(
                "decision",
                "VARCHAR",
                "`contact`; `holdout`: would be contacted, but is held back so that the effect can be measured; `left out`",
            ),
            PublishedColumn(
                "reason",
                "VARCHAR",
                "Of those left out the first that leaves no way to contact them: `suppressed`, `no consent`, "
                "`outside send window`, `frequency cap`, `gap`, `other campaign first`, "
                "`below zero value`, then `no capacity` or `budget`",
            ),
            PublishedColumn("explanation", "VARCHAR", "The decision in a sentence"),
            PublishedColumn("channel", "VARCHAR", "Channel of the contact; null when left out"),
            PublishedColumn("contact_date", "DATE", "Day of the contact where the customer is, after plan_date"),
            PublishedColumn("day_of_week", "BIGINT", "Its day of the week, 1 = Monday to 7 = Sunday"),
            PublishedColumn("daypart", "VARCHAR", "Part of the day, by the hours of shop.yaml, where the customer is"),
            PublishedColumn("send_at", "TIMESTAMP", "When it is to be sent, UTC"),
            PublishedColumn("offer_id", "VARCHAR", "Offer that it carries; null where the campaign has none"),
            PublishedColumn(
                "expected_conversion",
                "DOUBLE",
                "Probability of an order within the attribution window after such a contact, 0 to 1; null when left out",
            ),
            PublishedColumn(
                "expected_value",
                "DOUBLE",
                "Value of a conversion times what the contact adds to its probability, or (see value_basis) times "
                "the probability; costs are not deducted",
            ),
            PublishedColumn("cost", "DOUBLE", "What the contact costs; 0 for those held back, null when left out"),
            PublishedColumn("is_exploration", "BOOLEAN", "Channel, day and daypart were drawn at random among those allowed"),
            PublishedColumn("holdout", "VARCHAR", "`global`: held back from every campaign; `campaign`: from this one"),
            PublishedColumn(
                "value_basis",
                "VARCHAR",
                "`incremental`: the effect of the contact, learned with a control group; `predicted response`: orders "
                "that would come anyway count too",
            ),
            PublishedColumn("segment", "VARCHAR", "Segment when the plan was made"),
            PublishedColumn("model_version", "VARCHAR", "Response model; null where smoothed rates of past touches were used"),
        ),
        DAILY,
    )


def _ledger() -> PublishedTable:
    return PublishedTable(
        "campaign_ledger",
        "What was planned, approved and sent, and what came of it. One row per fact; rows are added and never changed.",
        (
            PublishedColumn("entry_id", "VARCHAR", "The fact: the same one, recorded again, has the same id and is not added"),
            PublishedColumn(
                "event",
                "VARCHAR",
                "`planned` and `approved` (both at the approval), `sent`, `suppressed` (not to be sent: detail says why), "
                "`delivered`, `opened`, `clicked`, `converted`; `salt`: by what the holdouts are drawn",
            ),
            PublishedColumn("event_at", "TIMESTAMP", "When it happened, UTC"),
            PublishedColumn("recorded_at", "TIMESTAMP", "When it was recorded, UTC"),
            PublishedColumn("recorded_by", "VARCHAR", "A user's name, or a run"),
            PublishedColumn("campaign_id", "VARCHAR", "Campaign"),
            PublishedColumn("plan_version", "VARCHAR", "Plan"),
            PublishedColumn("model_version", "VARCHAR", "Response model of the plan"),
            PublishedColumn("customer_id", "VARCHAR", "Customer"),
            PublishedColumn("arm", "VARCHAR", "`contact` or `holdout`, as it was planned"),
            PublishedColumn("channel", "VARCHAR", "Channel"),
            PublishedColumn("daypart", "VARCHAR", "Part of the day, where the customer is"),
            PublishedColumn("contact_date", "DATE", "Planned day, where the customer is"),
            PublishedColumn("send_at", "TIMESTAMP", "Planned moment, UTC"),
            PublishedColumn("offer_id", "VARCHAR", "Offer"),
            PublishedColumn("is_exploration", "BOOLEAN", "The combination was drawn at random"),
            PublishedColumn("expected_conversion", "DOUBLE", "Of the plan"),
            PublishedColumn("expected_value", "DOUBLE", "Of the plan"),
            PublishedColumn("cost", "DOUBLE", "Of the contact; 0 for those held back"),
            PublishedColumn("order_id", "VARCHAR", "Of `converted`: the order, which counts for the last contact before it"),
            PublishedColumn("amount", MONEY, "Of `converted`: the order's net amount when it was recorded"),
            PublishedColumn("detail", "VARCHAR", "Words: why it was approved or suppressed, the file it went out in"),
        ),
        "with daily_job, an approval and a sending; Parquet only",
    )
