"""``customer360 check | contracts | categories``: what a shop may bring, what its files are worth, what it has columns for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from orchestration.console import JsonOption, answer, now, shop_settings


def check(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="Landing, a part of it, any folder of click files, or s3://bucket/...")],
    most: Annotated[int, typer.Option(min=0, metavar="N", help="Problems shown per file.")] = 10,
    as_json: JsonOption = False,
) -> int:
    """Judge files by the contracts before anything runs.

    Writes nothing. A shop.yaml in the folder or just above it is the shop, unless --shop names another.
    """
    from customer360.lake.checking.check import check as check_files
    from customer360.lake.checking.report import report_lines
    from customer360.lake.publishing.store_copy import local_copy

    is_url = folder.startswith("s3://")
    for parent in () if is_url else (Path(folder), Path(folder) / ".."):
        if (parent / "shop.yaml").is_file():
            context.meta.setdefault("SHOP", str(parent.resolve()))
    settings = shop_settings(context)
    readable: AbstractContextManager[Path] = local_copy(settings, folder) if is_url else nullcontext(Path(folder))
    with readable as path:
        report = check_files(settings, path, now(), most)
    shop, file = settings.shop, settings.shop_folder / "shop.yaml"
    file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    title = f"{file} is valid: {shop.name}, {shop.currency}, {shop.time_zone}, {shop.slice_minutes}-minute slices"
    return answer(as_json, report, [title, "", *report_lines(report)], report.is_clean)


def contracts(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print the files and columns that this shop may bring."""
    from customer360.lake.landing.contracts import CLICK_COLUMNS, contracts_markdown, reference_tables

    shop = shop_settings(context).shop
    document = {"clicks": CLICK_COLUMNS, **{name: table.columns for name, table in reference_tables(shop).items()}}
    answer(as_json, document, [contracts_markdown(shop).rstrip("\n")])


def categories(
    context: typer.Context,
    again: Annotated[bool, typer.Option("--again", help="Choose the top K by revenue anew.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the categories with columns of their own, or choose them again."""
    from customer360.lake.reference.categories import resolve_categories
    from customer360.settings import TopCategories

    settings = shop_settings(context)
    shop = settings.shop
    before = after = shop.category_ids
    if not isinstance(shop.categories, TopCategories):
        lines = [f"listed in {settings.shop_folder / 'shop.yaml'}:", *(f"  {category}" for category in before)]
        if again:
            lines.append("There is nothing to choose: the list in shop.yaml says it all.")
    elif shop.needs_categories and not again:
        lines = [f"The top {shop.categories.top} by revenue are chosen when the history is loaded (history_job)."]
    else:
        after = resolve_categories(settings, again=True) if again else before
        title = f"the top {shop.categories.top} by revenue, frozen in {settings.place.categories_file}:"
        lines = [title, *(f"  {category}" for category in after)]
        if again and len(after) == 1:
            lines = ["No revenue is known yet, so nothing was chosen: load the history or the purchases first."]
        elif after != before:
            lines.append(
                "They changed. Run history_job, which the features follow, then training_job: the champion no longer fits."
            )
    answer(as_json, {"categories": after, "changed": after != before}, lines)
