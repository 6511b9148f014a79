"""``customer360 quarantine``: nothing is lost, nothing is doubled."""

from __future__ import annotations

import gzip
import json

import pytest

SLICE, NEXT = "2026-05-01-08:00", "2026-05-01-08:15"
FILE = "clicks/2026/05/01/0800/web.jsonl"


@pytest.fixture
def dollars(shop, event):
    """A slice with one good line and two in dollars."""
    shop.land(SLICE, "web.jsonl", [event("1", currency="USD"), event("2"), event("3", currency="USD")])
    counts = shop.run_slice(SLICE)
    assert (counts.good, counts.quarantined) == (1, 2)
    return shop


def replays(shop):
    return {name: text for name, text in shop.landed_files().items() if "replay-" in name}


def test_without_a_quarantine_there_is_nothing_to_list_or_send(shop):
    shop.data.mkdir()
    assert shop("quarantine", "list").out == "No quarantined lines.\n"
    ran = shop("quarantine", "replay")
    assert (ran.code, ran.out) == (0, "No lines to send.\n")
    assert not list(shop.data.iterdir())


def test_list_counts_by_reason_and_shows_where_each_line_came_from(dollars, event):
    dollars.land(NEXT, "app.jsonl", ["{", event("9", customer_id=None)])
    dollars.run_slice(NEXT)
    out = dollars("quarantine", "list").out
    assert "        2  currency: is not the currency of the shop (EUR)\n" in out
    assert "        1  not valid JSON\n" in out
    assert f"{SLICE} web.jsonl line 3\n  currency: USD is not the currency of the shop (EUR)\n  {{" in out
    assert f"{NEXT} app.jsonl line 2\n  customer_id: is missing, and visitor_id too\n" in out


def test_list_can_be_narrowed(dollars, event):
    dollars.land(NEXT, "app.jsonl", ["{", event("9", customer_id=None)])
    dollars.run_slice(NEXT)
    assert dollars("quarantine", "list", "--slice", NEXT).out.count("app.jsonl line") == 2
    assert dollars("quarantine", "list", "--file", "web.jsonl").out.count("web.jsonl line") == 2
    assert dollars("quarantine", "list", "--where-reason", "Currency: usd").out.count("line") == 2
    limited = dollars("quarantine", "list", "--limit", "1").out
    assert limited.count("jsonl line") == 1
    assert "... and 3 more" in limited


def test_lines_that_are_still_bad_stay_and_nothing_is_written(dollars):
    before = dollars.landed_files()
    ran = dollars("quarantine", "replay")
    assert ran.code == 1  # as with --from: a selected line was not sent
    assert "they still break the contract: 2 lines" in ran.out
    assert dollars.landed_files() == before


def test_after_the_rule_is_mended_every_line_counts_once(dollars):
    dollars.change("currency: EUR", "currency: USD")
    assert "2 lines sent: landing/clicks/2026/05/01/0800/replay-" in dollars("quarantine", "replay").out
    counts = dollars.run_slice(SLICE)
    assert dollars.raw_ids(SLICE) == ["1", "2", "3"]
    assert (counts.lines, counts.good, counts.quarantined, counts.duplicates) == (5, 3, 0, 2)
    assert dollars("quarantine", "list").out == "No quarantined lines.\n"


def test_a_second_replay_changes_nothing(dollars):
    dollars.change("currency: EUR", "currency: USD")
    dollars("quarantine", "replay")
    once = dollars.landed_files()
    assert dollars("quarantine", "replay").out == "No lines to send.\n"
    assert "sent before:" in dollars("quarantine", "replay", "--all").out
    assert dollars.landed_files() == once


def test_a_crash_before_the_replay_was_noted_doubles_nothing(dollars):
    dollars.change("currency: EUR", "currency: USD")
    dollars("quarantine", "replay")
    once = dollars.landed_files()
    (dollars.data / "quarantine" / "replays.jsonl").unlink()
    assert "sent before:" in dollars("quarantine", "replay").out
    assert dollars.landed_files() == once


