"""Reference tables: one asset each, checked and versioned by content."""

import dagster as dg

from customer360.lake.contracts import ReferenceTable, reference_tables
from customer360.lake.reference import BrokenReferenceError, load_reference
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SHOP
from orchestration.resources import Platform


def reference_asset(contract: ReferenceTable) -> dg.AssetsDefinition:
    """The asset of one reference table."""
    personal = any(column.personal for column in contract.columns) or contract.name == "customers"

    @dg.asset(
        key=["raw", contract.name],
        description=f"{contract.description}. One row per {', '.join(contract.key)} and validity.",
        group_name=groups.RAW,
        kinds={"duckdb", "parquet"},
        owners=[DATA_TEAM],
        tags={"domain": "reference", "personal_data": "yes" if personal else "no"},
    )
    def load(platform: Platform) -> dg.MaterializeResult:
        try:
            loaded = load_reference(platform.settings(), contract.name, platform.shop_now())
        except BrokenReferenceError as error:
            raise dg.Failure(f"{error}", allow_retries=False) from error
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": loaded.rows,
                "files": loaded.files,
                "rows_opened": loaded.opened,
                "rows_closed": loaded.closed,
                "version": loaded.version,
                "columns_nobody_reads": ", ".join(loaded.ignored_columns) or "none",
            }
        )

    return load


REFERENCE_ASSETS = [reference_asset(contract) for contract in reference_tables(SHOP).values()]
