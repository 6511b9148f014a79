"""The check that counts keys of reference rows which point nowhere."""

import dagster as dg

from customer360.lake.reference.unknown_keys import POINTERS, SHOWN_KEYS, loaded_ids, unknown_keys
from customer360.text import printable
from orchestration.resources import Platform

TABLES = sorted({name for table, _, targets in POINTERS for name in (table, *targets)} - {"purchases"})


@dg.asset_check(
    asset=["raw", "purchases"],
    additional_deps=[["raw", name] for name in TABLES],
    description=(
        "Warns when reference rows name products, customers, categories, offers or campaigns that their table does not list; "
        "the rows are used."
    ),
)
def keys_are_listed(platform: Platform) -> dg.AssetCheckResult:
    """Count the rows by table and column, with their share and the most frequent values."""
    found = list(unknown_keys(loaded_ids(platform.settings())))
    columns = [
        dg.TableColumn("column"),
        dg.TableColumn("listed_in"),
        dg.TableColumn("rows", "int"),
        dg.TableColumn("share", "float"),
        dg.TableColumn("values", "int"),
        dg.TableColumn("examples"),
    ]
    records = [
        dg.TableRecord(
            {
                "column": f"{keys.table}.{keys.column}",
                "listed_in": ", ".join(keys.listed_in),
                "rows": keys.unknown_rows,
                "share": round(keys.share, 4),
                "values": len(keys.values),
                "examples": "not shown: ids of people"
                if keys.column == "customer_id"
                else ", ".join(map(printable, keys.values[:SHOWN_KEYS])),
            }
        )
        for keys in found
    ]
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rows": sum(keys.unknown_rows for keys in found),
            "keys": dg.MetadataValue.table(records, schema=dg.TableSchema(columns)),
            "remedy": "list them, or write ids in one way: letter case and leading zeros count; see customer360 check",
        },
    )
