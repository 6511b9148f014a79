"""Single sign-on by OpenID Connect: an account by the e-mail address that the provider vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from customer360.services.desk.access import ROLES
from customer360.services.desk.accounts import give_role, role_of


class SignOnBackend(OIDCAuthenticationBackend):  # type: ignore[misc]
    """Accounts are named by e-mail address and have no password.

    Without a claim of roles a new account has none, and may do nothing, until an admin gives it one. With one the provider
    decides, at each sign-in; who has none of the four is signed in and may do nothing.
    """

    def verify_claims(self, claims: Mapping[str, Any]) -> bool:
        """Refuse an address that the provider does not call verified: another could have typed it."""
        return bool(claims.get("email")) and claims.get("email_verified", settings.DESK.oidc_trusts_email) is True

    def filter_users_by_claims(self, claims: Mapping[str, Any]) -> QuerySet[User]:
        """The account of that address."""
        return User.objects.filter(username__iexact=claims["email"])

    def create_user(self, claims: Mapping[str, Any]) -> User:
        """Make the account at the first sign-in."""
        return self.update_user(User.objects.create_user(str(claims["email"]).lower(), email=claims["email"]), claims)

    def update_user(self, user: User, claims: Mapping[str, Any]) -> User:
        """Take over the highest of the claimed roles."""
        if settings.DESK.oidc_roles_claim:
            claimed = claims.get(settings.DESK.oidc_roles_claim) or ()
            names = {claimed} if isinstance(claimed, str) else {*claimed}
            role = next((role for role in reversed(ROLES) if role in names), "")
            if role != role_of(user):
                give_role(user, role, by="single sign-on")
        return user
