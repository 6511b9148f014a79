"""What sessions are learned of: the model that ranks the next product, and what serves of it and of the lists made with it."""

from datetime import datetime
from functools import lru_cache

import dagster as dg
import pandas as pd

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.snapshot import Snapshot
from ml.datasets.targets import PRODUCT
from ml.judging.plots import picture
from ml.markdown import picture_in_text, table
from ml.recommendations import sessions
from ml.recommendations.affinity import product_affinity
from ml.recommendations.backtest_table import Outcome, keep_backtest
from ml.recommendations.baskets import RULES, serving_order
from ml.recommendations.list_backtest import Known, list_backtests, served
from ml.recommendations.measures import draw_recall
from ml.recommendations.session_backtest import MIXTURE, backtest
from ml.versions.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform

KEY = dg.AssetKey(["predictions", "session_model"])
CHECK, LISTS_CHECK = "mixture_beats_its_components", "blends_are_not_beaten_by_a_source"
NEWEST_EVENTS = 2_000_000  # of 100,000 products learned in 2.5 CPU seconds and .5 GB, once more for each split of the backtest
LEAST_SESSIONS = 200
_EVENTS = f"""
select session_id, product_id, customer_id is null as is_visitor, min(happened_at) as happened_at
from interactions where kind <> 'purchase'
group by session_id, product_id, customer_id is null, happened_at order by happened_at desc, product_id limit {NEWEST_EVENTS}
"""


@dg.asset(
    key=KEY,
    deps=[
        ["marts", "interactions"],
        ["predictions", "product_model"],
        ["predictions", "product_backtest"],
        ["publishing", "published"],
    ],
    group_name=groups.PREDICTIONS,
    kinds={"numpy"},
    owners=[ML_TEAM],
    tags={"domain": "predictions"},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK, asset=KEY, description="Warns when no mixture is better than its best component, which serves alone then."
        ),
        dg.AssetCheckSpec(
            LISTS_CHECK,
            asset=KEY,
            description="Warns when a list's source alone finds more than the blend beyond chance: it serves alone then.",
        ),
    ],
)
def session_model(platform: Platform) -> dg.MaterializeResult:
    """The next product of a session, of views and carts of 90 days: ``recommendations/session_model.npz``.

    It and the lists made with it are judged on the newest sessions by what those before them teach: rows of
    ``recommendation_backtest``. Then it is learned on all of them.
    """
    settings = platform.settings()
    with platform.snapshot() as snapshot:
        as_of = naive(snapshot.as_of)
        events = snapshot.read(_EVENTS) if snapshot.has("interactions") else pd.DataFrame()
        learned = None if events.empty else sessions.sessions_of(events)
        if learned is None or len(learned) < LEAST_SESSIONS:
            return _not_learned(0 if learned is None else len(learned))
        found = backtest(learned)
        known = _known(snapshot, frozenset(events.loc[events["is_visitor"], "session_id"]))
        lists = list_backtests(found, known)
        model = served(learned, found, lists, known)
    sessions.save(model, settings.place.recommendations / "session_model.npz")
    outcomes = [Outcome("next_product", found.comparison, found.serves, found.reason)]
    outcomes += [Outcome(f"list of {of.audience}", of.comparison, of.serves, of.reason) for of in lists if of.comparison]
    keep_backtest(settings.place, "session_model", outcomes, as_of)
    publish_files(settings.place, platform.now())
    plot = picture(lambda axes: draw_recall(axes, found.comparison.table))
    of_lists = {f"list_of_{of.audience}": of for of in lists}
    return dg.MaterializeResult(
        metadata={
            "sessions": len(learned),
            "products": len(model.products),
            "splits": found.comparison.splits,
            "serves": found.serves,
            "reason": found.reason,
            "backtest": dg.MetadataValue.md(table(found.comparison.table)),
            "plot_recall": dg.MetadataValue.md(picture_in_text("recall", plot)),
            "weights": dg.MetadataValue.md(table(sessions.weights_frame(model))),
            **{name: of.reason for name, of in of_lists.items()},
            **{
                f"backtest_{name}": dg.MetadataValue.md(table(of.comparison.table))
                for name, of in of_lists.items()
                if of.comparison
            },
        },
        check_results=[
            _warning(CHECK, found.serves == MIXTURE, found.reason),
            _warning(LISTS_CHECK, not any(of.is_beaten for of in lists), "; ".join(of.reason for of in lists)),
        ],
    )


def _known(snapshot: Snapshot, visitors: frozenset[str]) -> Known:
    """What lists are made of in this version; affinity of at most 10,000 customers."""
    settings = snapshot.settings
    product = servable_for_shop(settings, PRODUCT).loaded
    categories = snapshot.read("select product_id, category_id from products where category_id is not null")

    @lru_cache
    def affinity_at(moment: datetime) -> pd.DataFrame:
        none = TABLES["product_affinity"].empty()
        if product is None:
            return none
        rows = product_affinity(
            snapshot.connection,
            moment,
            product.model,
            product.version,
            settings.shop.label_horizon_days,
            order=RULES.get(serving_order(settings.place)),
        )
        return next(rows, none)

    return Known(
        visitors,
        dict(zip(categories["product_id"], categories["category_id"], strict=True)),
        affinity_at,
        naive(product.manifest.validation_cutoff) if product else None,
    )


def _not_learned(count: int) -> dg.MaterializeResult:
    missing = f"{count} visits with products are known, {LEAST_SESSIONS} are needed"
    return dg.MaterializeResult(
        metadata={"decision": "not made", "missing": missing},
        check_results=[_warning(CHECK, False, missing), _warning(LISTS_CHECK, False, missing)],
    )


def _warning(name: str, is_passed: bool, description: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=is_passed, severity=dg.AssetCheckSeverity.WARN, description=description)
