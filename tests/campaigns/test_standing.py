"""What a new plan must reckon with."""

import pandas as pd

from customer360.campaigns.ledger import LEDGER
from customer360.campaigns.standing import commitments, standing
from customer360.settings import REPOSITORY, load_shop

SHOP = load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml", ["books"])


def ledger(*entries: dict[str, object]) -> pd.DataFrame:
    base = {"campaign_id": "spring", "plan_version": "v1", "arm": "contact", "channel": "email", "cost": 0.5}
    rows = [{**base, "contact_date": pd.Timestamp("2026-05-05"), **entry} for entry in entries]
    frame = pd.DataFrame(rows)
    return LEDGER.typed(frame)


def approved(*rows: dict[str, object]) -> pd.DataFrame:
    return standing(ledger(*rows))


def touches(*rows: dict[str, object]) -> pd.DataFrame:
    base = {"campaign_id": "old", "channel": "phone", "is_time_known": True, "touched_at": pd.Timestamp("2026-05-01 23:00")}
    columns = ["customer_id", "campaign_id", "channel", "is_time_known", "touched_at", "local_date", "is_control"]
    frame = pd.DataFrame([{**base, "local_date": None, "is_control": None, **row} for row in rows], columns=columns)
    return frame.assign(local_date=pd.to_datetime(frame["local_date"]), touched_at=pd.to_datetime(frame["touched_at"]))


def test_approved_contacts_count_until_they_are_suppressed_and_holdouts_never() -> None:
    found = commitments(
        approved(
            {"event": "planned", "customer_id": "C0"},
            {"event": "approved", "customer_id": "C1"},
            {"event": "approved", "customer_id": "C2"},
            {"event": "sent", "customer_id": "C2"},
            {"event": "approved", "customer_id": "C3"},
            {"event": "suppressed", "customer_id": "C3"},
            {"event": "approved", "customer_id": "C4", "arm": "holdout"},
            {"event": "approved", "customer_id": "C3", "plan_version": "v2"},
        ),
        touches(),
        SHOP,
    )
    assert list(zip(found["customer_id"], found["is_sent"], found["cost"], strict=True)) == [
        ("C1", False, 0.5),
        ("C2", True, 0.5),
        ("C3", False, 0.5),
    ]


def test_past_touches_count_once_and_control_groups_do_not() -> None:
    found = commitments(
        approved({"event": "approved", "customer_id": "C1"}, {"event": "sent", "customer_id": "C1"}),
        touches(
            {"customer_id": "C1", "campaign_id": "spring", "local_date": "2026-05-05"},  # the ledger's own, come back
            {"customer_id": "C1", "campaign_id": "spring", "local_date": "2026-05-06"},
            {"customer_id": "C2", "is_control": True, "local_date": "2026-05-02"},
            {"customer_id": "C3", "channel": None, "is_time_known": False},  # 23:00 UTC is the next day in Amsterdam
        ),
        SHOP,
    )
    days = list(zip(found["customer_id"], found["contact_date"].dt.strftime("%Y-%m-%d"), strict=True))
    assert days == [("C1", "2026-05-05"), ("C1", "2026-05-06"), ("C3", "2026-05-02")]
    assert found["is_sent"].all() and list(found["cost"]) == [0.5, 0.0, 0.0]
