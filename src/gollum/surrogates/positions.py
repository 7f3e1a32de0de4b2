"""Posteriors as BoTorch models, whose inputs are numbers of points instead of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from botorch.models.model import Model
from botorch.posteriors import GPyTorchPosterior
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from linear_operator.operators import DiagLinearOperator
from torch import Tensor

if TYPE_CHECKING:
    from gollum.surrogates.base import Fitted

Transform = Callable[[GPyTorchPosterior], GPyTorchPosterior]


class NumberedModel(Model):
    """A model of one objective, whose "features" are the numbers of points, b x q x 1."""

    @property
    def num_outputs(self) -> int:
        """One objective."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """No batch of models."""
        return torch.Size()

    def distribution(self, points: Tensor, noisy: bool) -> MultivariateNormal:
        """Joint distribution of the q points of each of b sets, b x q."""
        raise NotImplementedError

    def posterior(
        self,
        X: Tensor,  # noqa: N803
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: Transform | None = None,
    ) -> GPyTorchPosterior:
        """Posterior of the points whose numbers are X, b x q x 1."""
        noisy = observation_noise is not False
        posterior = GPyTorchPosterior(self.distribution(X[..., 0].long(), noisy))
        return posterior if posterior_transform is None else posterior_transform(posterior)


class MarginalModel(NumberedModel):
    """Posterior means and variances, for criteria of one point at a time.

    What they are of is the standardised utility, so that no choice depends on the objective's unit.
    Scoring N candidates so costs one triangular solve, where BoTorch's own model would hold a copy
    of all training rows for each of them.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.mean, self.variance = mean, variance

    def distribution(self, points: Tensor, noisy: bool) -> MultivariateNormal:
        """Independent points."""
        return MultivariateNormal(self.mean[points], DiagLinearOperator(self.variance[points]))


class TabulatedModel(NumberedModel):
    """The joint posterior of a few points: means n and covariances n x n, looked up."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.mean, self.covariance = mean, covariance

    def distribution(self, points: Tensor, noisy: bool) -> MultivariateNormal:
        """Points by their place in the table."""
        covariance = self.covariance[points.unsqueeze(-1), points.unsqueeze(-2)]
        eye = 1e-8 * torch.eye(points.shape[-1]).to(covariance)  # equal points need it
        return MultivariateNormal(self.mean[points], covariance + eye)


class SeveralOutcomes(NumberedModel):
    """Independent models of m outcomes at the same points; posteriors are b x q x m."""

    def __init__(self, models: Sequence[NumberedModel]) -> None:
        super().__init__()
        self.each = list(models)

    @property
    def num_outputs(self) -> int:
        """One for each outcome."""
        return len(self.each)

    def distribution(self, points: Tensor, noisy: bool) -> MultivariateNormal:
        """Joint distribution of all outcomes at the q points of each of b sets, b x q x m."""
        each = [model.distribution(points, noisy) for model in self.each]
        joint: MultivariateNormal = MultitaskMultivariateNormal.from_independent_mvns(each)
        return joint


class PositionModel(NumberedModel):
    """The joint posterior of candidates of any fitted surrogate, in units of utility."""

    def __init__(self, fitted: Fitted) -> None:
        super().__init__()
        self.fitted = fitted

    def distribution(self, points: Tensor, noisy: bool) -> MultivariateNormal:
        """Candidates by their positions in the pool."""
        fitted, sets = self.fitted, points.reshape(-1, points.shape[-1]).cpu().numpy()
        means = torch.stack([fitted.standardised(rows)[0] for rows in sets])
        eye = ((fitted.noise if noisy else 0.0) + 1e-10) * torch.eye(sets.shape[1]).to(means)
        covariances = torch.stack([fitted.covariance(rows, rows) + eye for rows in sets])
        return MultivariateNormal(
            (fitted.location + fitted.scale * means).view(points.shape),
            (fitted.scale.square() * covariances).view(*points.shape, sets.shape[1]),
        )
