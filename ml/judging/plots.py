"""An evaluation as pictures: calibration, lift, confusion and importance, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.arrays import Floats
from ml.judging.evaluation import CHAMPION, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, PALE = "#33415c", "#2a6f97", "#a9b4c2"
SHOWN_FEATURES = 15


def evaluation_plots(evaluation: Evaluation) -> dict[str, bytes]:
    """Name to PNG. Drawn without a screen and without pyplot's global state, so that runs may draw at the same time."""
    draw: dict[str, Callable[..., None]] = {
        "calibration": _calibration,
        "lift": _lift,
        "confusion": _confusion,
        "importance": _importance,
    }
    return {name: picture(partial(draw_axes, evaluation=evaluation)) for name, draw_axes in draw.items()}


def picture(draw: Callable[[Axes], None], inches: tuple[float, float] = (5.2, 4.0)) -> bytes:
    """What ``draw`` draws on a pair of axes, as PNG in one style for all plots."""
    from matplotlib.figure import Figure  # noqa: PLC0415  half a CPU second that only pictures need

    figure = Figure(figsize=inches, dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)
    draw(axes)
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def count_grid(axes: Axes, counts: pd.DataFrame, shades: Floats) -> None:
    """A heat map of ``shades`` (0 to 1), each cell with its count, rows and columns with their names."""
    axes.set_xticks(range(counts.shape[1]), list(counts.columns))
    axes.set_yticks(range(len(counts)), list(counts.index))
    if counts.size:
        axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts.to_numpy()):
        color = "white" if shades[row, column] > 0.55 else INK
        axes.text(column, row, f"{int(count):,}", ha="center", va="center", fontsize=7, color=color)


def _calibration(axes: Axes, evaluation: Evaluation) -> None:
    found = evaluation.reliability
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1)
    axes.plot(found["predicted"], found["observed"], color=ACCENT, marker="o", markersize=4)
    error = float(evaluation.scores.loc[evaluation.scores["contender"] == evaluation.serves, "calibration_error"].iloc[0])
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="observed share")
    axes.set_title(f"Calibration (error {error:.3f})", fontsize=10, color=INK, loc="left")


def _lift(axes: Axes, evaluation: Evaluation) -> None:
    found = evaluation.recall[evaluation.recall["lift_10"].notna()].iloc[::-1]
    axes.barh([_short(name) for name in found["category_id"]], found["lift_10"], color=ACCENT, height=0.6)
    axes.axvline(1, color=PALE, linewidth=1)
    axes.set_xlabel("times as many as in a random tenth")
    axes.set_title("Lift of the tenth with the highest probability", fontsize=10, color=INK, loc="left")


def _confusion(axes: Axes, evaluation: Evaluation) -> None:
    counts = evaluation.confusion
    shares = counts.to_numpy(np.float64) / np.maximum(counts.to_numpy().sum(axis=1, keepdims=True), 1)
    names = [_short(name) for name in counts.columns]
    count_grid(axes, counts.set_axis(names, axis=0).set_axis(names, axis=1), shares)
    axes.tick_params(axis="x", rotation=40)
    axes.set(xlabel="decided", ylabel="true")
    axes.set_title("Customers by true category and by decision", fontsize=10, color=INK, loc="left")


def _importance(axes: Axes, evaluation: Evaluation) -> None:
    found = evaluation.importance.head(SHOWN_FEATURES).iloc[::-1]
    axes.barh([_short(name, 34) for name in found["feature"]], found["importance"], color=ACCENT, height=0.6)
    axes.set_xlabel("percent of what is used")
    champion = evaluation.champion_log_loss
    beside = "" if champion is None else f", {CHAMPION} {champion:.4f}"
    axes.set_title(
        f"Importance (log loss {evaluation.log_loss(evaluation.serves):.4f}{beside})", fontsize=10, color=INK, loc="left"
    )


def _short(name: object, longest: int = 18) -> str:
    """A name as a label. A dollar sign would begin a formula."""
    text = str(name).replace("$", r"\$")
    return text if len(text) <= longest else text[: longest - 1] + "…"
