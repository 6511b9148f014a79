"""``customer360 check``: what is wrong, where, and what to do."""

from __future__ import annotations

import gzip
import re

import pytest

from customer360.settings import REPOSITORY
from orchestration.cli import main

EXAMPLE = REPOSITORY / "docs" / "examples" / "your-shop"
SLICE = "2026-05-01-08:00"


def test_a_good_landing_folder_passes(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1"), event("2")])
    ran = shop("check", str(shop.landing))
    assert ran.code == 0
    assert "clicks/2026/05/01/0800/web.jsonl  2 lines: 2 good, 0 bad" in ran.out
    assert "Everything keeps the contracts." in ran.out


def test_a_bad_line_is_named_by_file_line_and_column_with_a_remedy(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1"), event("2", event_name="purchase", order_id="o", amount=3, currency="USD")])
    ran = shop("check", str(shop.landing))
    assert ran.code == 1
    assert "web.jsonl  2 lines: 1 good, 1 bad" in ran.out
    assert "line 2, currency: USD is not the currency of the shop (EUR)" in ran.out
    assert "-> Convert the amount to EUR" in ran.out


def test_every_line_is_good_bad_or_a_duplicate(shop, event):
    lines = [event("1"), event("1"), event("2", event_at="nonsense"), "{", "", event("3"), event("3"), event("3")]
    shop.land(SLICE, "a.jsonl", lines)
    shop.land(SLICE, "b.jsonl", [event("1"), event("4")])
    out = shop("check", str(shop.landing)).out
    assert "a.jsonl  7 lines: 2 good, 2 bad, 3 duplicates" in out
    assert "b.jsonl  2 lines: 1 good, 0 bad, 1 duplicate" in out
    assert "clicks: 2 files, 9 lines: 3 good, 2 bad, 4 duplicates" in out


def test_the_counts_are_those_of_the_run(shop, event):
    late, old = event("2", event_at="2026-04-30T01:00:00Z"), event("3", event_at="2024-01-01T00:00:00Z")
    shop.land(SLICE, "web.jsonl", [event("1"), event("1"), late, old, "[1]"])
    counts = shop.run_slice(SLICE)
    expected = f"{counts.good} good, {counts.quarantined} bad, {counts.duplicates} duplicate"
    assert (counts.good, counts.quarantined, counts.duplicates) == (2, 2, 1)
    assert expected in shop("check", str(shop.landing)).out


def test_most_limits_the_problems_of_a_file(shop):
    shop.land(SLICE, "web.jsonl", ["{"] * 30)
    out = shop("check", str(shop.landing), "--most", "3").out
    assert len(re.findall(r"^  line \d+: not valid JSON", out, re.MULTILINE)) == 3
    assert "... and 27 more bad lines" in out


def test_a_file_cut_short_and_a_file_of_unknown_type_are_set_aside_whole(shop, event):
    good = shop.land(SLICE, "web.jsonl", [event(str(n)) for n in range(500)])
    packed = gzip.compress(good.read_bytes())
    good.with_name("cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    good.with_name("clicks.xlsx").write_bytes(b"PK")
    ran = shop("check", str(shop.landing))
    assert ran.code == 1
    assert "clicks.xlsx  set aside whole" in ran.out
    assert "is of no known type" in ran.out
    assert "cut.jsonl.gz  set aside whole\n  file gzip is damaged or cut short" in ran.out


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("2026/05/01/0805", "is not the start of a 15-minute slice"),
        ("2026/05/01", "is no slice folder"),
        ("2026/5/1/0800", "is no slice folder"),
        ("2026/05/01/0800/web", "is no slice folder"),
        ("2026/05/01/8h", "is no slice folder"),
        ("2026/04/30/0800", "lies before slices_start"),
    ],
)
def test_a_folder_that_is_no_slice_is_told(shop, event, folder, message):
    path = shop.land(SLICE, "web.jsonl", [event("1")])
    target = shop.landing / "clicks" / folder
    target.mkdir(parents=True, exist_ok=True)
    path.rename(target / "web.jsonl")
    ran = shop("check", str(shop.landing))
    assert ran.code == 1
    assert f"clicks/{folder}\n  {message}" in ran.out
    assert "What lies in the wrong place would not be read." in ran.out


def test_an_unknown_table_and_an_unknown_folder_are_told_with_the_nearest_name(shop):
    for name in ("reference/custommers", "histroy"):
        folder = shop.landing / name
        folder.mkdir(parents=True)
        (folder / "x.csv").write_text("a\n1\n", encoding="utf-8")
    out = shop("check", str(shop.landing)).out
    assert "reference/custommers\n  is no reference table (did you mean customers?)" in out
    assert "histroy\n  is no part of a landing folder (did you mean history?)" in out


def test_all_broken_files_of_a_table_are_told_by_row_and_column(shop):
    folder = shop.landing / "reference" / "products"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("product_id,category_id,price\np1,bulbs,1.5\np2,bulbs,cheap\n", encoding="utf-8")
    (folder / "b.csv").write_text("product_id,name\np3,Lamp\n", encoding="utf-8")
    (folder / "c.csv").write_text("product_id,category_id\np4,bulbs\n", encoding="utf-8")
    ran = shop("check", str(folder))
    assert ran.code == 1
    assert "row 2, price: cheap is not an amount of money" in ran.out
    assert "lacks the required column category_id" in ran.out
    assert "c.csv  1 row" in ran.out


def test_a_key_in_two_files_is_told(shop):
    folder = shop.landing / "reference" / "products"
    folder.mkdir(parents=True)
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("product_id,category_id\np1,bulbs\n", encoding="utf-8")
    ran = shop("check", str(shop.landing))
    assert ran.code == 1
    assert "products, all files together  1 row would be set aside" in ran.out


def test_a_line_number_that_comes_twice_is_to_be_numbered_and_lines_without_one_are_good(shop):
    folder = shop.landing / "reference" / "purchases"
    folder.mkdir(parents=True)
    header, line = "order_id,product_id,line_no,customer_id,purchased_at,amount\n", "c,2026-05-01T10:00:00Z,5\n"
    (folder / "a.csv").write_text(header + f"o,p,,{line}o,p,,{line}", encoding="utf-8")
    assert shop("check", str(shop.landing)).code == 0
    (folder / "a.csv").write_text(header + f"o,p,1,{line}o,p,1,{line}", encoding="utf-8")
    ran = shop("check", str(shop.landing))
    assert ran.code == 1
    assert "-> Number line_no 1, 2, ... within each order" in ran.out


def test_misspelt_columns_and_events_are_noted_but_break_no_rule(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1", prodct_id="p", event_name="viewitem")])
    folder = shop.landing / "reference" / "customers"
    folder.mkdir(parents=True)
    (folder / "c.csv").write_text("customer_id,birthyear\nc-1,1990\n", encoding="utf-8")
    ran = shop("check", str(shop.landing))
    out = " ".join(ran.out.split())
    assert ran.code == 0
    assert "column prodct_id (did you mean product_id?) is not in the contract; 1 line with it in extra" in out
    assert "event viewitem (did you mean view_item?) is kept and ignored" in out
    assert "column birthyear (did you mean birth_year?) is not in the contract; nobody reads it" in out


def test_history_is_judged_by_the_first_slice(shop, event):
    shop.land("history", "april.jsonl", [event("1", event_at="2026-04-01T00:00:00Z"), event("2")])
    ran = shop("check", str(shop.landing / "history"))
    assert ran.code == 1
    assert "line 2, event_at: 2026-05-01T08:03:00Z is not before slices_start" in " ".join(ran.out.split())


def test_any_folder_or_file_of_clicks_can_be_checked(shop, event, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    path = shop.land(SLICE, "web.jsonl", [event("1"), event("2", dwell_seconds=-1)]).rename(folder / "web.jsonl")
    for checked in (folder, path):
        ran = shop("check", str(checked))
        assert ran.code == 1
        assert "web.jsonl  2 lines: 1 good, 1 bad" in ran.out
        assert "line 2, dwell_seconds: -1 is below 0" in ran.out


def test_one_slice_folder_is_judged_as_that_slice(shop, event):
    path = shop.land(SLICE, "web.jsonl", [event("1", event_at="2026-05-01T10:30:00Z")])
    assert "is more than 1 hour after the end of its slice" in shop("check", str(path.parent)).out


def test_unfinished_files_are_not_read(shop, event):
    shop.land(SLICE, ".web.jsonl", ["{"])
    shop.land(SLICE, "web.jsonl.tmp", ["{"])
    shop.land(SLICE, "web.jsonl", [event("1")])
    ran = shop("check", str(shop.landing))
    assert ran.code == 0
    assert "not read: 2 unfinished files" in ran.out


def test_an_empty_folder_is_no_success(shop, tmp_path):
    (tmp_path / "nothing").mkdir()
    ran = shop("check", str(tmp_path / "nothing"))
    assert ran.code == 1
    assert "holds no files" in ran.out


def test_a_broken_shop_yaml_is_refused_with_its_field(shop):
    shop.change("time_zone: Europe/Berlin", "time_zone: Berlin")
    ran = shop("check", str(shop.folder))
    assert ran.code == 2
    assert "time_zone: 'Berlin' is not an IANA time zone" in ran.err
    assert ran.out == ""


def test_a_missing_folder_is_wrong_usage(shop, tmp_path):
    ran = shop("check", str(tmp_path / "none"))
    assert (ran.code, ran.err) == (2, f"customer360: {tmp_path / 'none'} does not exist\n")


def test_a_check_writes_nothing(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1"), "{"])
    before = sorted(shop.data.rglob("*"))
    shop("check", str(shop.landing))
    assert sorted(shop.data.rglob("*")) == before


def test_the_output_fits_100_columns(shop, event):
    lines = [event("1", currency="X" * 90), event("2", **{"column" * 9: 1}), event("3", event_at="y" * 80)]
    shop.land(SLICE, "web.jsonl", lines)
    assert max(len(line) for line in shop("check", str(shop.landing)).out.splitlines()[1:]) <= 100


def test_the_example_of_the_documentation_is_good():
    assert main(["check", str(EXAMPLE)]) == 0


def test_many_good_files_are_summed_up(shop, event):
    for number in range(40):
        shop.land(SLICE, f"web-{number}.jsonl", [event(str(number))])
    assert "... and 10 more files without a problem" in shop("check", str(shop.landing)).out


def test_suppressions_touches_and_customers_that_match_nobody_are_listed(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1", customer_id="c-1"), event("2", customer_id=1001.0)])
    tables = {
        "customers": "customer_id\nc-1\n1001\nc-7\n",
        "suppressions": "customer_id,channel\nC-1,\n1001,\nc-8,\n",
        "campaign_touches": "touch_id,campaign_id,customer_id,touched_at,is_converted\nt,k,c-9,2026-04-15,false\n",
    }
    for name, text in tables.items():
        folder = shop.landing / "reference" / name
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text(text, encoding="utf-8")
    ran = shop("check", str(shop.landing))
    out = " ".join(ran.out.split())
    assert ran.code == 0
    assert "suppressions: 2 of 3 customers match no customer, such as C-1 (c-1 is one), c-8;" in out
    assert "campaign_touches: 1 of 1 customer match no customer, such as c-9;" in out
    assert "customers: 1 of 3 customers occur in no click and no purchase, such as c-7;" in out


def test_an_ambiguous_id_is_refused_with_its_remedy(shop, event):
    shop.land(SLICE, "web.jsonl", [event("1", customer_id="1001.0")])
    folder = shop.landing / "reference" / "suppressions"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("customer_id\n1002.0\n", encoding="utf-8")
    out = " ".join(shop("check", str(shop.landing)).out.split())
    assert "line 1, customer_id: 1001.0 is an ambiguous id: a whole number written with a fraction or an exponent" in out
    assert "row 1, customer_id: 1002.0 is an ambiguous id: a whole number written with a fraction or an exponent" in out
    assert "-> Write 1001, or have the column in a numeric type" in out
    assert "reference/suppressions/a.csv cannot be loaded" in out


def test_keys_that_point_nowhere_are_noted_with_their_rows(shop):
    files = {
        "products": "product_id,category_id\np1,bulbs\n",
        "purchases": "order_id,product_id,line_no,customer_id,purchased_at,amount\n"
        "o1,p1,1,,2026-04-01,5\no2,p9,1,,2026-04-01,5\no3,p9,1,,2026-04-01,5\n",
    }
    for table, text in files.items():
        folder = shop.landing / "reference" / table
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text(text, encoding="utf-8")
    ran = shop("check", str(shop.landing))
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert "purchases: 2 of 3 rows (66.7%) name a product_id that products does not list, 1 value such as p9" in text
