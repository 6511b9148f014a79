"""Triggers that refuse to change or delete entries of the audit log, whatever program tries."""

from typing import Any

from django.db import migrations

SQLITE = [
    f"create trigger desk_auditentry_no_{event} before {event} on desk_auditentry "
    "begin select raise(abort, 'entries of the audit log are neither changed nor deleted'); end"
    for event in ("update", "delete")
]
POSTGRESQL = [
    "create function desk_auditentry_refuse() returns trigger language plpgsql as $$ begin "
    "raise exception 'entries of the audit log are neither changed nor deleted'; end $$",
    "create trigger desk_auditentry_append_only before update or delete on desk_auditentry "
    "for each row execute function desk_auditentry_refuse()",
    "create trigger desk_auditentry_no_truncate before truncate on desk_auditentry "
    "for each statement execute function desk_auditentry_refuse()",
]


def add_triggers(_apps: Any, editor: Any) -> None:
    """In the language of the database."""
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[editor.connection.vendor]:
        editor.execute(statement)


class Migration(migrations.Migration):
    """No way back: the log of a desk that is in use stays append-only."""

    dependencies = [("desk", "0001_initial")]
    operations = [migrations.RunPython(add_triggers)]
