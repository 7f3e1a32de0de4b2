"""First experiments, before there is anything to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gollum.acquisition.limits import NO_LIMITS, Limits, Rows

REFERENCES, CANDIDATES = 2000, 5000  # sizes of the samples that stand for larger pools


def representative(
    features: NDArray[np.float64],
    rows: Rows,
    n: int,
    seed: int,
    taken: Rows | None = None,
    limits: Limits = NO_LIMITS,
) -> list[int]:
    """Candidates that leave no part of the pool far from one of them.

    Greedy k-medians: each next one lowers the mean distance between a candidate and the nearest
    chosen one the most (facility location; Nemhauser, Wolsey and Fisher 1978 bound what greedy
    loses). Unlike farthest-point designs it does not begin with outliers.

    Args:
        features: N x d.
        rows: positions that may be chosen; of many, a random sample is looked at.
        n: how many to choose; fewer when candidates or limits end before.
        seed: of the samples and of ties.
        taken: positions that are measured or pending.
        limits: what the batch must not exceed.

    Returns:
        Positions, in the order of choosing.
    """
    rng = np.random.default_rng(seed)
    everything = rng.permutation(len(features))
    references = features[everything[:REFERENCES]]
    rows = rng.permutation(rows)[: max(CANDIDATES, n)]
    distances = _distances(features[rows], references)
    to_chosen = np.full(len(references), distances.max() if distances.size else 0.0)
    if taken is not None and len(taken):
        to_chosen = np.minimum(to_chosen, _distances(features[taken], references).min(axis=0))
    chosen: list[int] = []
    left = limits.allowed(rows, chosen)
    while left.any() and len(chosen) < n:
        gains = np.maximum(to_chosen - distances, 0.0).sum(axis=1)
        best = int(np.argmax(np.where(left, gains, -1.0)))
        chosen.append(int(rows[best]))
        to_chosen = np.minimum(to_chosen, distances[best])
        left[best] = False
        left &= limits.allowed(rows, chosen)
    return chosen


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances, n x m."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0.0))
    return distances
