"""Accounts: an admin makes them, gives roles, closes them, and resets passwords; everybody changes the own password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from customer360.services.desk.access import ACCOUNTS, ROLES, VIEW, DeskRequest, page
from customer360.services.desk.accounts import AccountError, add_account, give_role, list_accounts, new_password, set_active
from customer360.services.desk.audit import record

MAY = {
    "viewer": _("sees all pages; personal attributes are masked"),
    "marketer": _("also sees personal attributes, makes audiences and campaigns, and plans"),
    "approver": _("also approves and withdraws plans of others, and reads the audit log"),
    "admin": _("also makes accounts, gives roles and asks for runs"),
}


@page("accounts/", ACCOUNTS, name="accounts", title=_("Accounts"), order=95, methods=("GET", "POST"), reads=False)
def accounts(request: DeskRequest) -> HttpResponse:
    """All accounts; a POST makes one, whose password is shown this once."""
    context = {"accounts": list_accounts(), "roles": MAY}
    if request.method == "GET":
        return render(request, "desk/accounts.html", context)
    name, role = request.POST.get("name", "").strip(), request.POST.get("role", "")
    try:
        password = add_account(name, role, by=request.user.get_username())
    except AccountError as error:
        messages.error(request, str(error))
        return redirect("accounts")
    return render(request, "desk/accounts.html", {**context, "accounts": list_accounts(), "made": name, "password": password})


@page("accounts/<int:number>/", ACCOUNTS, name="account", methods=("POST",), reads=False)
def account(request: DeskRequest, number: int) -> HttpResponse:
    """Change an account's role or password, or close or open it. Nobody changes the own role or closes the own account."""
    user, by, change = get_object_or_404(User, pk=number), request.user.get_username(), request.POST.get("change", "")
    if change == "password":
        context = {"accounts": list_accounts(), "roles": MAY, "made": user.username, "password": new_password(user, by)}
        return render(request, "desk/accounts.html", context)
    if user == request.user:
        messages.error(request, gettext("Another admin must change the role of your account or close it."))
    elif change in ROLES:
        give_role(user, change, by)
    elif change in {"close", "open"}:
        set_active(user, change == "open", by)
    return redirect("accounts")


@page("password/", VIEW, name="password", methods=("GET", "POST"), reads=False)
def password(request: DeskRequest) -> HttpResponse:
    """The own password."""
    form = PasswordChangeForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        update_session_auth_hash(request, form.save())
        record(request, "password changed", subject=request.user.get_username())
        messages.success(request, gettext("The password is changed; other sessions of yours have ended."))
        return redirect("today")
    return render(request, "desk/password.html", {"form": form})
