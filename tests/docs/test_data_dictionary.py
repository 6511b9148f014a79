"""The data dictionary says of every published column what it is, and the page is as it is made."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from customer360.lake.publishing.tables import published_tables
from customer360.lake.publishing.version import DATABASE, current_folder, current_publication, open_version
from customer360.settings import REPOSITORY
from orchestration.data_dictionary import GROUPS, dictionary_markdown
from tests.docs.conftest import SHOP
from tests.support.lab import Lab

Described = dict[str, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def described(manifest: dict[str, Any]) -> Described:
    """Table -> name and type of its columns, by the dictionary."""
    return {name: [(c.name, c.type) for c in table.columns] for name, table in published_tables(SHOP, manifest).items()}


@pytest.fixture(scope="module")
def found(published: Lab) -> Described:
    """Table -> name and type of its columns, as published."""
    publication = current_publication(published.settings.place)
    assert publication is not None
    with open_version(published.settings.place) as version:
        return {
            name: [row[:2] for row in version.connection.execute(f"describe {name}").fetchall()] for name in publication.rows
        }


def test_every_published_table_is_described_and_nothing_else(described: Described, found: Described) -> None:
    assert sorted(described) == sorted(found)


def test_every_published_column_is_described_with_its_type_and_place(described: Described, found: Described) -> None:
    for name, columns in found.items():
        assert described[name] == columns, name


def test_no_table_and_no_column_is_without_words(manifest: dict[str, Any]) -> None:
    for table in published_tables(SHOP, manifest).values():
        assert table.description.endswith("."), table.name
        for column in table.columns:
            assert len(column.description) > 3, f"{table.name}.{column.name}"


def test_every_table_has_a_key_among_its_columns(manifest: dict[str, Any]) -> None:
    for table in published_tables(SHOP, manifest).values():
        assert table.grain, table.name
        assert set(table.grain) <= {column.name for column in table.columns}, table.name


def test_the_database_says_of_every_table_and_column_what_it_is(manifest: dict[str, Any], published: Lab) -> None:
    tables = published_tables(SHOP, manifest)
    database = current_folder(published.settings.place) / DATABASE
    with duckdb.connect(str(database), read_only=True) as connection:
        views = dict(connection.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
        columns = connection.execute(
            "select table_name, column_name, comment from duckdb_columns() where not internal"
        ).fetchall()
    assert views == {name: table.description for name, table in tables.items()}
    expected = {(name, column.name, column.description) for name, table in tables.items() for column in table.columns}
    assert set(columns) == expected
    assert len(columns) > 418


def test_every_table_has_one_place_on_the_page(described: Described) -> None:
    placed = [name for names in GROUPS.values() for name in names]
    assert sorted(placed) == sorted(described)


def test_the_page_is_not_stale(manifest: dict[str, Any]) -> None:
    page = (REPOSITORY / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    made = dictionary_markdown(SHOP, published_tables(SHOP, manifest))
    assert page == made, "run: python -m orchestration.data_dictionary > docs/data-dictionary.md"


def test_bi_md_gives_the_grain_of_every_table(described: Described) -> None:
    page = (REPOSITORY / "docs" / "bi.md").read_text(encoding="utf-8")
    grain = page.split("## Grain")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in grain.splitlines() if line.startswith("| ")][1:]
    assert sorted(name.strip() for row in rows for name in row.split(",")) == sorted(described)
