"""``customer360 mailer run``: the worker that sends what is in the mail queue."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from orchestration import console
from orchestration.console import command, place_settings, say

app = console.group("mailer", "Send the messages of the mail queue.")


@command(app)
def run(
    context: typer.Context,
    is_once: Annotated[bool, typer.Option("--once", help="Send what is due now, and end.")] = False,
) -> None:
    """Send until SIGTERM or Ctrl-C; several may run at once.

    Settings are environment variables CUSTOMER360_MAILER_..., see docs/email.md; by default the relay on 127.0.0.1:25.
    """
    from customer360.logs import announce, configure
    from customer360.services.mailer.server import make_worker, run_worker
    from customer360.services.mailer.settings import MailerSettings

    configure()
    settings, own = place_settings(context), MailerSettings.from_environment(os.environ)
    worker = make_worker(settings, own)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop.set())
    announce(f"{own.provider or f'{own.host}:{own.port}'} takes the messages of {settings.shop.title}.")
    run_worker(settings, own, worker, is_once=is_once)


@command(app)
def mailbox(context: typer.Context, port: Annotated[int, typer.Option(help="On this machine.")] = 8390) -> None:
    """Show the messages that a demo sent to itself, until SIGTERM or Ctrl-C."""
    import asyncio

    from customer360.errors import OperatorError
    from customer360.services.mailer.inbox import serve_inbox
    from customer360.services.mailer.sink import sink_folder

    folder = sink_folder(place_settings(context).place)
    if not folder.is_dir():
        raise OperatorError(f"{folder} holds no messages: make demo sends some to itself")
    say(f"http://127.0.0.1:{port} shows them.")
    asyncio.run(serve_inbox(folder, port))
