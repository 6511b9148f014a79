"""A wrong shop.yaml: the message names the file, the line or the setting, and the remedy, in this product's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from customer360.settings import REPOSITORY, SettingsError, TopCategories, load_shop

EXAMPLE = (REPOSITORY / "docs" / "examples" / "your-shop" / "shop.yaml").read_text(encoding="utf-8")
ENGINE_WORDS = ("Input should", "Extra inputs", "Field required", "Value error", "unicode string", "codec", "after[", "list[")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("  birth_year", "\tbirth_year", "line 13 is not valid YAML: it is indented by a tab; use blanks"),
        ("title: Lamps and", "title: Lamps: and", "line 3 is not valid YAML: quote a text that holds a colon"),
        ("[email, sms]", "[email, sms", "is not valid YAML: close every quote and bracket"),
        ("slice_minutes:", "slice_minute:", "slice_minute: there is no such setting (did you mean slice_minutes?)"),
        ("currency: EUR\n", "", "currency: it is missing"),
        ("slice_minutes: 15", "slice_minutes: many", "slice_minutes: it must be a valid integer"),
        ("[table_lamps, floor_lamps, bulbs]", "{tops: 3}", "categories.tops: there is no such setting"),
        ("channels:", "sources: {purchases: {delimiterr: x}}\nchannels:", "purchases.delimiterr: there is no such setting"),
        ("channels:", "sources: {orders: {}}\nchannels:", "sources.orders: there is no such source; there are clicks, history"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_its_remedy(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in EXAMPLE
    (tmp_path / "shop.yaml").write_text(EXAMPLE.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_shop(tmp_path / "shop.yaml")
    assert message in str(refused.value)
    assert str(tmp_path / "shop.yaml") in str(refused.value)
    assert not [word for word in ENGINE_WORDS if word in str(refused.value)]


def test_exclusions_need_no_number_of_categories(tmp_path: Path) -> None:
    text = EXAMPLE.replace("[table_lamps, floor_lamps, bulbs]", "{exclude: [postage]}")
    (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
    shop = load_shop(tmp_path / "shop.yaml")
    assert shop.needs_categories
    assert shop.categories == TopCategories(top=10, exclude=["postage"])


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(EXAMPLE.replace("Lamps and", "Lämps").encode("latin-1"))
    with pytest.raises(SettingsError, match="line 3 is not UTF-8; save the file in UTF-8"):
        load_shop(tmp_path / "shop.yaml")


EMAIL = """
email:
  sender: {name: Lamps and more, address: News@Bücher.example}
  postal_address: 1 Main Street, Springfield
  public_url: https://shop.example/
  link_domains: [Shop.example]
  return_path_domain: bounces.shop.example
  unsubscribe_mailto: unsubscribe@shop.example
"""


def test_the_email_block_holds_canonical_addresses(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(EXAMPLE + EMAIL, encoding="utf-8")
    email = load_shop(tmp_path / "shop.yaml").email
    assert email is not None
    assert (email.sender.address, email.public_url, email.link_domains) == (
        "News@xn--bcher-kva.example",
        "https://shop.example",
        ["shop.example"],
    )
    assert not email.open_tracking


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("News@Bücher.example", "news", "email.sender.address: "),
        ("Lamps and more", '"Lamps\\r\\nBcc: x@example.com"', "email.sender.name: write it on a single line"),
        ("  postal_address: 1 Main Street, Springfield\n", "", "email.postal_address: it is missing"),
        ("https://shop.example/", "http://shop.example", "email.public_url: write https://host, the public address of the api"),
        ("[Shop.example]", "[]", "email.link_domains: "),
        ("[Shop.example]", "[https://shop.example]", "email.link_domains.0: "),
        (
            "  unsubscribe_mailto",
            "  unsubscribe",
            "email.unsubscribe: there is no such setting (did you mean ",
        ),
    ],
)
def test_a_wrong_email_setting_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in EMAIL
    (tmp_path / "shop.yaml").write_text(EXAMPLE + EMAIL.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_shop(tmp_path / "shop.yaml")
    assert message in str(refused.value)
    assert not [word for word in ENGINE_WORDS if word in str(refused.value)]


def test_messages_need_the_channel_email(tmp_path: Path) -> None:
    text = EXAMPLE.replace("[email, sms]", "[sms]") + EMAIL
    (tmp_path / "shop.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="channels lacks email; add it, or take the block out"):
        load_shop(tmp_path / "shop.yaml")
