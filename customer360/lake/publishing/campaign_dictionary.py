"""What the published tables of campaigns mean: plan, briefs, ledger and results."""

from __future__ import annotations

from customer360.lake.publishing.published_table import DAILY, MONEY, PublishedColumn, PublishedTable

COUNT = "BIGINT"


def campaign_tables() -> list[PublishedTable]:
    """The tables in the order of the flow."""
    return [_plan(), _briefs(), _ledger(), *_results()]


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


def _briefs() -> PublishedTable:
    return PublishedTable(
        "campaign_briefs",
        "Each campaign's newest draft in numbers: what it costs and may earn, whether its holdout can tell what it brings, and "
        "what more of a limit would bring. One row per campaign.",
        (
            PublishedColumn("campaign_id", "VARCHAR", "Campaign"),
            PublishedColumn("plan_version", "VARCHAR", "The draft, as in campaign_plan"),
            PublishedColumn("plan_date", "DATE", "Day on which it was made, shop-local"),
            PublishedColumn("title", "VARCHAR", "Title in the campaign's file"),
            PublishedColumn("audience", COUNT, "Customers of the audience"),
            PublishedColumn("contacts", COUNT, "Customers to be contacted"),
            PublishedColumn("holdouts", COUNT, "Customers who would be, and are held out"),
            PublishedColumn("explorers", COUNT, "Contacts whose combination was drawn at random"),
            PublishedColumn("left_out", COUNT, "Customers left out"),
            PublishedColumn("left_out_reasons", "VARCHAR", "How many of them for which reason"),
            PublishedColumn("cost", "DOUBLE", "Of the contacts"),
            PublishedColumn("budget_left", "DOUBLE", "Of the budget, after this draft; null without a budget"),
            PublishedColumn("expected_conversions", "DOUBLE", "Orders within the window that are expected of the contacted"),
            PublishedColumn("expected_value", "DOUBLE", "Sum of expected_value of the contacts"),
            PublishedColumn("expected_profit", "DOUBLE", "expected_value less cost"),
            PublishedColumn(
                "profit_low", "DOUBLE", "Lower bound of its 95% interval: chance, and the model's calibration error"
            ),
            PublishedColumn("profit_high", "DOUBLE", "Upper bound"),
            PublishedColumn("value_basis", "VARCHAR", "As in campaign_plan"),
            PublishedColumn(
                "base_rate", "DOUBLE", "Share that orders within the window without a contact; null where not known"
            ),
            PublishedColumn("expected_effect", "DOUBLE", "What a contact is expected to add to that share, on average"),
            PublishedColumn(
                "detectable_effect", "DOUBLE", "The least effect that this holdout finds in four cases out of five"
            ),
            PublishedColumn("holdout_needed", COUNT, "Customers to hold out to find the expected effect as surely"),
            PublishedColumn("is_measurable", "BOOLEAN", "holdouts reach holdout_needed"),
            PublishedColumn("gap", "DOUBLE", "How much more the best plan could bring at most, as a share"),
            PublishedColumn("method", "VARCHAR", "`exact`, or `prices`: by Lagrangian prices with that gap"),
            PublishedColumn("shadow_prices", "VARCHAR", "In words what one more of each limit that binds would bring"),
        ),
        DAILY,
    )


def _results() -> list[PublishedTable]:
    share = "Difference of the conversion rates, contacted less held out: what the campaign added. In the row of the contacted"
    return [
        PublishedTable(
            "campaign_results",
            "What campaigns brought, of all customers whose window has passed, as they were planned (intention to treat). One "
            "row per campaign and arm.",
            (
                PublishedColumn("campaign_id", "VARCHAR", "Campaign"),
                PublishedColumn("arm", "VARCHAR", "`contact`, or `holdout`: held out of this campaign or of every one"),
                PublishedColumn("planned", COUNT, "Customers of approved plans"),
                PublishedColumn("customers", COUNT, "Those whose attribution window has passed; everything else is of them"),
                PublishedColumn("contacted", COUNT, "Contacts that were sent"),
                PublishedColumn("converted", COUNT, "Customers with an order within the window"),
                PublishedColumn("conversion_rate", "DOUBLE", "converted / customers"),
                PublishedColumn("revenue", "DOUBLE", "Net amount of their orders within the window"),
                PublishedColumn("cost", "DOUBLE", "Of the contacts that were sent"),
                PublishedColumn("lift", "DOUBLE", share),
                PublishedColumn("lift_low", "DOUBLE", "Lower bound of its 95% interval (Newcombe)"),
                PublishedColumn("lift_high", "DOUBLE", "Upper bound"),
                PublishedColumn("revenue_lift", "DOUBLE", "Difference of revenue per customer"),
                PublishedColumn("revenue_lift_low", "DOUBLE", "Lower bound of its 95% interval (Welch)"),
                PublishedColumn("revenue_lift_high", "DOUBLE", "Upper bound"),
                PublishedColumn("cuped_revenue_lift", "DOUBLE", "The same, less what earlier spend explains (CUPED)"),
                PublishedColumn("cuped_revenue_lift_low", "DOUBLE", "Lower bound of its 95% interval"),
                PublishedColumn("cuped_revenue_lift_high", "DOUBLE", "Upper bound"),
                PublishedColumn("profit", "DOUBLE", "Value of the added conversions less cost"),
                PublishedColumn("profit_low", "DOUBLE", "Lower bound of its 95% interval, by that of the lift"),
                PublishedColumn("profit_high", "DOUBLE", "Upper bound"),
                PublishedColumn("is_closed", "BOOLEAN", "The window of the last planned contact has passed"),
                PublishedColumn("is_conclusive", "BOOLEAN", "It is closed, and the lift's interval leaves 0 out"),
                PublishedColumn("verdict", "VARCHAR", "The result in a sentence, which says when it is too small to tell"),
            ),
            DAILY,
        ),
        PublishedTable(
            "campaign_result_deciles",
            "Predicted against realised conversion of closed campaigns. One row per campaign and tenth of the contacted.",
            (
                PublishedColumn("campaign_id", "VARCHAR", "Campaign"),
                PublishedColumn("decile", COUNT, "1 has the lowest predictions, 10 the highest"),
                PublishedColumn("customers", COUNT, "Contacted customers in it"),
                PublishedColumn("predicted", "DOUBLE", "Mean of expected_conversion"),
                PublishedColumn("realised", "DOUBLE", "Share that converted"),
                PublishedColumn("converted", COUNT, "Customers that converted"),
            ),
            DAILY,
        ),
    ]
