"""Cards and plots as training left them, and no other file."""

from __future__ import annotations

import pytest

from tests.desk.in_django import Desk


def test_a_card_is_shown_with_its_plots_and_its_markup_as_text(desk: Desk) -> None:
    folder = desk.shop.settings.place.reports / "models" / "affinity" / "v7"
    folder.mkdir(parents=True)
    (folder / "card.md").write_text("# affinity v7\n\n<script>alert(1)</script>\n\n![lift](lift.png)\n", encoding="utf-8")
    (folder / "lift.png").write_bytes(b"\x89PNG")
    client = desk.client("viewer")
    assert 'href="/models/affinity/v7/"' in client.get("/models/").content.decode()
    card = client.get("/models/affinity/v7/").content.decode()
    assert "<h1>affinity v7</h1>" in card
    assert "&lt;script&gt;alert(1)" in card
    assert 'src="lift.png"' in card
    plot = client.get("/models/affinity/v7/lift.png")
    assert (plot.status_code, plot.headers["Content-Type"], b"".join(plot)) == (200, "image/png", b"\x89PNG")


@pytest.mark.parametrize(
    "address", ["..%2f..%2fdesk/secret_key/", "affinity/..%2f..%2f..%2fdesk/", "affinity/v7/..%2fcard.png"]
)
def test_no_path_leads_out_of_the_folder_of_cards(desk: Desk, address: str) -> None:
    assert desk.client("admin").get(f"/models/{address}").status_code == 404
