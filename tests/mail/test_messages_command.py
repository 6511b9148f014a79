"""Messages on a published version: the values of each customer, and what the commands say and write."""

from __future__ import annotations

import email
import shutil
from datetime import UTC, datetime
from email.policy import strict
from pathlib import Path

import pandas as pd
import pytest
import yaml

from customer360.campaigns.definition import Campaign, load_shop_campaigns
from customer360.mail import previews
from customer360.mail.checking import render_check, sample_values
from customer360.mail.links import LinkToken, PreviewLinks, link_secrets, link_secrets_file, read_link, sign_link
from customer360.mail.message import Message, load_messages
from customer360.mail.previews import as_mail
from customer360.mail.rendering import Renderer
from customer360.mail.spam import PROGRAM, spam_score
from customer360.mail.values import fillable
from customer360.mail.variables import message_values
from customer360.settings import Settings
from customer360.snapshot import open_snapshot
from orchestration.cli import main
from tests.mail.mail_shop import DEFINITION, body, mail_shop, starter
from tests.services.served_shop import SHELVES, ServedShop
from tests.support.random_shop import EMAIL

ATTRIBUTES = {"city": {}, "age": {"type": "integer"}, "is_member": {"type": "boolean"}}
PRODUCTS = SHELVES["products"].replace(
    "as stock",
    "as stock, if(col0 = 'p1', 'https://elsewhere.example/1.png', 'https://shop.example/' || col0 || '.png') as picture_url, "
    "'https://shop.example/' || col0 as product_url",
)
CAMPAIGN = """
title: Spring
audience: everyone
value_per_conversion: 20
message: spring
offer_id: o-all
channels: {email: {cost: 0.5}}
"""
YAML = DEFINITION.replace("customer.first_name", "customer.city").replace("least: 1", "").replace("[en, nl]", "[nl, en]")
OFFER = "  offer_name: {source: offer.name}\n  day: {source: campaign.starts_on, type: date, optional: true}\n"
MORE = "<p>{{ offer_name }}{% if day %} {{ day }}{% endif %}</p>"


