"""``customer360 categories [--again]``."""

from __future__ import annotations

import argparse

from customer360.lake.reference.categories import resolve_categories
from customer360.settings import TopCategories
from orchestration.console import WELL, say, settings_of

EXPECTED = ()


def run(options: argparse.Namespace) -> int:
    """Show the categories that have columns of their own; choose the top K anew when asked to."""
    settings = settings_of(options)
    shop, file = settings.shop, settings.place.categories_file
    if not isinstance(shop.categories, TopCategories):
        say(f"listed in {settings.shop_folder / 'shop.yaml'}:", *(f"  {category}" for category in shop.category_ids))
        if options.again:
            say("There is nothing to choose: the list in shop.yaml says it all.")
        return WELL
    before = shop.category_ids
    after = resolve_categories(settings, again=True) if options.again else before
    if options.again and len(after) == 1:
        say("No revenue is known yet, so nothing was chosen: load the history or the purchases first.")
        return WELL
    if shop.needs_categories and not options.again:
        say(f"The top {shop.categories.top} by revenue are chosen when the history is loaded (history_job).")
        return WELL
    say(f"the top {shop.categories.top} by revenue, frozen in {file}:", *(f"  {category}" for category in after))
    if after != before:
        say("They changed. Run history_job so that the features follow, then training_job: the champion no longer fits.")
    return WELL
