"""Django's settings, from ``DeskSettings`` and the shop of the environment. What is public over TLS follows from ``origin``."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.contrib.messages import constants as messages
from django.utils.translation import gettext_lazy as _

from customer360.logs import json_logging
from customer360.loopback import LOOPBACK_HOSTS
from customer360.services.desk.configuration import DeskSettings, desk_folder
from customer360.services.desk.snapshots import Snapshots
from customer360.settings import Settings

CUSTOMER360 = Settings.from_environment()
DESK = DeskSettings.from_environment(os.environ)
SNAPSHOTS = Snapshots(CUSTOMER360)
FOLDER = desk_folder(CUSTOMER360.place)
HERE = Path(__file__).parent

SECRET_KEY = DESK.key(CUSTOMER360.place)
DEBUG = False
ALLOWED_HOSTS = [str(urlsplit(DESK.origin).hostname)] if DESK.origin else [*LOOPBACK_HOSTS]
ROOT_URLCONF = "customer360.services.desk.urls"
WSGI_APPLICATION = "customer360.services.desk.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "customer360.services.desk",
]
MIDDLEWARE = [
    "customer360.services.desk.middleware.forwarded_for",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "customer360.services.desk.middleware.limit_body",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "customer360.services.desk.middleware.never_stored",
    "customer360.services.desk.middleware.SayWhatToMend",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "customer360.services.desk.show.everywhere",
            ],
        },
    }
]

# The desk's own database. SQLite's writers wait for each other from the start of a transaction: none fails at its end.
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(DESK.database_url, conn_max_age=60, conn_health_checks=True)
    if DESK.database_url
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(FOLDER / "desk.sqlite3"),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "pragma journal_mode = wal; pragma synchronous = normal",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
if DESK.oidc_issuer:
    INSTALLED_APPS.append("mozilla_django_oidc")
    AUTHENTICATION_BACKENDS.append("customer360.services.desk.sign_on.SignOnBackend")
    OIDC_RP_CLIENT_ID, OIDC_RP_CLIENT_SECRET = DESK.oidc_client_id, DESK.client_secret
    OIDC_RP_SIGN_ALGO, OIDC_USE_PKCE, OIDC_TIMEOUT = "RS256", True, 10
    OIDC_OP_AUTHORIZATION_ENDPOINT, OIDC_OP_TOKEN_ENDPOINT = DESK.oidc_authorization_endpoint, DESK.oidc_token_endpoint
    OIDC_OP_USER_ENDPOINT, OIDC_OP_JWKS_ENDPOINT = DESK.oidc_userinfo_endpoint, DESK.oidc_jwks_uri
LOGIN_REDIRECT_URL_FAILURE = "/login/"
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "login", "today", "login"
AXES_FAILURE_LIMIT = DESK.failed_logins
AXES_COOLOFF_TIME = DESK.lockout_minutes / 60
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_WHITELIST_CALLABLE = "customer360.services.desk.accounts.is_without_name"
AXES_LOCKOUT_TEMPLATE = "desk/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

SESSION_COOKIE_AGE = int(DESK.session_hours * 3600)
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "customer360_desk", "customer360_desk_csrf"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"  # "Strict" would lose the session on the way back from single sign-on
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = bool(DESK.origin)
SECURE_HSTS_SECONDS = 365 * 86_400 if DESK.origin else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = bool(DESK.origin)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if DESK.origin else None
CSRF_TRUSTED_ORIGINS = [DESK.origin] if DESK.origin else []
CSRF_FAILURE_VIEW = "customer360.services.desk.show.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_UPLOAD_MAX_MEMORY_SIZE = DESK.body_bytes
# Scripts come from files of this site alone. plotly.js positions labels by style attributes and makes style elements.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF, "'unsafe-inline'"],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

USE_I18N = USE_TZ = True
LANGUAGE_CODE = DESK.locale.lower()
LANGUAGES = [("en", _("English"))]
LOCALE_PATHS = [HERE / "locale"]
TIME_ZONE = CUSTOMER360.shop.time_zone

STATIC_URL, STATIC_ROOT = "static/", FOLDER / "static"
PLOTLY = Path(next(iter(importlib.util.find_spec("plotly").submodule_search_locations or [])))  # type: ignore[union-attr]
STATICFILES_DIRS = [("plotly", PLOTLY / "package_data")]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MESSAGE_TAGS = {messages.ERROR: "bad", messages.WARNING: "warn", messages.SUCCESS: "good"}
LOGGING = json_logging() or {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
