from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from published_frames import customer_frame, top_categories

from customer360.settings import Shop
from ml.frames import FrameError, feature_matrix
from ml.serving.reasons import REASON_COLUMNS, reasons
from ml.serving.scoring import SCORE_SCHEMA, score, to_table
from ml.versions.model_store import LoadedModel


def test_every_customer_has_every_category_and_probabilities_sum_to_one(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 50)
    table = score(features, champion)
    assert table.schema == SCORE_SCHEMA
    scores = table.to_pandas()
    assert scores.groupby("customer_id")["probability"].sum().to_numpy() == pytest.approx(np.ones(50))
    assert scores.groupby("customer_id")["rank"].apply(sorted).map(list).tolist() == [[1, 2, 3, 4, 5]] * 50
    assert set(scores["category_id"]) == {*shop.category_ids, "none"}
    assert set(scores["model_version"]) == {"v1"}
    best = scores.loc[scores.groupby("customer_id")["probability"].idxmax(), "rank"]
    assert set(best) == {1}
    assert (scores.groupby("customer_id")["is_label"].sum() == 1).all()


def test_the_label_is_the_largest_weighted_probability(shop: Shop, champion: LoadedModel) -> None:
    # The model's order: computers, fitness, beauty, other, none.
    model = replace(champion.model, weights=(1.0, 1.0, 4.0, 1.0, 0.5))
    scores = to_table(
        customer_frame(shop, 2), replace(champion, model=model), np.array([[0.1, 0.2, 0.2, 0, 0.5], [0.4, 0.1, 0, 0, 0.5]])
    ).to_pandas()
    named = scores[scores["is_label"]]
    # .2 x 4 against .5 x .5, and .4 against .25: neither is the most probable class.
    assert named["category_id"].tolist() == ["beauty", "computers"]
    assert scores.loc[scores["rank"] == 1, "category_id"].tolist() == ["none", "none"]


def test_ties_in_rank_go_by_category_id(shop: Shop, champion: LoadedModel) -> None:
    # The model's order: computers, fitness, beauty, other, none.
    scores = to_table(customer_frame(shop, 1), champion, np.array([[0.2, 0.3, 0.2, 0.2, 0.1]])).to_pandas()
    ranks = scores.set_index("category_id")["rank"].to_dict()
    assert ranks == {"fitness": 1, "beauty": 2, "computers": 3, "other": 4, "none": 5}


def test_the_order_of_customers_and_columns_changes_nothing(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 50)
    shuffled = features.sample(frac=1, random_state=1)[list(features.columns[::-1])]
    keys = ["customer_id", "category_id"]
    first = score(features, champion).to_pandas().sort_values(keys, ignore_index=True)
    again = score(shuffled, champion).to_pandas().sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(first, again)


def test_features_that_differ_from_the_models_are_refused(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 5)
    with pytest.raises(FrameError, match=r"customer_features lacks views_3d"):
        score(features.drop(columns="views_3d"), champion)
    assert score(features.assign(views_4d=1), champion).equals(score(features, champion))


def test_no_customers_give_typed_empty_tables(shop: Shop, champion: LoadedModel) -> None:
    nobody = customer_frame(shop, 5).iloc[:0]
    table = score(nobody, champion)
    assert (table.num_rows, table.schema) == (0, SCORE_SCHEMA)
    found = reasons(nobody, champion, shop)
    assert {column: str(kind) for column, kind in found.dtypes.items()} == REASON_COLUMNS


def test_reasons_speak_of_the_top_category_and_never_of_personal_attributes(shop: Shop, champion: LoadedModel) -> None:
    features = customer_frame(shop, 300)
    found = reasons(features, champion, shop)
    top = top_categories(score(features, champion).to_pandas())
    assert found["customer_id"].tolist() == features["customer_id"].tolist()
    assert found.sort_values("customer_id")["category_id"].tolist() == top
    texts = found[["reason_1", "reason_2", "reason_3"]].to_numpy().ravel()
    assert not any("Age" in str(text) for text in texts)
    titles = {"computers": "Computers", "fitness": "Fitness", "beauty": "Beauty", "other": "other products"}
    named = [titles[row.category_id] in str(row.reason_1) for row in found.itertuples()]
    assert np.mean(named) > 0.5


BOUGHT = ("orders", "spend", "lifetime_lines", "lifetime_spend", "lifetime_share")


def test_a_reason_only_pushes_towards_its_category(shop: Shop, champion: LoadedModel) -> None:
    """Independent check: undoing the first reason (views and time, or orders and spend) lowers the category's probability."""
    features = customer_frame(shop, 300)
    found = reasons(features, champion, shop)
    model = champion.model
    for measures, words in ((("views", "dwell_seconds"), r" (?:of|on) {} in"), (BOUGHT, r"^bought {} ")):
        lower = []
        for category in ("computers", "fitness", "beauty"):
            is_named = found["reason_1"].str.contains(words.format(category.capitalize()), na=False)
            rows = features[((found["category_id"] == category) & is_named).to_numpy()]
            if rows.empty:
                continue
            names = [f.name for f in model.features if f.measure in measures and f.category_id == category]
            before = model.probabilities(feature_matrix(rows, model.features, "x"))
            after = model.probabilities(feature_matrix(rows.assign(**dict.fromkeys(names, 0.0)), model.features, "x"))
            place = model.categories.index(category)
            lower += list(after[:, place] < before[:, place])
        assert lower
        assert np.mean(lower) > 0.9
