"""Models that need not be built again, since their inputs are those of their last build, and tables of models that are no more.

Two kinds, named by a tag of the dbt project: views and seeds, which follow from the code alone, and the customers in force,
which follow from the reference table and the clock. Building them in every slice took a tenth of its CPU time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable

import duckdb

from customer360.features import dbt_vars
from customer360.lake.engine import literal, quoted
from customer360.lake.reference.reference_history import history_file
from customer360.settings import REPOSITORY, Settings

PROJECT = REPOSITORY / "dbt_project"
DBT_SCHEMAS = ("staging", "intermediate", "marts", "seeds")  # of dbt_project.yml
OF_CODE, OF_CUSTOMERS = "of_code", "of_customers"


def project_fingerprint(settings: Settings) -> str:
    """Hash of the dbt project's files, of the shop's variables, and of the place of the warehouse."""
    return hashlib.sha256(f"{models_fingerprint(settings)} {settings.place.warehouse}".encode()).hexdigest()


def models_fingerprint(settings: Settings) -> str:
    """Hash of the dbt project's files and of the shop's variables: the same wherever the warehouse lies."""
    digest = hashlib.sha256(json.dumps(dbt_vars(settings.shop), sort_keys=True).encode())
    for path in sorted(PROJECT.rglob("*")):
        if path.is_file() and path.suffix in {".sql", ".yml", ".csv", ".md"}:
            digest.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def unchanged(connection: duckdb.DuckDBPyConnection, settings: Settings) -> list[str]:
    """Tags whose models are as they would be built now. Called after the clock was set, under the warehouse's lock."""
    connection.execute("create table if not exists ops.built (tag varchar primary key, fingerprint varchar)")
    built = dict(connection.execute("select tag, fingerprint from ops.built").fetchall())
    return [tag for tag, fingerprint in _fingerprints(connection, settings).items() if built.get(tag) == fingerprint]


def mark_built(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Record, after dbt succeeded with all models, the versions of their inputs."""
    rows = [list(column) for column in zip(*_fingerprints(connection, settings).items(), strict=True)]
    connection.execute("insert or replace into ops.built select unnest(?::varchar[]), unnest(?::varchar[])", rows)


def drop_removed_models(connection: duckdb.DuckDBPyConnection, models: Collection[tuple[str, str]]) -> list[str]:
    """Drop what an earlier release of the project built and this one does not; the names of what was dropped.

    ``models``: schema and name of every model and seed of the project. The schemas of dbt alone are looked at: no other code
    writes there. Called under the warehouse's lock, after a build of the whole project succeeded: nothing reads them any more.
    """
    found = connection.execute(
        """
        select table_schema, table_name, table_type from information_schema.tables
        where table_catalog = current_database() and list_contains(?::varchar[], table_schema) order by all
        """,
        [list(DBT_SCHEMAS)],
    ).fetchall()
    removed = [(schema, name, kind) for schema, name, kind in found if (schema, name) not in models]
    for schema, name, kind in removed:
        connection.execute(f"drop {'view' if kind == 'VIEW' else 'table'} {quoted(schema)}.{quoted(name)}")
    return [f"{schema}.{name}" for schema, name, _ in removed]


def built_contents(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Model -> content version of its table, for those whose last build is known to have ended well."""
    connection.execute("create table if not exists ops.built_contents (model varchar primary key, content varchar)")
    return dict(connection.execute("select model, content from ops.built_contents").fetchall())


def set_built_contents(connection: duckdb.DuckDBPyConnection, models: Iterable[str], content: str | None) -> None:
    """Give these models' tables a content version after a build, or none before it: a build that fails leaves none behind."""
    built_contents(connection)
    names = list(models)
    connection.execute("delete from ops.built_contents where list_contains(?::varchar[], model)", [names])
    if content is not None:
        connection.execute("insert into ops.built_contents select unnest(?::varchar[]), ?", [names, content])


def _fingerprints(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, str]:
    project = project_fingerprint(settings)
    history = history_file(settings.place, "customers")
    in_force = "none"
    if history.exists():
        counts = connection.execute(
            f"""
            select count(*) filter (where valid_from <= as_of), count(*) filter (where valid_to <= as_of)
            from read_parquet({literal(str(history))}, hive_partitioning = false), ops.clock
            """
        ).fetchone()
        in_force = f"{history.stat().st_mtime_ns}.{history.stat().st_size}.{counts}"
    return {OF_CODE: project, OF_CUSTOMERS: f"{project}.{in_force}"}
