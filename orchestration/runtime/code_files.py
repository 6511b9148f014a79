"""The files that definitions come from. Whoever holds definitions in memory is replaced when one of them changes."""

from __future__ import annotations

import hashlib

from customer360.settings import REPOSITORY, Settings

END_VARIABLE = "CUSTOMER360_PARTITIONS_END"  # of a code server: until when the partitions of a replay go, UTC
CODE = ("orchestration", "assets", "ml", "sensors", "customer360", "dbt_project")
LINEAGE = "column_lineage.json"  # in the folder of dbt's targets
SUFFIXES = {".py", ".sql", ".yml", ".yaml", ".csv", ".md"}


def code_fingerprint() -> str:
    """Changes with any file that definitions come from: the code, the dbt project, the shop, its categories, column lineage."""
    settings = Settings.from_environment()
    digest = hashlib.sha256()
    folders = [*(REPOSITORY / name for name in CODE), settings.shop_folder]
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
    for path in [*paths, settings.place.categories_file, settings.place.dbt_target / LINEAGE]:
        if path.exists():
            digest.update(f"{path}\0{path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()
