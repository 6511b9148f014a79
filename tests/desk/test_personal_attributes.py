"""Personal attributes of shop.yaml are masked for viewers, in frames and in charts."""

from __future__ import annotations

import pandas as pd
import pytest
from django.conf import settings

from customer360.services.desk.access import DeskRequest
from customer360.services.desk.charts import Chart, Drawn
from customer360.services.desk.personal import MASK, masked
from tests.desk.in_django import Desk


@pytest.mark.parametrize(("role", "email"), [("viewer", MASK), ("marketer", "anna@shop.example")])
def test_only_who_may_sees_them(desk: Desk, role: str, email: str) -> None:
    request = DeskRequest()
    request.may, request.settings = desk.user(role).has_perm, desk.shop.settings
    frame = pd.DataFrame({"customer_id": ["C1"], "email": ["anna@shop.example"], "city": ["Utrecht"]})
    assert masked(request, frame).to_dict("records") == [{"customer_id": "C1", "email": email, "city": "Utrecht"}]


def test_a_chart_masks_what_its_query_returns(desk: Desk) -> None:
    request = DeskRequest()
    request.may, request.settings = desk.user("viewer").has_perm, desk.shop.settings
    with settings.SNAPSHOTS.opened() as request.snapshot:
        drawn = Drawn.of(
            Chart("people", "People", "select email, age, city from customer_profiles where customer_id = 'C1'"), request
        )
    assert drawn.table == [(MASK, MASK, "Utrecht")]
