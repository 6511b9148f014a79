"""``customer360 adapt weblog | ga4 | snowplow <files>``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from customer360.text import many
from orchestration.console import WELL, WRONG, environment, now, say, shop_settings, slice_option

if TYPE_CHECKING:
    from datetime import datetime

    from customer360.adapters.conversion import Converted
    from customer360.settings import Settings

SHOWN_FILES = 5


def adapt(
    context: typer.Context,
    format_name: Annotated[
        Literal["weblog", "ga4", "snowplow"], typer.Argument(metavar="FORMAT", help="weblog, ga4 or snowplow.")
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Also compressed (.gz).")],
    into: Annotated[
        str | None, typer.Option(metavar="WHERE", help="now, event-time, or a slice (default: now; of a replay event-time).")
    ] = None,
) -> int:
    """Convert web server logs, GA4 or Snowplow events into landing files."""
    from customer360.adapters.conversion import Into, convert
    from customer360.adapters.formats import ConversionError
    from customer360.lake.landing.location import find_landing

    settings = shop_settings(context)
    if into is None:
        into = Into.NOW if settings.shop.live else Into.EVENT_TIME
    target: Into | datetime = Into(into) if into in list(Into) else slice_option(into)
    landing = find_landing(settings)
    is_well = True
    for source in files:
        try:
            done = convert(settings, format_name, source, into=target, now=now(), environment=environment(context))
            # What was written before is sent again: it may be there because sending it failed.
            sent_to = landing.follow([*done.written, *done.unchanged], done.removed)
        except ConversionError as error:
            say(f"not converted: {error}")
            is_well = False
        else:
            say(*_lines(settings, done))
            if sent_to:
                say(f"  sent to   {sent_to}")
            is_well = is_well and not done.rejected
    return WELL if is_well else WRONG


def _lines(settings: Settings, done: Converted) -> list[str]:
    from customer360.adapters.conversion import HISTORY

    root = settings.place.root
    skipped = sum(done.skipped.values())
    lines = [
        f"{done.source}  {many(done.rows, 'row')}: {done.used:,} used, {skipped:,} skipped, {done.rejected:,} rejected;"
        f" {many(done.clicks, 'click')}"
    ]
    lines += [f"  skipped   {count:>7,}  {reason}" for reason, count in done.skipped.most_common()]
    if done.rejects_file:
        lines += [f"  rejected  {reason}" for reason in done.first_rejects]
        lines.append(f"  rejected rows are in {done.rejects_file.relative_to(root)}")
    for word, paths in (("written", done.written), ("as before", done.unchanged), ("removed", done.removed)):
        lines += [f"  {word:<9} {path.relative_to(root)}" for path in paths[:SHOWN_FILES]]
        if len(paths) > SHOWN_FILES:
            lines.append(f"  {word:<9} ... and {many(len(paths) - SHOWN_FILES, 'file')} more")
    if any(path.parent == settings.place.landing / HISTORY for path in (*done.written, *done.removed)):
        lines.append("  The history is loaded by hand: run history_job.")
    return lines
