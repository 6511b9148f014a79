"""Texts of the data as text: no markup, link or formula of theirs comes to life in a page, a chart or a download."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from customer360.services.desk.charts import label, wrapped
from customer360.services.desk.show import FORMULA
from tests.desk.hostile_shop import LINK, MARKUP, PAGES, PERSONAL, hostile_shop, text
from tests.desk.in_django import Desk, desk_of

from customer360.services.desk.models import AuditEntry, SavedAudience  # isort: skip  Django is set up by tests.desk.in_django

ESCAPED = html.escape(MARKUP)
WITHOUT = {"/password/", "/models/affinity/v7/"}  # pages that show no text of a table


@pytest.fixture
def hostile(_database: None, tmp_path: Path) -> Iterator[Desk]:
    with desk_of(hostile_shop(tmp_path)) as desk:
        owner = desk.user("marketer")
        SavedAudience.objects.create(owner=owner, name=text("name"), text=f"email = '{PERSONAL}'")
        AuditEntry.objects.create(username="viewer", action=text("action"), subject=text("subject"), details={"a": text("b")})
        yield desk


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def formulas(content: str) -> list[str]:
    """The cells that a spreadsheet would compute; negative numbers are none."""
    cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
    return [cell for cell in cells if cell.startswith(FORMULA) and not re.fullmatch(r"-[\d.e-]+", cell)]


def test_every_page_and_download_shows_markup_as_text(hostile: Desk) -> None:
    client, downloads = hostile.client("admin"), 0
    for address in PAGES:
        response = client.get(address)
        content = response.content.decode()
        assert response.status_code == 200, (address, content[:300])
        assert MARKUP not in content and LINK not in content, address
        assert ESCAPED in content.replace("&#x27;", "'") or address in WITHOUT, address
        for figure in re.findall(r'data-figure="([^"]*)"', content):
            drawn = json.loads(html.unescape(figure))
            assert not [each for each in texts(drawn["data"]) if "<" in each.replace("<br>", "")], address
        path = address.split("?")[0]
        for link in {html.unescape(found) for found in re.findall(r'href="(\?[^"]*csv=[^"]*)"', content)}:
            download = client.get(path + link)
            assert download.status_code == 200, link
            content = b"".join(download).decode()
            assert formulas(content) == [], link
            downloads += 1
    assert downloads > 25


def test_viewers_see_personal_values_on_no_page_and_in_no_download(hostile: Desk) -> None:
    viewer, marketer = hostile.client("viewer"), hostile.client("marketer")
    seen = dict.fromkeys(("viewer", "marketer"), 0)
    for address in [*PAGES, "/audiences/?text=email+is+not+empty", "/audiences/columns/email/", f"/customers/?q={PERSONAL}"]:
        for role, client in (("viewer", viewer), ("marketer", marketer)):
            content = client.get(address).content.decode()
            shown = content.replace(f'"{PERSONAL}"', "")  # what was searched for
            for link in re.findall(r'href="(\?[^"]*csv=[^"]*)"', content):
                shown += b"".join(client.get(address.split("?")[0] + html.unescape(link))).decode()
            seen[role] += PERSONAL in shown
    assert seen["viewer"] == 0 < seen["marketer"]


def test_an_uploaded_export_is_shown_as_text(hostile: Desk) -> None:
    for name, content in ((f"{MARKUP}.csv", f"day;orders\n{MARKUP};1\n"), ("a.csv", f"{MARKUP};{LINK}\n1;2\n")):
        file = SimpleUploadedFile(name, content.encode())
        answer = hostile.client("viewer").post(
            "/reconciliation/", {"kind": "books", "zone": "UTC", "returns": "", "file": file}
        )
        assert MARKUP not in answer.content.decode() and "onerror" in answer.content.decode()


def test_labels_of_charts_are_escaped_as_plotly_unescapes_them() -> None:
    assert label("<b>R&D</b> &lt;") == "&lt;b&gt;R&amp;D&lt;/b&gt; &amp;lt;"
    lines = wrapped(label(text("a product")))
    assert "<" not in lines.replace("<br>", "") and html.unescape(lines.replace("<br>", " ")) == text("a product")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1+1", "@sum(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_that_begins_as_a_formula_is_found(cell: str) -> None:
    assert formulas(f'"{cell}"\n') == [cell] and formulas("-1.5,'=1\n") == []
