"""The model of customers without contact as Dagster trains it: once there are controls enough, and with the effect it shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from ml.datasets.targets import ORGANIC_RESPONSE, RESPONSE
from ml.versions.model_store import ModelStore
from ml.versions.shop_models import servable_for_shop
from tests.orchestration.place import TinyShop, changing_published

MODEL = dg.AssetKey(["predictions", "organic_response_model"])
# Controls at random over four months: who has an even number orders in a third of the cases, the others nearly never.
CONTROLS = """
insert into campaign_touch_history by name
select
    'control-' || lpad(n::varchar, 5, '0') as touch_id, campaign_id, customer_id, null as channel, touched_at,
    true as is_time_known, cast(touched_at as date) as local_date, isodow(touched_at) as day_of_week,
    cast(hour(touched_at) as bigint) as local_hour, is_converted,
    case when is_converted then touched_at + interval 1 day end as converted_at, true as is_control, false as is_randomised
from (
    select
        n, campaign_id, customer_id, touched_at,
        hash(n, 'outcome') % 1000 < (case when age < 45 then 330 else 20 end) as is_converted
    from (
        select
            n, (select max(campaign_id) from campaign_touch_history) as campaign_id, customer_id, age,
            (select max(touched_at) from campaign_touch_history) - interval 1 minute * (hash(n, 'when') % 172800) as touched_at
        from range(2400) as numbers(n)
        join (select customer_id, age, row_number() over (order by customer_id) as place from customer_features) as people
            on place = 1 + hash(n, 'who') % (select count(*) from customer_features)
    )
)
"""


@pytest.fixture
def trained(shop: TinyShop) -> Iterator[TinyShop]:
    shop.restore("ready")
    yield shop
    shop.restore("ready")


def metadata_of(shop: TinyShop) -> dict[str, Any]:
    with shop.instance() as instance:
        event = instance.get_latest_materialization_event(MODEL)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_with_few_controls_no_model_is_trained_and_the_run_says_how_many_are_needed(trained: TinyShop) -> None:
    ((controls,),) = trained.published("select count(*) from campaign_touch_history where is_control")
    assert controls > 0
    shown = metadata_of(trained)
    assert shown["decision"] == "not trained"
    assert f"has {controls} controls" in shown["missing"]
    assert "at least 1,500 are needed" in shown["missing"]
    assert ModelStore(trained.settings.place.models).versions(ORGANIC_RESPONSE) == []


def test_with_controls_enough_it_is_judged_promoted_and_shows_what_contacts_add(trained: TinyShop) -> None:
    with changing_published(trained, "campaign_touch_history", "customer_features") as connection:
        connection.execute(CONTROLS)
    trained.run("training_job", assets=[MODEL.path]).succeed()
    shown = metadata_of(trained)
    assert shown["decision"] == "promoted", shown["reason"]
    loaded = servable_for_shop(trained.settings, ORGANIC_RESPONSE).loaded
    assert loaded is not None
    assert loaded.version == shown["model_version"]
    assert servable_for_shop(trained.settings, RESPONSE).loaded is not None
    assert "Qini coefficient" in shown["effect"]
    assert "share contacted" in shown["effect"]
    assert shown["plot_qini"].startswith("![qini](data:image/png")
    folder = trained.settings.place.reports / "models" / ORGANIC_RESPONSE / loaded.version
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "## effect" in card
    assert shown["effect"] in card
    assert "![qini](qini.png)" in card
    assert (folder / "qini.png").read_bytes().startswith(b"\x89PNG")
    assert trained.published("select count(*) from model_versions where model_name = 'organic_response'") == [(1,)]
