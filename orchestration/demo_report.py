"""The report at the end of the demo, read from the published tables."""

from __future__ import annotations

import json
from collections.abc import Mapping

import duckdb

from customer360.lake.engine import literal, quoted
from customer360.lake.publishing.version import current_folder, open_version
from customer360.settings import NONE, Settings, Shop, slug

SMALLEST_CHANCE = 0.001


def report(settings: Settings, seconds: Mapping[str, float], mailed: str = "") -> str:
    """Rows per stage, bad and copied lines, segments, model against baselines, profiles, the plan, times, and next steps.

    ``mailed``: what was mailed, as text; empty where nothing was.
    """
    place = settings.place
    with open_version(place) as version:
        connection = version.connection
        parts = [
            _title("Rows in and out"),
            _flow(connection),
            _title("The last slices"),
            _show(
                connection,
                "select strftime(slice, '%Y-%m-%d %H:%M') as slice, files, lines, good, quarantined, duplicates, repeats "
                "from slice_log where source = 'clicks' order by slice_log.slice desc limit 4",
            ),
            _title("Segments (RFM)"),
            _show(
                connection,
                "select segment, count(*) as customers, round(avg(frequency), 1) as orders, "
                "round(avg(monetary))::bigint as spend from rfm_segments group by all order by customers desc",
            ),
            _title("Affinity model against baselines (log loss on the last cut-off, lower is better; * serves)"),
            _models(settings),
            _title(f"Profiles (label: the category named for the next {settings.shop.label_horizon_days} days)"),
            label_counts(connection, settings.shop),
            foremost_profiles(connection, settings.shop),
            _title("Campaign plans (drafts: customer360 campaigns approve)"),
            _show(
                connection,
                "select campaign_id, audience, contacts, holdouts, left_out, round(cost, 2) as cost, "
                "round(expected_profit)::bigint as expected_profit, value_basis from campaign_briefs order by campaign_id",
            ),
            _show(
                connection,
                "select campaign_id, reason as left_out_because, count(*) as customers from campaign_plan "
                "where decision = 'left out' group by all order by 1, 3 desc, 2",
            ),
            _show(
                connection,
                "select customer_id, campaign_id, channel, contact_date, daypart, round(expected_conversion, 3) as converts, "
                "round(expected_value, 2) as worth from campaign_plan where decision = 'contact' "
                "order by expected_value desc, customer_id limit 5",
            ),
        ]
    times = "\n".join(f"  {name:<55} {value:6.1f} s" for name, value in seconds.items())
    database = current_folder(place) / "customer360.duckdb"
    is_simulated = settings.shop.adapter == "synthetic"
    if mailed:
        parts += [_title("E-mails"), mailed]
    parts += [
        _title("Time"),
        f"{times}\n  {'in all':<55} {sum(seconds.values()):6.1f} s",
        _title("Next"),
        f"  the tables      {database}\n"
        f"                  {current_folder(place) / 'parquet'}/<table>/\n"
        f"  a first query   .venv/bin/python -c \"import duckdb; duckdb.connect('{database}', read_only=True)"
        f".sql('from customer_profiles limit 5').show()\"\n"
        f"  drift report    {place.reports / 'drift'}\n"
        f"  {'make ui' if is_simulated else f'make ui SHOP={settings.shop_folder.name}':<14}  "
        "the asset graph, runs, checks and schedules\n"
        + "  make shop       traffic keeps landing (SPEED=10: ten times as fast), and the slices fire in make ui\n"
        * is_simulated
        + "  make api        a storefront at http://127.0.0.1:8360/demo (docs/serving.md)\n"
        * (is_simulated and settings.shop.serving)
        + "  make desk       dashboards and campaigns in a browser at http://127.0.0.1:8380 (docs/desk.md);\n"
        "                  .venv/bin/customer360 desk users demo gives an account for each of its four roles\n"
        + "  make mailbox    the first day's messages as people see them: http://127.0.0.1:8390 (docs/email.md)\n"
        * bool(mailed)
        + "  docs/bi.md      every table and column\n"
        "  docs/campaigns.md, docs/your-data.md   from a campaign file to its results; your own shop",
    ]
    return "\n".join(parts)


