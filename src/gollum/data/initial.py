"""First designs: which candidates are measured before a surrogate can choose.

Each design returns row positions, all different, in the order of measuring; the same seed gives
the same ones. Ties are broken by the seed, never by the order of the rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gollum.errors import ConfigError, DataError, nearest

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Positions = NDArray[np.int64]


def below_median(utility: Vector, n: int, seed: int) -> Positions:
    """Random candidates from the worse half: the paper's start from failures.

    The median is the lower one: of an even number of values, the smaller of the middle two.

    Args:
        utility: N objective values, larger is better; unknown ones are NaN and never drawn.
        n: number of starting points.
        seed: of the draw.

    Returns:
        n row positions.

    Raises:
        DataError: fewer than n known values lie at or below the median.
        ConfigError: n is below 1.
    """
    known = np.sort(utility[np.isfinite(utility)])
    median = known[(len(known) - 1) // 2] if len(known) else -np.inf
    eligible = np.flatnonzero(utility <= median)
    _check(n, len(eligible), "with a known objective at or below the pool's median")
    return eligible[_order(len(eligible), seed)[:n]]


def random_design(size: int, n: int, seed: int) -> Positions:
    """Draw n of `size` candidates, all equally likely.

    Raises:
        DataError: there are fewer than n candidates.
        ConfigError: n is below 1.
    """
    _check(n, size)
    return _order(size, seed)[:n]


def k_medoids(features: Matrix, n: int, seed: int) -> Positions:
    """Typical candidates of n clusters.

    An approximation to k-medoids: centres come from k-means over all rows (Lloyd 1982), and
    each is replaced by the nearest candidate that no earlier centre took.

    Args:
        features: N x d.
        n: number of clusters and of starting points.
        seed: of the clustering and of ties.

    Returns:
        n row positions.

    Raises:
        DataError: there are fewer than n candidates.
        ConfigError: n is below 1.
    """
    _check(n, len(features))
    order = _order(len(features), seed)
    points = features[order]
    chosen: list[int] = []
    for centre in _centres(points, n, seed):
        distance = _squared_distance(points, centre)
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
    return order[chosen]


def farthest_point(features: Matrix, n: int, seed: int) -> Positions:
    """Spread-out candidates: each next one is farthest from the nearest chosen one.

    Greedy max-min design from a random start (Gonzalez, Theor. Comput. Sci. 1985, 38, 293),
    with Euclidean distances, in O(nN).

    Args:
        features: N x d.
        n: number of starting points.
        seed: of the first point and of ties.

    Returns:
        n row positions.

    Raises:
        DataError: there are fewer than n candidates.
        ConfigError: n is below 1.
    """
    _check(n, len(features))
    order = _order(len(features), seed)
    points = features[order]
    chosen = [0]
    to_chosen = np.full(len(points), np.inf)
    while len(chosen) < n:
        to_chosen = np.minimum(to_chosen, _squared_distance(points, points[chosen[-1]]))
        to_chosen[chosen] = -1.0
        chosen.append(int(np.argmax(to_chosen)))
    return order[chosen]


Design = Callable[[Vector, Callable[[], Matrix], int, int], Positions]

DESIGNS: dict[str, Design] = {
    "below_median": lambda utility, _, n, seed: below_median(utility, n, seed),
    "random": lambda utility, _, n, seed: random_design(len(utility), n, seed),
    "k_medoids": lambda _, features, n, seed: k_medoids(features(), n, seed),
    "farthest_point": lambda _, features, n, seed: farthest_point(features(), n, seed),
}


def initial_design(
    name: str, *, utility: Vector, features: Callable[[], Matrix], n: int, seed: int
) -> Positions:
    """Starting points by the name of a design.

    Args:
        name: a key of `DESIGNS`.
        utility: N objective values, larger is better; NaN where unknown.
        features: makes the N x d features; called only by a design that needs them.
        n: number of starting points.
        seed: of every draw.

    Returns:
        n row positions, all different.

    Raises:
        ConfigError: there is no such design, or n is below 1.
        DataError: fewer than n candidates can be chosen.
    """
    if name not in DESIGNS:
        raise ConfigError(
            f"there is no initial design '{name}'.{nearest(name, DESIGNS)} "
            f"The designs are {', '.join(DESIGNS)}."
        )
    _check(n, len(utility))
    return DESIGNS[name](utility, features, n, seed)


def _check(n: int, available: int, which: str = "in the pool") -> None:
    if n < 1:
        raise ConfigError(f"--n_init must be at least 1, not {n}.")
    if n > available:
        raise DataError(
            f"{n} starting points were asked for, but there are only {available} candidates "
            f"{which}; lower --n_init or add candidates."
        )


def _order(size: int, seed: int) -> Positions:
    return np.random.default_rng(seed).permutation(size)


def _squared_distance(points: Matrix, centre: Vector) -> Vector:
    """N squared Euclidean distances of N x d points to one."""
    difference = points - centre
    return np.asarray((difference * difference).sum(axis=1))


def _centres(points: Matrix, n: int, seed: int) -> Matrix:
    """The n x d centres of k-means."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # raised by pools with fewer than n distinct rows
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(n_clusters=n, random_state=seed, n_init=10).fit(points)
    return np.asarray(fitted.cluster_centers_, dtype=np.float64)
