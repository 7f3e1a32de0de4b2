"""Results that are no plain number: between which values they lie, or how far off they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gollum.data.outcomes import Scale, Vector

STEP = 1e-6  # by which the slope of a scale is told


class Extent(BaseModel):
    """What is known of a result: an interval that it lies in, or the error of a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float | None = None
    """Lower end of the interval; None where it is open."""
    high: float | None = None
    """Upper end."""
    error: float | None = None
    """Standard deviation of the number, where there is one instead of an interval."""


@dataclass(frozen=True, eq=False)
class Extents:
    """What is known of n results, on the scale of their values.

    Attributes:
        low: ends of intervals, n; −∞ where open, and both NaN of a number.
        high: likewise; ∞ where open.
        error: standard deviations of numbers, n; 0 where none is known.
    """

    low: Vector
    high: Vector
    error: Vector

    @classmethod
    def of(cls, known: Sequence[Extent | None]) -> Extents | None:
        """Those of n results; None where all are plain numbers."""
        if not any(known):
            return None
        low, high = np.full(len(known), np.nan), np.full(len(known), np.nan)
        error = np.zeros(len(known))
        for i, one in enumerate(known):
            if one is not None and one.error is not None:
                error[i] = one.error
            elif one is not None:
                low[i] = -np.inf if one.low is None else one.low
                high[i] = np.inf if one.high is None else one.high
        return cls(low, high, error)

    @property
    def between(self) -> NDArray[np.bool_]:
        """Which results are intervals; n."""
        return ~np.isnan(self.low)

    def at(self, part: NDArray[np.bool_] | NDArray[np.int64]) -> Extents:
        """Those of some results."""
        return Extents(self.low[part], self.high[part], self.error[part])

    def on(self, scale: Scale, values: Vector) -> Extents:
        """The same on the scale that an outcome is learned on.

        Args:
            scale: that scale. An end at a bound is open: what lies beyond it could not be told.
            values: the n results.
        """
        low, high = scale.bounds
        below = self.low if low is None else np.where(self.low <= low, -np.inf, self.low)
        above = self.high if high is None else np.where(self.high >= high, np.inf, self.high)
        ends = _utility(scale, below, -np.inf), _utility(scale, above, np.inf)
        ends = ends if scale.sign > 0 else ends[::-1]
        return Extents(ends[0], ends[1], self.error * _slope(scale, values))


def _slope(scale: Scale, values: Vector) -> Vector:
    """How fast the scale changes at n values, without its sign (the delta method)."""
    if scale.transform == "identity":
        return np.ones_like(values)
    if scale.transform == "log":
        return 1.0 / values
    low, high = (scale.inside(values + side * STEP) for side in (-1, 1))
    found: Vector = np.abs(scale.utility(high) - scale.utility(low)) / (high - low)
    return found


def _utility(scale: Scale, ends: Vector, where_open: float) -> Vector:
    """Ends on another scale; open ones, and those that it has no place for, stay open."""
    found = np.where(np.isnan(ends), np.nan, scale.sign * where_open)
    held = np.isfinite(ends)
    if scale.transform == "log":
        held &= ends > 0
    found[held] = scale.utility(ends[held])
    return found
