"""The end of ``customer360 start``: what was loaded, which models serve, the first plan, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from customer360.campaigns.definition import load_shop_campaigns
from customer360.lake.engine import literal
from customer360.lake.publishing.version import current_folder, open_version
from customer360.lake.raw.quarantine import quarantine_counts
from customer360.lake.reference.reference_history import history_file
from customer360.settings import Settings
from customer360.text import many
from ml.datasets.targets import EVERY_MODEL
from ml.versions.manifest import serves_text
from ml.versions.model_store import ModelRefused, ModelStore

if TYPE_CHECKING:
    from orchestration.job_runs import JobRunner

SHOWN_REASONS = 6


@dataclass
class Outcome:
    """What a start has done: the stages that ran, what failed, and what was found beside that. With each goes its remedy."""

    ran: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def report_lines(settings: Settings, runner: JobRunner, outcome: Outcome) -> Iterator[str]:
    """The report as text. Reads the version that is published now; without one only what failed is shown."""
    try:
        with open_version(settings.place) as version:
            yield from _loaded_lines(settings, version.connection, version.publication)
            yield from _model_lines(settings, runner)
            yield from _plan_lines(settings, version.connection, set(version.publication.rows))
    except FileNotFoundError:
        yield "Nothing is published."
    for title, found in (("Failed", outcome.failures), ("To look at", outcome.notes)):
        if found:
            yield from ("", title, *(f"  {text}" for text in found))
    yield from ("", "Next", *_next_lines(settings, runner, outcome))


def _loaded_lines(settings: Settings, connection: duckdb.DuckDBPyConnection, publication: Any) -> Iterator[str]:
    shop = settings.shop
    yield from ("", "Loaded")
    (lines, good), *_ = connection.execute("select coalesce(sum(lines), 0), coalesce(sum(good), 0) from slice_log").fetchall()
    yield f"  clicks      {many(int(lines), 'line')}, {int(good):,} of them good" if lines else "  clicks      none"
    bought = history_file(settings.place, "purchases")
    if bought.exists():
        rows, first, last, amount = connection.execute(
            "select count(*), min(purchased_at), max(purchased_at), coalesce(sum(amount), 0) "
            f"from read_parquet({literal(str(bought))}, hive_partitioning = false) where valid_to is null"
        ).fetchone() or (0, None, None, 0)
        period = f", {first:%Y-%m-%d} to {last:%Y-%m-%d} UTC" if first else ""
        yield f"  purchases   {many(rows, 'row')}{period}, {amount:,.2f} {shop.currency} less returns"
    orders, first, last, revenue = connection.execute(
        "select count(*) filter (where lines > 0), min(ordered_at), max(ordered_at), coalesce(sum(amount), 0) "
        "from customer_orders"
    ).fetchone() or (0, None, None, 0)
    period = f", {first:%Y-%m-%d} to {last:%Y-%m-%d} UTC" if first else ""
    yield f"  orders      {orders:,} of customers{period}, {revenue:,.2f} {shop.currency} less returns"
    (customers,) = connection.execute("select count(*) from customer_profiles").fetchone() or (0,)
    yield f"  customers   {customers:,}; products {publication.rows.get('products', 0):,}"
    set_aside = sum(lines for _, _, lines, _ in quarantine_counts(settings.place))
    if set_aside:
        yield f"  set aside   {many(set_aside, 'line')}; see customer360 quarantine list"
    yield f"  published   version {publication.version}, as of {publication.as_of:%Y-%m-%d %H:%M} UTC"


def _model_lines(settings: Settings, runner: JobRunner) -> Iterator[str]:
    """Which version of each model serves, what of it answers (trees, blend or baseline) and why; else why none does."""
    yield from ("", "Models")
    store = ModelStore(settings.place.models)
    for name in EVERY_MODEL:
        version = store.champion_version(name)
        found = runner.latest_metadata(["predictions", f"{name}_model"])
        reason = str(found.get("reason") or found.get("missing") or "training did not end; see above")
        yield f"  {name:<17} {version or 'none'} serves: {reason}"
        with suppress(ModelRefused):  # `models show` says why a manifest is unreadable
            if version:
                yield f"  {'':<17} what answers: {serves_text(store.manifest(name, version))}"
        outlook = (
            ("cutoffs", "customers", "to_do", "enough_history_from", "enough_customers_from") if "missing" in found else ()
        )
        for key in outlook:
            if key in found:
                yield f"  {'':<17} {key.replace('_', ' ')}: {found[key]}"


def _plan_lines(settings: Settings, connection: duckdb.DuckDBPyConnection, tables: set[str]) -> Iterator[str]:
    yield from ("", "Plan")
    campaigns = []
    if "campaign_briefs" in tables:
        campaigns = connection.execute(
            "select campaign_id, audience, contacts, holdouts, left_out, value_basis from campaign_briefs order by campaign_id"
        ).fetchall()
    known, problems = load_shop_campaigns(settings)
    if not campaigns and not known and not problems:
        yield f"  none: {settings.campaign_folder} has no campaign; docs/campaigns.md has one to copy"
    elif not campaigns:
        yield f"  none: no campaign of {settings.campaign_folder} could be planned; customer360 campaigns check says more"
    for campaign, audience, contacts, holdouts, left_out, basis in campaigns:
        counts = f"{many(contacts, 'contact')}, {holdouts:,} held out, {left_out:,} left out of {audience:,}"
        yield f"  {campaign:<17} {counts}; values: {basis}"
        reasons = connection.execute(
            "select reason, count(*) from campaign_plan where campaign_id = ? and decision = 'left out' "
            "group by all order by 2 desc, 1 limit ?",
            [campaign, SHOWN_REASONS],
        ).fetchall()
        for reason, customers in reasons:
            yield f"  {'':<17} {customers:>9,} {reason}"
    yield from (f"  {found.file} is not planned: {found.field}: {found.message} -> {found.remedy}" for found in problems)


def _next_lines(settings: Settings, runner: JobRunner, outcome: Outcome) -> Iterator[str]:
    command = "customer360"
    if outcome.failures:
        yield f"  after the remedies above: {command} start goes on with what is not done"
    yield f"  {command} campaigns list        the drafts; campaigns show and approve follow (docs/campaigns.md)"
    yield f"  {command} serve --port 3000     runs slices, plans and trainings from now on, with the Dagster UI"
    yield f"  tables   {current_folder(settings.place) / 'customer360.duckdb'} (docs/bi.md)"
    yield f"  log      {runner.log}"
