"""Gaussian processes on representations: every surrogate of the paper, and most others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from botorch.models import SingleTaskGP
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.errors import DataError, FitError
from gollum.features.base import FixedFeatures, OnTop, SideBySide, remember
from gollum.features.layout import Layout
from gollum.features.representations import Representation
from gollum.runtime import seeded
from gollum.surrogates.base import (
    FitReport,
    Fitted,
    OnRepresentation,
    Rows,
    Standardised,
    slot_weights,
)
from gollum.surrogates.fit import fit_joint, fit_lbfgs
from gollum.surrogates.gp import Conditioned, ExactGP, to_botorch
from gollum.surrogates.kernels import PRIORS, KernelFactory, isotropic, make_kernel

CHUNK = 16384  # rows of the pool featurized at a time
SCORED = 4096  # rows scored at a time: their covariances stay in the processor's cache
SAMPLE = 2000  # candidates whose pairwise distances are averaged


class DeepKernelGP(nn.Module):
    """Representation and Gaussian process, with the loss that trains them both.

    The kernel is k(t, t') = k_θ(g_φ(t), g_φ(t')) with g_φ the representation.
    """

    def __init__(
        self,
        representation: Representation,
        noise_floor: float = 1e-4,
        device: torch.device | None = None,
        kernel: str | KernelFactory = isotropic,
        prior: str = "none",
    ) -> None:
        super().__init__()
        self.representation = representation
        self.gp = ExactGP(make_kernel(kernel, representation.layout), noise_floor, device)
        PRIORS[prior](self.gp, representation.layout)

    def features(self, rows: Rows) -> Tensor:
        """What the kernel sees of n rows: n x d."""
        return self.representation(rows)

    def loss(self, rows: Rows, targets: Tensor) -> Tensor:
        """−(L + log prior)/n for n rows and their n standardised targets."""
        likelihood = self.gp.log_marginal_likelihood(self.features(rows), targets)
        return -likelihood / len(targets) - self.gp.log_prior() / len(targets)

    def train(self, mode: bool = True) -> DeepKernelGP:
        """Switch the representation, which may be no module, and the process."""
        self.training = mode
        self.representation.train(mode)
        self.gp.train(mode)
        return self


@dataclass(frozen=True, eq=False)
class GaussianProcess(OnRepresentation):
    """A Gaussian process on a representation of the rows of one pool, not fitted yet.

    Attributes:
        kernel: makes the kernel from the representation's layout, or its name.
    """

    kernel: str | KernelFactory = field(default=isotropic)

    @property
    def trained(self) -> bool:
        """Whether something besides the process is trained."""
        return next(iter(self.representation.parameters()), None) is not None

    def fit(
        self, ids: Sequence[str], utility: NDArray[np.float64], seed: Sequence[int]
    ) -> FittedProcess:
        """Fit to measurements; see `Surrogate.fit`.

        Raises:
            DataError: nothing was measured.
            FitError: the fit failed, also after retries.
        """
        self.refuse_not_finite()
        observed = Standardised.of(self.pool, ids, utility, self.runtime.device)
        model, settings = self._model(), self.settings
        rows, targets = observed.rows, observed.targets
        with seeded(*seed):
            self.representation.reset()
            if self.trained:
                report = fit_joint(model, rows, targets, settings.optimizer)
            else:
                report = fit_lbfgs(model, rows, targets, settings.lbfgs)
        return self._fitted(model, observed, report)

    def restored(
        self, observed: Standardised, found: Mapping[str, Tensor], report: FitReport
    ) -> FittedProcess:
        """A fit as it was, of what it had found (`Fitted.found`); the first of this surrogate.

        Raises:
            DataError: something is missing, or has another shape.
        """
        model = self._model()
        try:
            model.load_state_dict(found)
        except RuntimeError:
            raise DataError("it does not hold what such a surrogate is made of.") from None
        return self._fitted(model, observed, report)

    def _model(self) -> DeepKernelGP:
        """What is trained, as it is at the start."""
        prior = "none" if self.trained else self.settings.lbfgs.prior
        return DeepKernelGP(
            self.representation, self.settings.noise_floor, self.runtime.device, self.kernel, prior
        )

    @torch.no_grad()
    def _fitted(
        self, model: DeepKernelGP, observed: Standardised, report: FitReport
    ) -> FittedProcess:
        """A trained model given the observations."""
        model.eval()
        if isinstance(self.representation, FixedFeatures):  # which are not copied
            return self.given(model, observed, self.representation.matrix, report)
        (features,) = self.pool_features(lambda rows: [model.features(rows)])
        return self.given(model, observed, features, report)

    @property
    def shares(self) -> bool:
        """Whether several outcomes have something to train in common, below their projections."""
        sources = sources_of(self.representation)
        return any(next(iter(source.parameters()), None) is not None for source in sources)

    def fit_together(
        self, results: Sequence[tuple[Sequence[str], NDArray[np.float64]]], seed: Sequence[int]
    ) -> list[Fitted]:
        """Fit to ids and utilities of several outcomes, as `gollum.surrogates.shared` does."""
        from gollum.surrogates.shared import fit_together

        return fit_together(self, results, seed)

    def given(
        self, model: DeepKernelGP, observed: Standardised, features: Tensor, report: FitReport
    ) -> FittedProcess:
        """A trained model given the observations and features N x d of all candidates."""
        known = features[torch.as_tensor(observed.rows)].double()
        process = model.gp.condition(known, observed.targets)
        if process.jitter:
            note = f"{process.jitter:g} had to be added to the diagonal of the covariance."
            report = replace(report, notes=tuple(dict.fromkeys((*report.notes, note))))
        return FittedProcess(
            self.pool, **observed.attributes(), report=report, features=features, process=process,
            representation=model.representation, restore=remember(model.representation),
        )  # fmt: skip

    def stopped_after(self, evaluations: int) -> GaussianProcess:
        """The same, whose fits end with that evaluation of the loss: what they were on the way.

        With 1 everything is as it was drawn or set at the start. Where adapters are trained in a
        second descent, that one has a single evaluation, so that nothing of it is seen.
        """
        joint, alone = self.settings.optimizer, self.settings.lbfgs
        staged = None if joint.fine_tuning is None else 1
        optimizer = joint.model_copy(update={"max_evaluations": evaluations, "fine_tuning": staged})
        lbfgs = alone.model_copy(update={"max_iterations": evaluations - 1})
        settings = self.settings.model_copy(update={"optimizer": optimizer, "lbfgs": lbfgs})
        return replace(self, settings=settings)

    @torch.no_grad()
    def untrained(self, seed: int) -> NDArray[np.float64]:
        """Features N x d before anything is trained: no projection, adapters at zero."""
        every = np.arange(len(self.pool))
        with seeded(seed, 0):
            parts = [_fresh(source)(every) for source in sources_of(self.representation)]
        matrix: NDArray[np.float64] = torch.cat(parts, dim=1).cpu().numpy()
        return matrix

    @torch.no_grad()
    def pool_features(self, read: Callable[[Rows], Sequence[Tensor]]) -> list[Tensor]:
        """Features of all candidates, N x d for each of those that are read of n rows.

        Raises:
            FitError: some are not finite.
        """
        every, whole = np.arange(len(self.pool)), list[Tensor]()
        for start in range(0, len(every), CHUNK):
            parts = read(every[start : start + CHUNK])
            whole = whole or [part.new_empty((len(every), part.shape[1])) for part in parts]
            for features, part in zip(whole, parts, strict=True):
                if not bool(part.isfinite().all()):
                    raise FitError(f"{self.pool.name}: some features are not finite after fitting.")
                features[start : start + CHUNK] = part
        return whole


def sources_of(representation: Any) -> list[Any]:
    """What lies below projections and scaling, in order."""
    if isinstance(representation, OnTop):
        return sources_of(representation.inner)
    if isinstance(representation, SideBySide):
        return [source for part in representation.parts for source in sources_of(part)]
    return [representation]


def _fresh(source: Any) -> Any:
    """With fresh weights, for predicting."""
    source.reset()
    source.train(False)
    return source


@dataclass(frozen=True, eq=False)
class FittedProcess(Fitted):
    """A Gaussian process given observations, on the features of a whole pool.

    Attributes:
        features: N x d, as the kernel sees them; bits of fingerprints may be small integers.
        process: the process, on standardised targets.
        representation: what the features come from.
        restore: puts the representation back to where this fit left it.
    """

    features: Tensor
    process: Conditioned
    representation: Any = None
    restore: Any = None

    @property
    def noise(self) -> float:
        """σ² of the process."""
        return float(self.process.gp.noise.item())

    def found(self) -> dict[str, Tensor]:
        """Hyperparameters of the process, and what is trained of the representation."""
        if self.restore is None:
            return {}
        now = remember(self.representation)
        try:
            self.restore()
            parts = {"representation": self.representation, "gp": self.process.gp}
            return {
                f"{part}.{name}": value.cpu().clone()
                for part, module in parts.items()
                for name, value in module.state_dict().items()
            }
        finally:
            now()

    @property
    def layout(self) -> Layout:
        """Which features belong to which column."""
        layout: Layout = self.representation.layout
        return layout

    def standardised(self, rows: Rows) -> tuple[Tensor, Tensor]:
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

    def covariance(self, a: Rows, b: Rows) -> Tensor:
        """Posterior covariance of n and m rows; n x m."""
        return self.process.posterior_covariance(self.features_at(a), self.features_at(b))

    @torch.no_grad()
    def encoded(self, table: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of m rows outside the pool; m and m.

        Raises:
            DataError: a column is missing, or a cell can't be read.
        """
        return self.process.marginals(self._read(table))

    @torch.no_grad()
    def over(self, rows: Rows, table: pd.DataFrame, like: Rows | None = None) -> FittedProcess:
        """The same process over r rows of the pool and m others.

        Raises:
            DataError: for a quick look, the representation has to be one of fixed features.
        """
        features = self.features[torch.as_tensor(rows, device=self.features.device)]
        if len(table):
            read = self._read(table) if like is None else self._numbers(table, like)
            features = torch.cat([features, read.to(features)])
        return replace(self, features=features, **self._beyond(rows, table))

    def _numbers(self, table: pd.DataFrame, like: Rows) -> Tensor:
        if not isinstance(self.representation, FixedFeatures):
            raise DataError("Other rows are read by a trained model, which would take minutes.")
        return torch.as_tensor(self.representation.numbers(table, like))

    def _read(self, table: pd.DataFrame) -> Tensor:
        """Features of other rows, by the representation as this fit left it; m x d."""
        now = remember(self.representation)
        try:
            self.restore()
            self.representation.train(False)
            features: Tensor = self.representation.encode(table)
            return features
        finally:
            now()

    @torch.no_grad()
    def similarity(self, a: Rows, b: Rows) -> Tensor:
        """Correlation under the fitted kernel; n x m."""
        gp, first, second = self.process.gp, self.features_at(a), self.features_at(b)
        scale = gp.variance(first).sqrt().unsqueeze(1) * gp.variance(second).sqrt()
        return (gp.covariance(first, second) / scale).clamp_max(1.0)

    def condition(self, ids: Sequence[str], utility: Tensor) -> FittedProcess:
        """The same hyperparameters and scales with more observations (m ids, m values)."""
        rows = np.concatenate([self.rows, self.pool.positions(ids)])
        values = torch.cat([self.utility, torch.as_tensor(utility).to(self.utility)])
        targets = (values - self.location) / self.scale
        process = self.process.gp.condition(self.features_at(rows), targets)
        return replace(self, process=process, rows=rows, utility=values)

    @torch.no_grad()
    def weights(self) -> dict[str, float]:
        """How much each slot tells experiments apart under the fitted kernel; together 1."""
        gp = self.process.gp

        def correlation(own: Tensor, changed: Tensor) -> Tensor:
            both = (gp.variance(own) * gp.variance(changed)).sqrt()
            found: Tensor = gp.kernel(own, changed, diag=True) / both
            return found

        return slot_weights(self.layout, len(self.pool), self.features_at, correlation)

    def latent(self, rows: Rows) -> Tensor:
        """Features n x d, as the kernel sees them, of n rows."""
        return self.features_at(rows)

    def latent_distance_ratio(self) -> float:
        """Lengthscale over mean pairwise distance: ℓ / d̄ of arXiv 2504.06265.

        Distances are those between features of the pool as the kernel sees them, of all candidates
        or of a fixed sample of `SAMPLE`; not-a-number when they are all 0, and for kernels of
        several lengthscales.
        """
        count, scale = len(self.pool), (self.report.hyperparameters or {}).get("lengthscale")
        base = getattr(self.process.gp.kernel, "base_kernel", None)
        if scale is None or getattr(base, "active_dims", None) is not None:
            return float("nan")
        rows = np.arange(count)
        if count > SAMPLE:
            rows = np.sort(np.random.default_rng(0).choice(count, SAMPLE, replace=False))
        mean = torch.pdist(self.features_at(rows)).mean().item() if count > 1 else 0.0
        return scale / mean if mean > 0 else float("nan")

    def to_botorch(self) -> SingleTaskGP:
        """The fitted process as an ordinary BoTorch model on features, in units of utility.

        Any BoTorch acquisition function, fantasy or sampler works on it; its inputs are rows of
        `features`.
        """
        return to_botorch(
            self.process.gp, self.features_at(self.rows), self.utility, self.location, self.scale
        )

    def features_at(self, rows: Rows) -> Tensor:
        """Features m x d, float64, of m rows of the pool."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self.features[rows[0] : rows[-1] + 1].double()  # in place: no copy
        return self.features[torch.as_tensor(rows, device=self.features.device)].double()

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features m x d, float64, of m ids."""
        return self.features_at(self.pool.positions(ids))
