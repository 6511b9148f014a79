"""The Qini curve and coefficient: how well a ranking finds the customers whom a contact changes.

Radcliffe, Using Control Groups to Target on Predicted Lift: Building and Assessing Uplift Models, 2007. Customers are ranked by
a score. At each share of them from the top, the curve has the conversions that contacting this share adds: those of the
contacts among them as a share of all contacts, less those of the controls among them as a share of all controls. Both arms are
taken relative to their own size, so they need not be equal. A random ranking is the straight line to what contacting everyone
adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.arrays import Booleans, Floats, Integers, Texts
from ml.bootstrap import Interval, interval
from ml.judging.plots import ACCENT, INK, PALE, picture
from ml.markdown import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESAMPLES = 500
TENTHS = np.linspace(0.1, 1.0, 10)


@dataclass(frozen=True)
class Qini:
    """The curve of a ranking and what it comes to, with 95% intervals over customers drawn with replacement.

    ``curve``: one row a point, from nobody to everybody: ``share`` of the customers, conversions ``added`` per customer, and
    those of a ``random`` ranking. ``everyone``: what is added per customer where all are contacted. ``area``: mean distance
    from the random line up to the curve over all shares, in conversions per customer; 0 for a random ranking. ``coefficient``:
    ``area`` over that of the best ranking that there could be where contacts harm nobody (Radcliffe's q0): 1 at most but for
    chance, NaN where contacts add nothing.
    """

    curve: pd.DataFrame
    everyone: Interval
    area: Interval
    coefficient: float
    contacts: int
    controls: int

    @property
    def beats_random(self) -> bool:
        """Whether the whole interval of the area lies above that of a random ranking, which is 0."""
        return self.area.low > 0

    @property
    def verdict(self) -> str:
        """One sentence: conversions that the ranking adds over a random one, and whether that is beyond chance."""
        everyone, area = self.everyone, self.area
        return (
            f"contacting everyone adds {1000 * everyone.estimate:.1f} conversions per 1,000 customers (95%: "
            f"{1000 * everyone.low:.1f} to {1000 * everyone.high:.1f}); over all shares the ranking adds "
            f"{1000 * area.estimate:.2f} more than a random one (95%: {1000 * area.low:.2f} to {1000 * area.high:.2f}): "
            f"{'better' if self.beats_random else 'no better'} than random beyond chance"
        )

    def to_markdown(self) -> str:
        """The verdict, and the curve by tenths in conversions per 1,000 customers."""
        columns = {name: np.interp(TENTHS, self.curve["share"], 1000 * self.curve[name]) for name in ("added", "random")}
        shown = pd.DataFrame({"share contacted": TENTHS.round(1), **{f"{name} per 1,000": v for name, v in columns.items()}})
        on = f"on {self.contacts:,} contacts and {self.controls:,} controls"
        is_known = not np.isnan(self.coefficient)
        coefficient = (
            f"Qini coefficient {self.coefficient:.3f}" if is_known else "No Qini coefficient, as contacts add nothing,"
        )
        return f"{coefficient} {on}: {self.verdict}.\n\n{table(shown)}"

    def plot(self) -> bytes:
        """The curve beside the random line, as PNG."""

        def draw(axes: Axes) -> None:
            axes.plot(self.curve["share"], 1000 * self.curve["random"], color=PALE, linewidth=1, label="random")
            axes.plot(self.curve["share"], 1000 * self.curve["added"], color=ACCENT, linewidth=1.5, label="by effect")
            axes.set(xlim=(0, 1), xlabel="share of customers contacted", ylabel="conversions added per 1,000")
            axes.legend(frameon=False, fontsize=8)
            axes.set_title(f"Qini (coefficient {self.coefficient:.3f})", fontsize=10, color=INK, loc="left")

        return picture(draw)


def qini(
    scores: Floats,
    is_contacted: Booleans,
    is_converted: Booleans,
    *,
    seed: int,
    customers: Texts | None = None,
    resamples: int = RESAMPLES,
) -> Qini:
    """The Qini of ranking by ``scores``, highest first; equal scores are one step.

    Rows are randomised contacts and controls; a score must not depend on which of the two a row is. With
    ``customers`` (the customer of each row) a customer's rows are drawn together. Raises ``ValueError`` where an arm is empty
    or a score is missing.
    """
    if not is_contacted.any() or is_contacted.all():
        raise ValueError("a Qini curve needs contacts and controls; one of them is empty")
    if np.isnan(scores).any():
        raise ValueError("a Qini curve needs a score of every row")
    order = np.argsort(-scores, kind="stable")
    steps = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    arm, converted = is_contacted[order], is_converted[order]
    code = np.arange(len(scores)) if customers is None else pd.factorize(pd.Series(customers, dtype=object))[0]
    code = code[order]
    units = int(code.max()) + 1
    share, added = _curve(arm, converted, np.ones(len(scores)), steps)
    chance = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        weights = np.bincount(chance.integers(0, units, units), minlength=units)[code].astype(np.float64)
        if (weights[arm].sum() > 0) and (weights[~arm].sum() > 0):
            drawn.append(_figures(*_curve(arm, converted, weights, steps)))
    everyone, area = _figures(share, added)
    ends = np.array(drawn)
    best = everyone * (1 - everyone) / 2
    return Qini(
        curve=pd.DataFrame({"share": share, "added": added, "random": share * everyone}),
        everyone=interval(everyone, ends[:, 0]),
        area=interval(area, ends[:, 1]),
        coefficient=area / best if best > 0 else float("nan"),
        contacts=int(is_contacted.sum()),
        controls=int((~is_contacted).sum()),
    )


def _curve(arm: Booleans, converted: Booleans, weights: Floats, steps: Integers) -> tuple[Floats, Floats]:
    """Share of the customers and added conversions per customer, at nobody and at each step of the ranked rows."""
    sums = []
    for chosen in (arm, ~arm):
        own = np.where(chosen, weights, 0.0)
        reached, won = np.cumsum(own), np.cumsum(np.where(converted, own, 0.0))
        sums.append((reached[steps] / reached[-1], won[steps] / reached[-1]))
    (contacts, gained), (controls, anyway) = sums
    return np.append(0.0, (contacts + controls) / 2), np.append(0.0, gained - anyway)


def _figures(share: Floats, added: Floats) -> tuple[float, float]:
    """What contacting everyone adds, and the area between the curve and the straight line."""
    return float(added[-1]), float(np.trapezoid(added, share) - added[-1] / 2)
