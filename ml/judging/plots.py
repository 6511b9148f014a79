"""An evaluation as pictures: calibration, lift, confusion and importance, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.judging.evaluation import CHAMPION, Evaluation

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


def picture(draw: Callable[[Axes], None]) -> bytes:
    """What ``draw`` draws on a pair of axes, as PNG in one style for all plots."""
    figure = Figure(figsize=(5.2, 4.0), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)
    draw(axes)
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


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
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [_short(name) for name in counts.columns]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{int(counts.to_numpy()[row, column]):,}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if share > 0.5 else INK,
        )
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
