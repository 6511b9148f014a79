"""``customer360 desk serve | users ... | manage``: the desk, and who may sign in to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.console import JsonOption, answer, command, group, place_settings, say

if TYPE_CHECKING:
    from customer360.services.desk.configuration import DeskSettings

app = group("desk", "Serve dashboards and campaigns to people, and keep their accounts.")
users_app = group("users", "Make, list and change accounts of the desk.")
app.add_typer(users_app)
RoleOption = Annotated[
    str, typer.Option("--role", help="viewer, marketer, approver or admin; each may do what the one before may.")
]
NameArgument = Annotated[str, typer.Argument(help="The account's name.")]


def _ready(context: typer.Context, *, has_sign_on: bool = False, **changes: str) -> DeskSettings:
    """The desk's settings, with its database up to date. Its models can be imported from here on."""
    from customer360.services.desk.configuration import PREFIX, DeskSettings
    from customer360.services.desk.server import discovered, prepare, set_up

    given = {PREFIX + name.upper(): value for name, value in changes.items() if value}
    own = DeskSettings.from_environment({**os.environ, **given})
    if has_sign_on:
        own = discovered(own)
    set_up(place_settings(context), own)
    prepare()
    return own


@command(app)
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on; others than 127.0.0.1 need --origin.")] = "",
    port: Annotated[str, typer.Option(help="Port; 8380 where none is given.")] = "",
    origin: Annotated[
        str,
        typer.Option(help="https://... as browsers reach it: a proxy that ends TLS stands before it, and cookies need HTTPS."),
    ] = "",
) -> None:
    """Answer over HTTP until SIGTERM or Ctrl-C, on this machine alone unless --origin says otherwise.

    Further settings are environment variables CUSTOMER360_DESK_..., see docs/desk.md.
    """
    from customer360.logs import announce
    from customer360.services.desk.server import serve as serve_desk

    own = _ready(context, has_sign_on=True, host=host, port=port, origin=origin)
    announce(f"{own.origin or f'http://{own.host}:{own.port}'} is the desk.", *_first_steps())
    serve_desk(own)


def _first_steps() -> list[str]:
    from customer360.services.desk.accounts import list_accounts

    if list_accounts():
        return []
    return [
        "There is no account yet. The first admin: customer360 desk users add NAME --role admin",
        "On a demo's data, one account a role: customer360 desk users demo",
    ]


@command(users_app)
def add(context: typer.Context, name: NameArgument, role: RoleOption) -> None:
    """Make an account and show its password, this once; who signs in may change it."""
    _ready(context)
    from customer360.services.desk.accounts import add_account

    say(f"{name}, {role}: the password is {add_account(name, role)}")


@command(users_app, "list")
def list_users(context: typer.Context, as_json: JsonOption = False) -> int:
    """All accounts with their roles and last sign-in."""
    _ready(context)
    from customer360.services.desk.accounts import list_accounts

    accounts = list_accounts()
    lines = [
        f"{account.name:20}  {account.role:10}  {'active' if account.is_active else 'closed':8}  "
        f"{f'{account.last_login:%Y-%m-%d %H:%M}' if account.last_login else 'never signed in'}"
        for account in accounts
    ]
    return answer(
        as_json, {"accounts": accounts}, lines or ["There is no account yet: customer360 desk users add NAME --role admin"]
    )


@command(users_app)
def demo(context: typer.Context) -> None:
    """On a demo's data: one account a role, with a new password each, which are shown this once."""
    own, place = _ready(context), place_settings(context).place
    from customer360.services.desk.accounts import make_demo_accounts

    passwords = make_demo_accounts(place)
    say(
        f"For {own.origin or f'http://{own.host}:{own.port}'}:",
        *(f"  {name:10} {password}" for name, password in passwords.items()),
    )


@command(app, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
def manage(context: typer.Context) -> None:
    """Django's own commands, such as ``check --deploy``, ``axes_reset_username NAME``, ``clearsessions`` or ``dbshell``."""
    from django.core.management import execute_from_command_line

    _ready(context)
    execute_from_command_line(["customer360 desk manage", *context.args])
