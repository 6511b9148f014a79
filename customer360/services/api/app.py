"""The application that each worker makes."""

from __future__ import annotations

import os
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from customer360.services.api.keys import KeyRing, keys_file
from customer360.services.api.openapi import openapi_document
from customer360.services.api.routes import ROUTES, Service, failed, refused
from customer360.services.api.scoring import Scorer
from customer360.services.api.settings import ApiSettings
from customer360.services.store.layout import store_folder
from customer360.services.store.reading import StoreReader
from customer360.settings import Settings


def create(settings: Settings, own: ApiSettings) -> Starlette:
    """The application of one process."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=own.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
    )
    app = Starlette(
        routes=ROUTES,
        middleware=[cors] if own.origins else [],
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    app.router.redirect_slashes = False
    app.state.service = Service(
        settings=own,
        reader=StoreReader(store_folder(settings.place)),
        scorer=Scorer(settings),
        keys=KeyRing(keys_file(settings.place)),
        document=openapi_document(version("customer360"), settings.shop),
    )
    return app


def create_from_environment() -> Starlette:
    """The application of the shop of ``SHOP`` with the data of ``DATA_DIR``, as a worker makes it."""
    return create(Settings.from_environment(), ApiSettings.from_environment(os.environ))
