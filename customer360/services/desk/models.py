"""What the desk keeps in its own database beside Django's users, groups and sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

from customer360.services.desk.identities import Identity
from customer360.services.desk.saved import SavedAudience

__all__ = ("AppendOnly", "AppendOnlyError", "AuditEntry", "Identity", "SavedAudience")


class AppendOnlyError(TypeError):
    """Something tried to change or delete an entry of the audit log."""


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Rows that are added and read."""

    def update(self, **_values: Any) -> NoReturn:
        """Raise ``AppendOnlyError``."""
        raise AppendOnlyError("entries of the audit log are not changed")

    def delete(self) -> NoReturn:
        """Raise ``AppendOnlyError``."""
        raise AppendOnlyError("entries of the audit log are not deleted")


class AuditEntry(models.Model):
    """One decision, sign-in, change of an account, or view of personal data: who, when, what, and why.

    Entries are added alone: triggers of the database refuse changes too. ``username`` is a copy: an account may go.
    """

    at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("time"), auto_now_add=True, db_index=True)
    username: models.CharField[str, str] = models.CharField(_("who"), max_length=150, db_index=True)
    action: models.CharField[str, str] = models.CharField(_("action"), max_length=100, db_index=True)
    subject: models.CharField[str, str] = models.CharField(_("subject"), max_length=300, blank=True, db_index=True)
    reason: models.TextField[str, str] = models.TextField(_("reason"), blank=True)
    details = models.JSONField(_("details"), default=dict)
    address: models.GenericIPAddressField[str | None, str | None] = models.GenericIPAddressField(_("address"), null=True)

    objects = AppendOnly.as_manager()

    class Meta:
        """The permissions of the whole desk stand here, since Django ties each to a model."""

        ordering = ("-id",)
        default_permissions = ()
        permissions = (
            ("view_pages", "See pages without personal attributes"),
            ("view_personal", "See personal attributes"),
            ("plan_campaigns", "Make audiences and campaigns, and plan"),
            ("approve_campaigns", "Approve and withdraw plans"),
            ("view_audit", "Read the audit log"),
            ("manage_accounts", "Make accounts and give roles"),
        )

    def __str__(self) -> str:
        """Who did what."""
        return f"{self.username}: {self.action} {self.subject}".rstrip()

    def save(self, **options: Any) -> None:
        """Add the entry. Raises ``AppendOnlyError`` for one that was added before."""
        if self.pk is not None:
            raise AppendOnlyError("entries of the audit log are not changed")
        super().save(**{**options, "force_insert": True})

    def delete(self, using: Any = None, keep_parents: bool = False) -> NoReturn:
        """Raise ``AppendOnlyError``."""
        raise AppendOnlyError("entries of the audit log are not deleted")
