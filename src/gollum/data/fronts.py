"""Several objectives at once: the front, the hypervolume that it dominates, desirabilities.

Merits are larger where they are better, a column for each objective.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gollum.data.outcomes import Outcome, Vector

BEYOND = 0.1  # of the width of the points, by which the reference point is worse than all of them
SMALLEST = 1e-6  # desirability, so that a product of several still tells bad from worse

Mask = NDArray[np.bool_]


def on_front(merits: Vector) -> Mask:
    """Which of n points no other one beats: as good in all k objectives and better in one.

    Args:
        merits: n x k; a point with a missing merit is on no front.
    """
    known = np.asarray(~np.isnan(merits).any(axis=1))
    at_least = (merits[:, None] >= merits).all(axis=2)
    better = (merits[:, None] > merits).any(axis=2)
    beaten = np.asarray((at_least & better).any(axis=0))
    return known & ~beaten


def reference_point(points: Vector, said: Sequence[float | None] = ()) -> Vector:
    """What an experiment has to be better than to count; k.

    The worst of some points in each objective, less a tenth of their width there. Where they are
    alike in one, the width is the size of the value.

    Args:
        points: n x k merits, n > 0, none missing: those of a front, or of all results.
        said: of each objective what the user says, or None.
    """
    worst, width = points.min(axis=0), np.ptp(points, axis=0)
    for instead in (np.abs(worst), np.ones(len(worst))):
        width = np.where(width > 0, width, instead)
    point: Vector = worst - BEYOND * width
    for column, value in enumerate(said):
        point[column] = point[column] if value is None else value
    return point


def hypervolume(merits: Vector, reference: Vector) -> float:
    """Volume of what a set of points dominates, down to the reference point.

    By slices along the last objective (While et al., IEEE Trans. Evol. Comput. 2006, 10, 29).

    Args:
        merits: n x k, none missing.
        reference: k.
    """
    above = merits - reference
    above = above[(above > 0).all(axis=1)]
    if len(above) == 0:
        return 0.0
    if above.shape[1] == 1:
        return float(above.max())
    above = above[on_front(above)]
    above = above[np.argsort(-above[:, -1])]
    depths = above[:, -1] - np.append(above[1:, -1], 0.0)
    none = np.zeros(above.shape[1] - 1)
    slices = (
        depth * hypervolume(above[: i + 1, :-1], none) for i, depth in enumerate(depths) if depth
    )
    return float(sum(slices))


def desirability_ends(outcome: Outcome) -> tuple[float, float]:
    """Merits at which an outcome is of no use, and as good as can be; its bounds say so.

    Raises:
        TypeError: a bound is missing.
    """
    low, high = (float(end) for end in outcome.bounds)  # type: ignore[arg-type]
    ends = outcome.goal.merit(np.array([low, high]))
    return float(ends.min()), 0.0 if outcome.goal.kind == "target" else float(ends.max())


def desirability(outcomes: Sequence[Outcome], merits: Vector) -> Vector:
    """Weighted geometric mean of desirabilities in [0, 1], each linear between its bounds.

    Derringer and Suich, J. Qual. Technol. 1980, 12, 214.

    Args:
        outcomes: the k objectives, with bounds; one without a weight has 1.
        merits: … x k.

    Returns:
        One value for each, of the leading shape.
    """
    weights = np.array([outcome.weight or 1.0 for outcome in outcomes])
    ends = np.array([desirability_ends(outcome) for outcome in outcomes])
    shares = np.clip((merits - ends[:, 0]) / (ends[:, 1] - ends[:, 0]), SMALLEST, 1.0)
    found: Vector = np.exp((np.log(shares) * weights).sum(axis=-1) / weights.sum())
    return found
