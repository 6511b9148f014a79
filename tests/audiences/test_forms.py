"""Forms of conditions: what a form says comes back to it, and texts that it can show keep their customers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.audiences.forms import ConditionForm, ConditionGroup, condition_of, form_of, operators_of, value_text
from customer360.campaigns.audience import AudienceError, audience_columns, audience_tree
from customer360.campaigns.conditions import Condition, text_of
from tests.support.audience_shop import SHOP

COLUMNS = audience_columns(SHOP)
NUMBERS = st.tuples(st.integers(0, 99).map(float))
NAMES = st.text("a,'\" ", min_size=1).map(str.strip).filter(bool)
CONDITIONS = st.one_of(
    st.builds(Condition, st.just("age"), st.sampled_from(operators_of(COLUMNS["age"])[:6]), NUMBERS),
    st.builds(
        Condition, st.just("city"), st.sampled_from(["in", "not in"]), st.lists(NAMES, min_size=1, max_size=3).map(tuple)
    ),
    st.builds(Condition, st.sampled_from(["vip", "age", "city"]), st.sampled_from(["is empty", "is not empty"])),
    st.builds(Condition, st.just("vip"), st.just("="), st.tuples(st.booleans())),
)
GROUPS = st.builds(
    ConditionGroup, st.sampled_from(["all", "any", "none"]), st.lists(CONDITIONS, min_size=1, max_size=3).map(tuple)
)
FORMS = st.builds(ConditionForm, st.sampled_from(["and", "or"]), st.lists(GROUPS, max_size=3).map(tuple))


@settings(max_examples=100)
@given(FORMS)
def test_a_form_comes_back_from_its_text(form: ConditionForm) -> None:
    text = text_of(form.tree)
    found = form_of(audience_tree(text, SHOP))
    assert found is not None
    assert text_of(found.tree) == text


@settings(max_examples=100)
@given(CONDITIONS)
def test_a_condition_comes_back_from_its_fields(condition: Condition) -> None:
    assert condition_of(condition.column, condition.operator, value_text(condition), COLUMNS) == condition


@pytest.mark.parametrize(
    ("fields", "message", "remedy"),
    [
        (("agee", "=", "3"), "there is no column agee", "choose one"),
        (("city", "<", "a"), "cannot be compared by <", "choose one of =, !=, in"),
        (("age", "=", "nan"), "age is a number, not nan", "25"),
        (("age", "=", "1e999"), "age is a number", "25"),
        (("vip", "=", "yes"), "vip is true or false, not yes", "write true or false"),
        (("age", "in", " , "), "age in has no value", "write one"),
        (("city", "=", " "), "city = has no value", "remove the condition"),
    ],
)
def test_what_is_no_condition_says_how_to_mend_it(fields: tuple[str, str, str], message: str, remedy: str) -> None:
    with pytest.raises(AudienceError) as refused:
        condition_of(*fields, COLUMNS)
    assert message in refused.value.message
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("text", ["not (age < 3 and vip)", "vip and (age < 3 or (age > 5 and age < 9))", "not (not (age < 3))"])
def test_what_is_nested_deeper_stays_text(text: str) -> None:
    assert form_of(audience_tree(text, SHOP)) is None
