"""Django with the desk's settings in the tests' own process. Test modules import this before they import Django's models."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django

from tests.services.served_shop import ServedShop

with tempfile.TemporaryDirectory() as _place:  # the settings make the key of sessions below it, and are read once
    (Path(_place) / "desk" / "static").mkdir(parents=True)
    _environment = {"DATA_DIR": _place, "SHOP": "synthetic", "DJANGO_SETTINGS_MODULE": "customer360.services.desk.settings"}
    _environment["CUSTOMER360_DESK_DAGSTER_URL"] = "http://127.0.0.1:9"  # where no Dagster of this machine answers
    with patch.dict(os.environ, _environment):
        django.setup()

from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.db import connection, transaction
from django.test import Client
from django.test.utils import override_settings, setup_test_environment, teardown_test_environment

from customer360.services.desk.access import ROLES
from customer360.services.desk.accounts import add_account
from customer360.services.desk.snapshots import Snapshots

MIDDLEWARE = [name for name in django_settings.MIDDLEWARE if "whitenoise" not in name]
PLAIN = {**django_settings.STORAGES, "staticfiles": {"BACKEND": f"{StaticFilesStorage.__module__}.StaticFilesStorage"}}
HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class Desk:
    """A shop, and browsers of people who are signed in to its desk."""

    def __init__(self, shop: ServedShop) -> None:
        self.shop = shop

    def user(self, role: str) -> User:
        """The account that is named after its role."""
        return User.objects.get(username=role)

    def client(self, role: str = "anonymous", **options: Any) -> Client:
        """A browser that is signed in as the account of that role."""
        client = Client(**options)
        if role != "anonymous":
            client.force_login(self.user(role), "django.contrib.auth.backends.ModelBackend")
        return client


@contextmanager
def database() -> Iterator[None]:
    """A migrated database in memory with an account a role."""
    django_settings.DATABASES["default"]["OPTIONS"]["init_command"] = "pragma synchronous = off"
    setup_test_environment()
    with override_settings(STORAGES=PLAIN, PASSWORD_HASHERS=HASHERS, MIDDLEWARE=MIDDLEWARE):
        connection.creation.create_test_db(verbosity=0)
        for role in ROLES:
            add_account(role, role)
        yield
        connection.creation.destroy_test_db(":memory:", verbosity=0)
    teardown_test_environment()


@contextmanager
def desk_of(shop: ServedShop) -> Iterator[Desk]:
    """The desk of a shop; what is done to the desk's database is undone at the end of the block."""
    with override_settings(SNAPSHOTS=Snapshots(shop.settings)), transaction.atomic():
        yield Desk(shop)
        transaction.set_rollback(True)
