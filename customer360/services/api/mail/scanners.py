"""Who opens a link or a picture: a person, or a program that looks at mail before the person does."""

from __future__ import annotations

import re

from customer360.adapters.rows import is_robot

SCAN_SECONDS = 10  # after the receiving server accepted a message; people need longer
_SCANNERS = re.compile(
    r"barracuda|proofpoint|mimecast|safelinks|bingpreview|microsoft office existence|symantec|messagelabs|fortimail|fireeye|"
    r"trend ?micro|cisco|ironport|sophos|mailguard|spamtitan|googleimageproxy|headless|python|curl|wget|okhttp|go-http|java/|"
    r"libwww|scan|check|preview|bot\b|crawler|spider",
    re.IGNORECASE,
)
_IMAGE_PROXIES = (
    (re.compile(r"GoogleImageProxy", re.IGNORECASE), "Gmail's proxy"),
    (re.compile(r"YahooMailProxy", re.IGNORECASE), "Yahoo's proxy"),
    (re.compile(r"Mozilla/5\.0"), "Apple's Mail Privacy Protection"),  # alone: no browser names itself so
)


def scanner(method: str, user_agent: str, seconds: float | None, *, was_scanned: bool) -> str | None:
    """Why a click is no person's; None for one that may be.

    ``seconds`` since the message was accepted, where that is known. ``was_scanned``: the link that nobody sees was opened.
    """
    if method != "GET":
        return "asked for the head alone"
    if not user_agent or _SCANNERS.search(user_agent) or is_robot(user_agent):
        return "a program that names itself"
    if seconds is not None and seconds < SCAN_SECONDS:
        return f"within {SCAN_SECONDS} seconds of delivery"
    return "followed the link that nobody sees" if was_scanned else None


def image_proxy(user_agent: str) -> str | None:
    """The proxy that fetched a picture, perhaps before anybody opened the message; None for a mail program or a browser."""
    for pattern, name in _IMAGE_PROXIES:
        is_alone = name.startswith("Apple")
        if pattern.fullmatch(user_agent) if is_alone else pattern.search(user_agent):
            return name
    return None
