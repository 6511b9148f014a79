"""Single sign-on by OpenID Connect: an account by who the provider says that a person is, named by e-mail address."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.db.models import QuerySet
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from customer360.services.desk.access import ROLES
from customer360.services.desk.accounts import give_role, role_of
from customer360.services.desk.models import AuditEntry, Identity

BY = "single sign-on"


class SignOnBackend(OIDCAuthenticationBackend):  # type: ignore[misc]
    """An account belongs to an issuer and its subject. It has no password, and is named by the address of its first sign-in.

    Another person who is given an address later gets an account of another name, and nothing of the first one's. Without a
    claim of roles a new account has none, and may do nothing, until an admin gives it one. With one the provider decides, at
    each sign-in; who has none of the four is signed in and may do nothing.
    """

    def get_userinfo(self, access_token: str, id_token: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The claims about the subject of the token; both must be of this desk's issuer, for this desk, and of one person."""
        claims = super().get_userinfo(access_token, id_token, payload)
        audience = payload.get("aud")
        is_for_us = settings.DESK.oidc_client_id in ([audience] if isinstance(audience, str) else audience or ())
        if str(payload.get("iss")).rstrip("/") != settings.DESK.oidc_issuer.rstrip("/") or not is_for_us:
            raise SuspiciousOperation("the token is of another issuer, or for another client")
        if not payload.get("sub") or claims.get("sub") != payload["sub"]:  # OpenID Connect Core 1.0, 5.3.2
            raise SuspiciousOperation("the claims are not about the subject of the token")
        return dict(claims)

    def verify_claims(self, claims: Mapping[str, Any]) -> bool:
        """Refuse an address that the provider does not call verified: another could have typed it."""
        return bool(claims.get("email")) and claims.get("email_verified", settings.DESK.oidc_trusts_email) is True

    def filter_users_by_claims(self, claims: Mapping[str, Any]) -> QuerySet[User]:
        """The account of the subject; before its first sign-in an account of single sign-on of that address that has none."""
        known = User.objects.filter(identity__issuer=settings.DESK.oidc_issuer, identity__subject=claims["sub"])
        if known.exists():
            return known
        return User.objects.filter(
            username__iexact=claims["email"], identity=None, password__startswith=UNUSABLE_PASSWORD_PREFIX
        )

    @transaction.atomic
    def create_user(self, claims: Mapping[str, Any]) -> User:
        """Make the account at the first sign-in."""
        address = str(claims["email"]).lower()
        names = (address if number == 1 else f"{address}-{number}" for number in count(1))
        name = next(name for name in names if not User.objects.filter(username__iexact=name).exists())
        return self.update_user(User.objects.create_user(name, email=claims["email"]), claims)

    @transaction.atomic
    def update_user(self, user: User, claims: Mapping[str, Any]) -> User:
        """Note whose account it is, where that is not known, and take over the highest of the claimed roles."""
        issuer, subject = settings.DESK.oidc_issuer, str(claims["sub"])
        _identity, is_new = Identity.objects.get_or_create(issuer=issuer, subject=subject, defaults={"user": user})
        if is_new:
            details = {"issuer": issuer, "subject": subject}
            AuditEntry.objects.create(username=BY, action="identity noted", subject=user.username, details=details)
        if settings.DESK.oidc_roles_claim:
            claimed = claims.get(settings.DESK.oidc_roles_claim) or ()
            names = {claimed} if isinstance(claimed, str) else {*claimed}
            role = next((role for role in reversed(ROLES) if role in names), "")
            if role != role_of(user):
                give_role(user, role, by=BY)
        return user
