"""Audiences that people save in the desk's own database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import models
from django.utils.translation import gettext_lazy as _


class SavedAudience(models.Model):
    """The text of an audience under a name. Everybody sees it; its owner alone changes it."""

    owner: models.ForeignKey[User, User] = models.ForeignKey(User, models.CASCADE, verbose_name=_("owner"), related_name="+")
    name: models.CharField[str, str] = models.CharField(_("name"), max_length=100)
    text: models.TextField[str, str] = models.TextField(_("audience"), max_length=4_000)
    changed_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        """A name is used once by each owner."""

        ordering = ("name", "id")
        default_permissions: tuple[Any, ...] = ()
        constraints = (models.UniqueConstraint(fields=("owner", "name"), name="desk_savedaudience_owner_name"),)

    def __str__(self) -> str:
        """The name and whose it is."""
        return f"{self.name} ({self.owner.get_username()})"
