"""What to do about a line that breaks the click contract, in one sentence."""

from __future__ import annotations

from customer360.lake.landing.contracts import MAX_AGE_DAYS
from customer360.lake.landing.source_columns import SKIPPED
from customer360.lake.landing.values import NO_ID_AMBIGUOUS, NO_ID_INVISIBLE, NO_ID_NUMBER
from customer360.settings import Shop

WHOLE_LINE = (
    ("not valid JSON", "Write one JSON object a line, complete and with its newline at the end."),
    ("not a JSON object", 'Write each event as an object: {"event_id": ..., "event_name": ...}.'),
    ("not valid UTF-8", "Write the file in UTF-8."),
    ("byte order mark", "Write the file in UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 FILE."),
    ("longer than", "Shorten the line; an event is a few hundred bytes."),
    ("fields, the header has", "Quote values that hold a comma or a newline, and give every row the fields of the header."),
    ("gzip", "Have the producer send the whole file again under the same name."),
    ("not readable as CSV", "Close every quoted value; double the quotes inside it."),
    ("not readable as Parquet", "Write the file again, and rename it only when it is complete."),
    ("no known type", "Convert it to .jsonl, .jsonl.gz, .csv or .parquet, or take it out of the folder."),
)
MISSING = {
    "event_id": "Give every event an id that is unique at its producer; copies are found by it.",
    "event_name": "Name the event, as GA4 does: view_item, purchase, ...",
    "event_at": "Say when it happened, as in 2026-05-01T10:00:00Z.",
    "customer_id": "Send the customer's id, or the browser's as visitor_id.",
    "order_id": "Send the order's id with every line of a purchase.",
    "amount": "Send the line's total, in the shop's currency.",
}
VALUES = {  # in clicks and in tables alike, by a part of the reason
    SKIPPED: "Write the time in UTC, or with its offset: when the clocks go forward, local times of that hour do not exist.",
    NO_ID_AMBIGUOUS: "Write 1001, or have the column in a numeric type; pandas writes 1001.0 where a column has empty values.",
    NO_ID_NUMBER: "Write ids as text or as whole numbers: a floating type tells whole numbers apart below 2^53 only.",
    NO_ID_INVISIBLE: "Take the character out; it is often pasted with the id, and looks like nothing or like a blank.",
}
WRONG = {
    "dwell_seconds": "Send seconds as a number of 0 or more, or leave it out.",
    "line_no": "Send a whole number, or leave it out.",
    "quantity": "Send a number with a decimal point, as in 2 or 0.5.",
    "amount": "Send a number with a decimal point and no currency sign, as in 1249.90.",
}


def remedy(shop: Shop, column: str, reason: str) -> str:
    """The remedy for a reason of ``click_rules``; empty where the reason includes it."""
    if not column:
        return next((advice for fragment, advice in WHOLE_LINE if fragment in reason), "")
    if found := value_remedy(reason):
        return found
    if reason.startswith("is missing"):
        return MISSING.get(column, "")
    if column == "currency":
        return f"Convert the amount to {shop.currency}, or leave currency out where it is meant."
    if column == "event_at":
        return _time_remedy(reason)
    return WRONG.get(column, "")


def value_remedy(reason: str) -> str:
    """The remedy for an invalid id or a skipped local time, in clicks and tables alike; empty for other reasons."""
    return next((advice for fault, advice in VALUES.items() if fault in reason), "")


def _time_remedy(reason: str) -> str:
    if "is not a timestamp" in reason:
        return "Write UTC as in 2026-05-01T10:00:00Z; an offset such as +02:00 is converted, a name such as BST is not."
    if "days before its slice" in reason:
        return f"Events older than {MAX_AGE_DAYS} days belong into landing/history."
    if "is not before slices_start" in reason:
        return "Put it into the slice folder of landing/clicks in which it arrived."
    return "Check the producer's clock, and that the times are UTC."
