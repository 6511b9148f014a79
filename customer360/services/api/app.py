"""The application that each worker makes."""

from __future__ import annotations

import gc
import os
import time
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from customer360.services.api.collector.collecting import Collector, ShopClock
from customer360.services.api.collector.routes import collector_routes
from customer360.services.api.demo.routes import demo_routes
from customer360.services.api.endpoints import Service
from customer360.services.api.identity import CUSTOMER_HEADER, REFUSED_HEADER, Identity
from customer360.services.api.keys import KeyRing, KeysError
from customer360.services.api.mail.calls import MailAnswers
from customer360.services.api.mail.routes import mail_routes
from customer360.services.api.mail.webhooks import Webhooks
from customer360.services.api.offering import Offering
from customer360.services.api.openapi import openapi_document
from customer360.services.api.recommending import Recommender
from customer360.services.api.routes import ROUTES, failed, refused
from customer360.services.api.scoring import Scorer
from customer360.services.api.settings import ApiSettings, ready_file
from customer360.services.processes import die_with_parent
from customer360.services.session_memory import SessionMemory, session_folder
from customer360.services.store.layout import store_folder
from customer360.services.store.reading import StoreReader
from customer360.settings import Settings


class KeyedCors(CORSMiddleware):
    """Lets pages read answers that come from an origin of some browser key in force; each key is held to its own ones later."""

    def __init__(self, app: ASGIApp, keys: KeyRing, **options: Any) -> None:
        super().__init__(app, **options)
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes from no page as it is: no cache keeps answers, so that none needs to vary."""
        is_of_page = scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"])
        await (super().__call__ if is_of_page else self.app)(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether some key in force names the origin; none does while keys cannot be read."""
        try:
            return self._keys.has_origin(origin, time.monotonic())
        except KeysError:
            return False


def create(settings: Settings, own: ApiSettings) -> Starlette:
    """The application of one process."""
    reader = StoreReader(store_folder(settings.place))
    identity, recommender = Identity(own, settings.place, reader), Recommender(settings.place)
    sessions, clock = SessionMemory(session_folder(settings.place)), ShopClock(settings)
    cors = Middleware(
        KeyedCors,  # type: ignore[arg-type]  # its own protocol wants the application's argument without a name
        keys=identity.keys,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "sp-anonymous", CUSTOMER_HEADER],
        expose_headers=[REFUSED_HEADER, "Retry-After"],
        allow_credentials=True,
    )
    app = Starlette(
        routes=[
            *ROUTES,
            *collector_routes(own.snowplow_path),
            *(mail_routes() if settings.shop.email else []),
            *(demo_routes(settings.shop) if own.demo else []),
        ],
        middleware=[cors],
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    app.router.redirect_slashes = False
    collector = Collector(settings, sessions, clock, own.spool_free_bytes)
    if settings.shop.email:
        app.state.mail = MailAnswers(settings, settings.shop.email, collector)
        app.state.webhooks = Webhooks(app.state.mail, own)
    app.state.service = Service(
        settings=own,
        reader=reader,
        scorer=Scorer(settings),
        identity=identity,
        collector=collector,
        sessions=sessions,
        recommender=recommender,
        offering=Offering(settings, recommender, clock),
        document=openapi_document(version("customer360"), settings.shop),
    )
    return app


def create_from_environment() -> Starlette:
    """The application of the shop of ``SHOP`` with the data of ``DATA_DIR``, as a worker makes it."""
    die_with_parent()
    app = create(Settings.from_environment(), ApiSettings.from_environment(os.environ))
    gc.collect()
    gc.freeze()  # 200,000 objects that stay: a collection that looks at them holds up all answers for a tenth of a second
    ready_file().touch()
    return app
