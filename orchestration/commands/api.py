"""``customer360 api serve | keys add | keys list | keys revoke | rotate-visitors``: the public API and who may call it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.console import JsonOption, answer, command, group, now, place_settings, say

if TYPE_CHECKING:
    from customer360.settings import Settings

app = group("api", "Serve profiles and scores over HTTP, and keep the keys of those who may ask.")
keys_app = group("keys", "Make, list and revoke keys of the API.")
app.add_typer(keys_app)


@command(app)
def serve(context: typer.Context) -> None:
    """Answer over HTTP until SIGTERM or Ctrl-C.

    Settings are environment variables CUSTOMER360_API_..., see docs/serving.md; by default 127.0.0.1:8360, one worker.
    """
    from customer360.logs import announce
    from customer360.services.api.server import serve as serve_api
    from customer360.services.api.settings import ApiSettings

    settings, own = place_settings(context), ApiSettings.from_environment(os.environ)
    _remake_store(settings)
    announce(f"http://{own.host}:{own.port} answers for {settings.shop.title}; /openapi.json describes it.")
    if own.demo:
        announce(f"http://{own.host}:{own.port}/demo is a storefront that asks it.")
    serve_api(settings, own)


def _remake_store(settings: Settings) -> None:
    """After an upgrade the store is of another release: make it of the published version before anybody asks."""
    import duckdb

    from customer360.logs import announce
    from customer360.services.store.writing import remake_store

    try:
        made = remake_store(settings)
    except duckdb.Error as error:
        announce(f"The store cannot be made of the published version ({type(error).__name__}): the next slice makes it.")
        return
    if made is not None:
        announce(f"The store is made of the published version {made.version}: {made.built_because}.")


@command(keys_app)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Who holds it.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="profile, score, offers, events or metrics; may be repeated.")
    ] = None,
    is_browser: Annotated[
        bool, typer.Option("--browser", help="For the shop's pages: offers and events of their visitor.")
    ] = False,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Of pages with a browser key: https://shop.example; may be repeated.")
    ] = None,
    per_second: Annotated[float | None, typer.Option(help="Requests per second, in place of the API's setting.")] = None,
) -> None:
    """Make a key and show it, this once: the file keeps only its hash."""
    from customer360.services.api.keys import SCOPES, KeysError, add_key, keys_file

    origins = origin or []
    if is_browser != bool(origins):
        raise KeysError("--browser and --origin go together: a browser key names the origins of its pages")
    scopes = scope or (SCOPES["browser"] if is_browser else ())
    file = keys_file(place_settings(context).place)
    say(add_key(file, name, scopes, now(), origins=origins, requests_per_second=per_second))


@command(keys_app, "list")
def list_keys(context: typer.Context, as_json: JsonOption = False) -> int:
    """All keys, without their secrets."""
    from customer360.services.api.keys import keys_file, read_keys

    keys = read_keys(keys_file(place_settings(context).place))
    lines = [
        f"{key.id}  {key.kind:7}  {' '.join(key.scopes):35}  {'revoked ' if key.revoked_at else 'in force'}  "
        f"{key.created_at:%Y-%m-%d}  {key.name}  {' '.join(key.origins)}".rstrip()
        for key in keys
    ]
    fields = ("id", "name", "kind", "scopes", "origins", "requests_per_second", "created_at", "revoked_at")
    shown = [{name: getattr(key, name) for name in fields} for key in keys]
    return answer(as_json, {"keys": shown}, lines or ["There is no key yet: customer360 api keys add NAME --scope profile"])


@command(keys_app)
def revoke(
    context: typer.Context, key_id: Annotated[str, typer.Argument(help="As customer360 api keys list shows it.")]
) -> None:
    """Refuse a key from the next second on."""
    from customer360.services.api.keys import keys_file, revoke_key

    revoke_key(keys_file(place_settings(context).place), key_id, now())
    say(f"{key_id} is refused now.")


@command(app)
def rotate_visitors(
    context: typer.Context,
    forget: Annotated[bool, typer.Option(help="Refuse the earlier secrets too: every visitor is a new one.")] = False,
) -> None:
    """Sign the cookies of visitors with a new secret from the next second on; visitors keep their ids."""
    from customer360.secret_files import make_secret
    from customer360.services.api.tokens import visitor_secrets_file

    make_secret(visitor_secrets_file(place_settings(context).place), forget=forget)
    say("Visitors' cookies are signed with a new secret" + ("; everybody is new." if forget else "; everybody keeps its id."))
