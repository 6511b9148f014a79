"""What sessions are learned of: the model that ranks the next product, and its backtest on the shop's newest sessions."""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from ml.datasets.targets import PRODUCT
from ml.judging.plots import picture
from ml.markdown import picture_in_text, table
from ml.recommendations import sessions
from ml.recommendations.affinity import product_affinity
from ml.recommendations.measures import draw_recall
from ml.versions.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform

KEY = dg.AssetKey(["predictions", "session_model"])
CHECK = "mixture_beats_its_components"
NEWEST_EVENTS = 2_000_000  # of 100,000 products learned in 2.5 CPU seconds and .5 GB, twice for the backtest
LEAST_SESSIONS = 200


@dg.asset(
    key=KEY,
    deps=[["marts", "interactions"], ["predictions", "product_model"], ["publishing", "published"]],
    group_name=groups.PREDICTIONS,
    kinds={"numpy"},
    owners=[ML_TEAM],
    tags={"domain": "predictions"},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK, asset=KEY, description="Warns when no mixture is better than its best component, which serves alone then."
        )
    ],
)
def session_model(platform: Platform) -> dg.MaterializeResult:
    """The next product of a session, of views and carts of 90 days: ``recommendations/session_model.npz``.

    Judged on the newest tenth of the sessions by what those before them teach; then learned on all of them.
    """
    settings = platform.settings()
    product = servable_for_shop(settings, PRODUCT).loaded
    affinity = TABLES["product_affinity"].empty()
    with platform.snapshot() as snapshot:
        events = (
            snapshot.read(
                "select session_id, product_id, min(happened_at) as happened_at from interactions where kind <> 'purchase' "
                f"group by session_id, product_id, happened_at order by happened_at desc, product_id limit {NEWEST_EVENTS}"
            )
            if snapshot.has("interactions")
            else None
        )
        learned = None if events is None or events.empty else sessions.sessions_of(events)
        if learned is not None and len(learned) >= LEAST_SESSIONS and product is not None:
            # of at most 10,000 customers, as it was before the sessions that judge
            ended = learned.ended_days[sessions.first_held_out(learned) - 1]
            until = naive(datetime.fromtimestamp(ended * 86_400, UTC))
            horizon = settings.shop.label_horizon_days
            rows = product_affinity(snapshot.connection, until, product.model, product.version, horizon)
            affinity = next(rows, affinity)
    if learned is None or len(learned) < LEAST_SESSIONS:
        missing = f"{0 if learned is None else len(learned)} visits with products are known, {LEAST_SESSIONS} are needed"
        return dg.MaterializeResult(
            metadata={"decision": "not made", "missing": missing},
            check_results=[
                dg.AssetCheckResult(check_name=CHECK, passed=False, severity=dg.AssetCheckSeverity.WARN, description=missing)
            ],
        )
    found = sessions.backtest(learned)
    judged = learned.between(sessions.first_held_out(learned), len(learned))
    shares = sessions.affinity_weights(sessions.serving(found.model, found), judged, affinity)
    model = replace(sessions.serving(sessions.fit_session_model(learned), found), affinity_weights=shares)
    sessions.save(model, settings.place.recommendations / "session_model.npz")
    plot = picture(lambda axes: draw_recall(axes, found.table))
    return dg.MaterializeResult(
        metadata={
            "sessions": len(learned),
            "products": len(model.products),
            "serves": found.serves,
            "reason": found.reason,
            "backtest": dg.MetadataValue.md(table(found.table)),
            "plot_recall": dg.MetadataValue.md(picture_in_text("recall", plot)),
            "weights": dg.MetadataValue.md(table(sessions.weights_frame(model))),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK,
                passed=found.serves == sessions.MIXTURE,
                severity=dg.AssetCheckSeverity.WARN,
                description=found.reason,
            )
        ],
    )