class MailShop:
    """A published shop with one campaign and its message."""

    def __init__(self, root: Path) -> None:
        customers = {"C1": {"city": "Utrecht"}, "C2": {"city": "None"}, "C9": {"monetary": None}}
        tables = {**SHELVES, "products": PRODUCTS, "customer_features": "select customer_id from profiles"}
        self.served = ServedShop(root, customers, tables=tables, rules={"email": EMAIL, "attributes": ATTRIBUTES})
        self.settings: Settings = self.served.settings
        fields = self.settings.shop.model_dump(mode="json", by_alias=True, exclude_none=True)
        (root / "shop.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
        folder = root / "messages" / "spring"
        folder.mkdir(parents=True)
        (root / "campaigns").mkdir()
        (root / "campaigns" / "spring.yaml").write_text(CAMPAIGN, encoding="utf-8")
        (folder / "message.yaml").write_text(YAML.replace("links:", f"{OFFER}links:"), encoding="utf-8")
        (folder / "body.mjml").write_text(body().replace("<h1>", f"{MORE}<h1>"), encoding="utf-8")
        self.served.publish()

    @property
    def campaign(self) -> Campaign:
        campaigns, problems = load_shop_campaigns(self.settings)
        assert problems == []
        return campaigns[0]

    @property
    def message(self) -> Message:
        messages, problems = load_messages(self.settings)
        assert problems == []
        return messages[0]

    def values(self, *customer_ids: str) -> pd.DataFrame:
        with open_snapshot(self.settings) as snapshot:
            return message_values(snapshot, self.message, self.campaign, customer_ids)

    def run(self, *arguments: str) -> int:
        return main([*arguments, "--shop", str(self.settings.shop_folder), "--data-dir", str(self.settings.place.root)])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> MailShop:
    return MailShop(tmp_path_factory.mktemp("mail_shop"))


def test_each_customer_has_the_values_that_are_published(shop: MailShop) -> None:
    found = shop.values("C2", "C1", "C9", "nobody")
    assert list(found.index) == ["C2", "C1", "C9", "nobody"]
    assert found["first_name"].tolist()[:2] == ["None", "Utrecht"]
    assert set(found["offer_name"]) == {"The newsletter"}
    assert float(found.loc["C1", "spent"]) == 99.5
    assert set(found["language"]) == {"nl"}


def test_only_products_with_a_picture_and_a_page_of_the_shops_domains_are_recommended(shop: MailShop) -> None:
    found = shop.values("C1", "C9")["products"]
    assert [(product.name, str(product.price), product.picture, product.reason) for product in found["C1"]] == [
        ("Guitar", "120.00", "https://shop.example/p2.png", "you viewed this lately")
    ]
    assert found["C9"] == []


def test_a_whole_audience_is_rendered_before_anybody_approves(shop: MailShop) -> None:
    values = shop.values("C1", "C2", "C9", "nobody")
    check = render_check(shop.message, shop.settings.shop, values)
    assert (check.rendered, check.failed, check.is_well) == (2, 0, True)
    reasons = fillable(shop.message, values).dropna()
    assert check.left_out == reasons.value_counts().to_dict()
    assert set(reasons.index) == {"C9", "nobody"}
    assert check.largest_customer_id in ("C1", "C2")
    assert check.longest_subject == len("Spring, Utrecht")


def test_check_says_what_is_wrong_and_list_who_sends_a_message(shop: MailShop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.run("messages", "list") == 0
    assert "spring: Spring; nl, en; variant A; sent by spring" in capsys.readouterr().out
    assert shop.run("messages", "check", "spring", "--audience") == 0
    said = capsys.readouterr().out
    assert "spring: well\n  spring: 2 messages, the largest" in said
    assert "1 left out: no value for spent of the message" in said
    assert shop.run("messages", "check", "nothing") == 2
    wrong = shop.settings.message_folder / "wrong"
    assert shop.run("messages", "new", "wrong", "--from", "news") == 0
    text = (wrong / "body.mjml").read_text()
    (wrong / "body.mjml").write_text(text.replace("{{ link.unsubscribe }}", "{{ link.shop }}"))
    capsys.readouterr()
    assert shop.run("messages", "check") == 1
    assert "wrong/body.mjml, (whole file): nobody can unsubscribe" in capsys.readouterr().out
    for file in wrong.iterdir():
        file.unlink()
    wrong.rmdir()


def test_a_preview_is_what_the_customer_would_get_without_links_of_theirs(
    shop: MailShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop.run("messages", "preview", "spring", "--customer", "C2") == 0
    assert "Subject: Spring, klant" in capsys.readouterr().out
    for ending in (".html", ".eml"):
        assert shop.run("messages", "preview", "spring", "--customer", "C1", "--to", str(tmp_path / f"c1{ending}")) == 0
    assert "Guitar" in (tmp_path / "c1.html").read_text()
    mail = email.message_from_bytes((tmp_path / "c1.eml").read_bytes(), policy=strict)
    assert mail["subject"] == "Spring, Utrecht"
    html = mail.get_body(("html",))
    assert html is not None
    assert "https://shop.example/m/u/preview" in html.get_content()
    assert not link_secrets_file(shop.settings.place).exists()
    capsys.readouterr()
    assert shop.run("messages", "preview", "spring", "--customer", "C9") == 2
    assert "C9 does not get the message: no value for spent of the message" in capsys.readouterr().err
    assert shop.run("messages", "preview", "spring", "--customer", "C1", "--to", str(tmp_path / "c1.pdf")) == 2


@pytest.mark.parametrize(
    ("name", "starter", "expected"),
    [("spring", "offer", "there is a message spring already"), ("../x", "offer", "small letters"), ("a", "b", "no starter b")],
)
def test_new_writes_over_nothing_and_outside_of_nothing(
    shop: MailShop, name: str, starter: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop.run("messages", "new", name, "--from", starter) == 2
    assert expected in capsys.readouterr().err


def test_links_that_were_sent_stay_good_when_the_secret_is_exchanged(tmp_path: Path) -> None:
    shop = MailShop(tmp_path)
    token = LinkToken("unsubscribe", "k", "C1", "spring")
    text = sign_link(link_secrets(shop.settings.place), token)
    assert shop.run("messages", "rotate-links") == 0
    secrets = link_secrets(shop.settings.place)
    assert read_link(text, secrets) == token
    assert sign_link(secrets, token) != text


@pytest.mark.exhaustive  # SpamAssassin takes seconds to start
@pytest.mark.parametrize("name", previews.starter_names())
def test_spamassassin_scores_a_starter_below_two(name: str) -> None:
    if shutil.which(PROGRAM) is None:
        pytest.skip("SpamAssassin is not installed: apt-get install spamassassin")
    values = sample_values(starter(name), mail_shop())
    made = Renderer(starter(name), mail_shop()).render("A", "en", values, PreviewLinks("https://go.shop.example"))
    assert spam_score(as_mail(made, mail_shop(), datetime.now(UTC))).score < 2
