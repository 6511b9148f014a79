"""What holds for every request: whose address counts, a limit of its body, errors in words, and that nothing is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_ipv46_address
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext

from customer360.errors import OperatorError

LOG = logging.getLogger(__name__)
Next = Callable[[HttpRequest], HttpResponse]


def forwarded_for(following: Next) -> Next:
    """Take the address that the proxy saw, where ``forwarded_for`` says that it adds one; what stands before it is a claim."""

    def handle(request: HttpRequest) -> HttpResponse:
        address = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        if settings.DESK.forwarded_for and address:
            try:
                validate_ipv46_address(address)
                request.META["REMOTE_ADDR"] = address
            except ValidationError:
                return HttpResponse("X-Forwarded-For does not end in an address", status=400, content_type="text/plain")
        return following(request)

    return handle


def limit_body(following: Next) -> Next:
    """Refuse bodies above the limit before they are read; one of unknown length is not read at all by WSGI."""

    def handle(request: HttpRequest) -> HttpResponse:
        try:
            size = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            return HttpResponse(status=400)
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024
            text = gettext("The upload is larger than %(limit)d KiB; send a shorter period.") % {"limit": limit}
            return HttpResponse(text, status=413, content_type="text/plain; charset=utf-8")
        return following(request)

    return handle


def never_stored(following: Next) -> Next:
    """Customers' data stays in no cache: not in a proxy's, and not for whoever presses Back after a logout."""

    def handle(request: HttpRequest) -> HttpResponse:
        response = following(request)
        add_never_cache_headers(response)
        return response

    return handle


class SayWhatToMend:
    """Shows the words of an error that whoever runs the desk can mend, such as a mail queue that cannot be opened."""

    def __init__(self, following: Next) -> None:
        self._following = following

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Change nothing where no error is raised."""
        return self._following(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The error on a page, with status 503; other errors are not for readers."""
        if not isinstance(error, OperatorError):
            return None
        LOG.error("%s: %s", request.path, error)
        return render(request, "503.html", {"reason": str(error)}, status=503)
