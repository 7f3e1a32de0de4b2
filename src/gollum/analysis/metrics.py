"""How good a run and a surrogate are: pure functions of arrays.

Utility is the objective with the sign that makes larger better, all known and not all equal;
`order` holds the pool positions of the candidates that were evaluated, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]
Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

TOP_FRACTION = 0.05
INTERVAL = 1.959963984540054  # deviations that hold 95 % of a normal distribution
# Figures of a fit on candidates that it has not seen, as records call them.
QUALITY = ("r2", "nlpd", "msll", "calibration_error", "latent_distance_ratio")


class Coverage(NamedTuple):
    """How much of a pool's top was found.

    Attributes:
        found: T counts, after each evaluation.
        total: number of top candidates in the pool.
    """

    found: Counts
    total: int

    @property
    def share(self) -> Vector:
        """T numbers in [0, 1]: found / total."""
        return self.found / self.total


class RandomSearch(NamedTuple):
    """Repeated random searches that share their starting points.

    Attributes:
        best: repeats x T best utilities so far.
        coverage: repeats x T shares of the pool's top, in [0, 1].
    """

    best: Vector
    coverage: Vector


def top_threshold(utility: Vector, fraction: float = TOP_FRACTION) -> float:
    """The utility from which a candidate belongs to the top: the (1 − fraction) quantile."""
    return float(np.quantile(utility, 1 - fraction))


def top_mask(utility: Vector, fraction: float = TOP_FRACTION) -> Mask:
    """N flags: at or above the threshold. Ties can make the top larger than the fraction."""
    return utility >= top_threshold(utility, fraction)


def coverage_trace(
    pool_utility: Vector, order: Positions, fraction: float = TOP_FRACTION
) -> Coverage:
    """How many of the top candidates were found after each of T evaluations.

    Args:
        pool_utility: N utilities.
        order: T positions; a candidate that is evaluated again is not counted again.
        fraction: size of the top.
    """
    mask = top_mask(pool_utility, fraction)
    return Coverage(np.cumsum(mask[order] & _first_time(order)), int(mask.sum()))


def best_so_far(utility_in_order: Vector) -> Vector:
    """Running maximum of T utilities; a missing one (NaN) changes nothing."""
    return np.fmax.accumulate(utility_in_order)


def auc_best_so_far(pool_utility: Vector, order: Positions) -> float:
    """Mean over the run of the best so far, scaled so that the pool spans [0, 1]."""
    low, high = pool_utility.min(), pool_utility.max()
    return float(np.mean((best_so_far(pool_utility[order]) - low) / (high - low)))


def quantile_counts(
    pool_utility: Vector,
    order: Positions,
    quantiles: Sequence[float] = (0.75, 0.9, 0.95, 0.99),
) -> dict[float, int]:
    """For each quantile of the pool, how many evaluated candidates reach it."""
    utility = pool_utility[np.unique(order)]
    return {q: int((utility >= np.quantile(pool_utility, q)).sum()) for q in quantiles}


def top_k_found(
    pool_utility: Vector, order: Positions, ks: Sequence[int] = (1, 3, 5, 10)
) -> dict[int, int]:
    """For each k, how many of the k best were evaluated.

    Candidates that tie with the k-th best count as one of the k best, up to k in all.
    """
    descending = np.sort(pool_utility)[::-1]
    utility = pool_utility[np.unique(order)]
    bars = {k: descending[min(k, len(descending)) - 1] for k in ks}
    return {k: min(k, int((utility >= bar).sum())) for k, bar in bars.items()}


def random_search(
    pool_utility: Vector, start: Positions, n_iters: int, seed: int, repeats: int = 200
) -> RandomSearch:
    """What choosing blindly would have reached from the same starting points.

    Args:
        pool_utility: N utilities.
        start: n_init positions.
        n_iters: evaluations after the start; at most as many as candidates are left.
        seed: of the draws.
        repeats: number of searches.

    Returns:
        Arrays of shape repeats x (n_init + n_iters).
    """
    rng = np.random.default_rng(seed)
    rest = np.setdiff1d(np.arange(len(pool_utility)), start)
    draws = min(n_iters, len(rest))
    picks = np.stack([rng.choice(rest, draws, replace=False) for _ in range(repeats)])
    orders = np.hstack([np.tile(start, (repeats, 1)), picks])
    mask = top_mask(pool_utility)
    return RandomSearch(
        np.maximum.accumulate(pool_utility[orders], axis=1),
        np.cumsum(mask[orders], axis=1) / mask.sum(),
    )


def r2(y: Vector, mean: Vector) -> float:
    """Coefficient of determination: 1 − Σ(y−μ)² / Σ(y−ȳ)²."""
    return float(1 - np.sum((y - mean) ** 2) / np.sum((y - y.mean()) ** 2))


def nlpd(y: Vector, mean: ArrayLike, variance: ArrayLike) -> float:
    """Mean negative log predictive density: ½ log 2πσ² + (y−μ)² / 2σ², averaged.

    Args:
        y: N measured values.
        mean: N predictive means μ (or one for all).
        variance: N predictive variances σ² > 0 of a measurement, noise included.
    """
    return float(np.mean(log_losses(y, mean, variance)))


def log_losses(y: Vector, mean: ArrayLike, variance: ArrayLike) -> Vector:
    """Negative log predictive density of each of N values; as `nlpd` takes them."""
    mean, variance = np.asarray(mean), np.asarray(variance)
    losses: Vector = 0.5 * (np.log(2 * np.pi * variance) + (y - mean) ** 2 / variance)
    return losses


def msll(
    y: Vector, mean: Vector, variance: Vector, train_mean: float, train_variance: float
) -> float:
    """Mean standardized log loss; negative when better than ignoring the inputs.

    The NLPD less that of a Gaussian with the training targets' mean and variance
    (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.34).
    """
    return nlpd(y, mean, variance) - nlpd(y, train_mean, train_variance)


def quantile_coverage_error(
    y: Vector, mean: Vector, variance: Vector, levels: Sequence[float] = (0.95,)
) -> float:
    """How far the central predictive intervals are from holding what they promise.

    Args:
        y: N measured values.
        mean: N predictive means.
        variance: N predictive variances of a measurement.
        levels: probability mass of each interval, in (0, 1).

    Returns:
        The mean over levels p of |share of y inside μ ± z_p σ − p|, z_p = Φ⁻¹((1+p)/2).
    """
    deviation = np.abs(y - mean) / np.sqrt(variance)
    z = np.array([NormalDist().inv_cdf((1 + p) / 2) for p in levels])
    inside = (deviation[:, None] <= z).mean(axis=0)
    return float(np.mean(np.abs(inside - np.asarray(levels))))


def _first_time(order: Positions) -> Mask:
    """T flags: the position did not occur earlier."""
    first = np.zeros(len(order), dtype=bool)
    first[np.unique(order, return_index=True)[1]] = True
    return first
