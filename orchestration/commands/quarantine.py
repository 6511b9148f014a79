"""``customer360 quarantine``: list the lines that broke the contract, and send them back."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from customer360.text import many
from orchestration import console
from orchestration.console import JsonOption, answer, command, fitted, place_settings, say

if TYPE_CHECKING:
    from customer360.lake.operations.replay import Replay
    from customer360.lake.raw.quarantine import Entry
    from customer360.settings import Settings

app = console.group("quarantine", "List lines that broke the contract, and send them back.")

SliceOption = Annotated[
    str | None,
    typer.Option("--slice", parser=console.slice_or_history_option, metavar="KEY", help="As in 2026-05-01-10:00, or history."),
]
FileOption = Annotated[str | None, typer.Option("--file", metavar="NAME", help="Only this file.")]
WhereOption = Annotated[
    str | None, typer.Option("--where-reason", metavar="TEXT", help="Only where column and reason hold this text.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Also lines that were replayed already.")]
SHOWN = 10
SHOWN_TEXT = 93


@command(app, "list")
def list_lines(
    context: typer.Context,
    *,
    slice_name: SliceOption = None,
    file: FileOption = None,
    where_reason: WhereOption = None,
    replayed_too: AllOption = False,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Lines shown.")] = 20,
    as_json: JsonOption = False,
) -> int:
    """Counts by reason, then the lines: where they came from, what is wrong, and how they begin."""
    from customer360.lake.raw.quarantine import Selection, quarantined_lines, reason_kind

    selection = Selection(slice_name, file, where_reason, replayed_too=replayed_too)
    entries = quarantined_lines(place_settings(context).place, selection)
    counts = Counter((entry.column, reason_kind(entry.reason)) for entry in entries if entry.line).most_common()
    reasons = [{"column": column, "reason": reason, "lines": lines} for (column, reason), lines in counts]
    document = {"reasons": reasons, "lines": entries[:limit], "total": len(entries)}
    return answer(as_json, document, _listed(entries, counts, limit))


@command(app)
def replay(
    context: typer.Context,
    *,
    slice_name: SliceOption = None,
    file: FileOption = None,
    where_reason: WhereOption = None,
    replayed_too: AllOption = False,
    into: Annotated[
        datetime | None,
        typer.Option(
            parser=console.slice_option, metavar="KEY", help="Another slice than the line's own, at most 3 days away."
        ),
    ] = None,
    edit: Annotated[
        Path | None, typer.Option("--edit", metavar="FILE", help="Write the lines to FILE, to be repaired; sends nothing.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Send FILE's repaired lines, all or none; deleted ones stay in quarantine."
        ),
    ] = None,
) -> int:
    """Send lines that keep the contract now back to landing; exits with 1 where a selected line was not sent."""
    from customer360.lake.operations.replay import export_for_editing, replay_mended
    from customer360.lake.operations.replay import replay as replay_lines
    from customer360.lake.raw.quarantine import Selection

    if edit and source:
        raise typer.BadParameter("--edit and --from exclude each other")
    settings, now = place_settings(context), console.now()
    selection = Selection(slice_name, file, where_reason, replayed_too=replayed_too)
    if edit:
        lines = many(export_for_editing(settings.place, selection, edit), "line")
        say(f"{lines} written to {edit}. Repair them below their comments, or delete them; then send them with")
        say(f"customer360 quarantine replay --from {edit}")
        return console.WELL
    result = replay_mended(settings, source, now, slice_name, into) if source else replay_lines(settings, selection, now, into)
    say(*_sent(settings, result), *_not_sent(settings, result))
    if source and result.still_bad:
        say(*fitted(f"Nothing was sent: repair these lines, or delete them from {source}: they stay in quarantine then."))
    return console.WRONG if result.still_bad or result.to_mend or result.broken_files else console.WELL


def _listed(entries: list[Entry], counts: list[tuple[tuple[str, str], int]], limit: int) -> list[str]:
    if not entries:
        return ["No quarantined lines."]
    lines = []
    for (column, reason), number in counts:
        first, *others = fitted(f"{column}: {reason}".removeprefix(": "))
        lines += [f"{number:>9,}  {first}", *(f"{'':11}{line}" for line in others)]
    broken = sum(not entry.line for entry in entries)
    if broken:
        files = many(broken, "file")
        lines += fitted(f"{files} set aside whole; for each, put a repaired copy under the same name into its folder.")
    lines.append("")
    for entry in entries[:limit]:
        lines.append(f"{entry.name}{'  (replayed)' if entry.is_replayed else ''}")
        lines += fitted(f"{entry.column}: {entry.reason}".removeprefix(": "), "  ")
        text = " ".join((entry.text or "").split())
        if text:
            lines.append(f"  {text if len(text) <= SHOWN_TEXT + 3 else text[:SHOWN_TEXT] + '...'}")
    if len(entries) > limit:
        lines.append(f"... and {len(entries) - limit:,} more; see --limit, --slice, --file, --where-reason")
    return lines


def _sent(settings: Settings, result: Replay) -> list[str]:
    from customer360.lake.landing.location import find_landing

    landing = find_landing(settings).short_title
    lines = [f"{many(number, 'line')} sent: {landing}/{path}" for path, number in result.written]
    lines += [f"sent before: {landing}/{path}" for path in result.unchanged]
    folders = {part for path, _ in result.written for part in path.parts}
    if "history" in folders:
        lines.append("The history is loaded by hand: run history_job.")
    if "clicks" in folders:
        lines.append("The sensor runs these slices again. Lines that are good in their old file too count as duplicates.")
    return lines or ["No lines to send."]


def _not_sent(settings: Settings, result: Replay) -> list[str]:
    from customer360.lake.landing.location import find_landing
    from customer360.lake.raw.quarantine import reason_kind

    lines = []
    bad, damaged = len(result.still_bad), len(result.to_mend)
    if bad:
        lines.append(f"not sent, because they still break the contract: {many(bad, 'line')}")
        lines += [line for name, reason in result.still_bad[:SHOWN] for line in fitted(f"{name}: {reason}", "  ")]
    if bad > SHOWN:
        lines.append(f"  ... and {bad - SHOWN:,} more")
    if damaged:
        lines.append(f"not sent, because they are damaged: {many(damaged, 'line')}; repair them with --edit, then --from")
        kinds = Counter(reason_kind(entry.reason) for entry in result.to_mend)
        lines += [f"  {count:,}  {reason}" for reason, count in kinds.most_common(SHOWN)]
    for entry in result.broken_files:
        lines += [f"set aside whole: {entry.name}", *fitted(entry.reason, "  ")]
    if result.broken_files:
        lines.append(f"Put repaired files under the same names into their folders of {find_landing(settings).title}")
    return lines