def _title(text: str) -> str:
    return f"\n{text}\n{'-' * len(text)}"


def _flow(connection: duckdb.DuckDBPyConnection) -> str:
    """Counts of landed lines by result, then rows of the main published tables."""
    lines = _show(
        connection,
        "select source, sum(lines)::bigint as lines, sum(good)::bigint as good, sum(quarantined)::bigint as quarantined, "
        "sum(duplicates)::bigint as copies_in_slice, sum(repeats)::bigint as copies_across, count(*) as slices "
        "from slice_log group by all order by 1",
    )
    tables = ("customer_features", "customer_category_activity", "rfm_segments", "customer_scores", "customer_profiles")
    union = " union all ".join(f"select '{name}' as published_table, count(*) as rows from {name}" for name in tables)
    return lines + "\n" + _show(connection, union)


def _models(settings: Settings) -> str:
    champion = (settings.place.models / "affinity" / "champion").read_text(encoding="utf-8").strip()
    manifest = json.loads((settings.place.models / "affinity" / champion / "manifest.json").read_text(encoding="utf-8"))
    scores = sorted(manifest["metrics"].items(), key=lambda item: item[1]["log_loss"])
    rows = [f"  {'':<26} {'log loss':>9} {'Brier':>7} {'macro-F1':>9}"]
    for name, score in scores:
        mark = "*" if name == manifest["serves"] else " "
        rows.append(f"{mark} {name:<26} {score['log_loss']:>9.4f} {score['brier']:>7.4f} {score['macro_f1']:>9.3f}")
    return "\n".join(rows)


def _classes(connection: duckdb.DuckDBPyConnection, shop: Shop) -> dict[str, str]:
    """Classes with a probability of at least .001 for some customer, with their columns. "other" may have none."""
    columns = {name: f"probability_{slug(name)}" for name in [*shop.category_ids, NONE]}
    highest = ", ".join(f"coalesce(max({column}), 0)" for column in columns.values())
    chances = connection.execute(f"select {highest} from customer_profiles").fetchall()[0]
    return {name: column for (name, column), chance in zip(columns.items(), chances, strict=True) if chance >= SMALLEST_CHANCE}


def label_counts(connection: duckdb.DuckDBPyConnection, shop: Shop) -> str:
    """How many customers have each label, and how many the probabilities add up to."""
    counts = " union all ".join(
        f"select {literal(name)} as label, count(*) filter (where label = {literal(name)}) as customers, "
        f"round(sum({column}), 1) as sum_of_probabilities from customer_profiles"
        for name, column in _classes(connection, shop).items()
    )
    return _show(connection, f"select * from ({counts}) order by 3 desc, 1") if counts else "  no customer has been scored"


def foremost_profiles(connection: duckdb.DuckDBPyConnection, shop: Shop) -> str:
    """The customer with the highest probability of each class, and that customer's probability of every class."""
    classes = _classes(connection, shop)
    probabilities = "".join(f"printf('%.3f', {column}::double) as {quoted(name)}, " for name, column in classes.items())
    foremost = "".join(
        f" or customer_id = (select customer_id from customer_profiles order by {column} desc nulls last, customer_id limit 1)"
        for column in classes.values()
    )
    return _show(
        connection,
        f"select customer_id, segment, label, {probabilities}reason_1 from customer_profiles "
        f"where false{foremost} order by label, customer_id",
    )


def _show(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """The rows as aligned text."""
    found = connection.execute(query)
    names = [column[0] for column in found.description or []]
    rows = [[_cell(value) for value in row] for row in found.fetchall()]
    widths = [max(len(text) for text in column) for column in zip(names, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [names, *rows]]
    return "\n".join("  " + line for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
