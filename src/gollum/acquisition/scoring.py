"""Scores of candidates: an acquisition criterion on the posterior of a fitted surrogate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
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


def widened(variance: Tensor, factor: float, limited: bool = True) -> Tensor:
    """Variances of standardised values for deviations larger by a factor; the same shape.

    None becomes larger than 1, the variance of the results themselves: a model that is too sure of
    what it has seen knows no less of the rest than guessing the mean does.

    Args:
        variance: of any shape.
        factor: on the deviations.
        limited: whether there is that limit; suggestions of older files know none.
    """
    if not limited:
        return factor**2 * variance
    return torch.maximum(variance, (factor**2 * variance).clamp_max(1.0))


@dataclass(frozen=True, eq=False)
class Constraint:
    """An outcome that has to lie within limits, independent of the objective given its results.

    Attributes:
        fitted: its model.
        low: the least utility, or None.
        high: the largest utility, or None.
    """

    fitted: Fitted
    low: float | None
    high: float | None

    def ends(self) -> tuple[float, float]:
        """Both limits, standardised."""
        location, scale = self.fitted.location.item(), self.fitted.scale.item()
        low = -math.inf if self.low is None else (self.low - location) / scale
        return low, math.inf if self.high is None else (self.high - location) / scale

    def holds(self, values: Tensor) -> Tensor:
        """Which standardised utilities lie within."""
        low, high = self.ends()
        held: Tensor = (values >= low) & (values <= high)
        return held

    def log_chance(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Log probability that it holds where the utility is normal; the shape of the means.

        log Φ(b) − Φ(a) as log Φ(b) + log(1 − exp(log Φ(a) − log Φ(b))), in the tail where the
        difference has all its digits.
        """
        low, high = ((end - mean) / variance.sqrt() for end in self.ends())
        flip = low > 0
        low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
        upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
        found: Tensor = upper + torch.log1p(-torch.exp((lower - upper).clamp_max(-1e-15)))
        return found

    def known(self, rows: Rows) -> Tensor:
        """Which of m candidates are known to lie within: of replicates, their mean counts; m."""
        mine, place = np.unique(self.fitted.rows, return_inverse=True)
        means = np.bincount(place, self.fitted.utility.cpu().numpy()) / np.bincount(place)
        within = dict(zip(mine.tolist(), means.tolist(), strict=True))
        values = torch.tensor([within.get(row, math.nan) for row in rows.tolist()])
        return self.holds((values.double() - self.fitted.location) / self.fitted.scale)

    def over(self, rows: Rows, table: pd.DataFrame, like: Rows | None = None) -> Constraint:
        """The same limits over some rows of the pool, followed by others, as `Fitted.over`."""
        return replace(self, fitted=self.fitted.over(rows, table, like))

    def believing(self, rows: Rows) -> Constraint:
        """As if some candidates had given their posterior mean."""
        mean, _ = self.fitted.marginals(rows)
        ids = [str(self.fitted.pool.ids[row]) for row in rows]
        return replace(self, fitted=self.fitted.condition(ids, mean))


@dataclass(frozen=True)
class Aim:
    """What candidates are scored for.

    With constraints, what counts is the improvement over the best measured candidate that meets
    all of them, times the probability to meet them (Gardner et al., ICML 2014; in logarithms Ament
    et al. 2023). While none is known to, it is the improvement over one deviation below the worst.

    Attributes:
        criterion: key of `CRITERIA`.
        target: the standardised utility to come close to; None where larger is better.
        constraints: further outcomes and their limits.
    """

    criterion: str
    target: float | None = None
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        criterion: str,
        target: float | None = None,
        constraints: tuple[Constraint, ...] = (),
    ) -> Aim:
        """An aim in a surrogate's standardised units.

        Args:
            fitted: the surrogate.
            criterion: key of `CRITERIA`.
            target: utility to come close to, if any.
            constraints: limits of further outcomes.

        Raises:
            ConfigError: the criterion is unknown, or knows no targets or limits.
        """
        made = CRITERIA[criterion]
        if constraints and not getattr(made, "within_limits", False):
            raise ConfigError(f"acquisition '{criterion}' has no limits; use log_ei or q_log_ei.")
        if target is None:
            return cls(criterion, None, constraints)
        if not getattr(made, "towards_target", False):
            raise ConfigError(f"acquisition '{criterion}' has no target; use log_ei or q_log_ei.")
        standardised = ((target - fitted.location) / fitted.scale).item()
        return cls(criterion, standardised, constraints)

    @property
    def joint(self) -> bool:
        """Whether a batch is chosen for what it brings as a whole."""
        return bool(getattr(CRITERIA[self.criterion], "joint", False))

    def merit(self, utility: Tensor) -> Tensor:
        """How good standardised utilities are: larger is better."""
        return utility if self.target is None else -(utility - self.target).abs()

    def best(self, fitted: Fitted) -> Tensor:
        """Merit of the best measured candidate within all limits; of replicates, their mean.

        Before anything is measured, that of the mean of earlier results, which is 0.
        """
        if len(fitted.rows) == 0:
            return self.merit(fitted.location.new_zeros(()))
        rows, place = np.unique(fitted.rows, return_inverse=True)
        where = torch.as_tensor(place, device=fitted.utility.device)
        count = torch.bincount(where, minlength=len(rows))
        means = fitted.utility.new_zeros(len(rows)).index_add(0, where, fitted.utility) / count
        merit = self.merit((means - fitted.location) / fitted.scale)
        allowed = torch.ones_like(merit, dtype=torch.bool)
        for constraint in self.constraints:
            allowed &= constraint.known(rows).to(allowed.device)
        return merit[allowed].max() if bool(allowed.any()) else merit.min() - 1.0

    def log_chance(self, rows: Rows) -> Tensor | float:
        """Log probability that each of N candidates meets all limits; 0 without any."""
        return sum(c.log_chance(*c.fitted.standardised(rows)) for c in self.constraints)

    @property
    def rough(self) -> Aim:
        """The same with models that tell cheaply which candidates deserve a look."""
        few = tuple(replace(c, fitted=c.fitted.rough) for c in self.constraints)
        return replace(self, constraints=few)

    def believing(self, rows: Rows) -> Aim:
        """The same where some candidates are believed to have given their posterior means."""
        return replace(self, constraints=tuple(c.believing(rows) for c in self.constraints))

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
    return aim.values(*fitted.standardised(rows), aim.best(fitted)) + aim.log_chance(rows)
