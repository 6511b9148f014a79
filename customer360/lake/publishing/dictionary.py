"""What the published tables and columns mean that dbt does not declare: scores, profiles, plan, operations and reference rows.

``orchestration.data_dictionary`` puts these together with dbt's own declarations; a test holds both against what is published.
"""

from __future__ import annotations

from customer360.features import Feature, feature_list
from customer360.lake.landing.contracts import ATTRIBUTE_TYPES, reference_tables
from customer360.lake.publishing.campaign_dictionary import campaign_tables
from customer360.lake.publishing.publications import REFERENCE
from customer360.lake.publishing.published_table import DAILY, MONEY, PublishedColumn, PublishedTable
from customer360.settings import NONE, Shop, slug

AS_OF = "End of the last slice, UTC; nothing later was known or counted"
MODEL_VERSION = "Model that made it"
MEASURE_TYPES = {"dwell_seconds": "DOUBLE", "spend": MONEY, "monetary": MONEY, "last_category_id": "VARCHAR"}


def tables_outside_dbt(shop: Shop) -> dict[str, PublishedTable]:
    """Published tables that dbt does not make, by name. Columns in the order in which they are published."""
    reference = reference_tables(shop)
    listed = [
        *_scores(),
        _value(shop),
        _profiles(shop),
        *campaign_tables(),
        *(
            PublishedTable(
                name,
                f"{reference[name].description}, the rows in force. One row per {', '.join(reference[name].key)}.",
                tuple(PublishedColumn(column.name, column.type, column.description) for column in reference[name].columns),
                "when the reference tables are loaded: nightly and with daily_job",
            )
            for name in REFERENCE
        ),
        _model_versions(),
        _drift_metrics(),
        _slice_log(),
    ]
    return {table.name: table for table in listed}


def feature_columns(shop: Shop) -> list[PublishedColumn]:
    """The feature columns of ``customer_features`` and ``training_features``; those of windows have a pattern."""
    return [_feature_column(shop, feature) for feature in feature_list(shop)]


def _feature_column(shop: Shop, feature: Feature) -> PublishedColumn:
    if feature.name in shop.attributes:
        return _attribute(shop, feature.name, ATTRIBUTE_TYPES[shop.attributes[feature.name].type])
    kind = MEASURE_TYPES.get(feature.measure, "BIGINT")
    if feature.window_days is None:
        return PublishedColumn(feature.name, kind, _sentence(feature.description))
    category = "<category>_" if feature.category_id else ""
    return PublishedColumn(feature.name, kind, _sentence(feature.description), f"{feature.measure}_{category}<n>d")


