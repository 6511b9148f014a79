"""Signing in, sessions, tokens and headers of the desk; what is written of data that carries markup."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings
from django.db import DatabaseError, connection, transaction
from django.test import override_settings
from msgspec.structs import replace

from customer360.services.desk.accounts import AccountError, make_demo_accounts, new_password
from customer360.services.desk.configuration import DeskSettings
from customer360.services.desk.models import AppendOnlyError, AuditEntry
from customer360.settings import SettingsError
from tests.desk.in_django import Desk

MARKUP = "<script>alert('canary')</script>"


def signed_in(desk: Desk, role: str = "viewer", after: str = "") -> tuple[object, str]:
    client, password = desk.client(), new_password(desk.user(role), "tests")
    client.get("/login/")
    response = client.post("/login/", {"username": role, "password": password, "next": after})
    assert response.status_code == 302
    return client, response.headers["Location"]


def test_a_proxy_that_asks_for_dagster_leads_to_the_login_and_back(desk: Desk) -> None:
    asked = {"HTTP_X_FORWARDED_URI": "/dagster/runs?view=all"}
    response = desk.client().get("/may/operate/", **asked)
    assert (response.status_code, response.headers["Location"]) == (302, "/login/?next=/dagster/runs%3Fview%3Dall")
    assert [desk.client(role).get("/may/operate/", **asked).status_code for role in ("viewer", "admin")] == [403, 204]
    assert desk.client("viewer").get("/may/view/", **asked).status_code == 204
    assert signed_in(desk, after="/dagster/runs?view=all")[1] == "/dagster/runs?view=all"


def test_a_sign_in_gives_the_session_a_new_id(desk: Desk) -> None:
    client = desk.client()
    session = client.session
    session["planted"] = True
    session.save()
    before = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    response = client.post("/login/", {"username": "viewer", "password": new_password(desk.user("viewer"), "tests")})
    cookie = response.cookies[django_settings.SESSION_COOKIE_NAME]
    assert cookie.value != before
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"])
def test_next_leads_to_no_other_site(desk: Desk, address: str) -> None:
    assert signed_in(desk, after=address)[1] == "/"


def test_next_leads_back_to_a_page_of_the_desk(desk: Desk) -> None:
    assert signed_in(desk, after="/models/?days=7")[1] == "/models/?days=7"


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example"])
def test_next_leads_to_no_other_site_for_who_is_signed_in_already(desk: Desk, address: str) -> None:
    assert desk.client("viewer").get("/login/", {"next": address}).headers["Location"] == "/"


def test_another_host_is_no_name_of_the_desk(desk: Desk) -> None:
    assert desk.client().get("/login/", headers={"Host": "evil.example"}).status_code == 400


def test_an_account_is_refused_after_five_wrong_passwords(desk: Desk) -> None:
    client, password = desk.client(), new_password(desk.user("viewer"), "tests")
    answers = [client.post("/login/", {"username": "viewer", "password": "wrong"}).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    assert client.post("/login/", {"username": "viewer", "password": password}).status_code == 429
    assert AuditEntry.objects.filter(action="locked out", username="viewer").exists()
    other = client.post("/login/", {"username": "viewer", "password": password}, REMOTE_ADDR="192.0.2.7")
    assert other.status_code == 302


def test_a_form_without_its_token_is_refused(desk: Desk) -> None:
    client = desk.client("admin", enforce_csrf_checks=True)
    assert client.post("/accounts/", {"name": "x", "role": "viewer"}).status_code == 403
    assert client.post("/runs/", {"job": "training_job"}, headers={"HX-Request": "true"}).status_code == 403


def test_every_answer_has_the_headers_of_security(desk: Desk) -> None:
    for client, address in ((desk.client(), "/login/"), (desk.client("viewer"), "/"), (desk.client("viewer"), "/audit/")):
        headers = client.get(address).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["script-src"] == "'self'"
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "no-store" in headers["Cache-Control"]


def test_a_body_beyond_the_limit_is_refused(desk: Desk) -> None:
    body = b"x" * (django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    assert desk.client("admin").post("/accounts/", body, "application/x-www-form-urlencoded").status_code == 413


def test_markup_in_data_is_shown_as_text(desk: Desk) -> None:
    desk.shop.tables["campaign_plan"] = desk.shop.tables["campaign_plan"].replace(
        "'spring'", "'" + MARKUP.replace("'", "''") + "'"
    )
    desk.shop.tables["model_versions"] = desk.shop.tables["model_versions"].replace("<b>", MARKUP.replace("'", "''"))
    desk.shop.publish()
    for address in ("/", "/models/"):
        content = desk.client("admin").get(address).content.decode()
        assert "canary" in content, address
        assert "<script>alert" not in content, address


@pytest.mark.parametrize(("is_trusted", "address"), [(True, "203.0.113.9"), (False, "127.0.0.1")])
def test_the_address_is_the_one_that_a_trusted_proxy_saw(desk: Desk, is_trusted: bool, address: str) -> None:
    with override_settings(DESK=replace(django_settings.DESK, forwarded_for=is_trusted)):
        client = desk.client("viewer", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
        client.get("/customers/C1/")
    assert AuditEntry.objects.get(action="personal data viewed").address == address


def test_a_session_ends_when_the_account_is_closed(desk: Desk) -> None:
    client = desk.client("viewer")
    assert client.get("/").status_code == 200
    desk.client("admin").post(f"/accounts/{desk.user('viewer').pk}/", {"change": "close"})
    assert client.get("/").headers["Location"].startswith("/login/")


def test_entries_of_the_audit_log_stay_as_they_are(desk: Desk) -> None:
    entry = AuditEntry.objects.create(username="anna", action="campaign approved", subject="spring")
    entry.action = "nothing"
    for change in (entry.save, entry.delete, AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(action="")):
        with pytest.raises(AppendOnlyError):
            change()
    for statement in ("update desk_auditentry set action = ''", "delete from desk_auditentry"):
        with pytest.raises(DatabaseError, match="neither changed nor deleted"), transaction.atomic():
            connection.cursor().execute(statement)


def test_demo_accounts_are_made_on_a_demo_alone(desk: Desk) -> None:
    with pytest.raises(AccountError, match="was made by no demo"):
        make_demo_accounts(desk.shop.settings.place)
    (desk.shop.settings.place.root / "demo").touch()
    first, second = (make_demo_accounts(desk.shop.settings.place) for _ in range(2))
    assert first.keys() == second.keys() == {"viewer", "marketer", "approver", "admin"}
    assert not set(first.values()) & set(second.values())


def test_other_machines_reach_the_desk_over_tls_alone() -> None:
    with pytest.raises(SettingsError, match="CUSTOMER360_DESK_ORIGIN"):
        DeskSettings.from_environment({"CUSTOMER360_DESK_HOST": "0.0.0.0"})
    DeskSettings.from_environment({"CUSTOMER360_DESK_HOST": "0.0.0.0", "CUSTOMER360_DESK_ORIGIN": "https://desk.example"})
    with pytest.raises(SettingsError, match="no setting of the desk"):
        DeskSettings.from_environment({"CUSTOMER360_DESK_HOTS": "x"})
