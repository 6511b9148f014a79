"""Which mailbox provider a domain belongs to: rates, back-off and complaints are counted by provider."""

from __future__ import annotations

# The domains under which the largest providers give addresses out; others count as providers of their own.
DOMAINS = {
    "gmail": ("gmail.com", "googlemail.com"),
    "microsoft": ("outlook.*", "hotmail.*", "live.*", "msn.com", "passport.com"),
    "yahoo": ("yahoo.*", "ymail.com", "rocketmail.com", "aol.*", "aim.com"),
    "apple": ("icloud.com", "me.com", "mac.com"),
    "gmx": ("gmx.*", "web.de", "mail.com"),
    "proton": ("proton.me", "protonmail.com", "pm.me"),
    "laposte": ("laposte.net",),
    "orange": ("orange.fr", "wanadoo.fr"),
    "ziggo": ("ziggo.nl", "upcmail.nl", "home.nl", "chello.nl", "casema.nl"),
    "kpn": ("kpnmail.nl", "planet.nl", "hetnet.nl", "kpnplanet.nl"),
    "telekom": ("t-online.de", "magenta.de"),
    "qq": ("qq.com", "foxmail.com"),
    "mailru": ("mail.ru", "bk.ru", "inbox.ru", "list.ru"),
}
# Providers that send no complaint reports: Gmail tells its complaint rate in Postmaster Tools alone.
WITHOUT_COMPLAINTS = frozenset({"gmail", "apple", "proton"})
_OF_DOMAIN = {domain: name for name, domains in DOMAINS.items() for domain in domains}
OTHER = "other"


def provider_of(domain: str) -> str:
    """The provider of a domain (in lower case): one of ``DOMAINS``, else ``other``."""
    first, _, _ = domain.partition(".")
    return _OF_DOMAIN.get(domain) or _OF_DOMAIN.get(f"{first}.*") or OTHER


def lane_of(provider: str, domain: str) -> str:
    """What is counted and waited for together: a large provider, or the domain of another one."""
    return domain if provider == OTHER else provider
