"""Bootstrap confidence intervals of means that stay honest with few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 9999
# The mean of so few resampled values can't leave their range often enough: with n values, the
# whole range holds the true mean with probability 1 − 2^(1−n) only.
FEWEST_FOR_LEVEL = 5
FEWEST_TASKS = 5  # below, nothing can be said of further ones


class Interval(NamedTuple):
    """Ends of a confidence interval; NaN where there is none."""

    low: float
    high: float


NONE = Interval(float("nan"), float("nan"))


def mean_interval(strata: Sequence[Vector], level: float = LEVEL, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean over strata of each stratum's mean.

    Values are resampled within each stratum, so the interval is for these strata; one stratum is
    the ordinary bootstrap. Resampling n values understates their variance by (n−1)/n and takes
    the normal for the t distribution, so the percentiles are moved outwards accordingly: the tail
    is Φ(−√(V/U) t), where V = Σ s²/n is the variance of the sum of means, U = Σ (s²/n)(n−1)/n the
    one that resampling sees, and t has Welch's and Satterthwaite's degrees of freedom (for one
    stratum: Hesterberg, What teachers should know about the bootstrap, Am. Stat. 2015, 69, 371).

    Args:
        strata: for each stratum its values, independent draws.
        level: probability that the interval holds the true mean, in (0, 1).
        seed: of the resampling.

    Returns:
        No interval (NaN) where the spread is unknown: no stratum, a stratum with a single value,
        or values that are all equal in every stratum.
    """
    from scipy.stats import bootstrap, norm, t

    sizes = np.array([len(values) for values in strata])
    if not len(strata) or sizes.min() < 2 or all(np.ptp(values) == 0 for values in strata):
        return NONE
    variances = np.array([np.var(values, ddof=1) for values in strata]) / sizes
    seen = variances @ ((sizes - 1) / sizes)
    freedom = variances.sum() ** 2 / (variances**2 @ (1 / (sizes - 1)))
    tail = norm.sf(np.sqrt(variances.sum() / seen) * t.isf((1 - level) / 2, freedom))
    result = bootstrap(
        tuple(strata),
        lambda *samples, axis: np.mean([s.mean(axis) for s in samples], axis=0),
        confidence_level=1 - 2 * tail,
        n_resamples=RESAMPLES,
        batch=1000,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(*map(float, result.confidence_interval))


def further_interval(strata: Sequence[Vector], level: float = LEVEL, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean of each stratum's mean, for further strata of their kind.

    Strata are resampled, and values within each drawn one: two-stage bootstrap, which counts the
    noise of the values twice and so never claims more than they tell (Davison & Hinkley, Bootstrap
    Methods and their Application, 1997, sec. 3.8). The percentiles are moved outwards as those of
    `mean_interval` for as many values as there are strata.

    Args:
        strata: for each stratum its values.
        level: probability that the interval holds the mean over all strata of the kind, in (0, 1).
        seed: of the resampling.

    Returns:
        No interval (NaN) for fewer than `FEWEST_TASKS` strata, or where all values are equal.
    """
    from scipy.stats import norm, t

    count = len(strata)
    if count < FEWEST_TASKS or np.ptp(np.concatenate(list(strata))) == 0:
        return NONE
    rng = np.random.default_rng(seed)
    drawn = rng.integers(count, size=(RESAMPLES, count))
    means = np.empty(drawn.shape)
    for k, values in enumerate(strata):
        at = np.nonzero(drawn == k)
        picked = rng.integers(len(values), size=(len(at[0]), len(values)))
        means[at] = values[picked].mean(axis=1)
    tail = norm.sf(np.sqrt(count / (count - 1)) * t.isf((1 - level) / 2, count - 1))
    low, high = np.quantile(means.mean(axis=1), [tail, 1 - tail])
    return Interval(float(low), float(high))
