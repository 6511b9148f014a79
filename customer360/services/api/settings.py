"""Settings of the API: environment variables that begin with ``CUSTOMER360_API_``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from customer360.loopback import LOOPBACK, is_loopback
from customer360.secret_files import parse_secrets, read_secrets
from customer360.services.api.watched import WatchedFile
from customer360.services.environment import settings_of
from customer360.services.spool import FREE_BYTES
from customer360.settings import SettingsError

PREFIX = "CUSTOMER360_API_"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # a worker's variable, which prometheus_client reads when it is imported


class ApiSettings(msgspec.Struct, frozen=True):
    """Where it listens, how many processes answer, and what a client may ask for.

    ``body_bytes``: of one request. ``body_seconds``: in which a body must be there. ``requests_per_second`` and ``burst``: of
    one key, over all workers. ``customer_secret`` or the file ``customer_secret_file``: with which the shop's server signs
    customers, several by white space while one is exchanged. ``same_site`` and ``visitor_days``: of the visitor's cookie.
    ``spool_free_bytes``: of the disk, that stay free when events are taken. ``snowplow_path``: where Snowplow's trackers post
    to beside the standard path, which some browsers' extensions block. ``demo``:
    serves the page /demo, on this machine alone; ``demo_key`` is its browser key, which the server makes.

    Of mail providers, whose webhooks are open once they are given: ``mail_ses_topic``, the ARN of the SNS topic;
    ``mail_mailgun_key``, the webhook signing key; ``mail_sendgrid_key``, the public key of signed events;
    ``mail_postmark_login``, ``user:password`` as Postmark is told. ``mail_client_header``: in which a proxy in front of the API
    says where a request came from, such as X-Forwarded-For; opt-ins are limited by it.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8360
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    body_bytes: Annotated[int, Meta(ge=1024)] = 1024 * 1024
    body_seconds: Annotated[float, Meta(gt=0)] = 10.0
    requests_per_second: Annotated[float, Meta(gt=0)] = 1000.0
    burst: Annotated[int, Meta(ge=1)] = 2000
    customer_secret: str = ""
    customer_secret_file: str = ""
    same_site: Literal["lax", "strict", "none"] = "lax"
    visitor_days: Annotated[int, Meta(ge=1, le=400)] = 180
    spool_free_bytes: Annotated[int, Meta(ge=0)] = FREE_BYTES
    snowplow_path: Annotated[str, Meta(pattern="^(/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+)?$")] = ""
    demo: bool = False
    demo_key: str = ""
    mail_ses_topic: str = ""
    mail_mailgun_key: str = ""
    mail_sendgrid_key: str = ""
    mail_postmark_login: str = ""
    mail_client_header: str = ""

    def customer_secrets(self) -> Callable[[float], list[str]]:
        """Gives the accepted secrets at a time of the monotonic clock. Raises ``SettingsError`` where they cannot be used."""
        if self.customer_secret_file:
            watched = WatchedFile(Path(self.customer_secret_file), read_secrets)
            watched.content(0.0)
            return watched.content
        fixed = parse_secrets(self.customer_secret, PREFIX + "CUSTOMER_SECRET") if self.customer_secret else []
        return lambda _monotonic: fixed

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ApiSettings:
        """Raises ``SettingsError`` naming a variable that is unknown or has no such value."""
        settings = settings_of(cls, PREFIX, "the API", environment)
        settings.customer_secrets()
        if settings.demo and not is_loopback(settings.host):
            raise SettingsError(f"{PREFIX}DEMO signs in everybody as anybody: it needs {PREFIX}HOST to be {LOOPBACK}")
        return settings


def ready_file() -> Path:
    """Is there once a worker of this start of the server has made its application."""
    return Path(os.environ[METRICS_FOLDER]) / "ready"
