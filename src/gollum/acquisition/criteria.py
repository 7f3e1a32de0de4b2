"""Acquisition criteria: BoTorch's own, on the posterior marginals of a fitted surrogate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from gpytorch.distributions import MultivariateNormal
from linear_operator.operators import DiagLinearOperator
from torch import Tensor

from gollum.errors import ConfigError, DataError, nearest
from gollum.surrogates.base import Fitted, break_ties

UCB_BETA = 4.0  # two posterior standard deviations
ROUNDING = 1e-9  # relative difference of acquisition values that counts as none


class MarginalModel(Model):
    """A fitted surrogate as a BoTorch model for analytic (one point at a time) criteria.

    It works on the standardised utility, so that no choice depends on the objective's unit.
    Scoring N candidates costs one triangular solve, where BoTorch's own model would hold a copy
    of all training rows for each of them.
    """

    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        self.fitted = fitted

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
        """Marginal posterior of the standardised utility at features X, b x 1 x d."""
        mean, variance = self.fitted.process.marginals(X.squeeze(-2))
        normal = MultivariateNormal(mean.unsqueeze(-1), DiagLinearOperator(variance.unsqueeze(-1)))
        return GPyTorchPosterior(normal)


def _ei(model: Model, best_f: Tensor) -> AcquisitionFunction:
    with warnings.catch_warnings():
        # BoTorch advises log-EI; the paper's protocol is EI, and log_ei is one key away.
        warnings.simplefilter("ignore", NumericsWarning)
        return ExpectedImprovement(model, best_f)


CRITERIA: dict[str, Callable[[Model, Tensor], AcquisitionFunction]] = {
    "log_ei": LogExpectedImprovement,
    "ei": _ei,
    "ucb": lambda model, best_f: UpperConfidenceBound(model, beta=UCB_BETA),
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
    fitted: Fitted,
    candidates: Sequence[str],
    *,
    criterion: str,
    batch_size: int,
    seed: Sequence[int],
) -> Selection:
    """Choose the next experiments among candidates.

    Batches are built one by one: each choice is conditioned on as if it had given its posterior
    mean (the kriging believer; Ginsbourger et al. 2010), with unchanged hyperparameters.

    Args:
        fitted: surrogate given all measurements so far.
        candidates: ids that may be chosen.
        criterion: key of `CRITERIA`.
        batch_size: how many to choose; all candidates when there are fewer.
        seed: numbers that break ties.

    Raises:
        ConfigError: the criterion is unknown.
        DataError: there is no candidate.
    """
    if criterion not in CRITERIA:
        raise ConfigError(
            f"acquisition '{criterion}' is unknown; choose from {', '.join(CRITERIA)}."
            + nearest(criterion, CRITERIA)
        )
    if len(candidates) == 0:
        raise DataError(f"{fitted.pool.name}: every candidate has been measured already.")
    remaining, chosen, scores = list(candidates), list[str](), list[float]()
    believed = fitted
    for _ in range(min(batch_size, len(remaining))):
        values = score(believed, remaining, criterion)
        best = values.max()
        tied = [remaining[i] for i in _tied(values, best).nonzero().flatten().tolist()]
        scores.append(best.item())
        chosen.append(break_ties(tied, seed)[0])
        remaining.remove(chosen[-1])
        if len(chosen) < batch_size:
            mean, _ = believed.posterior(chosen[-1:])
            believed = believed.condition(chosen[-1:], mean)
    means, variances = fitted.posterior(chosen)
    return Selection(
        tuple(chosen), tuple(scores), tuple(means.tolist()), tuple(variances.sqrt().tolist())
    )


def _tied(values: Tensor, best: Tensor) -> Tensor:
    """Which values equal the best up to rounding, so that row order never decides."""
    if not bool(best.isfinite()):
        return values == best
    return values >= best - ROUNDING * best.abs()


@torch.no_grad()
def score(fitted: Fitted, candidates: Sequence[str], criterion: str) -> Tensor:
    """Acquisition value of each candidate; best_f is the best utility so far.

    Returns:
        One value per candidate, of the standardised utility; not-a-number counts as the worst.
    """
    # A tensor, because BoTorch would round a plain float to float32.
    best_f = (fitted.utility.max() - fitted.location) / fitted.scale
    acquisition = CRITERIA[criterion](MarginalModel(fitted), best_f)
    values: Tensor = acquisition(fitted.features_of(candidates).unsqueeze(-2))
    return values.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
