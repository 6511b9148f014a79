"""Accounts: made, given a role, closed. Each change is in the audit log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest

from customer360.errors import OperatorError
from customer360.services.desk.access import ROLES
from customer360.services.desk.models import AuditEntry
from customer360.settings import Place

PASSWORD_BYTES = 12


class AccountError(OperatorError, ValueError):
    """An account cannot be made or changed so. The message says why."""


@dataclass(frozen=True)
class Account:
    """An account as lists show it; ``role`` is empty where an admin has given none yet."""

    number: int
    name: str
    role: str
    is_active: bool
    last_login: datetime | None


def list_accounts() -> list[Account]:
    """All accounts, in the order of their names."""
    users = User.objects.prefetch_related("groups").order_by("username")
    return [Account(user.pk, user.username, role_of(user), user.is_active, user.last_login) for user in users]


def role_of(user: User) -> str:
    """The highest role among the user's groups; empty without any."""
    names = {group.name for group in user.groups.all()}
    return next((role for role in reversed(ROLES) if role in names), "")


@transaction.atomic
def add_account(name: str, role: str, by: str = "command line") -> str:
    """Make an account, and return its password, which is kept as a hash alone. Raises ``AccountError``."""
    if User.objects.filter(username__iexact=name).exists():
        raise AccountError(f"there is an account {name} already; customer360 desk users list shows all")
    if len(name) > 150 or not re.fullmatch(User.username_validator.regex, name):
        raise AccountError("a name has 1 to 150 characters: letters, digits, and @ . + - _")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    if role not in ROLES:
        raise AccountError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    give_role(User.objects.create_user(name, password=password), role, by)
    return password


@transaction.atomic
def give_role(user: User, role: str, by: str) -> None:
    """Give an account exactly this role, or none (""). Raises ``AccountError`` for another than the four."""
    if role and role not in ROLES:
        raise AccountError(f"{role} is no role; there are {', '.join(ROLES)}")
    before = role_of(user)
    user.groups.set(Group.objects.filter(name=role))
    AuditEntry.objects.create(username=by, action="role given", subject=user.username, details={"from": before, "to": role})


@transaction.atomic
def set_active(user: User, is_active: bool, by: str) -> None:
    """Close an account, whose sessions end with its next request, or open it again."""
    user.is_active = is_active
    user.save(update_fields=["is_active"])
    AuditEntry.objects.create(username=by, action="account opened" if is_active else "account closed", subject=user.username)


@transaction.atomic
def new_password(user: User, by: str) -> str:
    """Give an account a new password and return it; its sessions end."""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    user.set_password(password)
    user.save(update_fields=["password"])
    AuditEntry.objects.create(username=by, action="password reset", subject=user.username)
    return password


def is_without_name(_request: HttpRequest, credentials: Mapping[str, Any] | None) -> bool:
    """Whether a sign-in names no account, as single sign-on: failures count by name, and would lock out all of an address."""
    return not (credentials or {}).get("username")


def make_demo_accounts(place: Place) -> dict[str, str]:
    """One account a role on a demo's data, with new passwords, by name. Raises ``AccountError`` on other places."""
    if not (place.root / "demo").exists():
        raise AccountError(
            f"{place.root} was made by no demo: make each account with customer360 desk users add NAME --role ..."
        )
    passwords = {}
    for role in ROLES:
        user = User.objects.filter(username=role).first()
        passwords[role] = new_password(user, "command line") if user else add_account(role, role)
    return passwords
