"""The Django application, and the groups that its migrations end with."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from customer360.translation import translate_by


class DeskConfig(AppConfig):
    """``desk``: the label of its tables and permissions."""

    name = "customer360.services.desk"
    label = "desk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register pages and signals, and translate the texts of the library as those of the desk."""
        from django.utils import translation

        from customer360.services.desk import pages, signals  # noqa: F401 (they register themselves)

        translate_by(translation)
        post_migrate.connect(make_groups, sender=self)


def make_groups(**_: Any) -> None:
    """One group a role, with exactly the role's permissions."""
    from django.apps import apps
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission

    from customer360.services.desk.access import ROLES

    create_permissions(apps.get_app_config("desk"), verbosity=0)
    for role, permissions in ROLES.items():
        group, _created = Group.objects.get_or_create(name=role)
        names = [permission.removeprefix("desk.") for permission in permissions]
        group.permissions.set(Permission.objects.filter(content_type__app_label="desk", codename__in=names))
