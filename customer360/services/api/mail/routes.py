"""The addresses of links, pages and webhooks of mail."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from customer360.mail.addresses import AddressError
from customer360.mail.consents import Question
from customer360.mail.links import KINDS, LinkToken
from customer360.mail.preferences import FREQUENCIES, Change, Preferences
from customer360.mail.texts import language_of
from customer360.services.api.collector.routes import PIXEL
from customer360.services.api.endpoints import answer, decoded, endpoint, read_body, service_of
from customer360.services.api.identity import CUSTOMER_HEADER
from customer360.services.api.mail.calls import Client, MailAnswers
from customer360.services.api.mail.pages import HEADERS, Choices, Pages, wanted
from customer360.services.api.mail.webhooks import Taken, Webhooks
from customer360.services.api.problems import Problem
from customer360.services.api.tokens import read_customer
from customer360.settings import MAIL_CHANNEL

PRIVATE = {name: HEADERS[name] for name in ("Cache-Control", "Referrer-Policy", "X-Content-Type-Options", "X-Robots-Tag")}


def _mail(request: Request) -> MailAnswers:
    return request.app.state.mail  # type: ignore[no-any-return]


def _pages(request: Request) -> Pages:
    mail = _mail(request)
    language = language_of(request.headers.get("accept-language", ""), mail.email.languages)
    return Pages(mail.settings.shop.title, language, mail.email.topics)


def _client(request: Request) -> Client:
    return Client(request.method, request.headers.get("user-agent", "")[:1024])


def _token(request: Request, kind: str) -> LinkToken | None:
    return _mail(request).token(request.path_params["token"], kind)


@endpoint("mail_click")
async def click(request: Request) -> Response:
    """To the target of a link, and nowhere else."""
    mail, token = _mail(request), _token(request, "click")
    if token is None or (token.target and not mail.is_open(token.target)):
        return _pages(request).invalid()
    if await run_in_threadpool(mail.clicked, token, _client(request)):
        await mail.note("campaign_clicked", token, page_url=token.target)
    return RedirectResponse(token.target, 302, PRIVATE) if token.target else Response(status_code=204, headers=PRIVATE)


@endpoint("mail_open")
async def opened(request: Request) -> Response:
    """The picture of one point that counts an opening; the same picture where nothing counts."""
    mail, token = _mail(request), _token(request, "open")
    proxy = None if token is None else await run_in_threadpool(mail.opened, token, _client(request))
    if token is not None and proxy is not None:
        await mail.note("campaign_opened", token, device="proxy" if proxy else None)
    return Response(PIXEL, 200, PRIVATE, media_type="image/gif")


@endpoint("mail_unsubscribe")
async def unsubscribe(request: Request) -> Response:
    """One-click unsubscribe (RFC 8058): a POST acts, whatever its body; a GET shows the button."""
    mail, token, pages = _mail(request), _token(request, "unsubscribe"), _pages(request)
    if token is None:
        return pages.invalid()
    preferences = mail.url(token, "preferences")
    if request.method != "POST":
        return pages.unsubscribe(preferences)
    is_one_click = b"one-click" in (await read_body(request)).lower()
    await run_in_threadpool(mail.unsubscribe, token, "one click" if is_one_click else "unsubscribe page")
    await mail.note_consent(token, Change(MAIL_CHANNEL, None, is_allowed=False))
    return pages.unsubscribed(preferences)


@endpoint("mail_preferences")
async def preferences(request: Request) -> Response:
    """What a customer wants to get; a POST of the form keeps it."""
    mail, token, pages = _mail(request), _token(request, "preferences"), _pages(request)
    if token is None:
        return pages.invalid()
    is_saved = request.method == "POST"
    if is_saved:
        form = parse_qs((await read_body(request)).decode("utf-8", "replace"), max_num_fields=200)
        frequency = form.get("frequency", ["any"])[0]
        chosen = Preferences(
            wanted(form.get("channel", []), mail.settings.shop.channels),
            wanted(form.get("topic", []), [*mail.email.topics]),
            frequency if frequency in FREQUENCIES else "any",
        )
        for change in await run_in_threadpool(mail.choose, token.customer_id, chosen):
            await mail.note_consent(token, change)
    now = await run_in_threadpool(mail.preferences, token.customer_id)
    return pages.preferences(Choices(now.channels, now.topics, now.frequency), is_saved=is_saved)


class OptInRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks for mail. ``text_version``: which text they saw; ``page``: where."""

    address: Annotated[str, Meta(min_length=3, max_length=254)]
    language: Annotated[str, Meta(max_length=10)] = ""
    page: Annotated[str, Meta(max_length=1024)] = ""
    text_version: Annotated[str, Meta(max_length=100)] = ""