def test_lines_that_turn_bad_again_are_quarantined_from_the_new_file(dollars):
    dollars.change("currency: EUR", "currency: USD")
    dollars("quarantine", "replay")
    dollars.change("currency: USD", "currency: EUR")
    counts = dollars.run_slice(SLICE)
    assert (counts.lines, counts.good, counts.quarantined) == (5, 1, 4)
    listed = dollars("quarantine", "list").out
    assert listed.count("replay-") == 2
    dollars.change("currency: EUR", "currency: USD")
    once = dollars.landed_files()
    dollars("quarantine", "replay", "--all")
    assert dollars.landed_files() == once


def test_only_the_selected_lines_are_sent(dollars, event):
    dollars.land(NEXT, "app.jsonl", [event("9", currency="USD")])
    dollars.run_slice(NEXT)
    dollars.change("currency: EUR", "currency: USD")
    dollars("quarantine", "replay", "--slice", NEXT)
    (text,) = replays(dollars).values()
    assert json.loads(text)["event_id"] == "9"


def test_damaged_lines_and_broken_files_are_told_not_sent(shop, event):
    good = shop.land(SLICE, "web.jsonl", [event("1"), "{"])
    good.with_name("bytes.jsonl").write_bytes(json.dumps(event("2", page_url="caf#")).encode().replace(b"#", b"\xe9"))
    good.with_name("cut.jsonl.gz").write_bytes(gzip.compress(good.read_bytes())[:20])
    shop.run_slice(SLICE)
    ran = shop("quarantine", "replay")
    assert "they are damaged: 2 lines" in ran.out
    assert f"set aside whole: {SLICE} cut.jsonl.gz" in ran.out
    assert not list(shop.landing.rglob("replay-*"))


def test_mended_lines_are_sent_and_listed_no_more(dollars, tmp_path):
    file = tmp_path / "mend.jsonl"
    assert dollars("quarantine", "replay", "--edit", str(file)).out.startswith("2 lines written to")
    assert f"# {SLICE} web.jsonl line 1, currency: USD is not the currency of the shop (EUR)\n{{" in file.read_text("utf-8")
    file.write_text(file.read_text("utf-8").replace('"USD"', '"EUR"'), "utf-8")
    assert "2 lines sent" in dollars("quarantine", "replay", "--from", str(file)).out
    counts = dollars.run_slice(SLICE)
    assert dollars.raw_ids(SLICE) == ["1", "2", "3"]
    assert counts.quarantined == 2  # the old lines are what they are
    assert dollars("quarantine", "list").out == "No quarantined lines.\n"
    assert dollars("quarantine", "list", "--all").out.count("(replayed)") == 2
    once = dollars.landed_files()
    dollars("quarantine", "replay", "--from", str(file))
    assert dollars.landed_files() == once


def test_a_mended_file_with_one_bad_line_sends_none(dollars, tmp_path):
    file = tmp_path / "mend.jsonl"
    dollars("quarantine", "replay", "--edit", str(file))
    file.write_text(file.read_text("utf-8").replace('"USD"', '"EUR"', 1), "utf-8")
    ran = dollars("quarantine", "replay", "--from", str(file))
    assert ran.code == 1
    assert "mend.jsonl line 4: currency: USD is not the currency" in ran.out
    assert f"Nothing was sent: repair these lines, or delete them from {file}: they stay in quarantine then." in ran.out
    assert not replays(dollars)


def test_lines_of_several_slices_go_back_to_their_own(dollars, event, tmp_path):
    dollars.land(NEXT, "app.csv", [])
    (dollars.landing / "clicks/2026/05/01/0815/app.csv").write_text(
        "event_id,event_name,event_at,customer_id,page_url\n8,view_item,yesterday,c-1,\u2028\n", encoding="utf-8"
    )
    dollars.run_slice(NEXT)
    file = tmp_path / "mend.jsonl"
    dollars("quarantine", "replay", "--edit", str(file))
    text = file.read_text("utf-8").replace('"USD"', '"EUR"').replace('"yesterday"', '"2026-05-01T08:16:00Z"')
    file.write_text(text, "utf-8")
    dollars("quarantine", "replay", "--from", str(file))
    sent = {name.rsplit("/", 1)[0]: text.count("\n") for name, text in replays(dollars).items()}
    assert sent == {"clicks/2026/05/01/0800": 2, "clicks/2026/05/01/0815": 1}
    dollars.run_slice(NEXT)
    assert dollars.raw_ids(NEXT) == ["8"]


