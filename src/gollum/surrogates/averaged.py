"""A Gaussian process averaged over its hyperparameters, which are drawn rather than fitted.

f = c + Matérn of Σ_s w_s d_s² + Σ_s Matérn of w_s d_s² (each with a scale of its own), where d_s is
the distance in slot s: Euclidean over the slot's spread, or 2(1 − Tanimoto) for bits. So each
column and representation has a weight, and what acts by itself adds up.

The posterior of θ = (log w, log scales, log noise, c) is drawn by sequential Monte Carlo: particles
of the prior go to the posterior in steps of the likelihood's power, with resampling and random-walk
moves (Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 2006, 68, 411; steps by the effective sample
size). A fit depends on the measurements and the seed alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.errors import FitError
from gollum.features.base import FixedFeatures
from gollum.features.layout import Layout
from gollum.runtime import seeded
from gollum.settings import AveragingSettings
from gollum.surrogates.base import (
    SMALLEST_VARIANCE,
    FitReport,
    Fitted,
    OnRepresentation,
    Rows,
    Standardised,
    slot_weights,
)
from gollum.surrogates.kernels import correlation

SCORED = 2048  # rows scored at a time
IMPOSSIBLE = -1e10  # log likelihood of hyperparameters with which nothing can be factorised
JITTER = 1e-8


@dataclass(frozen=True, eq=False)
class SlotProcess:
    """The process and its prior, batched over P particles θ, P x (2S + 3).

    Identity and numbers come first: their log weights are normal around −log S with deviation 1.5,
    those of what stands beside them around −2 less, so that it stays small until the data want it.

    Attributes:
        layout: the S slots.
        noise_floor: smallest noise variance.
    """

    layout: Layout
    noise_floor: float

    @cached_property
    def prior(self) -> tuple[Tensor, Tensor]:
        """Means and deviations of the independent normal priors of θ."""
        count, plain = len(self.layout), [s.form in ("indicators", "number") for s in self.layout]
        plain = plain if any(plain) else [True] * count
        first = math.log(max(1, sum(plain)))
        means = [*(-first if p else -first - 2.0 for p in plain), 0.0]
        means += [-math.log(count) - (1.0 if p else 2.0) for p in plain]
        deviations = [*[1.5] * count, 0.7, *[1.0] * count, 1.2, 0.5]
        return torch.tensor([*means, -4.0, 0.0]).double(), torch.tensor(deviations).double()

    def log_prior(self, theta: Tensor) -> Tensor:
        """Log density of the prior up to a constant; P."""
        means, deviations = self.prior
        return -0.5 * ((theta - means) / deviations).square().sum(-1)

    def scales(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights P x S, scale of the whole P, and scales of the slots P x S."""
        count = len(self.layout)
        return (
            theta[:, :count].exp(),
            theta[:, count].exp(),
            theta[:, count + 1 : 2 * count + 1].exp(),
        )

    def noise(self, theta: Tensor) -> Tensor:
        """Noise variances; P."""
        return theta[:, -2].exp() + self.noise_floor

    def covariance(self, theta: Tensor, squared: Tensor) -> Tensor:
        """Prior covariances P x n x m, from squared distances S x n x m."""
        weights, whole, own = self.scales(theta)
        near = correlation(torch.einsum("ps,snm->pnm", weights, squared).clamp_min(1e-30).sqrt())
        total = whole[:, None, None] * near
        for slot, each in enumerate(squared):
            distance = (weights[:, slot, None, None] * each).clamp_min(1e-30).sqrt()
            total = total + own[:, slot, None, None] * correlation(distance)
        return total

    def variance(self, theta: Tensor) -> Tensor:
        """Prior variances of f; P."""
        _, whole, own = self.scales(theta)
        return whole + own.sum(1)

    def factor(self, theta: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Cholesky factors of K + σ²I, P x n x n, and which particles have none."""
        sigma = self.covariance(theta, squared)
        diagonal = self.noise(theta) + JITTER
        sigma = sigma + diagonal[:, None, None] * torch.eye(sigma.shape[-1]).to(sigma)
        factor, info = torch.linalg.cholesky_ex(sigma)
        return factor, info != 0

    def log_likelihood(self, theta: Tensor, squared: Tensor, targets: Tensor) -> Tensor:
        """Log p(y | θ); P."""
        factor, failed = self.factor(theta, squared)
        residual = (targets - theta[:, -1:]).unsqueeze(-1)
        white = torch.linalg.solve_triangular(factor, residual, upper=False).squeeze(-1)
        half_log_det = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        value = -0.5 * white.square().sum(1) - half_log_det
        value = value - 0.5 * len(targets) * math.log(2.0 * math.pi)
        return torch.where(failed | ~value.isfinite(), torch.full_like(value, IMPOSSIBLE), value)


@dataclass(frozen=True, eq=False)
class Averaged(OnRepresentation):
    """A process over the slots of fixed features, averaged over hyperparameters."""

    representation: FixedFeatures

    def fit(
        self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]
    ) -> FittedAverage:
        """Draw hyperparameters given measurements; see `Surrogate.fit`.

        Raises:
            DataError: nothing was measured.
            FitError: no drawn hyperparameters are possible.
        """
        self.refuse_not_finite()
        observed = Standardised.of(self.pool, ids, utility)
        process = SlotProcess(self.representation.layout, self.settings.noise_floor)
        features = self.representation(observed.rows).cpu()
        squared, began = squared_distances(process.layout, features, features), time.perf_counter()
        with seeded(*seed):
            theta, likelihood, evaluations = draw(
                process, squared, observed.targets, self.settings.averaging
            )
        factor, failed = process.factor(theta, squared)
        if bool(failed.any()):
            raise FitError(f"{self.pool.name}: the drawn covariances can't be factorised.")
        residual = (observed.targets - theta[:, -1:]).unsqueeze(-1)
        loss = -likelihood.mean().item() / len(observed.rows)
        report = FitReport(
            "smc", (loss,) * evaluations, loss, _told(process, theta), time.perf_counter() - began
        )
        white = torch.linalg.solve_triangular(factor, residual, upper=False)
        return FittedAverage(
            self.pool, **observed.attributes(), report=report, process=process,
            representation=self.representation, theta=theta, factor=factor, white=white,
        )  # fmt: skip

    def untrained(self, seed: int) -> NDArray[np.float64]:
        """Features N x d, for a first design to spread over."""
        matrix: NDArray[np.float64] = self.representation.matrix.double().cpu().numpy()
        return matrix


@dataclass(frozen=True, eq=False)
class FittedAverage(Fitted):
    """Equally likely processes given observations; mean and variance are those of their mixture.

    Attributes:
        process: what they have in common.
        representation: features of the pool's rows.
        theta: hyperparameters of P particles.
        factor: P Cholesky factors of n observations.
        white: P solved residuals, P x n x 1.
    """

    process: SlotProcess
    representation: FixedFeatures
    theta: Tensor
    factor: Tensor
    white: Tensor

    @property
    def noise(self) -> float:
        """Mean noise variance."""
        return float(self.process.noise(self.theta).mean())

    def components(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior means and variances of every particle at m points, m x d; P x m each."""
        v = self._solved(features)
        mean = self.theta[:, -1:] + (self.white.transpose(1, 2) @ v).squeeze(1)
        rest = self.process.variance(self.theta)[:, None] - v.square().sum(1)
        return mean, rest.clamp_min(SMALLEST_VARIANCE)

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean and variance of the mixture at m rows, a piece of them at a time; m and m."""
        starts = range(0, max(1, len(rows)), SCORED)
        return self._mixtures(self._at(rows[start : start + SCORED]) for start in starts)

    def encoded(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Mean and variance of the mixture at m rows outside the pool; m and m."""
        return self._mixtures(self.representation.encode(table).cpu().split(SCORED))

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """Covariance of the mixture of n and m rows; n x m."""
        first, second = self._at(a), self._at(b)
        prior = self.process.covariance(self.theta, self._between(first, second))
        left = prior - self._solved(first).transpose(1, 2) @ self._solved(second)
        means = [self.components(points)[0] for points in (first, second)]
        off = [mean - mean.mean(0) for mean in means]
        found: Tensor = left.mean(0) + off[0].T @ off[1] / len(self.theta)
        return found

    def similarity(self, a: Rows, b: Rows) -> Tensor:
        """Prior correlation, averaged over particles; n x m."""
        prior = self.process.covariance(self.theta, self._between(self._at(a), self._at(b)))
        found: Tensor = (prior / self.process.variance(self.theta)[:, None, None]).mean(0)
        return found

    def weights(self) -> dict[str, float]:
        """How much each slot tells experiments apart, averaged over particles; together 1."""

        def correlation(own: Tensor, changed: Tensor) -> Tensor:
            squared = squared_distances(self.process.layout, own, changed, pairs=True)
            prior = self.process.covariance(self.theta, squared.unsqueeze(-1)).squeeze(-1)
            return (prior / self.process.variance(self.theta)[:, None]).mean(0)

        return slot_weights(self.process.layout, len(self.pool), self._at, correlation)

    def _mixtures(self, pieces: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and variance of equally likely normals at all points of all pieces."""
        means, variances = [], []
        for features in pieces:
            each, rest = self.components(features)
            mean = each.mean(0)
            means.append(mean)
            variances.append(rest.mean(0) + (each - mean).square().mean(0))
        return torch.cat(means), torch.cat(variances)

    def _at(self, rows: Rows) -> Tensor:
        features: Tensor = self.representation(rows)
        return features.cpu()

    def _between(self, a: Tensor, b: Tensor) -> Tensor:
        return squared_distances(self.process.layout, a, b)

    def _solved(self, features: Tensor) -> Tensor:
        """L⁻¹ K(Z, ·), P x n x m."""
        cross = self.process.covariance(self.theta, self._between(self._at(self.rows), features))
        solved: Tensor = torch.linalg.solve_triangular(self.factor, cross, upper=False)
        return solved


def squared_distances(layout: Layout, a: Tensor, b: Tensor, pairs: bool = False) -> Tensor:
    """Squared distances in each slot, whose mean over the pool is about 1 or below.

    Args:
        layout: the S slots.
        a: n x d.
        b: m x d, or n x d for pairs.
        pairs: whether the i-th of one is compared with the i-th of the other alone.

    Returns:
        S x n x m; S x n of pairs.
    """
    found = []
    for slot, dims in layout.only():
        x, y = a[:, dims], b[:, dims]
        lengths = [points.square().sum(-1) for points in (x, y)]
        both = lengths[0] + lengths[1] if pairs else lengths[0].unsqueeze(-1) + lengths[1]
        common = (x * y).sum(-1) if pairs else x @ y.T
        if slot.form == "bits":
            found.append(2.0 * (1.0 - common / (both - common).clamp_min(1.0)))
        else:
            found.append((both - 2.0 * common).clamp_min(0.0) / (2.0 * (slot.spread or 1.0)))
    return torch.stack(found)


def draw(
    process: SlotProcess, squared: Tensor, targets: Tensor, settings: AveragingSettings
) -> tuple[Tensor, Tensor, int]:
    """Hyperparameters from their posterior, from PyTorch's current random stream.

    Args:
        process: prior and likelihood.
        squared: S x n x n squared distances of the observations.
        targets: n standardised values.
        settings: how many particles and moves.

    Returns:
        θ, P x (2S + 3); their log likelihoods, P; and how often all were evaluated.
    """
    means, deviations = process.prior
    theta = means + deviations * torch.randn(settings.particles, len(means)).double()
    likelihood, evaluations, power = process.log_likelihood(theta, squared, targets), 1, 0.0
    while power < 1.0:
        step = _next_power(likelihood, power)
        weights = torch.softmax((step - power) * likelihood, 0)
        # Systematic resampling: one uniform number decides.
        places = (torch.arange(len(theta)) + torch.rand(1)).double() / len(theta)
        kept = torch.searchsorted(weights.cumsum(0), places).clamp_max(len(theta) - 1)
        theta, likelihood, power = theta[kept], likelihood[kept], step
        for move in range(settings.moves if power < 1.0 else 2 * settings.moves):
            theta, likelihood = _moved(process, squared, targets, theta, likelihood, power, move)
            evaluations += 1
    return theta, likelihood, evaluations


def _moved(
    process: SlotProcess,
    squared: Tensor,
    targets: Tensor,
    theta: Tensor,
    likelihood: Tensor,
    power: float,
    move: int,
) -> tuple[Tensor, Tensor]:
    """One random-walk Metropolis move of every particle, in the directions in which they spread."""
    size = theta.shape[1]
    spread = torch.cov(theta.T) + 1e-6 * torch.eye(size).double()
    reach = 2.38 / size**0.5 * (1.0, 0.6, 0.3)[move % 3]
    proposed = theta + reach * torch.randn_like(theta) @ torch.linalg.cholesky(spread).T
    theirs = process.log_likelihood(proposed, squared, targets)
    gain = power * (theirs - likelihood) + process.log_prior(proposed) - process.log_prior(theta)
    taken = torch.rand(len(theta)).double().log() < gain
    return (
        torch.where(taken.unsqueeze(1), proposed, theta),
        torch.where(taken, theirs, likelihood),
    )


def _next_power(likelihood: Tensor, power: float) -> float:
    """The largest power at which the particles count as half their number; at most 1."""

    def enough(to: float) -> bool:
        weights = torch.softmax((to - power) * likelihood, 0)
        return weights.square().sum().item() * len(weights) <= 2.0

    if enough(1.0):
        return 1.0
    low, high = power, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return high if low == power else low


def _told(process: SlotProcess, theta: Tensor) -> dict[str, float]:
    """Medians over particles by name."""
    weights, whole, own = process.scales(theta)
    names = process.layout.names
    return {
        **{f"weight {n}": w.median().item() for n, w in zip(names, weights.T, strict=True)},
        **{f"scale {n}": s.median().item() for n, s in zip(names, own.T, strict=True)},
        "outputscale": whole.median().item(),
        "noise": process.noise(theta).median().item(),
        "constant": theta[:, -1].median().item(),
    }
