"""Clients of an API that runs in the test's own process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

ORIGIN = "https://shop.example"


class Client:
    """A server or a browser: its headers, and the cookies that it was given."""

    def __init__(self, app: ASGIApp, key: str | None = None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        own = named if key is None else {"Authorization": f"Bearer {key}", **named}
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.shop.example", headers=own)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)
