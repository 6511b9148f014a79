"""Return paths name their contact to whoever has the secret, and to nobody else."""

import pytest

from customer360.mail.return_paths import Tag, message_id, read_return_path, return_path, tags, unsubscribe_address

NEW, OLD = "n" * 32, "o" * 32
KEY = "4f1c0a9be2d34f1c0a9b"


def test_a_return_path_names_its_contact_also_after_the_secret_was_exchanged_and_in_capitals():
    address = return_path(OLD, KEY, "bounces.shop.example")
    assert address.startswith(f"b+{KEY}-")
    assert read_return_path(address, [NEW, OLD]) == KEY
    assert read_return_path(f"<{address.upper()}>", [NEW, OLD]) == KEY


@pytest.mark.parametrize(
    "change", [lambda a: a.replace(KEY, KEY[::-1]), lambda a: a.replace("b+", "c+"), lambda a: a[:-40] + a[-39:]]
)
def test_a_changed_return_path_names_nobody(change):
    assert read_return_path(change(return_path(NEW, KEY, "bounces.shop.example")), [NEW]) is None


def test_the_address_for_unsubscribes_is_not_one_for_bounces():
    address = unsubscribe_address(NEW, KEY, "unsubscribe@shop.example")
    assert address.endswith("@shop.example")
    assert read_return_path(address, [NEW]) == KEY
    assert read_return_path(address.replace("unsubscribe+", "b+"), [NEW]) is None
    assert tags(address.replace("unsubscribe+", "b+"), [NEW]) == [Tag("b", None)]


@pytest.mark.parametrize("key", ["short", "UPPER" * 3, "a-b-c-d-e-f-g", "x" * 41])
def test_keys_that_no_address_can_hold_are_refused(key):
    with pytest.raises(ValueError, match="contact key"):
        return_path(NEW, key, "bounces.shop.example")


def test_a_message_id_is_found_in_whatever_quotes_it():
    text = f"> In-Reply-To: {message_id(NEW, KEY, 'shop.example')}\n<m+{KEY}-{'a' * 16}@shop.example>"
    assert tags(text, [NEW]) == [Tag("m", KEY), Tag("m", None)]
