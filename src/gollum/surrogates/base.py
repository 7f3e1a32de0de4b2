"""Surrogate: fit to observations of some ids, then a posterior for every id of the pool."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from botorch.models import SingleTaskGP
from numpy.typing import NDArray
from torch import Tensor

from gollum.data.pool import Pool
from gollum.errors import DataError, FitError
from gollum.features.base import Featurizer, FixedFeatures
from gollum.runtime import Runtime, seeded
from gollum.surrogates.deep_kernel import DeepKernelGP
from gollum.surrogates.fit import FitReport, fit_joint, fit_lbfgs
from gollum.surrogates.gp import Conditioned, to_botorch
from gollum.surrogates.presets import Settings, Variant

CHUNK = 16384  # rows of the pool featurized at a time
SCORED = 4096  # rows scored at a time: their covariances stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Everything needed to fit a Gaussian process on the rows of one pool.

    Attributes:
        pool: the candidates.
        featurizer: features of its rows.
        variant: which parts there are.
        settings: their numbers.
        runtime: where it runs.
    """

    pool: Pool
    featurizer: Featurizer
    variant: Variant
    settings: Settings
    runtime: Runtime

    def fit(self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]) -> Fitted:
        """Fit to measurements.

        Args:
            ids: n measured candidates; an id may repeat (replicates).
            utility: n measured values, larger is better; rows with NaN are left out.
            seed: numbers that name the random stream, such as (seed, iteration).

        Raises:
            DataError: nothing was measured.
            FitError: the fit failed, also after retries.
        """
        known = np.isfinite(utility)
        if not known.any():
            raise DataError(f"{self.pool.name}: there is no measured value to fit a model to.")
        rows = self.pool.positions(ids)[known]
        y = torch.as_tensor(utility[known], dtype=torch.float64, device=self.runtime.device)
        location, scale = y.mean(), standard_deviation(y)
        model = DeepKernelGP(
            self.featurizer,
            self.settings.noise_floor,
            self.variant.scaling == "bounds",
            self.runtime.device,
        )
        with seeded(*seed):
            self.featurizer.reset()
            targets = (y - location) / scale
            if self.variant.joint:
                report = fit_joint(model, rows, targets, self.settings.optimizer)
            else:
                report = fit_lbfgs(model, rows, targets, self.settings.lbfgs)
        model.eval()
        features = self._pool_features(model)
        process = model.gp.condition(features[torch.as_tensor(rows)].double(), targets)
        if process.jitter:
            note = f"{process.jitter:g} had to be added to the diagonal of the covariance."
            report = replace(report, notes=(*report.notes, note))
        return Fitted(self.pool, features, process, rows, y, location, scale, report)

    @torch.no_grad()
    def _pool_features(self, model: DeepKernelGP) -> Tensor:
        """Features of all candidates, N x d; fixed ones that need no scaling are not copied.

        Raises:
            FitError: some are not finite.
        """
        problem = f"{self.pool.name}: some features are not finite after fitting."
        if isinstance(self.featurizer, FixedFeatures) and self.variant.scaling != "bounds":
            if not self.featurizer.finite:
                raise FitError(problem)
            return self.featurizer.matrix
        every = np.arange(len(self.pool))
        features: Tensor | None = None
        for start in range(0, len(every), CHUNK):
            rows = every[start : start + CHUNK]
            part = model.features(rows)
            if not bool(part.isfinite().all()):
                raise FitError(problem)
            if features is None:
                features = part.new_empty((len(every), part.shape[1]))
            features[start : start + CHUNK] = part
        assert features is not None  # noqa: S101
        return features


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted surrogate: a Gaussian process on the features of a whole pool.

    Attributes:
        pool: the candidates.
        features: N x d, as the kernel sees them; bits of fingerprints may be small integers.
        process: the Gaussian process given the observations, on standardised targets.
        rows: n measured rows.
        utility: n measured values, larger is better.
        location: mean of those values.
        scale: their unbiased standard deviation (1 when it is 0 or undefined).
        report: what the fit did.
    """

    pool: Pool
    features: Tensor
    process: Conditioned
    rows: NDArray[np.int64]
    utility: Tensor
    location: Tensor
    scale: Tensor
    report: FitReport

    def posterior(self, ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the noise-free utility at m ids; m and m."""
        return self.marginals(self.pool.positions(ids))

    def marginals(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of the noise-free utility at m rows; m and m."""
        mean, variance = self.standardised_marginals(rows)
        return self.location + self.scale * mean, self.scale.square() * variance

    def standardised_marginals(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of (utility − location)/scale at m rows; m and m.

        Takes a piece of the pool at a time: no m x d or m x n matrix is ever whole.
        """
        means, variances = [], []
        for start in range(0, max(1, len(rows)), SCORED):
            part = self.features_at(rows[start : start + SCORED])
            mean, variance = self.process.marginals(part)
            means.append(mean)
            variances.append(variance)
        return torch.cat(means), torch.cat(variances)

    def features_at(self, rows: NDArray[np.int64]) -> Tensor:
        """Features m x d, float64, of m rows of the pool."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self.features[rows[0] : rows[-1] + 1].double()  # in place: no copy
        return self.features[torch.as_tensor(rows, device=self.features.device)].double()

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features m x d, float64, of m ids."""
        return self.features_at(self.pool.positions(ids))

    def condition(self, ids: Sequence[str], utility: Tensor) -> Fitted:
        """The same hyperparameters and scales with more observations (m ids, m values)."""
        rows = np.concatenate([self.rows, self.pool.positions(ids)])
        values = torch.cat([self.utility, utility.to(self.utility)])
        targets = (values - self.location) / self.scale
        process = self.process.gp.condition(self.features_at(rows), targets)
        return replace(self, process=process, rows=rows, utility=values)

    @cached_property
    def model(self) -> SingleTaskGP:
        """The fitted process as an ordinary BoTorch model on features, in units of utility.

        Any BoTorch acquisition function, fantasy or sampler works on it; its inputs are rows of
        `features`.
        """
        return to_botorch(
            self.process.gp, self.features_at(self.rows), self.utility, self.location, self.scale
        )


@torch.no_grad()
def untrained(surrogate: Surrogate, seed: int) -> NDArray[np.float64]:
    """Features N x d before anything is trained: no projection, adapters at zero."""
    source: Featurizer = getattr(surrogate.featurizer, "inner", surrogate.featurizer)
    with seeded(seed, 0):
        source.reset()
        source.train(False)
        matrix: NDArray[np.float64] = source(np.arange(len(surrogate.pool))).cpu().numpy()
    return matrix


def standard_deviation(y: Tensor) -> Tensor:
    """Unbiased standard deviation of n values; 1 for a single or a constant value."""
    if len(y) < 2:
        return torch.ones_like(y[0])
    deviation = y.std()
    constant = deviation <= 1e-10 * y.abs().max()
    return torch.where(constant, torch.ones_like(deviation), deviation)


def break_ties(ids: Sequence[str], seed: Sequence[int]) -> list[str]:
    """Ids in an order that depends on the seed and the ids alone, never on their order."""
    salt = ":".join(map(str, seed))
    return sorted(ids, key=lambda i: hashlib.sha256(f"{salt}:{i}".encode()).digest())
