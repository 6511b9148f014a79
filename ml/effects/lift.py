"""Differences between the treated and the held-out customers, with 95% intervals.

Of rates: Newcombe's hybrid score interval (method 10 in Newcombe, Interval estimation for the difference between independent
proportions, Statistics in Medicine 17, 1998). With 900 against 100 customers and 3% against 2% it holds the true difference in
96% of 200,000 draws, the usual (Wald) interval in 86%; of 450 against 50, 96% and 71%. Of amounts: Welch's interval; with what
the customers spent before as covariate it is CUPED (Deng, Xu, Kohavi and Walker, Improving the sensitivity of online controlled
experiments, WSDM 2013).

``anytime_z`` makes of Newcombe's interval one that holds on all days at once (a confidence sequence), for whoever looks daily.
In 4,000 campaigns of each of 80 kinds (100 to 40,000 customers, 5% to 50% held out, rates of 1% to 30%, 10 to 60 looks) at most
2.7% ever left the true difference out, and up to 34% with the interval that holds for a single day.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from ml.arrays import Floats
from ml.bootstrap import LEVEL, Interval

Z = float(stats.norm.ppf((1 + LEVEL) / 2))
NARROWEST_AT = 400  # 1 / (1 / size + 1 / control_size) at which ``anytime_z`` is least, 3.0; it is 3.7 at 45 and 3.3 at 4,000
_ERROR = -2 * math.log(1 - LEVEL)
_MIXTURE = NARROWEST_AT / (_ERROR + math.log(_ERROR) + 1)


def rate_difference(successes: float, size: float, control_successes: float, control_size: float, z: float = Z) -> Interval:
    """The first share less the control's, with Newcombe's interval; NaN where one of them has nobody.

    ``z``: standard errors of a bound; ``anytime_z`` for an interval that holds however often it is looked at.
    """
    if not size or not control_size:
        return Interval(math.nan, math.nan, math.nan)
    rate, control = successes / size, control_successes / control_size
    low, high = wilson(successes, size, z)
    control_low, control_high = wilson(control_successes, control_size, z)
    difference = rate - control
    return Interval(
        difference,
        difference - math.hypot(rate - low, control_high - control),
        difference + math.hypot(high - rate, control - control_low),
    )


def anytime_z(size: float, control_size: float) -> float:
    """Standard errors within which a difference of means stays at all sizes at once, with a probability of 95%.

    Robbins' boundary of a normal mixture (Statistical methods related to the law of the iterated logarithm, 1970), which holds
    in the limit for means whose variance is estimated (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central
    limit theory and asymptotic confidence sequences, 2021). Infinite where one of the sizes is 0. Where it is narrowest may
    not depend on the data.
    """
    if not size or not control_size:
        return math.inf
    ratio = _MIXTURE * (1 / size + 1 / control_size)
    return math.sqrt((1 + ratio) * (math.log1p(1 / ratio) + _ERROR))


def wilson(successes: float, size: float, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson, JASA 22, 1927); ``z``: its standard errors."""
    rate, squared = successes / size, z * z
    middle = (rate + squared / (2 * size)) / (1 + squared / size)
    half = z * math.sqrt(max(rate * (1 - rate), 0.0) / size + squared / (4 * size * size)) / (1 + squared / size)
    return middle - half, middle + half


def effective_size(successes: float, size: float, between: float, size_squares: float, groups: float) -> float:
    """How many independent trials tell as much of a rate as ``size`` trials in ``groups``, such as of customers.

    ``between`` and ``size_squares`` are sums over the groups: of the square of successes less those expected by the rate, and
    of the square of trials. The size is divided by the design effect: the variance between groups (Liang and Zeger, 1986) over
    that of independent trials (Korn and Graubard, Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data, 1998). It is at least 1 and at most that of groups whose trials all end alike, which also
    counts where no trial, or each, succeeded: then nothing is known of how alike they are. So it does in a single group.
    """
    rate, largest = successes / size, size_squares / size
    if not 0 < rate < 1 or groups < 2:
        return size / largest
    return size / min(max(between * groups / (groups - 1) / (size * rate * (1 - rate)), 1.0), largest)


def mean_difference(values: Floats, control: Floats) -> Interval:
    """The first mean less the control's, with Welch's interval.

    Without bounds where one of them has fewer than two values, or values that do not vary: where nobody bought, how much
    amounts vary is not known.
    """
    if not len(values) or not len(control):
        return Interval(math.nan, math.nan, math.nan)
    difference = float(values.mean() - control.mean())
    if min(len(values), len(control)) < 2 or not np.ptp(values) or not np.ptp(control):
        return Interval(difference, math.nan, math.nan)
    return _welch(values, control)


def _welch(values: Floats, control: Floats) -> Interval:
    """Welch's interval of the difference of means; of no width where nothing varies, as after a perfect adjustment."""
    difference = float(values.mean() - control.mean())
    parts = (float(values.var(ddof=1)) / len(values), float(control.var(ddof=1)) / len(control))
    variance = sum(parts)
    if not variance:
        return Interval(difference, difference, difference)
    freedom = variance**2 / (parts[0] ** 2 / (len(values) - 1) + parts[1] ** 2 / (len(control) - 1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return Interval(difference, difference - half, difference + half)


def adjusted_difference(values: Floats, before: Floats, control: Floats, control_before: Floats) -> Interval:
    """``mean_difference`` after subtracting the part that the covariate ``before`` predicts (CUPED).

    The slope is pooled within the arms, so that it does not contain the effect. Where ``before`` is constant, or the difference
    has no bounds, nothing is subtracted.
    """
    centred = [(x - x.mean()) if len(x) else x for x in (before, control_before)]
    spread = sum(float(x @ x) for x in centred)
    plain = mean_difference(values, control)
    if not spread or math.isnan(plain.low):
        return plain
    slope = sum(float(x @ (y - y.mean())) for x, y in zip(centred, (values, control), strict=True) if len(y)) / spread
    middle = float(np.concatenate([before, control_before]).mean())
    return _welch(values - slope * (before - middle), control - slope * (control_before - middle))
