"""Addresses: their written form is the library's own, in less time, and no error quotes them."""

from __future__ import annotations

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from customer360.mail.addresses import AddressError, address_key, checked_address

DOMAINS = [
    "example.com",
    "EXAMPLE.org",
    "Bücher.example",
    "xn--bcher-kva.example",
    "straße.example",
    "a.b",
    "shop.invalid",
    "x",
    "",
]
LOCALS = st.text("aZ9._-+'\"ä @\n\u00ad", max_size=8) | st.just("a" * 64) | st.just("a" * 65)


@settings(max_examples=150, deadline=None)
@given(LOCALS, st.sampled_from(DOMAINS) | st.text("a-.Zü ", max_size=6) | st.just("a." * 120 + "com"))
@example("anna", "example.com")
@example("a" * 64, "b." * 94 + "com")
def test_an_address_is_what_the_library_makes_of_it(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    try:
        library = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError:
        with pytest.raises(AddressError):
            checked_address(text)
    else:
        assert checked_address(text) == library.ascii_email


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" Anna.B+news@Example.COM ", "Anna.B+news@example.com"),
        ("post@Bücher.example", "post@xn--bcher-kva.example"),
        ("post@例え.example", "post@xn--r8jz45g.example"),
    ],
)
def test_the_domain_is_ascii_and_the_part_before_the_sign_as_given(text: str, canonical: str) -> None:
    assert checked_address(text) == canonical
    assert checked_address(canonical) == canonical


def test_letter_case_and_script_make_no_second_mailbox() -> None:
    spellings = ["anna@BÜCHER.example", "Anna@bücher.example", "ANNA@xn--bcher-kva.example"]
    assert {address_key(checked_address(text)) for text in spellings} == {"anna@xn--bcher-kva.example"}


@pytest.mark.parametrize(
    "text",
    [
        *("canary", "canary@", "@canary.example", "canary@localhost", "canary..b@example.com", "canary@exa mple.com"),
        *("Canary <canary@example.com>", "canary@example.com\r\nBcc: other@example.com", "canary\N{SOFT HYPHEN}@example.com"),
        *("cänary@example.com", "canary@[10.0.0.1]", '"canary b"@example.com', "canary@-example-.com", "n/a", "-"),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(AddressError) as refused:
        checked_address(text)
    reason = str(refused.value)
    assert len(reason) > 10
    assert "canary" not in reason
    assert "example" not in reason
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
