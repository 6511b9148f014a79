"""The addresses of links, pages and webhooks of mail."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from customer360.mail.answers import EMAIL
from customer360.mail.links import KINDS, LinkToken
from customer360.mail.preferences import FREQUENCIES, Change, Preferences
from customer360.services.api.collector.routes import PIXEL
from customer360.services.api.endpoints import answer, endpoint, read_body
from customer360.services.api.mail.calls import Client, MailAnswers
from customer360.services.api.mail.pages import HEADERS, Choices, Pages, wanted
from customer360.services.api.mail.texts import language_of
from customer360.services.api.mail.webhooks import Taken, Webhooks

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
    await mail.note_consent(token, Change(EMAIL, None, is_allowed=False))
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
        Route("/m/webhooks/{provider}", webhook, methods=["POST"]),
    ]
