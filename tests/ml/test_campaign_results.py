"""What campaigns brought, worked out by hand on a small ledger."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from customer360.campaigns.ledger import LEDGER
from customer360.campaigns.standing import standing
from customer360.lake.publishing.tables import TABLES
from ml.effects.results import Results, reported_contacts, results
from ml.effects.variants import variant_lines
from tests.support.random_shop import small_shop

SHOP = small_shop(windows_days=[3, 30], campaigns={"attribution_days": 3})
CLOSED = pd.Timestamp("2026-05-10")
VALUES = {"v1": 20.0, "v2": 30.0}
Entry = dict[str, Any]


def entry(event: str, customer: str, **more: Any) -> Entry:
    base = {"campaign_id": "spring", "plan_version": "v1", "arm": "contact", "channel": "email", "cost": 0.5}
    times = {"event_at": pd.Timestamp("2026-05-04 12:00"), "send_at": pd.Timestamp("2026-05-05 07:00")}
    return {**base, **times, "event": event, "customer_id": customer, "expected_conversion": 0.3, **more}


def approved(customers: list[str], arm: str = "contact", *, is_sent: bool = True, **more: Any) -> list[Entry]:
    rows = [entry("approved", name, arm=arm, **more) for name in customers]
    return rows + [entry("sent", name, **more) for name in customers if arm == "contact" and is_sent]


def ledger(*entries: list[Entry]) -> pd.DataFrame:
    frame = pd.DataFrame([row for rows in entries for row in rows])
    return LEDGER.typed(frame)


def orders(*rows: tuple[str, str, float], lines: int = 1) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount"])
    return frame.assign(
        order_id=[f"O{number}" for number in range(len(frame))],
        ordered_at=pd.to_datetime(frame["ordered_at"], format="ISO8601"),
        lines=lines,
    )


def found(ledger: pd.DataFrame, orders: pd.DataFrame, as_of: pd.Timestamp = CLOSED) -> Results:
    return results(standing(ledger), orders, SHOP, as_of, VALUES)


def names(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def test_rates_money_and_profit_are_those_of_both_arms() -> None:
    contacted, held = names("c", 40), names("h", 20)
    bought = orders(
        *((name, "2026-05-06 10:00", 10.0) for name in contacted[:20]),
        (contacted[0], "2026-05-07 10:00", 5.0),  # a second order is revenue, not a second conversion
        *((name, "2026-05-06 10:00", 8.0) for name in held[:4]),
        (contacted[30], "2026-05-05 06:59", 99.0),  # before the contact
        (held[10], "2026-05-08 07:00", 99.0),  # after the window
    )
    both = found(ledger(approved(contacted), approved(held, "holdout", cost=0.0)), bought).campaigns.set_index("arm")
    contact, holdout = both.loc["contact"], both.loc["holdout"]
    assert (contact["customers"], contact["contacted"], contact["converted"]) == (40, 40, 20)
    assert (holdout["customers"], holdout["contacted"], holdout["converted"]) == (20, 0, 4)
    assert (contact["conversion_rate"], holdout["conversion_rate"]) == (0.5, 0.2)
    assert (contact["revenue"], holdout["revenue"], contact["cost"], holdout["cost"]) == (205.0, 32.0, 20.0, 0.0)
    assert contact["lift"] == pytest.approx(0.3)
    assert contact["revenue_lift"] == pytest.approx(205 / 40 - 32 / 20)
    # Newcombe's bounds from Wilson's: 20 of 40 has .3520 to .6480, 4 of 20 has .0807 to .4160.
    assert contact["lift_low"] == pytest.approx(0.3 - (0.1480**2 + 0.2160**2) ** 0.5, abs=1e-3)
    assert contact["lift_high"] == pytest.approx(0.3 + (0.1480**2 + 0.1193**2) ** 0.5, abs=1e-3)
    assert contact["profit"] == pytest.approx(40 * 20 * 0.3 - 20)
    assert contact["profit_low"] == pytest.approx(40 * 20 * contact["lift_low"] - 20)
    assert pd.isna(holdout["lift"]) and pd.isna(holdout["profit"])
    assert contact["is_closed"] and contact["is_conclusive"]
    assert contact["verdict"].startswith("50.00% of 40 converted, 20.00% of 20 held out: +30.00 percentage points")
    assert "about +12 conversions, 240.00 for 20.00 of cost" in contact["verdict"]


def test_everyone_who_was_to_be_contacted_counts_also_if_suppressed_later() -> None:
    entries = ledger(
        approved(["c1", "c2"]),
        approved(["c3", "c4"], is_sent=False),
        [
            entry("suppressed", "c3", detail="no consent for email"),
            entry("suppressed", "c4", detail="withdrawn for this customer: x"),
        ],
        approved(["h1"], "holdout"),
    )
    row = found(entries, orders(("c3", "2026-05-06", 10.0))).campaigns.iloc[0]
    assert (row["customers"], row["contacted"], row["converted"], row["cost"]) == (4, 2, 1, 1.0)


def test_a_plan_that_was_withdrawn_before_its_time_leaves_both_arms() -> None:
    entries = ledger(
        approved(["c1"]),
        approved(["c2"], is_sent=False),
        approved(["h1", "h2"], "holdout"),
        [
            entry("suppressed", name, arm=arm, detail="withdrawn: wrong offer")
            for name, arm in (("c2", "contact"), ("h2", "holdout"))
        ],
        approved(["c2"], plan_version="v2", cost=0.7),
    )
    row, held = found(entries, orders()).campaigns.to_dict("records")
    assert (row["planned"], row["contacted"], held["planned"]) == (2, 2, 1)
    assert row["cost"] == pytest.approx(1.2)


def test_versions_are_pooled_with_what_a_conversion_was_worth_in_each() -> None:
    entries = ledger(approved(["c1", "c2"]), approved(["c3"], plan_version="v2"), approved(["h1"], "holdout"))
    row = found(entries, orders(*((name, "2026-05-06", 1.0) for name in ("c1", "c2", "c3")))).campaigns.iloc[0]
    assert (row["customers"], row["lift"]) == (3, 1.0)
    assert row["profit"] == pytest.approx(20 + 20 + 30 - 1.5)


def test_only_windows_that_have_passed_are_judged_and_a_running_campaign_is_not_conclusive() -> None:
    late = {"send_at": pd.Timestamp("2026-05-09 07:00")}
    entries = ledger(approved(names("c", 60)), approved(names("h", 60), "holdout"), approved(["x1"], **late))
    bought = orders(*((name, "2026-05-06", 1.0) for name in names("c", 60)), ("x1", "2026-05-09 08:00", 7.0))
    row = found(entries, bought).campaigns.iloc[0]
    assert (row["planned"], row["customers"], row["converted"]) == (61, 60, 60)
    assert row["lift"] == 1.0 and not row["is_closed"] and not row["is_conclusive"]
    assert row["verdict"].startswith("Still running: so far 100.00% of 60 converted, 0.00% of 60 held out, +100.00 percentage")
    assert row["verdict"].endswith(": contacts add conversions, on whichever day you look.")
    nobody_bought = found(entries, orders()).campaigns.iloc[0]
    assert nobody_bought["verdict"].endswith("whether contacts add any: wait for the last window before you judge.")
    assert found(entries, bought).deciles.empty
    assert found(entries, bought, pd.Timestamp("2026-05-12 07:00")).campaigns.iloc[0]["is_closed"]


def test_too_small_a_campaign_says_so_with_the_size_that_it_would_take() -> None:
    entries = ledger(approved(names("c", 90)), approved(names("h", 10), "holdout"))
    row = found(entries, orders(*((name, "2026-05-06", 1.0) for name in [*names("c", 18), "h0"]))).campaigns.iloc[0]
    assert row["is_closed"] and not row["is_conclusive"]
    assert row["verdict"].startswith(
        "Too small to tell: 20.00% of 90 converted, 10.00% of 10 held out, +10.00 percentage points (95% interval "
    )
    assert "customers with as large a share held out would be needed, instead of 100." in row["verdict"]


def test_without_a_holdout_nothing_is_claimed() -> None:
    row = found(ledger(approved(["c1"])), orders(("c1", "2026-05-06", 1.0))).campaigns.iloc[0]
    assert row["verdict"].startswith("Nobody to compare with: 1 to be contacted, 0 held out")
    assert pd.isna(row["lift"]) and pd.isna(row["profit"]) and not row["is_conclusive"]
    assert row["conversion_rate"] == 1.0


def test_what_customers_spent_before_the_approval_is_the_covariate() -> None:
    contacted, held = names("c", 50), names("h", 50)
    spend = {name: float(10 + 7 * number % 40) for number, name in enumerate([*contacted, *held])}
    bought = orders(
        *((name, "2026-05-01", amount) for name, amount in spend.items()),
        *((name, "2026-03-01", 1000.0) for name in contacted),  # longer ago than the longest window
        *((name, "2026-05-04 18:00", 1000.0) for name in contacted),  # between approval and contact: no covariate, no outcome
        *((name, "2026-05-06", amount + (2.0 if name in contacted else 0.0)) for name, amount in spend.items()),
    )
    row = found(ledger(approved(contacted), approved(held, "holdout")), bought).campaigns.iloc[0]
    assert row["cuped_revenue_lift"] == pytest.approx(2.0)
    assert row["cuped_revenue_lift_high"] - row["cuped_revenue_lift_low"] < 1e-6
    assert row["revenue_lift_high"] - row["revenue_lift_low"] > 5


def test_an_order_in_the_windows_of_two_campaigns_is_an_outcome_of_both() -> None:
    entries = ledger(approved(["c1"]), approved(["c1"], campaign_id="summer"))
    assert list(found(entries, orders(("c1", "2026-05-06", 1.0))).campaigns.query("arm == 'contact'")["converted"]) == [1, 1]


def test_a_return_converts_nobody_and_lowers_the_revenue_also_under_an_order_id_of_its_own() -> None:
    bought = orders(("c1", "2026-05-06", 10.0), ("c2", "2026-05-06", 5.0))
    returned = orders(("c1", "2026-05-07", -4.0), ("c3", "2026-05-06", -2.0), ("c2", "2026-06-30", -5.0), lines=0)
    row = found(ledger(approved(names("c", 4))), pd.concat([bought, returned])).campaigns.iloc[0]
    assert (row["converted"], row["revenue"]) == (2, 9.0)


def test_late_and_repeated_runs_give_the_same_results() -> None:
    entries = ledger(approved(names("c", 30)), approved(names("h", 10), "holdout"))
    bought = orders(*((name, "2026-05-06", 3.0) for name in names("c", 9)))
    first = found(entries, bought)
    shuffled = found(entries, bought.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(first.campaigns, shuffled.campaigns)
    pd.testing.assert_frame_equal(first.campaigns, found(entries, bought, CLOSED + pd.Timedelta(days=30)).campaigns)


def test_deciles_compare_what_was_expected_of_contacted_customers() -> None:
    contacted = names("c", 100)
    entries = [approved([name], expected_conversion=(number // 10) / 10) for number, name in enumerate(contacted)]
    bought = orders(*((name, "2026-05-06", 1.0) for name in contacted[1::2]))
    frame = found(ledger(*entries, approved(["h1"], "holdout")), bought).deciles
    assert list(frame.columns) == list(TABLES["campaign_result_deciles"].frame_types)
    assert list(frame["decile"]) == list(range(1, 11)) and set(frame["customers"]) == {10}
    assert list(frame["predicted"]) == pytest.approx([number / 10 for number in range(10)])
    assert set(frame["realised"]) == {0.5} and frame["converted"].sum() == 50


def test_of_few_contacts_no_decile_claims_a_share() -> None:
    entries = [approved([name], expected_conversion=number / 20) for number, name in enumerate(names("c", 20))]
    made = found(ledger(*entries, approved(["h1"], "holdout")), orders(("c1", "2026-05-06", 1.0)))
    assert made.campaigns["is_closed"].all() and made.deciles.empty


def test_where_nobody_bought_anything_the_revenue_has_no_interval_of_no_width() -> None:
    frame = found(ledger(approved(["c1", "c2", "c3"]), approved(["h1", "h2"], "holdout")), orders()).campaigns
    contact = frame[frame["arm"] == "contact"].iloc[0]
    assert contact["revenue_lift"] == 0 and pd.isna(contact["revenue_lift_low"]) and pd.isna(contact["revenue_lift_high"])
    assert contact["lift_low"] < -0.3 and contact["lift_high"] > 0.3  # by Newcombe, of three against two


def test_an_arm_without_customers_has_neither_rate_nor_revenue() -> None:
    frame = found(ledger(approved(["c1"])), orders(("c1", "2026-05-06", 5.0))).campaigns
    held = frame[frame["arm"] == "holdout"].iloc[0]
    assert held[["conversion_rate", "revenue"]].isna().all() and held["customers"] == 0


def test_equal_expectations_share_a_decile() -> None:
    frame = found(ledger(approved(names("c", 30))), orders()).deciles
    assert list(frame["customers"]) == [30]


def test_a_campaign_of_another_tool_is_judged_by_its_own_controls_and_first_touches() -> None:
    touches = pd.DataFrame(
        [(name, "reported", "2026-05-05", name[0] == "h") for name in [*names("c", 40), *names("h", 20)]]
        + [
            ("c0", "reported", "2026-05-06", True),
            ("c1", "reported", "2026-04-01", False),
            ("x1", "spring", "2026-05-05", False),
        ],
        columns=["customer_id", "campaign_id", "touched_at", "is_control"],
    ).assign(
        touch_id=lambda rows: rows.index.astype(str),
        touched_at=lambda rows: pd.to_datetime(rows["touched_at"]),
        is_time_known=True,
        expected_conversion=0.25,
    )
    bought = orders(*((name, "2026-05-06 10:00", 10.0) for name in [*names("c", 20), *names("h", 4)]))
    ours = standing(ledger(approved(["c1"])))
    reported = reported_contacts(touches, ours, pd.Timestamp("2026-05-01"))
    made = results(pd.concat([ours, reported], ignore_index=True), bought, SHOP, CLOSED, VALUES)
    rows = made.campaigns.set_index(["campaign_id", "arm"])
    contact, holdout = rows.loc[("reported", "contact")], rows.loc[("reported", "holdout")]
    assert (contact["customers"], contact["converted"], holdout["customers"], holdout["converted"]) == (40, 20, 20, 4)
    assert contact["lift"] == pytest.approx(0.3) and contact["is_conclusive"]
    assert contact[["cost", "profit"]].isna().all()
    assert list(rows["is_reported"]) == [True, True, False, False]
    assert list(made.deciles.loc[made.deciles["campaign_id"] == "reported", "predicted"]) == [0.25]
    no_time = reported_contacts(touches.assign(is_time_known=False), ours, pd.Timestamp("2026-05-01"))
    assert no_time.empty


def test_an_empty_ledger_gives_typed_tables() -> None:
    nothing = found(ledger(), orders())
    assert nothing.campaigns.empty and list(nothing.campaigns.columns) == list(TABLES["campaign_results"].frame_types)
    assert nothing.deciles.empty and list(nothing.deciles.columns) == list(TABLES["campaign_result_deciles"].frame_types)
    assert nothing.days.empty and list(nothing.days.columns) == list(TABLES["campaign_result_days"].frame_types)


def test_the_lift_by_day_adds_up_the_windows_that_had_passed_and_ends_with_the_result() -> None:
    early, late = {"send_at": pd.Timestamp("2026-05-04 07:00")}, {"send_at": pd.Timestamp("2026-05-06 07:00")}
    entries = [
        approved(["c0", "c1", "c2"], **early),
        approved(["c3"], **late),
        approved(["h0", "h1"], "holdout", **early),
        approved(["h2"], "holdout", **late),
    ]
    bought = orders(("c0", "2026-05-04 08:00", 5.0), ("c3", "2026-05-06 08:00", 5.0), ("h2", "2026-05-08 08:00", 5.0))
    days = found(ledger(*entries), bought).days
    assert [str(day.date()) for day in days["day"]] == ["2026-05-08", "2026-05-10"]
    assert days[["contacts", "holdouts"]].to_numpy().tolist() == [[3, 2], [4, 3]]
    assert days["contact_rate"].tolist() == pytest.approx([1 / 3, 2 / 4])
    assert days["holdout_rate"].tolist() == pytest.approx([0, 1 / 3])
    last = found(ledger(*entries), bought).campaigns.set_index("arm").loc["contact"]
    assert days.iloc[-1][["lift", "lift_low", "lift_high"]].tolist() == pytest.approx(
        last[["lift", "lift_low", "lift_high"]].tolist()
    )
    assert (days["anytime_low"] < days["lift_low"]).all() and (days["anytime_high"] > days["lift_high"]).all()
    assert len(found(ledger(*entries), bought, pd.Timestamp("2026-05-08")).days) == 1
    assert found(ledger(*entries), bought, pd.Timestamp("2026-05-05")).days.empty


def test_variants_are_judged_beside_the_held_out_who_would_be_mailed_and_beside_the_first() -> None:
    first, second, held = names("a", 40), names("b", 50), names("h", 20)
    texted, held_texts = names("s", 5), names("t", 5)
    entries = ledger(
        approved(first, variant="A"),
        approved(second, variant="B"),
        approved(held, "holdout", cost=0.0),
        approved(texted, channel="sms"),
        approved(held_texts, "holdout", channel="sms"),
    )
    bought = orders(
        *((name, "2026-05-06 10:00", 10.0) for name in [*first[:10], *second[:25], *held[:2], *texted, *held_texts])
    )
    rows = found(entries, bought).variants.set_index("variant")
    assert rows[["planned", "customers", "contacted", "converted"]].to_numpy().tolist() == [[40, 40, 40, 10], [50, 50, 50, 25]]
    assert list(rows["lift"]) == [pytest.approx(0.15), pytest.approx(0.4)]
    assert rows["difference"]["B"] == pytest.approx(0.25)
    # Newcombe's bounds from Wilson's: 25 of 50 has .3664 to .6336, 10 of 40 has .1419 to .4019.
    assert rows["difference_low"]["B"] == pytest.approx(0.25 - (0.1336**2 + 0.1519**2) ** 0.5, abs=1e-3)
    assert rows["difference_high"]["B"] == pytest.approx(0.25 + (0.1336**2 + 0.1081**2) ** 0.5, abs=1e-3)
    assert pd.isna(rows["difference"]["A"])
    first_line, second_line = variant_lines(rows.reset_index())
    assert first_line == "variant A: 25.00% of 40 converted"
    assert second_line.startswith(
        "variant B: 50.00% of 50 converted, +25.00 percentage points beside the first (95% interval +"
    )


def test_a_message_without_variants_has_no_rows_of_them() -> None:
    assert found(ledger(approved(names("a", 4), variant="A"), approved(names("h", 2), "holdout")), orders()).variants.empty


def test_whatever_became_of_the_mail_its_customer_counts_as_planned() -> None:
    accepted, unknown, failed, left, unsent = (names(kind, 10) for kind in ("accepted", "unknown", "failed", "left", "unsent"))
    held = names("h", 10)

    def not_sent(customers: list[str], detail: str) -> list[Entry]:
        return [entry("suppressed", name, detail=detail, variant="B") for name in customers]

    entries = ledger(
        approved(accepted, variant="A"),
        [
            row | ({"detail": "unknown: the connection was lost"} if row["event"] == "sent" else {})
            for row in approved(unknown, variant="A")
        ],
        approved(failed, is_sent=False, variant="B"),
        not_sent(failed, "failed: 550 no such user"),
        approved(left, is_sent=False, variant="B"),
        not_sent(left, "left out: unsubscribed"),
        approved(unsent, is_sent=False, variant="B"),
        approved(held, "holdout"),
    )
    bought = orders(
        *((customers[0], "2026-05-06 10:00", 10.0) for customers in (accepted, unknown, failed, left, unsent, held))
    )
    made = found(entries, bought)
    arms = made.campaigns.set_index("arm")
    assert arms[["planned", "customers", "contacted", "converted"]].to_numpy().tolist() == [[50, 50, 20, 5], [10, 10, 0, 1]]
    assert arms["lift"]["contact"] == pytest.approx(0)
    variants = made.variants.set_index("variant")
    assert variants[["customers", "contacted", "converted"]].to_numpy().tolist() == [[20, 20, 2], [30, 0, 3]]
