"""``customer360 api serve | keys add | keys list | keys revoke``: the public API and who may call it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from orchestration.console import JsonOption, answer, command, group, now, place_settings, say

app = group("api", "Serve profiles and scores over HTTP, and keep the keys of those who may ask.")
keys_app = group("keys", "Make, list and revoke keys of the API.")
app.add_typer(keys_app)


@command(app)
def serve(context: typer.Context) -> None:
    """Answer over HTTP until SIGTERM or Ctrl-C.

    Settings are environment variables CUSTOMER360_API_..., see docs/serving.md; by default 127.0.0.1:8360, one worker.
    """
    from customer360.services.api.server import serve as serve_api
    from customer360.services.api.settings import ApiSettings

    settings, own = place_settings(context), ApiSettings.from_environment(os.environ)
    say(f"http://{own.host}:{own.port} answers for {settings.shop.title}; /openapi.json describes it.")
    serve_api(settings, own)


@command(keys_app)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who holds it.")],
    scope: Annotated[list[str], typer.Option("--scope", help="profile, score or metrics; may be repeated.")],
) -> None:
    """Make a key and show it, this once: the file keeps only its hash."""
    from customer360.services.api.keys import add_key, keys_file

    say(add_key(keys_file(place_settings(context).place), name, scope, now()))


@command(keys_app, "list")
def list_keys(context: typer.Context, as_json: JsonOption = False) -> int:
    """All keys, without their secrets."""
    from customer360.services.api.keys import keys_file, read_keys

    keys = read_keys(keys_file(place_settings(context).place))
    lines = [
        f"{key.id}  {' '.join(key.scopes):24}  {'revoked ' if key.revoked_at else 'in force'}  "
        f"{key.created_at:%Y-%m-%d}  {key.name}"
        for key in keys
    ]
    shown = [{name: getattr(key, name) for name in ("id", "name", "scopes", "created_at", "revoked_at")} for key in keys]
    return answer(as_json, {"keys": shown}, lines or ["There is no key yet: customer360 api keys add NAME --scope profile"])


@command(keys_app)
def revoke(
    context: typer.Context, key_id: Annotated[str, typer.Argument(help="As customer360 api keys list shows it.")]
) -> None:
    """Refuse a key from the next second on."""
    from customer360.services.api.keys import keys_file, revoke_key

    revoke_key(keys_file(place_settings(context).place), key_id, now())
    say(f"{key_id} is refused now.")
