"""Reference tables: one asset each, checked and versioned by content."""

from typing import Any

import dagster as dg

from customer360.lake.landing.contracts import ReferenceTable, reference_tables
from customer360.lake.object_store import StoreError
from customer360.lake.reference.postgres import UnreadableSourceError
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import ReferenceLoad
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.settings import Shop
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SHOP
from orchestration.resources import Platform

SOURCE_WAS_READ = "source_was_read"
NO_ROW_SET_ASIDE = "no_row_set_aside"
ADDRESSES_ARE_VALID = "addresses_are_valid"


def reference_asset(shop: Shop, contract: ReferenceTable) -> dg.AssetsDefinition:
    """The asset of one reference table; one from PostgreSQL or a store has a check that warns when an older one is served."""
    key = ["raw", contract.name]
    source = shop.reference.get(contract.name)
    in_store = source is None and shop.landing_url is not None
    is_remote = source is not None or in_store
    source_check = dg.AssetCheckSpec(
        SOURCE_WAS_READ,
        asset=key,
        description=(
            f"{'The store' if in_store else 'PostgreSQL'} could be read; warns when it could not, and the last good version "
            "stays in force."
        ),
    )

    rows_check = dg.AssetCheckSpec(
        NO_ROW_SET_ASIDE,
        asset=key,
        description=(
            "Warns when rows break the contract: they are in the quarantine, the others used. Fails when they are more than "
            f"{shop.max_share_set_aside:.2%} of the table (max_share_set_aside in shop.yaml)."
        ),
    )

    address_check = dg.AssetCheckSpec(
        ADDRESSES_ARE_VALID,
        asset=key,
        description="Warns when rows that were read have an invalid e-mail address: it counts as empty, and the row is used.",
    )
    has_addresses = any(column.is_address for column in contract.columns)

    @dg.asset(
        key=key,
        description=f"{contract.description}. One row per {', '.join(contract.key)} and validity.",
        group_name=groups.RAW,
        kinds={"duckdb", "parquet"} | ({"postgres"} if source else {"s3"} if in_store else set()),
        owners=[DATA_TEAM],
        tags=groups.tags("reference", contract.columns),
        check_specs=[rows_check, *([source_check] if is_remote else []), *([address_check] if has_addresses else [])],
    )
    def load(platform: Platform) -> dg.MaterializeResult:
        try:
            loaded = load_reference(platform.settings(), contract.name, platform.shop_now())
        except BrokenReferenceError as error:
            raise dg.Failure(error.for_logs, allow_retries=False) from None  # the cause would be logged with its values
        except (UnreadableSourceError, StoreError) as error:
            raise dg.Failure(f"{contract.name} was never loaded, so there is no version to go on with: {error}") from error
        results = [_was_read(loaded.not_read)] if is_remote else []
        results += [_addresses(loaded)] if has_addresses else []
        return dg.MaterializeResult(
            metadata=_metadata(loaded), check_results=[_set_aside(loaded, shop.max_share_set_aside), *results]
        )

    return load


def _set_aside(loaded: ReferenceLoad, most: float) -> dg.AssetCheckResult:
    rows = loaded.rows + loaded.set_aside
    share = loaded.set_aside / rows if rows else 0.0
    return dg.AssetCheckResult(
        check_name=NO_ROW_SET_ASIDE,
        passed=not loaded.set_aside,
        severity=dg.AssetCheckSeverity.ERROR if share > most else dg.AssetCheckSeverity.WARN,
        metadata={
            "rows_set_aside": loaded.set_aside,
            "share_set_aside": round(share, 4) if rows else "none: there are no rows",
            "first_of_this_load": "; ".join(loaded.faults) or "none",
            "remedy": "customer360 quarantine list",
        },
    )


def _addresses(loaded: ReferenceLoad) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=ADDRESSES_ARE_VALID,
        passed=not loaded.refused_addresses,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "addresses_counted_as_none": loaded.refused_addresses,
            "first_of_this_load": "; ".join(loaded.address_faults) or "none",
            "remedy": "mend them where they come from; customer360 check names the rows",
        },
    )


def _was_read(not_read: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=SOURCE_WAS_READ,
        passed=not not_read,
        severity=dg.AssetCheckSeverity.WARN,
        description=not_read or None,
    )


def _metadata(loaded: ReferenceLoad) -> dict[str, Any]:
    """What a load found; with a table of PostgreSQL, also what came over."""
    metadata: dict[str, Any] = {
        "dagster/row_count": loaded.rows,
        "files": loaded.files,
        "rows_opened": loaded.opened,
        "rows_closed": loaded.closed,
        "rows_set_aside": loaded.set_aside,
        "version": loaded.version,
        "columns_nobody_reads": ", ".join(loaded.ignored_columns) or "none",
    }
    if loaded.postgres:
        metadata["rows_read"] = loaded.postgres.rows
        metadata["read_in_full"] = loaded.postgres.is_full
        metadata["cursor_mark"] = loaded.postgres.mark or "none"
    if loaded.refused_addresses:
        metadata["addresses_counted_as_none"] = loaded.refused_addresses
    if loaded.not_read:
        metadata["not_read"] = loaded.not_read
    return metadata


REFERENCE_ASSETS = [reference_asset(SHOP, contract) for contract in reference_tables(SHOP).values()]
