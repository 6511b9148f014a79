"""Settings of a table in PostgreSQL, and the connection string made from them; no server is needed."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.postgres import address
from customer360.settings import REFERENCE_NAMES, REPOSITORY, PostgresSource, SettingsError, Shop, load_shop
from tests.support.random_shop import small_shop

DOC = (REPOSITORY / "docs" / "your-data.md").read_text(encoding="utf-8")
SECTION = DOC.split("## Reference tables in PostgreSQL")[1].split("\n## ")[0]
LIMITS = "-c statement_timeout=60s -c default_transaction_read_only=on -c TimeZone=UTC -c DateStyle=ISO"


def sourced(**source: Any) -> Shop:
    return small_shop(reference={"customers": {"postgres": source}})


def test_every_reference_table_and_no_other_may_be_in_postgresql() -> None:
    assert tuple(reference_tables(small_shop())) == REFERENCE_NAMES
    with pytest.raises(ValidationError, match="there is no such reference table; there are customers, products"):
        small_shop(reference={"clicks": {"postgres": {"dsn": "D", "table": "t"}}})


def test_the_example_of_the_docs_is_valid_and_every_field_is_explained() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)\n```", SECTION, re.DOTALL)
    shop = small_shop(**yaml.safe_load(example))
    assert shop.reference["customers"].postgres.table == "crm.customers"
    assert shop.reference["purchases"].postgres.overlap_minutes == 60
    documented = dict(re.findall(r"^\| `(\w+)` \| (\S*) ?\|", SECTION, re.MULTILINE))
    assert list(documented) == list(PostgresSource.model_fields)
    for name in ("overlap_minutes", "full_every_days", "timeout_seconds"):
        assert documented[name] == str(PostgresSource.model_fields[name].default)


def test_a_connection_string_in_shop_yaml_is_refused_and_not_repeated(tmp_path: Path) -> None:
    values = yaml.safe_load((REPOSITORY / "docs" / "examples" / "your-shop" / "shop.yaml").read_text(encoding="utf-8"))
    values["reference"] = {"customers": {"postgres": {"dsn": "postgresql://shop:c4nary@db/shop", "table": "t"}}}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_shop(tmp_path / "shop.yaml")
    assert "reference.customers.postgres.dsn: give the name of an environment variable" in str(refused.value)
    assert "c4nary" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"dsn": "D"}, "either a table or a query"),
        ({"dsn": "D", "table": "t", "query": "select 1"}, "either a table or a query"),
        ({"dsn": "D", "table": "a.b.c"}, "write table or schema.table"),
        ({"dsn": "D", "table": "a."}, "write table or schema.table"),
        ({"dsn": "D", "table": "t", "full_every_days": 1, "overlap_minutes": 1}, "mean nothing without a cursor"),
        ({"dsn": "D", "table": "t", "timeout": 1}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sourced(**source)


@pytest.mark.parametrize(
    ("dsn", "begins", "options"),
    [
        ("host=db password='a b'", "host=db password='a b' connect_timeout='10' ", f"options='{LIMITS}'"),
        ("host=db options=-csearch_path=x", "host=db ", f"options='-csearch_path=x {LIMITS}'"),
        (r"options = '-c a=b\'c' host=db", "options = ", rf"options='-c a=b\'c {LIMITS}'"),
        ("service=shop", "service=shop connect_timeout='10' ", f"options='{LIMITS}'"),
        (
            "postgresql://u:p?w@db/shop",
            "postgresql://u:p?w@db/shop?connect_timeout=10&",
            "options=-c%20statement_timeout%3D60s",
        ),
        (
            "postgres://db?sslmode=require",
            "postgres://db?sslmode=require&connect_timeout=10&",
            "options=-c%20statement_timeout",
        ),
        ("postgresql://db/s?options=-c%20a%3Db", "postgresql://db/s?options=", "options=-c%20a%3Db%20-c%20statement_timeout"),
    ],
)
def test_limits_are_added_to_either_form_of_a_connection_string(dsn: str, begins: str, options: str) -> None:
    made = address(dsn, 60)
    assert made.startswith(begins)
    assert options in made
    assert "tcp_user_timeout" in made
