"""Predictions of experiments that a model has not seen: how good they are, and which are better.

An experiment may have been measured more than once. All its measurements are left out together,
and comparisons count it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.analysis.bootstrap import mean_interval
from gollum.analysis.metrics import log_losses, nlpd

Vector = NDArray[np.float64]

EXACT = 30  # distinct experiments up to which each is left out by itself
PARTS = 10  # otherwise
UNLIKELY = 0.025  # that so few results, or so many, fall inside honest intervals


class Errors(NamedTuple):
    """How far predictions are from n measurements.

    Attributes:
        measurements: n.
        rmse: root mean squared error, in the unit of the measurements.
        mae: mean absolute error, likewise.
        r2: share of the squared error of the training means that is gone; 1 is perfect, 0 is no
            better than those means. NaN where they have no error.
        nlpd: mean negative log predictive density.
        inside: share of measurements inside their 95 % interval, in [0, 1].
        spearman: rank correlation of predictions and measurements; NaN where either is constant.
    """

    measurements: int
    rmse: float
    mae: float
    r2: float
    nlpd: float
    inside: float
    spearman: float


class Gain(NamedTuple):
    """By which share the squared error of one method is smaller than that of another.

    Attributes:
        share: 1 − MSE / MSE of the other; negative where it is larger.
        low: lower end of the 95 % bootstrap interval over experiments; NaN where there is none.
        high: its upper end, at most 1.
    """

    share: float
    low: float
    high: float


class Lead(NamedTuple):
    """By how much the log loss (NLPD) of one method is smaller than that of another.

    Attributes:
        nats: mean difference; negative where it is larger.
        nats_low: lower end of the 95 % bootstrap interval over experiments; NaN where there is
            none.
        nats_high: its upper end.
    """

    nats: float
    nats_low: float
    nats_high: float


def folds(
    ids: Sequence[str], seed: int, exact: int = EXACT, parts: int = PARTS
) -> NDArray[np.int64]:
    """Number of the part that each of n measurements belongs to, from 0.

    Measurements of one id share a part. Up to `exact` ids, each is a part; more are dealt into
    `parts` parts of nearly equal numbers of ids. Depends on the ids and the seed, not on order.
    """
    distinct = sorted(set(ids))
    count = len(distinct) if len(distinct) <= exact else parts
    shuffled = np.random.default_rng(seed).permutation(len(distinct))
    part = {name: int(place) % count for name, place in zip(distinct, shuffled, strict=True)}
    return np.array([part[name] for name in ids], dtype=np.int64)


def errors(y: Vector, mean: Vector, variance: Vector, baseline: Vector) -> Errors:
    """Judge n predictions.

    R² is of the kind for predictions: 1 − Σ(y−μ)² / Σ(y−b)², where b is the mean of the
    measurements that the model had seen (Q² of Schüürmann et al., J. Chem. Inf. Model. 2008, 48,
    2140, eq. 3).

    Args:
        y: n measurements.
        mean: n predictive means μ.
        variance: n predictive variances > 0 of a measurement, noise included.
        baseline: n means b of what each prediction was learned from.
    """
    residual = y - mean
    trivial = float(np.sum((y - baseline) ** 2))
    return Errors(
        measurements=len(y),
        rmse=float(np.sqrt(np.mean(residual**2))),
        mae=float(np.mean(np.abs(residual))),
        r2=1 - float(np.sum(residual**2)) / trivial if trivial > 0 else float("nan"),
        nlpd=nlpd(y, mean, variance),
        inside=float(shares_inside(y, mean, variance, (0.95,))[0]),
        spearman=_spearman(y, mean),
    )


def shares_inside(y: Vector, mean: Vector, variance: Vector, levels: Sequence[float]) -> Vector:
    """For each level p in (0, 1), the share of n measurements inside μ ± z_p σ.

    z_p = Φ⁻¹((1+p)/2). A calibrated model's shares equal the levels.
    """
    z = np.array([NormalDist().inv_cdf((1 + p) / 2) for p in levels])
    deviation = np.abs(y - mean) / np.sqrt(variance)
    shares: Vector = (deviation[:, None] <= z).mean(axis=0)
    return shares


def odd_share(inside: float, count: int) -> Literal["too few", "too many"] | None:
    """Whether a share of n measurements inside their 95 % intervals is more than chance.

    Intervals that hold 95 % would have as few, or as many, with a probability below `UNLIKELY`.
    """
    from scipy.stats import binom

    found = round(inside * count)
    if binom.cdf(found, count, 0.95) < UNLIKELY:
        return "too few"
    return "too many" if binom.sf(found - 1, count, 0.95) < UNLIKELY else None


def gain(ids: Sequence[str], y: Vector, mean: Vector, other: Vector, seed: int = 0) -> Gain:
    """Compare two methods on the same n measurements.

    The squared errors of an experiment are averaged over its measurements first. The interval is
    that of the mean difference over experiments, divided by the other method's error.

    Args:
        ids: n ids of experiments, measurements of one experiment having the same.
        y: n measurements.
        mean: n predictions of the method.
        other: n predictions of the method that it is compared with.
        seed: of the resampling.

    Returns:
        NaN where the other method makes no error at all.
    """
    squares = pd.DataFrame({"own": (y - mean) ** 2, "other": (y - other) ** 2})
    each = squares.groupby(list(ids)).mean()
    whole = float(each["other"].mean())
    if whole == 0:
        return Gain(*[float("nan")] * 3)
    fewer = (each["other"] - each["own"]).to_numpy(dtype=np.float64) / whole
    low, high = mean_interval([fewer], seed=seed)
    return Gain(float(fewer.mean()), low, min(high, 1.0))


def lead(
    ids: Sequence[str],
    y: Vector,
    own: tuple[Vector, Vector],
    other: tuple[Vector, Vector],
    seed: int = 0,
) -> Lead:
    """Compare the log losses of two methods on the same n measurements.

    That of an experiment is averaged over its measurements first.

    Args:
        ids: n ids of experiments, measurements of one experiment having the same.
        y: n measurements.
        own: n means and n variances > 0 of the method, noise included.
        other: those of the method that it is compared with.
        seed: of the resampling.
    """
    less = pd.Series(log_losses(y, *other) - log_losses(y, *own))
    each = np.asarray(less.groupby(list(ids)).mean(), dtype=np.float64)
    return Lead(float(each.mean()), *mean_interval([each], seed=seed))


def _spearman(a: Vector, b: Vector) -> float:
    """Pearson's correlation of the ranks, ties sharing theirs."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))
