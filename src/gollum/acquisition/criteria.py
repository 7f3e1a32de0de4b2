"""Acquisition criteria: BoTorch's own, on the posterior of a fitted surrogate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from botorch.acquisition import (
    AcquisitionFunction,
    ExpectedImprovement,
    LogExpectedImprovement,
    UpperConfidenceBound,
)
from botorch.exceptions.warnings import NumericsWarning
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from botorch.utils.sampling import draw_sobol_normal_samples
from gpytorch.distributions import MultivariateNormal
from linear_operator.operators import DiagLinearOperator
from linear_operator.utils.cholesky import psd_safe_cholesky
from linear_operator.utils.warnings import NumericalWarning
from numpy.typing import NDArray
from torch import Tensor

from gollum.errors import ConfigError, DataError, nearest
from gollum.surrogates.base import Fitted, break_ties
from gollum.surrogates.gp import SMALLEST_VARIANCE

UCB_BETA = 4.0  # two posterior standard deviations
ROUNDING = 1e-9  # relative difference of acquisition values that counts as none
SAMPLES = 256  # joint posterior samples of q_log_ei
RESCORED = 256  # candidates scored anew at a time while a batch is built

Rows = NDArray[np.int64]


class MarginalModel(Model):
    """Posterior means and variances as a BoTorch model, for criteria of one point at a time.

    Its "features" are the numbers of the points. What they are of is the standardised utility,
    so that no choice depends on the objective's unit. Scoring N candidates so costs one triangular
    solve, where BoTorch's own model would hold a copy of all training rows for each of them.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.mean, self.variance = mean, variance

    @property
    def num_outputs(self) -> int:
        """One objective."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """No batch of models."""
        return torch.Size()

    def posterior(
        self,
        X: Tensor,  # noqa: N803
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: Callable[..., object] | None = None,
    ) -> GPyTorchPosterior:
        """Marginal posterior of the points whose numbers are X, b x 1 x 1."""
        points = X[..., 0].long()
        variance = DiagLinearOperator(self.variance[points])
        return GPyTorchPosterior(MultivariateNormal(self.mean[points], variance))


def _ei(model: Model, best_f: Tensor) -> AcquisitionFunction:
    with warnings.catch_warnings():
        # BoTorch advises log-EI; the paper's protocol is EI, and log_ei is one key away.
        warnings.simplefilter("ignore", NumericsWarning)
        return ExpectedImprovement(model, best_f)


# Each grows with the variance at a given mean and falls when best_f rises, so that a candidate's
# value never rises while a batch is built.
CRITERIA: dict[str, Callable[[Model, Tensor], AcquisitionFunction]] = {
    "log_ei": LogExpectedImprovement,
    "ei": _ei,
    "ucb": lambda model, best_f: UpperConfidenceBound(model, beta=UCB_BETA),
    "q_log_ei": LogExpectedImprovement,  # of the first of a batch; see `_joint`
}


@dataclass(frozen=True)
class Selection:
    """What to measure next.

    Attributes:
        ids: chosen candidates, best first.
        scores: their acquisition values at the moment of choosing, of the standardised utility.
        means: posterior mean of their utility, before anything of this batch was assumed.
        deviations: posterior standard deviation of their utility, likewise.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]


def select(
    fitted: Fitted, rows: Rows, *, criterion: str, batch_size: int, seed: Sequence[int]
) -> Selection:
    """Choose the next experiments among candidates.

    Batches are built one by one with unchanged hyperparameters. By default each choice is
    conditioned on as if it had given its posterior mean (the kriging believer; Ginsbourger et al.
    2010); with 'q_log_ei' the next one is that with which the batch as a whole has the largest
    expected improvement (greedily; Ament et al. 2023, Wilson et al. 2018).

    Args:
        fitted: surrogate given all measurements so far.
        rows: positions in its pool of the candidates that may be chosen.
        criterion: key of `CRITERIA`.
        batch_size: how many to choose; all candidates when there are fewer.
        seed: numbers that break ties and name the samples of 'q_log_ei'.

    Raises:
        ConfigError: the criterion is unknown.
        DataError: there is no candidate.
    """
    if criterion not in CRITERIA:
        raise ConfigError(
            f"acquisition '{criterion}' is unknown; choose from {', '.join(CRITERIA)}."
            + nearest(criterion, CRITERIA)
        )
    if len(rows) == 0:
        raise DataError(f"{fitted.pool.name}: every candidate has been measured already.")
    wanted = min(batch_size, len(rows))
    values = score(fitted, rows, criterion)
    chosen, scores = list[int](), list[float]()
    while True:
        best = values.max()
        tied = {str(fitted.pool.ids[row]): int(row) for row in rows[_tied(values, best)]}
        chosen.append(tied[break_ties(list(tied), seed)[0]])
        scores.append(best.item())
        if len(chosen) == wanted:
            break
        others = rows != chosen[-1]
        rows, values = rows[others], values[torch.from_numpy(others)]
        if criterion == "q_log_ei":
            rescore = _joint(fitted, np.array(chosen), wanted, seed)
        else:
            rescore = _believer(fitted, np.array(chosen), criterion)
        _refresh(values, rows, rescore)
    means, variances = fitted.marginals(np.array(chosen))
    ids = tuple(str(fitted.pool.ids[row]) for row in chosen)
    return Selection(ids, tuple(scores), tuple(means.tolist()), tuple(variances.sqrt().tolist()))


