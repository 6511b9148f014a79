"""Our days beside another tool's: every difference that follows from known causes is explained to the last cent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from customer360.lake.publishing.publishing import publish
from customer360.reconciliation.compare import compare, reconcile, totals, usual_tool
from customer360.reconciliation.exports import read_export
from customer360.reconciliation.own import CAUSES, POSSIBLE, Tool
from customer360.settings import REPOSITORY, Settings
from customer360.snapshot import open_snapshot

AS_OF = datetime(2026, 5, 3, tzinfo=UTC)
FIRST, SECOND = date(2026, 5, 1), date(2026, 5, 2)
# In Amsterdam. 1 May: 3 orders of 100 in all, one of them of 30 at a till; 20 were returned. An order of 40 at 00:30 on 2 May
# is one of 1 May in UTC. A robot looks at 400 pages on 2 May. A line of 25 came late, one of 15 twice.
ORDERS = {
    "orders_daily": """
        select * from (values
            (date '2026-05-01', 3, 100.00, 20.00, 80.00, 1, 30.00, 0.00),
            (date '2026-05-02', 1, 40.00, 5.00, 35.00, 0, 0.00, 5.00)
        ) as t (local_date, orders, gross_revenue, returned_amount, revenue, orders_without_visit, gross_revenue_without_visit,
            returned_amount_without_visit)
    """,
    "arrivals_daily": """
        select date '2026-05-01' as local_date, 500 as events, 7 as late_events, 25.00 as late_amount, 15.00 as repeated_amount
    """,
    "traffic": """
        select * from (values
            (timestamp '2026-05-01 10:00', 3, 80.00), (timestamp '2026-05-01 22:30', 1, 40.00),
            (timestamp '2026-05-02 08:00', 0, -5.00)
        ) as t (event_slice, purchases, revenue)
    """,
    "sessions": """
        select * from (values
            ('V1', 'C1', timestamp '2026-05-01 10:00', 5), ('V1', 'C1', timestamp '2026-05-01 15:00', 5),
            (null, 'C2', timestamp '2026-05-01 22:30', 5), ('R', null, timestamp '2026-05-02 10:00', 400)
        ) as t (visitor_id, customer_id, started_at, page_and_product_views)
    """,
    "slice_log": """
        select * from (values
            (timestamp '2026-05-01 10:00', 4, 2, 1), (timestamp '2026-05-01 23:00', 1, 0, 0)
        ) as t (slice, quarantined, duplicates, repeats)
    """,
    "campaign_ledger": """
        select * from (values
            ('sent', 'email', timestamp '2026-05-01 08:00'), ('sent', 'email', timestamp '2026-05-01 08:00'),
            ('sent', 'sms', timestamp '2026-05-01 08:00'), ('opened', 'email', timestamp '2026-05-01 22:30')
        ) as t (event, channel, event_at)
    """,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.load(REPOSITORY / "tests" / "shops" / "tiny", tmp_path / "data")
    with duckdb.connect() as connection:
        publish(settings.place, connection, ORDERS, AS_OF, AS_OF)
    return settings


def reconciled(settings: Settings, kind: str, text: str, **changes: Any) -> Any:
    with open_snapshot(settings) as snapshot:
        assert snapshot is not None
        usual = usual_tool(kind, settings.shop)
        tool = Tool(changes.get("zone", usual.zone), changes.get("is_net_of_returns", usual.is_net_of_returns))
        return reconcile(snapshot, read_export(kind, "export.csv", text.encode()), tool)


def row(days: pd.DataFrame, measure: str, day: date) -> dict[str, Any]:
    (found,) = days[(days["measure"] == measure) & (days["date"] == day)].to_dict("records")
    return {str(name): value for name, value in found.items() if value and name not in {"date", "measure"}}


def test_ga4_counts_visits_by_its_own_days_without_tills_returns_and_robots(settings: Settings) -> None:
    found = reconciled(
        settings,
        "ga4",
        "Date,Sessions,Users,Purchases,Revenue\n20260501,3,2,3,110.00\n20260502,0,0,0,0\n",
        zone="UTC",
    )
    assert row(found.days, "sessions", FIRST) == {"theirs": 3, "ours": 2, "difference": 1, "time_zone": 1}
    assert row(found.days, "sessions", SECOND) == {"ours": 2, "difference": -2, "time_zone": -1, "robots": -1}
    assert row(found.days, "visitors", FIRST) == {"theirs": 2, "ours": 1, "difference": 1, "time_zone": 1}
    assert row(found.days, "orders", FIRST) == {"theirs": 3, "ours": 3, "time_zone": 1, "without_visit": -1}
    assert row(found.days, "revenue", FIRST) == {
        **{"theirs": 110, "ours": 80, "difference": 30, "time_zone": 40, "returns": 20, "without_visit": -30},
        **{"late": -25, "repeats": 15},
    }
    assert (found.days["unexplained"] == 0).all()
    assert found.lines.to_dict("list") == {
        "date": [FIRST, SECOND],
        "quarantined": [4, 1],
        "copies": [2, 0],
        "repeats": [1, 0],
        "late_events": [7, 0],
    }
    assert any("Robots" in note for note in found.notes)


def test_books_count_by_the_shop_s_days_and_what_is_not_explained_is_shown(settings: Settings) -> None:
    text = "day;orders;revenue\n2026-05-01;3;81,50\n2026-05-02;1;35,00\n2026-04-30;9;9,00\n"
    found = reconciled(settings, "books", text)
    assert row(found.days, "revenue", FIRST) == {
        **{"theirs": 81.5, "ours": 80, "difference": 1.5, "unexplained": 1.5},
        **{"late": -25, "repeats": 15},
    }
    assert pd.isna(found.days.set_index(["measure", "date"]).loc[("orders", date(2026, 4, 30)), "ours"])
    assert any("no data of 1 of its days, from 2026-04-30" in note for note in found.notes)
    sums = found.totals.set_index("measure")
    assert sums.loc["revenue", ["theirs", "ours", "unexplained"]].tolist() == [116.5, 115, 1.5]
    gross = reconciled(settings, "books", "day;orders;revenue\n2026-05-01;3;100\n2026-05-02;1;40\n", is_net_of_returns=False)
    assert (gross.days["unexplained"] == 0).all()


def test_a_mail_provider_counts_messages_by_its_own_days(settings: Settings) -> None:
    found = reconciled(settings, "mail", "date,sent,opened,bounced\n2026-05-01,2,1,4\n", zone="UTC")
    assert row(found.days, "sent", FIRST) == {"theirs": 2, "ours": 2}
    assert row(found.days, "opened", FIRST) == {"theirs": 1, "difference": 1, "time_zone": 1}
    assert "We keep no figures of bounced by day." in found.notes


def test_a_day_without_a_row_of_ours_had_nothing_between_our_first_and_last() -> None:
    own = pd.DataFrame({"date": [FIRST, date(2026, 5, 3)], "measure": "orders", "ours": [1.0, 2.0]})
    own = own.assign(**dict.fromkeys((*CAUSES, *POSSIBLE), 0.0))
    theirs = pd.DataFrame({"date": [FIRST, SECOND, date(2026, 5, 4)], "measure": "orders", "theirs": [1.0, 5.0, 7.0]})
    days = compare(theirs, own)
    assert days["ours"].fillna(-1).tolist() == [1, 0, -1]
    assert totals(days)[["measure", "theirs", "ours", "unexplained"]].to_numpy().tolist() == [["orders", 6, 1, 5]]
