"""The audit log: every decision and every view of personal data, with who, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from customer360.services.desk.models import AuditEntry

PERSONAL_VIEWED = "personal data viewed"


def record(
    request: HttpRequest, action: str, *, subject: str = "", reason: str = "", details: Mapping[str, Any] | None = None
) -> AuditEntry:
    """Add an entry by the request's user, in the transaction around it where there is one. ``details`` is plain JSON."""
    return AuditEntry.objects.create(
        username=request.user.get_username(),
        action=action,
        subject=subject[:300],
        reason=reason,
        details=dict(details or {}),
        address=request.META.get("REMOTE_ADDR") or None,
    )
