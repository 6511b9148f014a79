"""A model card in Markdown (Mitchell et al., Model Cards for Model Reporting, 2019): what a version is, knows and is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from customer360.lake.atomic import write_text
from ml.fitting.tuning import trials_frame
from ml.judging.evaluation import Evaluation
from ml.judging.plots import evaluation_plots
from ml.judging.promotion import Decision
from ml.markdown import table
from ml.versions.manifest import Manifest, serves_text


@dataclass(frozen=True)
class Section:
    """A part of the card that only some models have: a heading, Markdown, and plots (name to PNG)."""

    title: str
    text: str
    plots: Mapping[str, bytes]


def write_card(
    folder: Path,
    manifest: Manifest,
    evaluation: Evaluation,
    decision: Decision,
    purpose: str,
    *,
    section: Section | None = None,
) -> dict[str, bytes]:
    """Write ``card.md`` and its plots into ``folder``; the plots by name, as PNG."""
    drawn = {**evaluation_plots(evaluation), **(section.plots if section else {})}
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    write_text(folder / "card.md", model_card(manifest, evaluation, decision, purpose, section))
    return drawn


def model_card(
    manifest: Manifest, evaluation: Evaluation, decision: Decision, purpose: str, section: Section | None = None
) -> str:
    """The card of a version that was just judged, with its target's purpose; plots are named as files beside it."""
    weights = manifest.decision_weights or (1.0,) * len(manifest.categories)
    classes = pd.DataFrame({"category_id": manifest.categories, "decision_weight": weights})
    if manifest.bands:
        classes = classes.assign(from_amount=[0.0, *manifest.bands.edges], mean_amount=manifest.bands.means)
    calibration = manifest.calibration
    how = f"temperature {calibration.temperature:.3f}" if calibration.method == "temperature" else calibration.method
    settings = pd.DataFrame(sorted(manifest.settings.items()), columns=["setting", "value"])
    return (
        "\n\n".join(
            [
                f"# {manifest.name} {manifest.version}",
                f"{'Promoted' if decision.is_promoted else 'Rejected'}: {decision.reason}.",
                "## What it is for",
                purpose,
                "## What it serves",
                serves_text(manifest),
                "## What it was made of",
                f"{manifest.rows_train:,} rows {_from_when(manifest)}, {len(manifest.features)} features, "
                f"{manifest.tree_count} trees. Data {manifest.data_fingerprint[:12]}, file {manifest.model_sha256[:12]}.",
                f"Trees, calibration ({how}) and decision weights were chosen on "
                f"{'a part of these' if manifest.judged_on else 'the newest of these cut-offs'}, after a fit on the others.",
                table(classes),
                "## What it is worth",
                f"Judged on {_judge(manifest)}, in which no choice had a part.",
                evaluation.to_markdown(),
                *(f"![{name}]({name}.png)" for name in ("calibration", "lift", "confusion", "importance")),
                *(
                    [f"## {section.title}", section.text, *(f"![{name}]({name}.png)" for name in section.plots)]
                    if section
                    else []
                ),
                "## Settings",
                table(settings),
                *(["## Settings that were tried", table(trials_frame(manifest.tuning))] if manifest.tuning else []),
                ", ".join(f"{name} {version}" for name, version in sorted(manifest.packages.items())),
            ]
        )
        + "\n"
    )


def _from_when(manifest: Manifest) -> str:
    if manifest.judged_on:
        first, last = manifest.train_cutoffs
        return f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} (UTC)"
    return f"of the cut-offs {', '.join(f'{cutoff:%Y-%m-%d %H:%M}' for cutoff in manifest.train_cutoffs)} (UTC)"


def _judge(manifest: Manifest) -> str:
    return manifest.judged_on or f"the cut-off {manifest.validation_cutoff:%Y-%m-%d %H:%M} (UTC)"
