"""``customer360 quarantine list``."""

from __future__ import annotations

import argparse
from collections import Counter

from customer360.lake.raw.quarantine import Entry, Selection, quarantined_lines, reason_kind
from customer360.words import many
from orchestration.console import WELL, say, settings_of

EXPECTED = ()
WIDTH = 98


def run(options: argparse.Namespace) -> int:
    """Counts by reason, then the lines: where they came from, what is wrong, and how they begin."""
    settings = settings_of(options)
    selection = Selection(options.slice, options.file, options.where_reason, replayed_too=options.all)
    entries = quarantined_lines(settings.place, selection)
    if not entries:
        say("No quarantined lines.")
        return WELL
    counts = Counter((entry.column, reason_kind(entry.reason)) for entry in entries if entry.line)
    for (column, reason), lines in counts.most_common():
        say(f"{lines:>9,}  {_words(column, reason)}"[:WIDTH])
    broken = [entry for entry in entries if not entry.line]
    if broken:
        say(f"{many(len(broken), 'file')} set aside whole; for each, put a mended copy under the same name into its folder.")
    say("")
    for entry in entries[: options.limit]:
        _say_entry(entry)
    if len(entries) > options.limit:
        say(f"... and {len(entries) - options.limit:,} more; see --limit, --slice, --file, --where-reason")
    return WELL


def _say_entry(entry: Entry) -> None:
    say(f"{entry.name}{'  (replayed)' if entry.is_replayed else ''}")
    say(f"  {_words(entry.column, entry.reason)}"[:WIDTH])
    if entry.text:
        text = " ".join(entry.text.split())
        say(f"  {text if len(text) < WIDTH else text[: WIDTH - 5] + '...'}")


def _words(column: str, reason: str) -> str:
    return f"{column}: {reason}" if column else reason