def _attribute(shop: Shop, name: str, kind: str) -> PublishedColumn:
    spec = shop.attributes[name]
    return PublishedColumn(name, kind, f"{spec.description or name}{' (personal)' if spec.personal else ''}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _scores() -> list[PublishedTable]:
    columns = (
        PublishedColumn("customer_id", "VARCHAR", "Customer"),
        PublishedColumn("category_id", "VARCHAR", f"Category of the shop, or `{NONE}`: buys nothing within the label horizon"),
        PublishedColumn(
            "probability",
            "DOUBLE",
            "Probability that this is the category with the highest net spend within the label horizon after as_of; "
            "a customer's probabilities sum to 1",
        ),
        PublishedColumn("rank", "INTEGER", "1 = most probable; ties by category_id"),
        PublishedColumn(
            "is_label",
            "BOOLEAN",
            "True for the one category that is named: the largest probability times the category's decision weight, which "
            "favours rare ones",
        ),
        PublishedColumn("model_version", "VARCHAR", MODEL_VERSION),
        PublishedColumn("as_of", "TIMESTAMP", AS_OF),
    )
    return [
        PublishedTable(
            "customer_scores",
            f"What each customer buys next, by the champion model. One row per customer and category, `{NONE}` included. "
            "No rows before the first model.",
            columns,
        ),
        PublishedTable(
            "customer_scores_daily",
            "The first customer_scores of each shop-local day, kept for 90 days. One row per day, customer and category; "
            "as_of says the day.",
            columns,
            "the first slice of a shop-local day",
        ),
    ]


def _value(shop: Shop) -> PublishedTable:
    return PublishedTable(
        "customer_value",
        "What each customer is worth within the horizons, by the champion models. One row per known customer; null where a "
        "model has no champion yet.",
        (
            PublishedColumn("customer_id", "VARCHAR", "Customer"),
            *_value_columns(shop),
            PublishedColumn("model_version", "VARCHAR", "Affinity model, as in customer_scores"),
            PublishedColumn("spend_model_version", "VARCHAR", "Spend model"),
            PublishedColumn("churn_model_version", "VARCHAR", "Churn model"),
            PublishedColumn("as_of", "TIMESTAMP", AS_OF),
        ),
    )


def _value_columns(shop: Shop) -> list[PublishedColumn]:
    return [
        PublishedColumn(
            "purchase_probability",
            "DOUBLE",
            f"Probability of a purchase within {shop.label_horizon_days} days: 1 less that of `{NONE}` in customer_scores",
        ),
        PublishedColumn(
            "expected_spend",
            "DOUBLE",
            "purchase_probability times the net spend to expect given a purchase, in the shop's currency; null without a spend "
            "champion",
        ),
        PublishedColumn(
            "churn_probability",
            "DOUBLE",
            f"Probability of no order within {shop.churn_horizon_days} days, also of customers who never ordered; null without "
            "a churn champion",
        ),
    ]


def _profiles(shop: Shop) -> PublishedTable:
    probabilities = [
        PublishedColumn(f"probability_{slug(category)}", "DOUBLE", f"Probability of {category}", "probability_<category>")
        for category in [*shop.category_ids, NONE]
    ]
    attributes = [_attribute(shop, name, ATTRIBUTE_TYPES[spec.type]) for name, spec in shop.attributes.items()]
    return PublishedTable(
        "customer_profiles",
        "What a person wants to read of a customer, made after scores and plan. One row per known customer.",
        (
            PublishedColumn("customer_id", "VARCHAR", "Customer"),
            PublishedColumn("as_of", "TIMESTAMP", AS_OF),
            PublishedColumn("segment", "VARCHAR", "Segment of rfm_segments"),
            PublishedColumn("recency_days", "BIGINT", "Shop-local days since the last order; null before the first"),
            PublishedColumn("frequency", "BIGINT", "Orders in the RFM window"),
            PublishedColumn("monetary", MONEY, "Net spend in the RFM window, in the shop's currency"),
            PublishedColumn("label", "VARCHAR", f"Category that is_label names in customer_scores, `{NONE}` included"),
            *probabilities,
            PublishedColumn("model_version", "VARCHAR", MODEL_VERSION),
            *_value_columns(shop),
            PublishedColumn("top_category_id", "VARCHAR", f"Most probable category that is not `{NONE}`"),
            PublishedColumn("reason_1", "VARCHAR", "Strongest reason for top_category_id (SHAP); never a personal attribute"),
            PublishedColumn("reason_2", "VARCHAR", "Second reason; null where fewer push towards the category"),
            PublishedColumn("reason_3", "VARCHAR", "Third reason; null where fewer push towards the category"),
            PublishedColumn("reasons_as_of", "TIMESTAMP", "Point in time that the reasons describe; null while none were made"),
            PublishedColumn("last_activity_at", "TIMESTAMP", "Last event, UTC; null before the first"),
            *attributes,
            PublishedColumn("next_contact_on", "DATE", "Day of the planned contact, shop-local; null where none is planned"),
            PublishedColumn("next_contact_channel", "VARCHAR", "Its channel"),
            PublishedColumn("next_contact_daypart", "VARCHAR", "Its daypart"),
            PublishedColumn("next_contact_campaign_id", "VARCHAR", "Its campaign"),
            PublishedColumn("next_contact_status", "VARCHAR", "`approved`, or `draft`: of a plan that nobody has approved"),
        ),
        "every slice; the next contact also after each plan",
    )


def _model_versions() -> PublishedTable:
    count = "BIGINT"
    return PublishedTable(
        "model_versions",
        "Every model version on disk and what was decided about it. One row per model and version.",
        (
            PublishedColumn("model_name", "VARCHAR", "Model"),
            PublishedColumn("model_version", "VARCHAR", "When it was made (UTC) and from which data"),
            PublishedColumn("is_champion", "BOOLEAN", "It is the one that scores"),
            PublishedColumn(
                "status",
                "VARCHAR",
                "promoted, rejected, rolled back (withdrawn as champion), undecided, or unreadable (a damaged manifest)",
            ),
            PublishedColumn("reason", "VARCHAR", "The decision in words"),
            PublishedColumn("created_at", "TIMESTAMP", "When it was trained, UTC"),
            PublishedColumn("decided_at", "TIMESTAMP", "When the decision was taken, UTC"),
            PublishedColumn("decided_by", "VARCHAR", "Who decided: `training`, a user, or a run"),
            PublishedColumn("validation_as_of", "TIMESTAMP", "Cut-off that judged it, UTC"),
            PublishedColumn("train_cutoff_count", count, "Cut-offs that it was trained on"),
            PublishedColumn("rows_train", count, "Customers x cut-offs that it was trained on"),
            PublishedColumn("rows_validation", count, "Customers that judged it"),
            PublishedColumn("log_loss", "DOUBLE", "Mean negative log probability of the true category; lower is better"),
            PublishedColumn("best_baseline", "VARCHAR", "The best of the simple rules on the same rows"),
            PublishedColumn("best_baseline_log_loss", "DOUBLE", "Its log loss"),
            PublishedColumn("brier", "DOUBLE", "Brier score, the squared error of the probabilities; lower is better"),
            PublishedColumn("accuracy", "DOUBLE", "Share whose named category was the true one"),
            PublishedColumn("macro_f1", "DOUBLE", "Mean F1 of the named category over the categories"),
            PublishedColumn(
                "calibration_error", "DOUBLE", "Mean distance between probabilities and what came, by class in tenths"
            ),
            PublishedColumn("lift_10", "DOUBLE", "Buyers among the tenth most likely to buy, over those among a random tenth"),
            PublishedColumn("tree_count", count, "Trees in the model"),
            PublishedColumn("feature_count", count, "Features that it reads"),
            PublishedColumn("data_fingerprint", "VARCHAR", "Hash of its training set"),
            PublishedColumn("model_sha256", "VARCHAR", "Hash of its file, checked whenever it is loaded"),
        ),
        "the first publication after a training, and with each decision",
    )


def _drift_metrics() -> PublishedTable:
    return PublishedTable(
        "drift_metrics",
        "How far features, scores, the last hours and their quality have moved, and how predictions came true. One row per "
        "report, kind and column.",
        (
            PublishedColumn("report_date", "DATE", "Day of the report, shop-local"),
            PublishedColumn("as_of", "TIMESTAMP", AS_OF),
            PublishedColumn(
                "kind",
                "VARCHAR",
                "`feature` and `score` (now, against the training set); `24 hours` and `3 days` (what happened, against "
                "the days before the last training); `quality` (shares of bad lines); `performance`",
            ),
            PublishedColumn(
                "column", "VARCHAR", "What is compared, such as a feature or `score_<category>`; unique in its kind"
            ),
            PublishedColumn(
                "method",
                "VARCHAR",
                "`wasserstein` (numbers, in standard deviations), `jensenshannon` (text), `difference` (single numbers), "
                "`missing_share` (one side is empty); of performance, its unit",
            ),
            PublishedColumn("value", "DOUBLE", "Distance by that method, or the performance itself"),
            PublishedColumn("threshold", "DOUBLE", "Value from which the column counts as drifted; null where there is none"),
            PublishedColumn("threshold_basis", "VARCHAR", "What the threshold rests on, in words"),
            PublishedColumn(
                "is_learned", "BOOLEAN", "The threshold was learned from what is normal; only these raise an alarm"
            ),
            PublishedColumn(
                "is_drifted", "BOOLEAN", "value >= threshold; null where too few rows make the fixed threshold say nothing"
            ),
            PublishedColumn("rows_current", "BIGINT", "Values compared: customers, orders, visits or buyers; at most 50,000"),
            PublishedColumn("rows_reference", "BIGINT", "Values that they are compared with; at most 50,000"),
            PublishedColumn("model_version", "VARCHAR", "Champion that it was compared with"),
        ),
        DAILY,
    )


def _slice_log() -> PublishedTable:
    return PublishedTable(
        "slice_log",
        "What came in with each arrival slice and what became of it: lines = good + quarantined + duplicates. "
        "One row per slice; of the history, those that have events.",
        (
            PublishedColumn("slice", "TIMESTAMP", "Start of the arrival slice, UTC"),
            PublishedColumn("source", "VARCHAR", "`clicks` (a slice folder) or `click_history`, cut by event time"),
            PublishedColumn("raw_fingerprint", "VARCHAR", "Which files the slice was made from; `empty` without files"),
            PublishedColumn("is_transformed", "BOOLEAN", "The tables hold the slice as it is in raw"),
            PublishedColumn("files", "INTEGER", "Files; null for the history"),
            PublishedColumn("lines", "BIGINT", "Lines read"),
            PublishedColumn("good", "BIGINT", "Lines that keep the contract, without copies inside the slice"),
            PublishedColumn("quarantined", "BIGINT", "Lines that break the contract; those of the history belong to no slice"),
            PublishedColumn("duplicates", "BIGINT", "Copies of an event_id inside the slice"),
            PublishedColumn("repeats", "BIGINT", "Good lines whose event_id came in one of the three days before; not counted"),
            PublishedColumn("planned_at", "TIMESTAMP", "When raw was last taken note of, UTC"),
            PublishedColumn("transformed_at", "TIMESTAMP", "When the tables were last brought up to it, UTC"),
            PublishedColumn("repaired_at", "TIMESTAMP", "When its files were last found changed, UTC; null when never"),
        ),
    )
