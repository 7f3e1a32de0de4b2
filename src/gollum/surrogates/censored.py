"""Results of which only an interval is known, by expectation propagation.

What is measured is y = f + ε, and an interval says that y lies between two values. Its likelihood
is approximated by a normal one, a site, such that site times cavity (the prediction of y by all
other results) has the moments of the cavity truncated to the interval (Minka, UAI 2001; Rasmussen
& Williams 2006, section 3.6). A site is then an observation with a variance of its own beside that
of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.data.extents import Extents

Vector = NDArray[np.float64]
FAINTEST = 1e-6  # precision of a site; less tells nothing


@dataclass(frozen=True, eq=False)
class Sites:
    """Observations of f with variances beside that of the noise, standardised.

    Attributes:
        targets: n values.
        variance: n variances, 0 of plain results.
        between: which are intervals; n.
        low: their lower ends, n.
        high: their upper ends, n.
    """

    targets: Tensor
    variance: Tensor
    between: NDArray[np.bool_]
    low: Vector
    high: Vector

    @classmethod
    def of(cls, targets: Tensor, extents: Extents | None, location: float, scale: float) -> Sites:
        """Before anything is fitted: an interval counts as a uniform variable in it.

        An open end lies one standard deviation of all results beyond what the interval counts as.

        Args:
            targets: standardised results; of intervals, what they count as.
            extents: of the results, in their unit.
            location: of the standardisation.
            scale: likewise.
        """
        count = len(targets)
        if extents is None:
            nothing = np.full(count, np.nan)
            return cls(targets, torch.zeros_like(targets), np.zeros(count, bool), nothing, nothing)
        low, high = (extents.low - location) / scale, (extents.high - location) / scale
        values, between = targets.cpu().numpy(), extents.between
        ends = (
            np.where(np.isinf(low), values - 1.0, low),
            np.where(np.isinf(high), values + 1.0, high),
        )
        middle, width = 0.5 * (ends[0] + ends[1]), ends[1] - ends[0]
        start = np.where(between, middle, values)
        variance = np.where(between, width**2 / 12.0, (extents.error / scale) ** 2)
        return cls(_like(targets, start), _like(targets, variance), between, low, high)

    @property
    def errors(self) -> Tensor:
        """Variances of numbers with a known error; n."""
        return torch.where(torch.as_tensor(self.between), 0.0, self.variance)

    def moved(self, mean: Tensor, variance: Tensor) -> Sites:
        """Sites such that the moments agree with those of truncated cavities.

        Args:
            mean: of the cavities, n.
            variance: of y in the cavities, n.
        """
        where = self.between
        m, v = (part.cpu().numpy()[where] for part in (mean, variance))
        inside, left = truncated_moments(m, v, self.low[where], self.high[where])
        precision = np.maximum(1.0 / left - 1.0 / v, FAINTEST)
        targets, variances = self.targets.cpu().numpy().copy(), self.variance.cpu().numpy().copy()
        targets[where] = (inside / left - m / v) / precision
        variances[where] = 1.0 / precision
        return replace(
            self, targets=_like(self.targets, targets), variance=_like(self.targets, variances)
        )


def truncated_moments(
    mean: Vector, variance: Vector, low: Vector, high: Vector
) -> tuple[Vector, Vector]:
    """Mean and variance of n normal variables that lie between two values."""
    from scipy.stats import truncnorm

    deviation = np.sqrt(variance)
    a, b = (low - mean) / deviation, (high - mean) / deviation
    found, left = truncnorm.stats(a, b, loc=mean, scale=deviation, moments="mv")
    # So far in a tail that nothing is left of the density: the nearest end, as good as certain.
    nearest = np.clip(mean, low, high)
    bad = ~(np.isfinite(found) & np.isfinite(left) & (left > 0))
    smallest = 1e-6 * variance
    return np.where(bad, nearest, found), np.maximum(np.where(bad, smallest, left), smallest)


def _like(tensor: Tensor, values: Vector) -> Tensor:
    return torch.as_tensor(values).to(tensor)
