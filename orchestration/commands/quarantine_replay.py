"""``customer360 quarantine replay``."""

from __future__ import annotations

import argparse
from collections import Counter

from customer360.lake.landing.location import find_landing
from customer360.lake.object_store import StoreError
from customer360.lake.operations.replay import Replay, ReplayError, export_for_editing, replay, replay_mended
from customer360.lake.raw.quarantine import Selection, reason_kind
from customer360.settings import Settings
from customer360.words import many
from orchestration.console import WELL, WRONG, now, say, settings_of

EXPECTED = (ReplayError, StoreError)
SHOWN = 10


def run(options: argparse.Namespace) -> int:
    """Send quarantined lines back to landing, as they are or mended."""
    settings = settings_of(options)
    selection = Selection(options.slice, options.file, options.where_reason, replayed_too=options.all)
    if options.edit:
        written = export_for_editing(settings.place, selection, options.edit)
        say(
            f"{many(written, 'line')} written to {options.edit}. Mend them below their comments, then send them back with",
            f"customer360 quarantine replay --from {options.edit}",
        )
        return WELL
    if options.source:
        result = replay_mended(settings, options.source, now(), options.slice, options.into)
    else:
        result = replay(settings, selection, now(), options.into)
    _say_written(settings, result)
    _say_left(settings, result)
    if options.source and result.still_bad:
        say("Nothing was sent: mend these lines first.")
        return WRONG
    return WELL


def _say_written(settings: Settings, result: Replay) -> None:
    landing = find_landing(settings).short_title
    for path, lines in result.written:
        say(f"{many(lines, 'line')} sent: {landing}/{path}")
    for path in result.unchanged:
        say(f"sent before: {landing}/{path}")
    if any("history" in path.parts for path, _ in result.written):
        say("The history is loaded by hand: run history_job.")
    if any("clicks" in path.parts for path, _ in result.written):
        say("The sensor runs these slices again. Lines that are good in their old file too count as duplicates.")
    if not result.written and not result.unchanged:
        say("No lines to send.")


def _say_left(settings: Settings, result: Replay) -> None:
    if result.still_bad:
        say(f"not sent, because they still break the contract: {many(len(result.still_bad), 'line')}")
        say(*(f"  {name}: {reason}" for name, reason in result.still_bad[:SHOWN]))
        if len(result.still_bad) > SHOWN:
            say(f"  ... and {len(result.still_bad) - SHOWN:,} more")
    if result.to_mend:
        say(f"not sent, because they are damaged: {many(len(result.to_mend), 'line')}; mend them with --edit, then --from")
        kinds = Counter(reason_kind(entry.reason) for entry in result.to_mend)
        say(*(f"  {count:,}  {reason}" for reason, count in kinds.most_common(SHOWN)))
    for entry in result.broken_files:
        say(f"set aside whole: {entry.name}", f"  {entry.reason}"[:98])
    if result.broken_files:
        say(f"Put mended files under the same names into their folders of {find_landing(settings).title}")
