"""``customer360 categories [--again]``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.console import WELL, Invocation, JsonOption, answer


def categories(
    invocation: Invocation,
    again: Annotated[bool, typer.Option("--again", help="Choose the top K by revenue anew.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Show the categories with columns of their own, or choose them again."""
    from customer360.lake.reference.categories import resolve_categories
    from customer360.settings import TopCategories

    settings = invocation.settings
    shop = settings.shop
    before = after = shop.category_ids
    if not isinstance(shop.categories, TopCategories):
        lines = [f"listed in {settings.shop_folder / 'shop.yaml'}:", *(f"  {category}" for category in before)]
        if again:
            lines.append("There is nothing to choose: the list in shop.yaml says it all.")
    else:
        after = resolve_categories(settings, again=True) if again else before
        if again and len(after) == 1:
            lines = ["No revenue is known yet, so nothing was chosen: load the history or the purchases first."]
        elif shop.needs_categories and not again:
            lines = [f"The top {shop.categories.top} by revenue are chosen when the history is loaded (history_job)."]
        else:
            title = f"the top {shop.categories.top} by revenue, frozen in {settings.place.categories_file}:"
            lines = [title, *(f"  {category}" for category in after)]
            if after != before:
                lines.append(
                    "They changed. Run history_job so that the features follow, then training_job: the champion no longer fits."
                )
    answer(as_json, {"categories": after, "changed": after != before}, lines)
    return WELL