class OptInAnswer(msgspec.Struct, frozen=True):
    """The same for all addresses: a mail with a link comes where one may."""

    status: str = "if this address may get a confirmation, it is on its way"


@endpoint("mail_opt_in")
async def opt_in(request: Request) -> Response:
    """Ask for mail, as JSON or by a form. Raises ``Problem`` 422 for what is no address."""
    mail, body = _mail(request), await read_body(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
        asked = decoded(body, OptInRequest)
    else:
        form = parse_qs(body.decode("utf-8", "replace"), max_num_fields=20)
        fields = {name: values[0] for name, values in form.items() if name in OptInRequest.__struct_fields__}
        asked = decoded(msgspec.json.encode(fields), OptInRequest)
    language = asked.language if asked.language in mail.email.languages else mail.email.languages[0]
    question = Question(asked.address, _address(request), _customer(request), language, asked.page, asked.text_version)
    try:
        await run_in_threadpool(mail.ask_for_mail, question)
    except AddressError as error:
        raise Problem(422, "no-address", "This is no e-mail address", f"{error}.") from error
    return answer(OptInAnswer())


@endpoint("mail_confirm")
async def confirm(request: Request) -> Response:
    """The link of a confirmation mail: a POST confirms, a GET shows the button."""
    mail, token, pages = _mail(request), _token(request, "opt_in"), _pages(request)
    if token is None:
        return pages.invalid()
    if request.method != "POST":
        return pages.confirm()
    if not await run_in_threadpool(mail.confirm, token, _address(request)):
        return pages.invalid()
    if token.customer_id:
        await mail.note_consent(token, Change(MAIL_CHANNEL, None, is_allowed=True))
    return pages.confirmed()


def _address(request: Request) -> str:
    """The network address of who asks: of the connection, or as the proxy in front says that it is."""
    name = service_of(request).settings.mail_client_header
    named = request.headers.get(name, "").rpartition(",")[2].strip() if name else ""
    return named[:64] or (request.client.host if request.client else "")


def _customer(request: Request) -> str:
    """The customer for whom the shop vouches by a token, or nothing."""
    token = request.headers.get(CUSTOMER_HEADER)
    if not token:
        return ""
    accepted = service_of(request).settings.customer_secrets()(time.monotonic())
    return read_customer(token, accepted, time.time())[0] or ""


@endpoint("mail_webhook")
async def webhook(request: Request) -> Response:
    """Events of a mail provider. Raises ``Problem`` 401 where they are not signed by it."""
    hooks: Webhooks = request.app.state.webhooks
    body = await read_body(request)
    counted = await run_in_threadpool(hooks.take, request.path_params["provider"], dict(request.headers), body)
    return answer(Taken(counted))


def mail_routes() -> list[Route]:
    """The routes of mail."""
    return [
        Route(f"/m/{KINDS['click']}/{{token}}", click),
        Route(f"/m/{KINDS['open']}/{{token}}", opened),
        Route(f"/m/{KINDS['unsubscribe']}/{{token}}", unsubscribe, methods=["GET", "POST"]),
        Route(f"/m/{KINDS['preferences']}/{{token}}", preferences, methods=["GET", "POST"]),
        Route(f"/m/{KINDS['opt_in']}/{{token}}", confirm, methods=["GET", "POST"]),
        Route("/m/opt-in", opt_in, methods=["POST"]),
        Route("/m/webhooks/{provider}", webhook, methods=["POST"]),
    ]
