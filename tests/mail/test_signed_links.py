"""Signed links: nothing but what was signed is read back, secrets can be exchanged, and targets are the shop's own."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from customer360.mail.links import (
    ContactLinks,
    LinkToken,
    PreviewLinks,
    is_allowed_target,
    link_secrets,
    link_secrets_file,
    read_link,
    sign_link,
)
from customer360.secret_files import make_secret
from customer360.settings import Place

OLD, NEW = "a" * 32, "b" * 32
TOKEN = LinkToken("click", "k1", "customer é|1", "spring", "https://shop.example/a?b=c&d=%20")


def test_a_token_is_read_as_it_was_signed_and_fits_into_an_address() -> None:
    for token in (TOKEN, LinkToken("unsubscribe", "k1", "1", "spring")):
        text = sign_link([NEW], token)
        assert read_link(text, [NEW, OLD]) == token
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_a_token_of_an_earlier_secret_is_good_until_that_is_taken_out() -> None:
    text = sign_link([OLD], TOKEN)
    assert read_link(text, [NEW, OLD]) == TOKEN
    assert read_link(text, [NEW]) is None


def test_no_changed_token_is_read() -> None:
    text = sign_link([NEW], TOKEN)
    other = sign_link([NEW], LinkToken("click", "k1", "customer 2", "spring", TOKEN.target))
    swapped = ".".join([*text.split(".")[:2], other.split(".")[2]])
    changed = [text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :] for place in range(len(text))]
    for forged in [*changed, swapped, text[:-1], text + "0", "", ".", "..", "é.è.à", text.replace(".", "", 1)]:
        assert read_link(forged, [NEW]) is None, forged


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    place = Place(root=tmp_path)
    first = link_secrets(place)
    assert link_secrets(place) == first
    make_secret(link_secrets_file(place))
    assert link_secrets(place)[1:] == first
    assert stat.S_IMODE(link_secrets_file(place).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://shop.example", True),
        ("https://shop.example/a?b=c#d", True),
        ("https://SHOP.example/a", True),
        ("http://localhost:8000/a", True),
        ("http://shop.example/a", False),
        ("https://sub.shop.example/", False),
        ("https://shop.example.evil.example/", False),
        ("https://evil.example/?u=https://shop.example", False),
        ("https://shop.example@evil.example/", False),
        ("https://evil.example\\@shop.example/", False),
        ("https://evil.example\\.shop.example/", False),
        ("//shop.example/a", False),
        ("javascript:alert(1)//shop.example", False),
        ("https://shop.example/\r\nSet-Cookie: a", False),
        ('https://shop.example/" onclick="a', False),
        ("https://[shop.example/", False),
        ("https://shop.example:x/", False),
        ("", False),
    ],
)
def test_only_the_shops_own_domains_are_targets(url: str, is_allowed: bool) -> None:
    assert is_allowed_target(url, ["shop.example", "localhost"]) is is_allowed


def test_a_contacts_links_say_whose_they_are_and_a_previews_say_nothing() -> None:
    links = ContactLinks([NEW], "https://shop.example", "k1", "1", "spring")
    url = links.click("https://shop.example/a")
    assert url.startswith("https://shop.example/m/c/")
    expected = LinkToken("click", "k1", "1", "spring", "https://shop.example/a")
    assert read_link(url.rpartition("/")[2], [NEW]) == expected
    stop = links.page("unsubscribe")
    assert stop.startswith("https://shop.example/m/u/")
    assert read_link(stop.rpartition("/")[2], [NEW]) == LinkToken("unsubscribe", "k1", "1", "spring")
    preview = PreviewLinks("https://shop.example")
    assert preview.click("https://shop.example/a") == "https://shop.example/a"
    assert read_link(preview.page("unsubscribe").rpartition("/")[2], [NEW]) is None
