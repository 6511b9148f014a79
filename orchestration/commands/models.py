"""``customer360 models``: versions of the models, decisions about them, and scores made again."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from customer360.lake.slices import slice_key
from customer360.text import many
from orchestration.console import JsonOption, ReasonOption, answer, command, day_option, group, place_settings, request, say

if TYPE_CHECKING:
    from customer360.lake.warehouse.known_then import Exceptions
    from ml.versions.model_decisions import VersionDecision
    from orchestration.recompute import Recomputed

SHOWN = 8

app = group("models", "Show versions of the models, and decide which one serves.")

ModelOption = Annotated[str, typer.Option("--model", help="affinity, spend, churn or response.")]


@command(app, "list")
def list_versions(context: typer.Context, model: ModelOption = "affinity", as_json: JsonOption = False) -> int:
    """Every version and the last decision about it; exits with 1 where the champion is refused or no version serves."""
    from ml.versions.model_text import list_lines
    from ml.versions.model_versions import model_versions
    from ml.versions.shop_models import servable_for_shop, store_of

    settings = place_settings(context)
    servable = servable_for_shop(settings, model)
    versions = model_versions(store_of(settings, model), model)
    serving = servable.loaded.version if servable.loaded else None
    document = {"model": model, "serving": serving, "refusals": servable.refusals, "versions": versions}
    return answer(
        as_json, document, list_lines(model, versions, servable), servable.loaded is not None and not servable.refusals
    )


@command(app)
def show(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="A version, or champion.")],
    model: ModelOption = "affinity",
    as_json: JsonOption = False,
) -> int:
    """Data, cut-offs, metrics beside the baselines, and decisions of a version; exits with 1 where it would be refused now."""
    from ml.versions.model_store import ModelRefused, ModelStoreError
    from ml.versions.model_text import show_lines
    from ml.versions.shop_models import load_for_shop, store_of

    settings = place_settings(context)
    store = store_of(settings, model)
    champion = store.champion_version(model)
    if version == "champion":
        if champion is None:
            raise ModelStoreError(f"{store.root / model} has no champion yet; run training_job")
        version = champion
    store.require(model, version)
    manifest = store.manifest(model, version)
    problem = ""
    try:
        load_for_shop(settings, model, version)
    except ModelRefused as error:
        problem = str(error)
    decisions = [entry for entry in store.promotions(model) if version in (entry["version"], entry.get("champion"))]
    last = [entry["decision"] for entry in decisions if entry["version"] == version][-1:]
    status = "the champion" if version == champion else last[0] if last else "undecided"
    document = {"status": status, "refused": problem or None, "manifest": manifest, "decisions": decisions}
    return answer(as_json, document, show_lines(manifest, status, problem, decisions), not problem)


@command(app)
def promote(context: typer.Context, version: str, reason: ReasonOption, model: ModelOption = "affinity") -> None:
    """Make a version champion."""
    from ml.versions.model_decisions import promote as decide

    _say_decision(decide(place_settings(context), model, version, request(reason)))


@command(app)
def reject(context: typer.Context, version: str, reason: ReasonOption, model: ModelOption = "affinity") -> None:
    """Have a version serve no more, also where no other loads."""
    from ml.versions.model_decisions import reject as decide

    _say_decision(decide(place_settings(context), model, version, request(reason)))


@command(app)
def rollback(
    context: typer.Context,
    reason: ReasonOption,
    version: Annotated[str | None, typer.Argument(help="An earlier champion (default: the one before).")] = None,
    model: ModelOption = "affinity",
) -> None:
    """Withdraw the champion: an earlier one serves again."""
    from ml.versions.model_decisions import roll_back as decide

    _say_decision(decide(place_settings(context), model, version, request(reason)))


@command(app)
def recompute(
    context: typer.Context,
    day: Annotated[
        str | None, typer.Option(parser=day_option, metavar="DAY", help="Shop-local, as in 2026-05-01 (default: the newest).")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Make a day's kept scores again from what was known then, and compare; exits with 1 where a difference has no reason."""
    from orchestration.recompute import recompute as recompute_scores

    with redirect_stdout(sys.stderr):  # dbt reports every model that it builds
        recomputed = recompute_scores(place_settings(context), day, "customer360 models recompute")
    snapshot, comparison, exceptions = recomputed.snapshot, recomputed.comparison, list(_exceptions(recomputed.exceptions))
    document = {"day": snapshot.day, "as_of": snapshot.as_of, "model_version": snapshot.model_version}
    document |= {"comparison": comparison, "exceptions": exceptions}
    is_explained = comparison.is_equal or bool(recomputed.exceptions)
    return answer(as_json, document, _recomputed_lines(recomputed), is_explained)


def _say_decision(decided: VersionDecision) -> None:
    from ml.versions.decision_log import PROMOTED, REJECTED

    if decided.decision == REJECTED:
        say(f"{decided.name} {decided.version} is rejected: it serves no more, until it is promoted.")
        return
    consequence = "" if decided.decision == PROMOTED else ", which serves no more until it is promoted"
    say(
        f"{decided.name} {decided.champion} is the champion now.",
        f"Before it: {decided.champion_before or 'none'}{consequence}.",
        "The next slice scores with it. To have it at once, run warehouse_job.",
    )


def _recomputed_lines(recomputed: Recomputed) -> Iterator[str]:
    snapshot, found = recomputed.snapshot, recomputed.comparison
    scored = f", made {snapshot.known.scored_at[:16].replace('T', ' ')} UTC" if snapshot.known else ""
    yield f"scores of   {snapshot.day}, as of {snapshot.as_of:%Y-%m-%d %H:%M} UTC{scored}"
    yield f"version     {snapshot.model_version}"
    yield f"equal       {many(found.equal, 'row')} of {len(snapshot.scores):,} (customer x category)"
    if not found.is_equal:
        yield f"different   {many(found.different, 'row')}, by {found.largest:.2g} at most"
        yield f"            {many(found.only_kept, 'row')} only kept, {many(found.only_recomputed, 'row')} only recomputed"
        yield f"            {many(len(found.customers), 'customer')}: {_first_names(found.customers)}"
    for text in _exceptions(recomputed.exceptions):
        yield from textwrap.wrap(text, 98, initial_indent="exception   ", subsequent_indent=" " * 12)
    if not found.is_equal and not recomputed.exceptions:
        yield "Nothing explains the difference: the slices, the reference tables and the models are as they were known then."


def _exceptions(exceptions: Exceptions) -> Iterator[str]:
    for is_repair, event in ((True, "repaired since"), (False, "loaded since, or written again from the same files")):
        keys = [slice_key(changed.slice) for changed in exceptions.slices if changed.is_repair == is_repair]
        if keys:
            yield f"{many(len(keys), 'slice')} {event}: {_first_names(keys)}"
    for table in exceptions.tables:
        yield f"{table} was loaded again at the same moment of the shop's clock: its earlier rows cannot be told apart"
    if exceptions.is_other_code:
        yield "the models' SQL or shop.yaml changed since"
    if exceptions.is_without_record:
        yield "this file does not say what was known then: slices and reference tables are taken as of its moment"


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
