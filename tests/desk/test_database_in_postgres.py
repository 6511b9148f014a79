"""The desk's own database in PostgreSQL: its migrations, accounts, and the triggers that keep the audit log."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import quote

from tests.desk.conftest import small_desk_shop
from tests.desk.desk_server import Commands
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server


def refused(server: PostgresServer, statement: str) -> bool:
    command = [server.binaries / "psql", "-X", "-c", statement, server.dsn]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.returncode == 1 and "neither changed nor deleted" in ran.stderr


def test_accounts_and_the_audit_log_are_kept_in_postgres(tmp_path: Path) -> None:
    shop = small_desk_shop(tmp_path)
    with postgres_server() as server:
        address = f"postgresql://shop:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/postgres"
        desk = Commands(shop.settings, {"database_url": address})
        desk.add("anna", "admin")
        assert desk.accounts() == {"anna": "admin"}
        assert server.sql("select username, action, subject from desk_auditentry") == "command line|role given|anna"
        for statement in ("update desk_auditentry set action = ''", "delete from desk_auditentry", "truncate desk_auditentry"):
            assert refused(server, statement), statement
    assert not (shop.settings.place.desk / "desk.sqlite3").exists()
