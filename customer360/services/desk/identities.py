"""People at a provider of single sign-on, and their accounts here."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import models
from django.utils.translation import gettext_lazy as _


class Identity(models.Model):
    """Whom the provider ``issuer`` knows as ``subject``: the pair alone stays with a person (OpenID Connect Core 1.0, 5.7)."""

    user: models.OneToOneField[User, User] = models.OneToOneField(User, models.CASCADE, verbose_name=_("account"))
    issuer: models.CharField[str, str] = models.CharField(_("issuer"), max_length=255)
    subject: models.CharField[str, str] = models.CharField(_("subject"), max_length=255)

    class Meta:
        """A person has one account."""

        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("issuer", "subject"), name="desk_identity_issuer_subject"),)

    def __str__(self) -> str:
        """The account, and who signs in to it."""
        return f"{self.user.get_username()}: {self.subject} at {self.issuer}"
