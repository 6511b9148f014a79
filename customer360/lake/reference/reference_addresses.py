"""E-mail addresses of reference rows: one written form; one that is none is emptied, and its row stays, with its consents."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from customer360.lake.engine import quoted
from customer360.lake.landing.contracts import ReferenceTable
from customer360.lake.reference.reference_rows import RowProblem
from customer360.mail.addresses import AddressError, checked_address

REFUSED = "_refused"  # a temporary table


def check_addresses(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """Give the addresses in ``incoming`` their canonical form, and empty those that are none.

    The temporary table ``_refused`` gets the file, row, column, fault and key of the latter, without the address.
    """
    connection.execute(
        f"create or replace temp table {REFUSED} (_file varchar, _row bigint, _column varchar, _fault varchar, _key varchar)"
    )
    key = quoted(contract.key[0])
    for name in [column.name for column in contract.columns if column.is_address]:
        column = quoted(name)
        texts = [text for (text,) in connection.execute(f"select distinct {column} from incoming").fetchall() if text]
        judged = [_judged(text) for text in texts]
        values = [texts, [form for form, _ in judged], [fault for _, fault in judged]]
        forms = pa.table([pa.array(part, pa.string()) for part in values], ["text", "form", "fault"])
        connection.register("address_forms", forms)
        connection.execute(
            f"insert into {REFUSED} select _file, _row, ?, fault, '{contract.key[0]} ' || {key} "
            f"from incoming inner join address_forms on {column} = text where fault is not null",
            [name],
        )
        connection.execute(
            f"update incoming set {column} = form from address_forms where {column} = text and form is distinct from text"
        )
        connection.unregister("address_forms")


def refused_addresses(connection: duckdb.DuckDBPyConnection, most: int) -> tuple[int, list[RowProblem]]:
    """How many addresses of ``incoming`` were none, and the first of them by file and row."""
    (count,) = connection.execute(f"select count(*) from {REFUSED}").fetchone() or (0,)
    rows = connection.execute(
        f"select _file, coalesce(_row, 0), _column, _fault, _fault, _key from {REFUSED} order by _file, _row, _key limit {most}"
    ).fetchall()
    return count, [RowProblem(*row) for row in rows]


def _judged(text: str) -> tuple[str | None, str | None]:
    """The canonical form, or why there is none; a blank text has neither."""
    if not text.strip():
        return None, None
    try:
        return checked_address(text), None
    except AddressError as error:
        return None, f"is no address that can be mailed: {error}"
