"""``customer360 contracts``."""

from __future__ import annotations

from orchestration.console import WELL, Invocation, JsonOption, answer


def contracts(invocation: Invocation, as_json: JsonOption = False) -> int:
    """Print the files and columns that this shop may bring."""
    from customer360.lake.landing.contracts import CLICK_COLUMNS, contracts_markdown, reference_tables

    shop = invocation.settings.shop
    document = {"clicks": CLICK_COLUMNS, **{name: table.columns for name, table in reference_tables(shop).items()}}
    answer(as_json, document, [contracts_markdown(shop).rstrip("\n")])
    return WELL
