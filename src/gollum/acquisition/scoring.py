"""Scores of candidates: an acquisition criterion on the posterior of a fitted surrogate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition.analytic import AnalyticAcquisitionFunction
from botorch.models.model import Model
from numpy.typing import NDArray
from torch import Tensor

from gollum.acquisition.criteria import CRITERIA
from gollum.errors import ConfigError
from gollum.surrogates.base import Fitted
from gollum.surrogates.positions import MarginalModel

Rows = NDArray[np.int64]


class LogTargetImprovement(AnalyticAcquisitionFunction):
    """Log of the expected decrease of the distance from a target.

    With d the smallest distance so far and h = d − |f − t|, E[h₊] of a normal f is a combination of
    three expected improvements, those over t − d, t and t + d: EI(t − d) − 2 EI(t) + EI(t + d).
    """

    def __init__(self, model: Model, best_f: Tensor, target: float) -> None:
        """Set up.

        Args:
            model: posterior of the utility.
            best_f: minus the smallest distance so far.
            target: the utility to come close to.
        """
        super().__init__(model)
        self.distance, self.target = -best_f, target

    def forward(self, X: Tensor) -> Tensor:  # noqa: N803
        """Values at b x 1 x d points; b."""
        mean, sigma = (moment.squeeze(-1) for moment in self._mean_and_sigma(X))
        half = self.distance.reshape(-1) / sigma  # of the wanted interval, in deviations
        z = (mean - self.target).abs() / sigma  # by symmetry, the target lies above
        value = _hinge(half - z) - 2 * _hinge(-z) + _hinge(-half - z)
        # Where rounding would decide: the density times the triangle's area, exact to O(half²).
        narrow = half.square() * _density(z)
        small = (half < 1e-3) | (value < 1e-12 * narrow)
        value = torch.where(small, narrow, value)
        far = -0.5 * (z - half).clamp_min(0).square() - z  # orders what is too far for a float
        tiny = torch.finfo(value.dtype).tiny
        logarithm: Tensor = value.clamp_min(tiny).log()
        shape: Tensor = torch.where(value > tiny, logarithm, math.log(tiny) + far)
        result: Tensor = shape + sigma.log()
        return result


def _density(z: Tensor) -> Tensor:
    density: Tensor = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return density


def _hinge(z: Tensor) -> Tensor:
    """E[(z + ε)₊] for a standard normal ε, φ(z) + zΦ(z), to full precision in the tail."""
    below = z.abs()  # Φ(−x) = φ(x) √(π/2) erfcx(x/√2), and E[(z + ε)₊] = z + E[(ε − z)₊]
    ratio = math.sqrt(math.pi / 2) * torch.special.erfcx(below / math.sqrt(2))
    value: Tensor = _density(z) * (1 - below * ratio) + z.clamp_min(0)
    return value


@dataclass(frozen=True)
class Aim:
    """What candidates are scored for.

    Attributes:
        criterion: key of `CRITERIA`.
        target: the standardised utility to come close to; None where larger is better.
    """

    criterion: str
    target: float | None = None

    @classmethod
    def of(cls, fitted: Fitted, criterion: str, target: float | None = None) -> Aim:
        """An aim in a surrogate's standardised units.

        Args:
            fitted: the surrogate.
            criterion: key of `CRITERIA`.
            target: utility to come close to, if any.

        Raises:
            ConfigError: the criterion is unknown, or knows no targets.
        """
        made = CRITERIA[criterion]
        if target is None:
            return cls(criterion)
        if not getattr(made, "towards_target", False):
            raise ConfigError(f"acquisition '{criterion}' has no target; use log_ei or q_log_ei.")
        return cls(criterion, ((target - fitted.location) / fitted.scale).item())

    @property
    def joint(self) -> bool:
        """Whether a batch is chosen for what it brings as a whole."""
        return bool(getattr(CRITERIA[self.criterion], "joint", False))

    def merit(self, utility: Tensor) -> Tensor:
        """How good standardised utilities are: larger is better."""
        return utility if self.target is None else -(utility - self.target).abs()

    def best(self, fitted: Fitted) -> Tensor:
        """Merit of the best measured candidate; of replicates, their mean counts.

        Before anything is measured, that of the mean of earlier results, which is 0.
        """
        if len(fitted.rows) == 0:
            return self.merit(fitted.location.new_zeros(()))
        rows, place = np.unique(fitted.rows, return_inverse=True)
        where = torch.as_tensor(place, device=fitted.utility.device)
        count = torch.bincount(where, minlength=len(rows))
        means = fitted.utility.new_zeros(len(rows)).index_add(0, where, fitted.utility) / count
        return self.merit((means - fitted.location) / fitted.scale).max()

    def values(self, mean: Tensor, variance: Tensor, best_f: Tensor) -> Tensor:
        """Acquisition values of points with these marginals, N of each.

        Args:
            mean: N posterior means.
            variance: N posterior variances.
            best_f: merit to improve on; a number, or N x 1.

        Returns:
            N; not-a-number counts as the worst.
        """
        model = MarginalModel(mean, variance)
        # A tensor, because BoTorch would round a plain float to float32.
        acquisition = (
            CRITERIA[self.criterion](model, best_f)
            if self.target is None
            else LogTargetImprovement(model, best_f, self.target)
        )
        points = torch.arange(len(mean), dtype=mean.dtype, device=mean.device)
        values: Tensor = acquisition(points.view(-1, 1, 1))
        return values.nan_to_num(nan=-torch.inf, neginf=-torch.inf)

    def chance(self, mean: Tensor, variance: Tensor, best_f: Tensor) -> Tensor:
        """Probability that each of N points is better than `best_f`."""
        sigma = variance.sqrt()
        if self.target is None:
            above: Tensor = torch.special.ndtr((mean - best_f) / sigma)
            return above
        low, high = (
            torch.special.ndtr((self.target + sign * best_f - mean) / sigma) for sign in (1, -1)
        )
        between: Tensor = high - low
        return between


@torch.no_grad()
def score(fitted: Fitted, rows: Rows, aim: Aim) -> Tensor:
    """Acquisition value of each of N candidates; what they have to beat is the best so far.

    Returns:
        One value per candidate, of the standardised utility; not-a-number counts as the worst.
    """
    return aim.values(*fitted.standardised(rows), aim.best(fitted))
