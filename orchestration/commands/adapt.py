"""``customer360 adapt weblog | ga4 | snowplow <files>``."""

from __future__ import annotations

import argparse

from customer360.adapters.conversion import HISTORY, Converted, Into, convert
from customer360.adapters.formats import ConversionError
from customer360.lake.landing.location import find_landing
from customer360.lake.object_store import StoreError
from customer360.settings import Settings
from customer360.words import many
from orchestration.console import WELL, WRONG, environment_of, now, say, settings_of

EXPECTED = (StoreError,)
SHOWN_FILES = 5


def run(options: argparse.Namespace) -> int:
    """Convert foreign files into landing files and tell what became of every row, also of files that cannot be converted."""
    settings = settings_of(options)
    into = options.into or (Into.NOW if settings.shop.live else Into.EVENT_TIME)
    landing = find_landing(settings)
    is_well = True
    for source in options.files:
        try:
            done = convert(settings, options.format, source, into=into, now=now(), environment=environment_of(options))
            # What was written before is sent again: it may be there because sending it failed.
            sent_to = landing.follow([*done.written, *done.unchanged], done.removed)
        except ConversionError as error:
            say(f"not converted: {error}")
            is_well = False
        else:
            _say(settings, done)
            if sent_to:
                say(f"  sent to   {sent_to}")
            is_well = is_well and not done.rejected
    return WELL if is_well else WRONG


def _say(settings: Settings, done: Converted) -> None:
    skipped = sum(done.skipped.values())
    say(
        f"{done.source}  {many(done.rows, 'row')}: {done.used:,} used, {skipped:,} skipped, {done.rejected:,} rejected;"
        f" {many(done.clicks, 'click')}"
    )
    say(*(f"  skipped   {count:>7,}  {reason}" for reason, count in done.skipped.most_common()))
    root = settings.place.root
    if done.rejects_file:
        say(*(f"  rejected  {reason}" for reason in done.first_rejects))
        say(f"  rejected rows are in {done.rejects_file.relative_to(root)}")
    for word, paths in (("written", done.written), ("as before", done.unchanged), ("removed", done.removed)):
        say(*(f"  {word:<9} {path.relative_to(root)}" for path in paths[:SHOWN_FILES]))
        if len(paths) > SHOWN_FILES:
            say(f"  {word:<9} ... and {many(len(paths) - SHOWN_FILES, 'file')} more")
    if any(path.parent == settings.place.landing / HISTORY for path in (*done.written, *done.removed)):
        say("  The history is loaded by hand: run history_job.")
