"""Model versions as text for people: the list, and one version with its manifest and decisions. At most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from customer360.text import many
from ml.datasets.targets import AFFINITY, CHURN, ORGANIC_RESPONSE, PRODUCT, RESPONSE, SPEND
from ml.versions.decision_log import ROLLED_BACK
from ml.versions.manifest import Manifest, serves_text
from ml.versions.model_store import Servable

WIDTH = 98
SHOWN_FEATURES = 5
# Model -> what follows while none of its versions serves.
UNSERVED = {
    AFFINITY: "nobody has scores",
    SPEND: "expected_spend is null",
    CHURN: "churn_probability is null",
    PRODUCT: "nobody has product_affinity",
    RESPONSE: "plans use smoothed rates",
    ORGANIC_RESPONSE: "plans count responses, not effects",
}


def list_lines(name: str, versions: pd.DataFrame, servable: Servable) -> Iterator[str]:
    """Every version, newest first, with the last decision about it. ``versions`` are rows of ``model_versions``."""
    if versions.empty:
        yield f"{name}: no version yet; training_job makes one"
        return
    yield f"{name}: {many(len(versions), 'version')}; * is the champion"
    yield from _serving(name, servable)
    yield ""
    yield f"  {'version':<25}  {'made, UTC':<16}  {'status':<11}  {'log loss':>8}  best baseline"
    for row in versions.iloc[::-1].to_dict("records"):
        mark = "*" if row["is_champion"] else " "
        yield f"{mark} {row['model_version']:<25}  {_minute(row['created_at'])}  {row['status']:<11}  {_figures(row)}".rstrip()
        if pd.notna(row["reason"]):
            who = f"{_minute(row['decided_at'])} by {row['decided_by']}: " if pd.notna(row["decided_at"]) else ""
            yield from _wrapped(f"{who}{row['reason']}", "    ")


def show_lines(manifest: Manifest, standing: str, problem: str, decisions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The manifest for people. ``problem`` says why the version would be refused now, and is empty where it would not."""
    yield f"{manifest.name} {manifest.version}: {standing}"
    yield ""
    yield from _fact("serves", serves_text(manifest))
    yield from _fact("made", f"{_minute(manifest.created_at)} UTC, {_pairs(manifest.packages)}")
    yield from _fact("data", f"{manifest.rows_train:,} rows to train, {manifest.rows_validation:,} to judge")
    yield from _fact("", f"fingerprint {manifest.data_fingerprint}")
    if manifest.judged_on:
        yield from _fact("trained on", f"{' to '.join(_minute(moment) for moment in manifest.train_cutoffs)} UTC")
        yield from _fact("judged on", manifest.judged_on)
    else:
        cutoffs = ", ".join(_minute(moment) for moment in manifest.train_cutoffs)
        yield from _fact("trained on", f"{many(len(manifest.train_cutoffs), 'cut-off')} (UTC): {cutoffs}")
        earlier = (
            f"; and on {', '.join(manifest.judged_cutoffs[1:])} by models of their own" if manifest.judged_cutoffs[1:] else ""
        )
        yield from _fact("judged on", f"{_minute(manifest.validation_cutoff)} UTC{earlier}")
    if manifest.horizon_days is not None:
        yield from _fact("ahead", many(manifest.horizon_days, "day"))
    yield from _fact("categories", ", ".join(manifest.categories))
    if manifest.bands:
        edges = ", ".join(f"{edge:,.2f}" for edge in manifest.bands.edges)
        means = ", ".join(f"{mean:,.2f}" for mean in manifest.bands.means)
        yield from _fact("bands", f"from {edges}; mean amounts {means}")
    strongest = ", ".join(manifest.top_features(SHOWN_FEATURES))
    yield from _fact("features", f"{len(manifest.features)}; the strongest: {strongest}")
    yield from _fact("settings", f"{many(manifest.tree_count, 'tree')}, {_pairs(manifest.settings)}")
    yield from _fact("file", f"sha256 {manifest.model_sha256}")
    yield from _fact("today", f"refused: {problem}" if problem else "loads for the shop's features and categories")
    yield ""
    yield "On the rows that judged it; of log loss and Brier score, lower is better:"
    yield from _metrics(manifest.metrics)
    recall = ", ".join(f"{name} {'-' if share is None else f'{share:.2f}'}" for name, share in manifest.recall.items())
    yield from _fact("recall", recall)
    yield ""
    yield "Decisions:" if decisions else "Nothing was decided about it yet."
    for entry in decisions:
        yield from decision_lines(manifest.version, entry)


def decision_lines(version: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """One decision that concerns ``version``, with its reason."""
    decision = str(entry["decision"])
    if decision == ROLLED_BACK and entry["version"] == version:
        decision = f"{decision}, to {entry['champion']}"
    elif decision == ROLLED_BACK:
        decision = f"serves again: {entry['version']} {decision}"
    elif entry.get("previous"):
        decision = f"{decision}; champion before: {entry['previous']}"
    yield f"  {_minute(datetime.fromisoformat(entry['at']))} by {entry.get('by', 'training')}: {decision}"
    yield from _wrapped(str(entry["reason"]), "    ")


def _serving(name: str, servable: Servable) -> Iterator[str]:
    for refusal in servable.refusals:
        yield from _wrapped(f"refused: {refusal.reason}", "")
    if servable.refusals:
        yield f"serving meanwhile: {servable.loaded.version if servable.loaded else f'none, so {UNSERVED[name]}'}"


def _figures(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["log_loss"]):
        return ""
    return f"{row['log_loss']:>8.4f}  {row['best_baseline_log_loss']:.4f} {row['best_baseline']}"


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Contenders as rows, measures as columns, in blocks that fit the width."""
    measures = list(dict.fromkeys(measure for scores in metrics.values() for measure in scores))
    name_width = max(len(name) for name in metrics)
    while measures:
        block = [
            measure
            for place, measure in enumerate(measures)
            if not place or name_width + 2 + _columns(measures[: place + 1]) <= WIDTH
        ]
        measures = measures[len(block) :]
        yield f"  {'':<{name_width}}" + "".join(f"  {measure:>9}" for measure in block)
        for name, scores in metrics.items():
            cells = (f"  {_number(scores.get(measure)):>{max(9, len(measure))}}" for measure in block)
            yield f"  {name:<{name_width}}{''.join(cells)}"


def _columns(measures: Sequence[str]) -> int:
    return sum(2 + max(9, len(measure)) for measure in measures)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _fact(name: str, text: str) -> Iterable[str]:
    return _wrapped(text, f"{name:<12}", " " * 12)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _wrapped(text: str, first: str, others: str | None = None) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=first if others is None else others)


def _minute(moment: datetime | None) -> str:
    """Minutes in UTC; a moment without a zone is UTC already."""
    if moment is None or pd.isna(moment):
        return f"{'-':<16}"
    return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%Y-%m-%d %H:%M}"
