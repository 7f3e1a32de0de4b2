"""The exact Gaussian process: any kernel, constant mean, Gaussian noise.

| symbol | here | |
|---|---|---|
| Z | `features` | n x d |
| y | `targets` | n, standardised |
| k | `kernel` | a GPyTorch module |
| σ², m | `noise`, `mean.constant` | |
| K | `covariance(Z, Z)` | n x n |
| Σ = K + σ²I = LLᵀ | `cholesky` | |

Hyperparameters, kernels, constraints and priors are GPyTorch's modules; the factorisation and the
triangular solves are written out. Rasmussen & Williams, Gaussian Processes for Machine Learning
(2006): eqs. 2.25, 2.26 (posterior), 2.30 (marginal likelihood) and 4.17 (Matérn-5/2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import gpytorch
import torch
from botorch.models import SingleTaskGP
from botorch.models.transforms.outcome import Standardize
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import Kernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.means import ConstantMean
from torch import Tensor

from gollum.errors import FitError

SMALLEST_VARIANCE = 1e-10  # as GPyTorch's, which warns below it
JITTER = (0.0, 1e-10, 1e-8, 1e-6, 1e-4)
TOLD = 32  # values of one hyperparameter that are reported by themselves


class ExactGP(gpytorch.Module):
    """Hyperparameters of the process, each unconstrained value starting at 0.

    GPyTorch's softplus of the unconstrained value is the hyperparameter (plus its floor for the
    noise), so that lengthscale and outputscale start at log 2 = 0.693.

    Args:
        kernel: in raw features.
        noise_floor: smallest noise variance.
        device: where it lives.
    """

    def __init__(
        self,
        kernel: Kernel,
        noise_floor: float = 1e-4,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.likelihood = GaussianLikelihood(noise_constraint=GreaterThan(noise_floor))
        self.mean = ConstantMean()
        self.to(device=device, dtype=torch.float64)
        self._start = {name: value.detach().clone() for name, value in self.named_parameters()}

    @torch.no_grad()
    def reset(self) -> None:
        """Every hyperparameter back to where it started."""
        for name, parameter in self.named_parameters():
            parameter.copy_(self._start[name])

    @property
    def noise(self) -> Tensor:
        """σ², never below the floor; a scalar."""
        noise: Tensor = self.likelihood.noise.squeeze(-1)
        return noise

    @property
    def constant(self) -> Tensor:
        """The prior mean; a scalar."""
        constant: Tensor = self.mean.constant
        return constant

    def hyperparameters(self) -> dict[str, float]:
        """Current values by name; of many values of one kind, only the median."""
        found: dict[str, float] = {}
        for name, value in self._values():
            if value.numel() == 1:
                found[name] = value.item()
            elif value.numel() > TOLD:
                found[f"{name} (median)"] = value.median().item()
            else:
                found |= {f"{name} {i}": v for i, v in enumerate(value.flatten().tolist(), 1)}
        return found

    @torch.no_grad()
    def _values(self) -> Iterator[tuple[str, Tensor]]:
        """Hyperparameters with short names, the kernel's innermost first."""
        kernel = list(self.kernel.named_parameters_and_constraints())
        for name, raw, constraint in sorted(kernel, key=lambda found: -found[0].count(".")):
            value = raw if constraint is None else constraint.transform(raw)
            parts = [p for p in name.split(".") if p not in ("base_kernel", "kernels")]
            yield ".".join((*parts[:-1], parts[-1].removeprefix("raw_"))), value
        yield "noise", self.noise
        yield "constant", self.constant

    def covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Prior covariance of f between two sets of features.

        Args:
            a: n x d.
            b: m x d.

        Returns:
            n x m.
        """
        with gpytorch.settings.lazily_evaluate_kernels(False):
            value: Tensor = self.kernel(a, b).to_dense()
        return value

    def variance(self, features: Tensor) -> Tensor:
        """Prior variance of f at m points, m x d; m."""
        kernel = self.kernel
        while isinstance(kernel, ScaleKernel):
            kernel = kernel.base_kernel
        alike = getattr(kernel, "same_everywhere", False) and len(features) > 0
        points = features[:1] if alike else features
        value: Tensor = self.kernel(points, points, diag=True)
        return value.expand(len(features)) if alike else value

    def log_marginal_likelihood(self, features: Tensor, targets: Tensor) -> Tensor:
        """Compute log p(y | Z) = −½ (y−m)ᵀΣ⁻¹(y−m) − ½ log|Σ| − (n/2) log 2π.

        Args:
            features: n x d.
            targets: n.

        Raises:
            FitError: Σ is not positive definite, or not finite.
        """
        chol, _ = self._cholesky(features)
        residual = (targets - self.constant).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(chol, residual, upper=False)
        half_log_det = chol.diagonal().log().sum()
        n = targets.shape[0]
        fit = -0.5 * whitened.square().sum()
        value: Tensor = fit - half_log_det - 0.5 * n * math.log(2.0 * math.pi)
        return value

    def log_prior(self) -> Tensor:
        """Log density of the hyperparameters under the priors that their modules carry; a scalar.

        0 where there is none.
        """
        density = torch.zeros_like(self.noise)
        for _, module, prior, closure, _ in self.named_priors():
            density = density + prior.log_prob(closure(module)).sum()
        return density

    @torch.no_grad()
    def condition(self, features: Tensor, targets: Tensor) -> Conditioned:
        """The process given n observations (features n x d, targets n).

        Raises:
            FitError: Σ is not positive definite, or not finite.
        """
        chol, jitter = self._cholesky(features)
        residual = (targets - self.constant).unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(chol, residual, upper=False)
        return Conditioned(self, features, chol, whitened, jitter)

    def _cholesky(self, features: Tensor) -> tuple[Tensor, float]:
        # Σ = K + σ²I = LLᵀ
        sigma = self.covariance(features, features)
        sigma = sigma + self.noise * torch.eye(len(sigma), dtype=sigma.dtype, device=sigma.device)
        for jitter in JITTER:
            added = jitter * torch.eye(len(sigma), dtype=sigma.dtype, device=sigma.device)
            chol, info = torch.linalg.cholesky_ex(sigma + added if jitter else sigma)
            # One question, since each waits for the device.
            if bool((info == 0) & chol.diagonal().isfinite().all()):
                return chol, jitter
        raise FitError(
            f"the covariance of {len(sigma)} observations can't be factorised "
            f"({self.hyperparameters()}); are there infinite or missing features?"
        )


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A process given observations.

    Attributes:
        gp: the hyperparameters.
        features: Z, n x d.
        cholesky: L, n x n.
        whitened: L⁻¹(y − m), n x 1.
        jitter: what had to be added to the diagonal, usually 0.
    """

    gp: ExactGP
    features: Tensor
    cholesky: Tensor
    whitened: Tensor
    jitter: float

    @torch.no_grad()
    def marginals(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and variance of f at each of m points (features m x d); m and m."""
        # v = L⁻¹ K(Z, Z*):  mean = m + vᵀ L⁻¹(y − m),  var = k(z, z) − Σ v²
        v = self._solved(features)
        mean = self.gp.constant + (self.whitened.T @ v).squeeze(0)
        variance = self.gp.variance(features) - v.square().sum(0)
        return mean, variance.clamp_min(SMALLEST_VARIANCE)

    @torch.no_grad()
    def posterior_covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Posterior covariance of f between two sets of features (n x d, m x d); n x m."""
        remaining: Tensor = self.gp.covariance(a, b) - self._solved(a).T @ self._solved(b)
        return remaining

    def _solved(self, features: Tensor) -> Tensor:
        """L⁻¹ K(Z, Z*), n x m."""
        cross = self.gp.covariance(self.features, features)
        solved: Tensor = torch.linalg.solve_triangular(self.cholesky, cross, upper=False)
        return solved


def to_botorch(
    gp: ExactGP, features: Tensor, utility: Tensor, location: Tensor, scale: Tensor
) -> SingleTaskGP:
    """An ordinary BoTorch model on features, made of copies of the same modules.

    Args:
        gp: the hyperparameters.
        features: n x d.
        utility: n, in the objective's own units (larger is better).
        location: what is subtracted from utility inside the model.
        scale: what it is then divided by.

    Returns:
        A `SingleTaskGP` in eval mode whose posterior is in the units of `utility`.
    """
    model = SingleTaskGP(
        features,
        ((utility - location) / scale).unsqueeze(-1),
        likelihood=deepcopy(gp.likelihood),
        mean_module=deepcopy(gp.mean),
        covar_module=deepcopy(gp.kernel),
        outcome_transform=None,
    )
    # Set afterwards: the constructor would learn location and scale anew from its targets.
    model.outcome_transform = _standardize(location, scale)
    return model.eval()


def _standardize(location: Tensor, scale: Tensor) -> Standardize:
    """BoTorch's transform with given mean and deviation, learned from two values that have them."""
    transform = Standardize(m=1, min_stdv=0.0).to(location)
    one = torch.ones((1, 1), dtype=location.dtype, device=location.device)
    transform(location + scale * torch.cat([-one, one]) / math.sqrt(2.0))
    return transform.eval()