def test_an_export_overwrites_nothing(dollars, tmp_path):
    file = tmp_path / "mend.jsonl"
    file.write_text("mine", "utf-8")
    ran = dollars("quarantine", "replay", "--edit", str(file))
    assert ran.code == 2
    assert file.read_text("utf-8") == "mine"


def test_unreadable_bytes_must_be_mended(shop, event, tmp_path):
    path = shop.land(SLICE, "web.jsonl", [])
    path.write_bytes(json.dumps(event("1", page_url="caf#")).encode().replace(b"#", b"\xe9") + b"\n")
    shop.run_slice(SLICE)
    file = tmp_path / "mend.jsonl"
    shop("quarantine", "replay", "--edit", str(file))
    assert shop("quarantine", "replay", "--from", str(file)).code == 1
    file.write_text(file.read_text("utf-8").replace("\N{REPLACEMENT CHARACTER}", "é"), "utf-8")
    assert shop("quarantine", "replay", "--from", str(file)).code == 0
    shop.run_slice(SLICE)
    assert shop.raw_ids(SLICE) == ["1"]


def test_lines_without_a_comment_need_a_slice(shop, event, tmp_path):
    shop.land(SLICE, "web.jsonl", [event("1")])
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(event("7")) + "\n", "utf-8")
    ran = shop("quarantine", "replay", "--from", str(file))
    assert (ran.code, "say which with --slice KEY" in ran.err) == (2, True)
    assert shop("quarantine", "replay", "--from", str(file), "--slice", SLICE).code == 0
    assert len(replays(shop)) == 1


def test_lines_can_go_into_a_near_slice_only(dollars, event):
    for key in (NEXT, "2026-05-06-08:00"):
        dollars.land(key, "web.jsonl", [event("5")])
    dollars.change("currency: EUR", "currency: USD")
    far = dollars("quarantine", "replay", "--into", "2026-05-06-08:00").out
    assert "is over 3 days away, where a copy would not be noticed" in far
    assert not replays(dollars)
    dollars("quarantine", "replay", "--into", NEXT)
    assert [name.rsplit("/", 1)[0] for name in replays(dollars)] == ["clicks/2026/05/01/0815"]


@pytest.mark.parametrize(
    ("key", "message"),
    [("2026-05-01-08:07", "is not the start of a 15-minute slice"), ("2027-01-01-00:00", "lies in the future")],
)
def test_lines_cannot_go_into_a_slice_that_is_none(dollars, key, message):
    ran = dollars("quarantine", "replay", "--into", key)
    assert ran.code == 2
    assert message in ran.err


def test_lines_of_a_slice_that_is_never_run_stay(dollars):
    dollars.change("currency: EUR", "currency: USD")
    dollars.change("slices_start: 2026-05-01T08:00:00Z", "slices_start: 2026-05-02T08:00:00Z")
    assert "is never run" in dollars("quarantine", "replay").out
    assert not replays(dollars)


def test_history_goes_back_to_history_or_into_the_slice_where_it_belongs(shop, event):
    april = event("1", event_at="2026-04-20T10:00:00Z", currency="USD")
    shop.land("history", "april.jsonl", [april, event("2")])
    shop.land(SLICE, "web.jsonl", [event("3")])
    assert shop.run_history().quarantined == 2
    shop.change("currency: EUR", "currency: USD")
    ran = shop("quarantine", "replay", "--slice", "history")
    assert "run history_job" in ran.out
    assert [name.split("/")[0] for name in replays(shop)] == ["history"]
    assert shop.run_history().good == 1
    shop("quarantine", "replay", "--where-reason", "not before slices_start", "--into", SLICE)
    shop.run_slice(SLICE)
    assert shop.raw_ids(SLICE) == ["2", "3"]


def test_a_wrong_slice_key_is_wrong_usage(shop):
    ran = shop("quarantine", "list", "--slice", "2026-05-01")
    assert ran.code == 2
    assert "write its start in UTC, as in 2026-05-01-10:00" in ran.err
