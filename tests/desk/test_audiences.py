"""The audience builder: form and text say the same, sizes are shown at once, and viewers learn nothing personal."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from customer360.audiences.sizes import audience_size
from customer360.services.desk.models import AuditEntry, SavedAudience
from customer360.snapshot import open_snapshot
from tests.desk.in_django import Desk, desk_of
from tests.services.api_server import write_shop
from tests.support.audience_shop import AudienceShop, audience_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> AudienceShop:
    made = audience_shop(tmp_path_factory.mktemp("shop"))
    made.settings.shop_folder.mkdir()
    write_shop(made.settings)
    return made


@pytest.fixture
def desk(_database: None, shop: AudienceShop) -> Iterator[Desk]:
    with desk_of(cast("Any", shop)) as opened:
        yield opened


def shown(desk: Desk, role: str = "marketer", **query: str) -> str:
    answer = desk.client(role).get(f"/audiences/?{urlencode(query)}")
    assert answer.status_code == 200
    return answer.content.decode()


def text_in(page: str) -> str:
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def customers_in(page: str) -> int:
    found = re.search(r"<dt>Customers</dt><dd>([\d,]+)", page)
    assert found is not None, page
    return int(found[1].replace(",", ""))


def counted(shop: AudienceShop, text: str) -> int:
    with open_snapshot(shop.settings) as snapshot:
        return audience_size(snapshot, text).customers


def test_the_form_makes_the_text_and_the_size_of_it_is_shown(desk: Desk, shop: AudienceShop) -> None:
    fields = {"by": "form", "joined": "and", "mode-0": "any", "column-0-0": "city", "operator-0-0": "in"}
    fields |= {"value-0-0": 'Utrecht, "O\'Hare"', "column-0-1": "vip", "operator-0-1": "=", "value-0-1": "true"}
    fields |= {"mode-1": "none", "column-1-0": "age", "operator-1-0": "<", "value-1-0": "25.5"}
    page = shown(desk, **fields)
    text = "(city in ('Utrecht', 'O''Hare') or vip = true) and not (age < 25.5)"
    assert text_in(page) == text
    assert customers_in(page) == counted(shop, text) > 0


def test_the_text_makes_the_form(desk: Desk, shop: AudienceShop) -> None:
    page = shown(desk, text="segment in ('Loyal', 'a,b') and recency_days >= 3")
    assert 'value="Loyal, &quot;a,b&quot;"' in page
    assert re.search(r'<option value="recency_days" selected>', page)
    assert customers_in(page) == counted(shop, "segment = 'Loyal' and recency_days >= 3")


def test_a_text_that_is_nested_too_deep_for_the_form_is_edited_as_text(desk: Desk) -> None:
    page = shown(desk, text="not (age < 3 and (vip or not (age > 5 and vip)))")
    assert "nested deeper than the form shows" in page
    assert customers_in(page) > 0


@pytest.mark.parametrize(
    ("query", "message", "remedy"),
    [
        ({"text": "agee > 3"}, "there is no column agee", "did you mean age?"),
        (
            {"by": "form", "mode-0": "all", "column-0-0": "age", "operator-0-0": ">", "value-0-0": "old"},
            "is a number, not old",
            "25",
        ),
        (
            {"by": "form", "mode-0": "all", "column-0-0": "<b>", "operator-0-0": "=", "value-0-0": "1"},
            "no column &lt;b&gt;",
            "choose",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(desk: Desk, query: dict[str, str], message: str, remedy: str) -> None:
    page = shown(desk, **query if "text" in query else {"by": "form", "mode-0": "all", **query})
    assert message in page
    assert remedy in page
    assert "Correct the audience above" in page


def test_conditions_are_added_and_removed_without_scripts(desk: Desk) -> None:
    fields = {"by": "form", "mode-0": "all", "column-0-0": "age", "operator-0-0": ">", "value-0-0": "3"}
    fields |= {"column-0-1": "vip", "operator-0-1": "=", "value-0-1": "true"}
    assert 'name="column-0-2"' in shown(desk, **fields, add="0")
    assert 'name="column-1-0"' in shown(desk, **fields, add="group")
    page = shown(desk, **fields, remove="0-0")
    assert text_in(page) == "vip = true"
    assert "column-0-1" not in page


def test_a_viewer_asks_for_no_personal_column(desk: Desk) -> None:
    page = shown(desk, "viewer", text="age > 30 and customer_id = 'C0001'")
    assert "age is personal, which your role does not see" in page
    assert "<dt>Customers</dt>" not in page
    assert '<option value="age"' not in page
    client = desk.client("viewer")
    assert client.get("/audiences/columns/age/").status_code == 403
    assert "is personal" in client.get("/audiences/overlap/?first=age>3&second=everyone").content.decode()
    assert client.get("/audiences/columns/city/").status_code == 200


def test_a_column_shows_its_values(desk: Desk) -> None:
    client = desk.client("marketer")
    assert "Utrecht" in client.get("/audiences/columns/city/").content.decode()
    assert "Up to which value" in client.get("/audiences/columns/recency_days/").content.decode()
    assert client.get("/audiences/columns/nothing/").status_code == 404


def test_asking_of_a_personal_column_is_audited_without_the_values(desk: Desk) -> None:
    client = desk.client("marketer")
    shown(desk, text="age > 30 and customer_id = 'C0001'")
    client.get("/audiences/columns/age/")
    client.get("/audiences/overlap/?first=age>3&second=everyone")
    shown(desk, text="recency_days > 3")
    looks = AuditEntry.objects.filter(action="personal data viewed").order_by("id").values_list("details__columns", flat=True)
    assert list(looks) == [["age", "customer_id"], ["age"], ["age"]]


def test_an_audience_is_saved_by_its_owner_and_seen_by_all(desk: Desk) -> None:
    client = desk.client("marketer")
    for text in ("vip", "vip or age > 70"):
        answer = client.post("/audiences/save/", {"name": "Rich <b>", "text": text}, follow=True)
        assert "is saved" in answer.content.decode()
    (saved,) = SavedAudience.objects.all()
    assert (saved.text, saved.owner.get_username()) == ("vip or age > 70", "marketer")
    assert "Rich &lt;b&gt;" in shown(desk, "approver")
    assert "Rich" not in shown(desk, "viewer")  # age is personal
    refused = desk.client("approver").post(f"/audiences/{saved.pk}/delete/", follow=True)
    assert "its owner alone deletes one" in refused.content.decode()
    assert SavedAudience.objects.count() == 1
    assert client.post(f"/audiences/{saved.pk}/delete/").status_code == 302
    assert not SavedAudience.objects.exists()
    actions = list(AuditEntry.objects.values_list("username", "action").order_by("id"))
    assert [entry for entry in actions if entry[1].startswith("audience")] == [("marketer", "audience saved")] * 2 + [
        ("marketer", "audience deleted")
    ]


def test_what_is_no_audience_is_not_saved(desk: Desk) -> None:
    answer = desk.client("marketer").post("/audiences/save/", {"name": "x", "text": "agee > 3"}, follow=True)
    assert "Not saved" in answer.content.decode()
    assert not SavedAudience.objects.exists()


def test_the_overlap_of_two_audiences_is_counted(desk: Desk, shop: AudienceShop) -> None:
    answer = desk.client("viewer").get("/audiences/overlap/", {"first": "vip", "second": "city = 'Utrecht'"})
    both = counted(shop, "vip and city = 'Utrecht'")
    assert f"<dt>In both</dt><dd>{both}</dd>" in answer.content.decode()
