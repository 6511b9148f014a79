"""Sign-ins, sign-outs and lock-outs in the audit log."""

from __future__ import annotations

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from customer360.services.desk.models import AuditEntry


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    _add(request, user.get_username(), "signed in")


@receiver(user_logged_out)
def _signed_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        _add(request, user.get_username(), "signed out")


@receiver(user_locked_out)
def _locked_out(request: HttpRequest, username: str | None, **_: Any) -> None:
    _add(request, (username or "")[:150], "locked out")


def _add(request: HttpRequest, username: str, action: str) -> None:
    AuditEntry.objects.create(username=username, action=action, address=request.META.get("REMOTE_ADDR") or None)
