"""Reasons are kept fresh at a bounded cost, and are never about anything but the customer's top category of now."""

from __future__ import annotations

import pandas as pd
from published_frames import customer_frame

from customer360.settings import Shop
from ml.model_store import LoadedModel
from ml.reason_refresh import KEPT_COLUMNS, nothing_kept, refreshed_reasons
from ml.reasons import REASON_COLUMNS, reasons
from ml.scoring import score, top_categories

HOUR = pd.Timedelta(hours=1)


def at(features: pd.DataFrame, moment: pd.Timestamp, idle_days: float = 9.0) -> pd.DataFrame:
    """The same customers at another point in time, everyone idle for so long."""
    return features.assign(as_of=moment, days_since_last_activity=idle_days)


def refresh(features: pd.DataFrame, champion: LoadedModel, shop: Shop, kept: pd.DataFrame, at_once: int) -> pd.DataFrame:
    return refreshed_reasons(features, score(features, champion), champion, shop, kept, at_once=at_once)


def explained_at(kept: pd.DataFrame, moment: pd.Timestamp) -> set[str]:
    return set(kept.loc[kept["reasons_as_of"] == moment, "customer_id"])


def test_everyone_is_explained_every_time_where_all_fit(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    found = refresh(features, champion, shop, nothing_kept(), 40)
    expected = reasons(features, champion, shop).sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(found[list(REASON_COLUMNS)], expected)
    assert {column: str(kind) for column, kind in found.dtypes.items()} == KEPT_COLUMNS
    again = refresh(features, champion, shop, found, 40)
    pd.testing.assert_frame_equal(again, found)


def test_the_work_is_bounded_and_everyone_has_a_turn(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    moment = features["as_of"].iloc[0]
    kept = nothing_kept()
    for turn in range(1, 5):
        now = moment + turn * HOUR
        kept = refresh(at(features, now), champion, shop, kept, 10)
        assert len(explained_at(kept, now)) == 10
        assert len(kept) == turn * 10
    first = explained_at(kept, moment + HOUR)
    kept = refresh(at(features, moment + 5 * HOUR), champion, shop, kept, 10)
    assert explained_at(kept, moment + 5 * HOUR) == first


def test_who_was_active_since_comes_before_who_waits_longest(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    moment = features["as_of"].iloc[0]
    kept = refresh(at(features, moment), champion, shop, nothing_kept(), 40)
    now = moment + HOUR
    later = at(features, now)
    active = set(later["customer_id"].iloc[[3, 17, 29]])
    later.loc[later["customer_id"].isin(active), "days_since_last_activity"] = 0.01
    assert active == explained_at(refresh(later, champion, shop, kept, 3), now)


def test_reasons_of_another_category_or_model_are_dropped(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 40)
    kept = refresh(features, champion, shop, nothing_kept(), 40)
    top = top_categories(score(features, champion))["category_id"].to_numpy()
    stale = kept.assign(category_id=["beauty" if category != "beauty" else "fitness" for category in top])
    for wrong in (stale, kept.assign(model_version="v0")):
        found = refresh(features, champion, shop, wrong, 5)
        assert len(found) == 5
        assert set(found["model_version"]) == {champion.version}
    gone = kept.assign(customer_id="gone")
    assert "gone" not in set(refresh(features, champion, shop, gone, 5)["customer_id"])
