"""Conditions as a tree: whatever a form holds comes back from its text, and chooses the same customers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.campaigns.audience import audience_columns, audience_tree, parse_audience
from customer360.campaigns.conditions import COMPARISONS, EVERYONE, Condition, Group, Negation, Tree, text_of
from tests.support.random_shop import small_shop

SHOP = small_shop(attributes={"case": {"type": "text"}, "vip": {"type": "boolean"}})
COLUMNS = {
    kind: sorted(name for name, column in audience_columns(SHOP).items() if column.kind == kind)
    for kind in ("number", "text", "boolean")
}
VALUES = {
    "number": st.one_of(st.integers(-(10**15), 10**15).map(float), st.floats(allow_nan=False, allow_infinity=False)),
    "text": st.text(max_size=12),
    "boolean": st.booleans(),
}


def _conditions(kind: str) -> st.SearchStrategy[Tree]:
    column, value = st.sampled_from(COLUMNS[kind]), VALUES[kind]
    signs = st.sampled_from(COMPARISONS if kind == "number" else COMPARISONS[:2])
    return st.one_of(
        st.builds(Condition, column, signs, st.tuples(value)),
        st.builds(Condition, column, st.sampled_from(["in", "not in"]), st.lists(value, min_size=1, max_size=3).map(tuple)),
        st.builds(Condition, column, st.sampled_from(["is empty", "is not empty"])),
    )


TREES: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(*map(_conditions, COLUMNS)),
    lambda tree: st.one_of(
        st.builds(Negation, tree),
        st.builds(Group, st.sampled_from(["and", "or"]), st.lists(tree, min_size=2, max_size=4).map(tuple)),
    ),
    max_leaves=10,
)


@settings(max_examples=200)
@given(TREES)
def test_a_tree_comes_back_from_its_text(tree: Tree) -> None:
    assert audience_tree(text_of(tree), SHOP) == tree


@pytest.mark.parametrize(
    ("text", "tree", "rendered"),
    [
        (" Everyone ", EVERYONE, "everyone"),
        ("vip", Condition("vip", "=", (True,)), "vip = true"),
        ("not vip", Negation(Condition("vip", "=", (True,))), "not (vip = true)"),
        ("NOT segment IN ('a')", Condition("segment", "not in", ("a",)), "segment not in ('a')"),
        ("segment = 'it''s'", Condition("segment", "=", ("it's",)), "segment = 'it''s'"),
        (
            "recency_days < 3 or recency_days is not empty and frequency >= .5",
            Group(
                "or",
                (
                    Condition("recency_days", "<", (3.0,)),
                    Group("and", (Condition("recency_days", "is not empty"), Condition("frequency", ">=", (0.5,)))),
                ),
            ),
            "recency_days < 3 or (recency_days is not empty and frequency >= 0.5)",
        ),
    ],
)
def test_a_text_becomes_a_tree_and_the_tree_a_text(text: str, tree: Tree, rendered: str) -> None:
    assert audience_tree(text, SHOP) == tree
    assert text_of(tree) == rendered
    assert parse_audience(rendered, SHOP) == parse_audience(text, SHOP)