@torch.no_grad()
def score(fitted: Fitted, rows: Rows, criterion: str) -> Tensor:
    """Acquisition value of each of N candidates; best_f is the best utility so far.

    Returns:
        One value per candidate, of the standardised utility; not-a-number counts as the worst.
    """
    return _values(*fitted.standardised_marginals(rows), fitted.best, criterion)


def _values(mean: Tensor, variance: Tensor, best_f: Tensor, criterion: str) -> Tensor:
    """Acquisition values of points with these marginals, N of each; best_f a number, or N x 1."""
    # A tensor, because BoTorch would round a plain float to float32.
    acquisition = CRITERIA[criterion](MarginalModel(mean, variance), best_f)
    points = torch.arange(len(mean), dtype=mean.dtype, device=mean.device)
    values: Tensor = acquisition(points.view(-1, 1, 1))
    return values.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def _tied(values: Tensor, best: Tensor) -> NDArray[np.bool_]:
    """Which values equal the best up to rounding, so that row order never decides."""
    equal = values == best
    if bool(best.isfinite()):
        equal = values >= best - ROUNDING * best.abs()
    flags: NDArray[np.bool_] = equal.cpu().numpy()
    return flags


def _refresh(values: Tensor, rows: Rows, rescore: Callable[[Rows], Tensor]) -> None:
    """Bring those values of candidates that may be the largest up to date, in place.

    Outdated values are upper bounds, so only those are scored anew that reach the best fresh one
    (lazy evaluation; Minoux 1978). The sampled gains of 'q_log_ei' are bounds up to sampling error.
    """
    bounds, best, count = values.clone(), values.new_tensor(-torch.inf), RESCORED
    while True:
        top = bounds.topk(min(count, len(bounds)))
        reach = top.values >= best - ROUNDING * best.abs() if bool(best > -torch.inf) else None
        part = top.indices if reach is None else top.indices[reach]
        if len(part) == 0 or bool(top.values[0] == -torch.inf):
            return
        values[part] = rescore(rows[part.cpu().numpy()])
        bounds[part] = -torch.inf
        best = torch.maximum(best, values[part].max())
        count *= 2


def _believer(fitted: Fitted, chosen: Rows, criterion: str) -> Callable[[Rows], Tensor]:
    """Scores given that each chosen candidate turned out at its posterior mean."""
    mean, _ = fitted.marginals(chosen)
    believed = fitted.condition([str(fitted.pool.ids[row]) for row in chosen], mean)
    return lambda rows: score(believed, rows, criterion)


@torch.no_grad()
def _joint(
    fitted: Fitted, chosen: Rows, batch_size: int, seed: Sequence[int]
) -> Callable[[Rows], Tensor]:
    """Log of what a candidate adds to the expected improvement of the chosen batch.

    E(max(f_x, f_P) − best)₊ − E(max f_P − best)₊ = E[EI of x given f_P over max(best, f_P)]:
    sampled in f_P, the values of the chosen ones, and exact in f_x.
    """
    process, points = fitted.process, fitted.features_at(chosen)
    with warnings.catch_warnings():
        # Candidates with equal features need jitter, as a matter of course.
        warnings.simplefilter("ignore", NumericalWarning)
        root = psd_safe_cholesky(process.posterior_covariance(points, points))
    normal = draw_sobol_normal_samples(
        batch_size, SAMPLES, device=points.device, dtype=points.dtype, seed=_integer(seed)
    )[:, : len(chosen)]
    sampled = process.marginals(points)[0] + normal @ root.T
    best_f = torch.maximum(fitted.best, sampled.max(1).values)

    def gain(rows: Rows) -> Tensor:
        pieces = [rows[i : i + RESCORED] for i in range(0, len(rows), RESCORED)]
        return torch.cat([gain_of_few(piece) for piece in pieces])

    @torch.no_grad()
    def gain_of_few(rows: Rows) -> Tensor:
        candidates = fitted.features_at(rows)
        mean, variance = process.marginals(candidates)
        cross = process.posterior_covariance(points, candidates)
        explained = torch.linalg.solve_triangular(root, cross, upper=False)
        means = mean + normal @ explained
        rest = (variance - explained.square().sum(0)).clamp_min(SMALLEST_VARIANCE)
        rest = rest.expand_as(means)
        over = best_f.unsqueeze(1).expand_as(means)
        values = _values(means.flatten(), rest.flatten(), over.reshape(-1, 1), "log_ei")
        return values.view_as(means).logsumexp(0) - math.log(SAMPLES)

    return gain


def _integer(seed: Sequence[int]) -> int:
    """One number of 31 bits that depends on all of them."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1)[0] >> 1)
