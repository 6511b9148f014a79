"""Every route, and what each role is answered: the table is complete, or the first test fails."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from benchmarks.desk import NOT_MEASURED, Visit
from customer360.services.desk.access import PAGES
from customer360.services.desk.urls import urlpatterns
from tests.desk.conftest import SPRING
from tests.desk.in_django import Desk
from tests.services.served_shop import SHELVES

from customer360.services.desk.models import AuditEntry  # isort: skip  Django is set up by tests.desk.in_django

EVERYBODY = ("viewer", "marketer", "approver", "admin")
MARKETING = ("marketer", "approver", "admin")
APPROVERS = ("approver", "admin")
ADMINS = ("admin",)
# By a page's name and method: an address, whose values are those of the small shop, and the roles that may.
ROUTES: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("today", "GET"): ("/", EVERYBODY),
    ("activity", "GET"): ("/activity/", EVERYBODY),
    ("segments", "GET"): ("/segments/", EVERYBODY),
    ("offers", "GET"): ("/offers/", EVERYBODY),
    ("recommendations", "GET"): ("/recommendations/", EVERYBODY),
    ("why", "GET"): ("/why/?customer=C1&campaign=spring", EVERYBODY),
    ("customers", "GET"): ("/customers/?q=C", EVERYBODY),
    ("customer", "GET"): ("/customers/C1/", EVERYBODY),
    ("audiences", "GET"): ("/audiences/?text=segment%20%3D%20%27Lost%27", EVERYBODY),
    ("audience_column", "GET"): ("/audiences/columns/segment/", EVERYBODY),
    ("audience_overlap", "GET"): ("/audiences/overlap/?first=everyone&second=everyone", EVERYBODY),
    ("audience_save", "POST"): ("/audiences/save/", MARKETING),
    ("audience_delete", "POST"): ("/audiences/1/delete/", MARKETING),
    ("may_view", "GET"): ("/may/view/", EVERYBODY),
    ("may_operate", "GET"): ("/may/operate/", ADMINS),
    ("checks", "GET"): ("/checks/", EVERYBODY),
    ("start_run", "POST"): ("/runs/", ADMINS),
    ("run", "GET"): ("/runs/00000000-0000-0000-0000-000000000000/", EVERYBODY),
    ("models", "GET"): ("/models/", EVERYBODY),
    ("model_card", "GET"): ("/models/affinity/v7/", EVERYBODY),
    ("model_plot", "GET"): ("/models/affinity/v7/lift.png", EVERYBODY),
    ("reconciliation", "GET"): ("/reconciliation/", EVERYBODY),
    ("reconciliation", "POST"): ("/reconciliation/", EVERYBODY),
    ("audit", "GET"): ("/audit/", APPROVERS),
    ("accounts", "GET"): ("/accounts/", ADMINS),
    ("accounts", "POST"): ("/accounts/", ADMINS),
    ("account", "POST"): ("/accounts/1/", ADMINS),
    ("password", "GET"): ("/password/", EVERYBODY),
    ("password", "POST"): ("/password/", EVERYBODY),
    ("messages", "GET"): ("/messages/", EVERYBODY),
    ("message", "GET"): ("/messages/offer/", EVERYBODY),
    ("message", "POST"): ("/messages/offer/", EVERYBODY),
    ("message_preview", "GET"): ("/messages/offer/preview/", EVERYBODY),
    ("message_test", "POST"): ("/messages/offer/test/", MARKETING),
    ("message_begin", "POST"): ("/messages/begin/", MARKETING),
    ("message_remove", "POST"): ("/messages/offer/remove/", MARKETING),
    ("email", "GET"): ("/email/", EVERYBODY),
    ("email_stop", "POST"): ("/email/stop/", APPROVERS),
    ("email_resume", "POST"): ("/email/resume/", APPROVERS),
    ("email_send_unknown", "POST"): ("/email/send-unknown/", APPROVERS),
    ("campaigns", "GET"): ("/campaigns/", EVERYBODY),
    ("campaign", "GET"): ("/campaigns/spring/", EVERYBODY),
    ("campaign_results", "GET"): ("/campaigns/spring/results/", EVERYBODY),
    ("campaign_what_if", "GET"): ("/campaigns/spring/what-if/?budget=much", MARKETING),
    ("campaign_approve", "POST"): ("/campaigns/spring/approve/", APPROVERS),
    ("campaign_withdraw", "POST"): ("/campaigns/spring/withdraw/", APPROVERS),
    ("campaigns_plan", "POST"): ("/campaign-plans/", MARKETING),
    ("campaign_new", "GET"): ("/campaign-new/", MARKETING),
    ("campaign_new", "POST"): ("/campaign-new/", MARKETING),
    ("campaign_edit", "GET"): ("/campaigns/spring/edit/", MARKETING),
    ("campaign_edit", "POST"): ("/campaigns/spring/edit/", MARKETING),
    ("campaign_remove", "POST"): ("/campaigns/spring/remove/", MARKETING),
}
NOT_THERE = {
    **dict.fromkeys(("email_stop", "email_resume", "email_send_unknown", "message", "message_preview", "message_test"), (404,)),
    "start_run": (404,),
    "model_card": (404,),
    "model_plot": (404,),
}  # what the small shop or an empty form lacks
JOINING = {
    "customer_features": "select 'C1' as customer_id, 10 as views_3d",
    "product_performance": """
        select 'last 30 days' as period, date '2026-04-01' as starts_on, 'p1' as product_id, 'books' as category_id,
            9 as views, 4 as carts, 3 as buyers, 3 as orders, .3 as conversion, 9.5 as gross_revenue, 0 as returned_amount,
            9.5 as revenue, 0 as returned_share
    """,
    "offer_activity": """
        select timestamp '2026-05-01 09:00' as event_slice, 'o-all' as offer_id, 40 as shown, 2 as clicked, 1 as purchases,
            9.5::decimal(18, 2) as revenue
    """,
    "current_offers": """
        select 'C1' as customer_id, 'o-all' as offer_id, 'all' as reason, 'priority list' as basis, 'v1' as policy_version,
            1.0 as propensity, 'o-all' as candidates
    """,
}
OPEN = {"login": "/login/", "health": "/health/"}


def test_the_table_names_every_route_and_method(desk: Desk) -> None:
    assert {(page.name, method) for page in PAGES.values() for method in page.methods} == ROUTES.keys()
    assert {getattr(pattern, "name", None) for pattern in urlpatterns} - PAGES.keys() == {*OPEN, "logout"}


def test_the_benchmark_measures_every_page(desk: Desk) -> None:
    visit = Visit(desk.shop.settings, ["C1001"], ["spring"], ["Lost"], ["segment"], ["affinity/v7"], ["offer"])
    pages = {page.name for page in PAGES.values() if "GET" in page.methods}
    assert pages == visit.addresses().keys() | NOT_MEASURED


@pytest.mark.parametrize("role", EVERYBODY)
def test_each_role_is_answered_as_the_table_says(desk: Desk, role: str) -> None:
    client = desk.client(role)
    for (name, method), (address, allowed) in ROUTES.items():
        response = client.generic(method, address)
        is_to_login = response.headers.get("Location", "").startswith("/login/")
        assert not is_to_login, name
        if role in allowed:
            assert response.status_code in {200, 204, 302, *NOT_THERE.get(name, ())}, (name, method, response.content[:500])
        else:
            assert response.status_code == 403, (name, method)


@pytest.mark.parametrize("missing", ["products", "offers", "rfm_segments", "customer_features"])
def test_without_a_table_that_others_join_the_pages_show_what_is_left(desk: Desk, missing: str) -> None:
    desk.shop.tables |= {name: query for name, query in (SHELVES | JOINING).items() if name != missing}
    desk.shop.tables.pop(missing, None)
    desk.shop.publish()
    pages = ["/activity/", "/segments/", "/offers/?customer=C1", "/recommendations/?customer=C1&product=p2", "/customers/C1/"]
    pages += ["/why/?customer=C1&campaign=spring", "/audiences/?text=views_3d>2", "/audiences/columns/segment/"]
    client = desk.client("viewer")
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)


@pytest.mark.parametrize(
    "address",
    ["/audit/?until=9999-12-31", "/audit/?since=0001-01-01", f"/audiences/?by=form&column-0-{'9' * 4500}=age"],
)
def test_what_is_out_of_range_is_no_failure(desk: Desk, address: str) -> None:
    assert desk.client("approver").get(address).status_code == 200


def test_any_name_of_an_account_or_a_file_leaves_the_pages_open(desk: Desk) -> None:
    admin = desk.client("admin")
    assert (
        "a name has 1 to 150 characters"
        in admin.post("/accounts/", {"name": "sales/eu", "role": "viewer"}, follow=True).content.decode()
    )
    user = User.objects.create_user("sales/eu@shop.example")  # as single sign-on makes it
    assert admin.post(f"/accounts/{user.pk}/", {"change": "viewer"}, follow=True).status_code == 200
    for name in ("Spring", "Spring Sale"):
        (desk.shop.settings.campaign_folder / f"{name}.yaml").write_text(SPRING, encoding="utf-8")
    assert "Spring Sale.yaml" in admin.get("/campaigns/").content.decode()
    assert admin.get("/campaigns/Spring/").status_code == 200
    assert {admin.get(f"/campaigns/{name}/edit/").status_code for name in ("Spring", "Spring%20Sale")} == {302, 404}


def test_who_is_not_signed_in_is_sent_to_the_login(desk: Desk) -> None:
    client = desk.client()
    for (name, method), (address, _) in ROUTES.items():
        response = client.generic(method, address)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, "/login/"), (name, method)


def test_parts_and_downloads_are_guarded_as_their_pages(desk: Desk) -> None:
    client, viewer, part = desk.client(), desk.client("viewer"), {"HX-Request": "true"}
    for (name, method), (address, allowed) in ROUTES.items():
        response = client.generic(method, address, headers=part)
        assert (response.headers["HX-Redirect"], response.content) == ("/login/", b""), name
        download = f"{address}{'&' if '?' in address else '?'}csv=1"
        assert client.generic(method, download).headers["Location"].startswith("/login/"), name
        if "viewer" not in allowed:
            assert viewer.generic(method, address, headers=part).status_code == 403, name
            assert viewer.generic(method, download).status_code == 403, name


def test_no_route_changes_anything_without_the_token_of_its_form(desk: Desk) -> None:
    client, before = desk.client("admin", enforce_csrf_checks=True), AuditEntry.objects.count()
    for (name, method), (address, _) in ROUTES.items():
        if method == "POST":
            assert client.post(address, {"reason": "x"}).status_code == 403, name
            assert client.post(address, {"reason": "x"}, headers={"HX-Request": "true"}).status_code == 403, name
    assert AuditEntry.objects.count() == before


def test_a_route_takes_no_other_method(desk: Desk) -> None:
    client = desk.client("admin")
    for (name, _), (address, _roles) in ROUTES.items():
        for method in {"GET", "POST", "PUT", "DELETE"} - {known for page, known in ROUTES if page == name}:
            assert client.generic(method, address).status_code == 405, (name, method)


def test_what_is_open_answers_without_an_account(desk: Desk) -> None:
    assert {desk.client().get(address).status_code for address in OPEN.values()} == {200}
