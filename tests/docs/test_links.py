"""README and every page of docs/ name files, anchors, folders, make targets and benchmarks that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from customer360.settings import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; equal headings get -1, -2 and so on."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        repeats = sum(1 for known in found if re.fullmatch(re.escape(anchor) + r"(-\d+)?", known))
        found.add(f"{anchor}-{repeats}" if repeats else anchor)
    return found


def test_every_page_is_checked() -> None:
    names = {page.name for page in PAGES}
    assert {"README.md", "bi.md", "campaigns.md", "models.md", "runbook.md", "your-data.md", "performance.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), f"{page.name} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}, but {linked.name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_and_benchmark_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE))
    assert named <= targets, f"{page.name} names {sorted(named - targets)}, which the Makefile lacks"
    for name in set(re.findall(r"bench NAME=(\w+)", text)):
        benchmark = REPOSITORY / "benchmarks" / name
        assert benchmark.with_suffix(".py").exists() or benchmark.is_dir(), f"{page.name} names the benchmark {name}"


def test_the_house_table_of_readme_has_every_folder() -> None:
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    folders |= {"dbt_project", "shops", "docs"}
    table = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## The house")[2]
    missing = sorted(folder for folder in folders if f"`{folder}/`" not in table)
    assert not missing, f"README's table of folders lacks {', '.join(missing)}"
