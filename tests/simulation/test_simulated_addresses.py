"""Addresses of the simulated customers: most can be mailed, a few lack one, share one or have one that is none."""

from __future__ import annotations

from customer360.campaigns.definition import load_shop_campaigns
from customer360.mail.addresses import AddressError, address_key, checked_address
from customer360.mail.checking import check_message
from customer360.mail.message import load_messages
from customer360.settings import REPOSITORY, Settings
from customer360.simulation import Simulation
from customer360.simulation.addresses import customer_addresses, with_pages
from customer360.simulation.catalogue import CATEGORIES, Catalogue

IDS = [f"c{number:06}" for number in range(1, 3001)]


def test_a_share_is_missing_invalid_or_of_another_customer_and_none_is_of_a_real_domain() -> None:
    drawn = customer_addresses(Simulation(seed=3), IDS)
    assert drawn.equals(customer_addresses(Simulation(seed=3), IDS))
    keys, invalid = [], 0
    for text in drawn.dropna():
        try:
            keys.append(address_key(checked_address(text)))
        except AddressError:
            invalid += 1
    assert {key.rpartition("@")[2] for key in keys} == {"example.com", "example.org", "example.net", "xn--bcher-kva.example"}
    assert 0.01 < drawn.isna().mean() < 0.03
    assert 0.005 < invalid / len(IDS) < 0.02
    assert 0.005 < 1 - len(set(keys)) / len(keys) < 0.02


def test_products_have_pictures_and_pages_of_the_storefront(synthetic_shop) -> None:
    products = with_pages(Catalogue(synthetic_shop.slices_start.date()).products(), synthetic_shop.email.public_url)
    assert set(products["picture_url"]) == {f"http://localhost:8360/demo/{name}.png" for name in CATEGORIES}
    folder = REPOSITORY / "customer360" / "services" / "api" / "demo"
    assert {path.stem for path in folder.glob("*.png")} == set(CATEGORIES)
    assert products["product_url"].is_unique


def test_the_demos_campaigns_have_messages_that_may_be_sent(tmp_path) -> None:
    settings = Settings.load(REPOSITORY / "shops" / "synthetic", tmp_path)
    campaigns, problems = load_shop_campaigns(settings)
    messages, wrong = load_messages(settings)
    assert [*problems, *wrong] == []
    assert {campaign.message for campaign in campaigns} == {message.name for message in messages}
    assert [problem for message in messages for problem in check_message(message, settings.shop)] == []
