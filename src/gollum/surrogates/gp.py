"""The exact Gaussian process: Matérn-5/2, one lengthscale, constant mean, Gaussian noise.

| symbol | here | |
|---|---|---|
| Z | `features` | n x d |
| y | `targets` | n, standardised |
| ℓ, s, σ², m | `lengthscale`, `outputscale`, `noise`, `constant` | |
| K | `covariance(Z, Z)` | n x n |
| Σ = K + σ²I = LLᵀ | `cholesky(...)` | |

Rasmussen & Williams, Gaussian Processes for Machine Learning (2006): eqs. 2.25, 2.26 (posterior),
2.30 (marginal likelihood) and 4.17 (Matérn-5/2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from botorch.models import SingleTaskGP
from botorch.models.transforms.outcome import Standardize
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.means import ConstantMean
from torch import Tensor, nn
from torch.distributions import LogNormal, Normal
from torch.nn.functional import softplus

from gollum.errors import FitError

SMALLEST_VARIANCE = 1e-10  # as GPyTorch's, which warns below it
JITTER = (0.0, 1e-10, 1e-8, 1e-6, 1e-4)


class ExactGP(nn.Module):
    """Hyperparameters of the process, each unconstrained value starting at 0.

    The softplus of the unconstrained value is the hyperparameter (plus its floor for the noise),
    so that lengthscale and outputscale start at log 2 = 0.693.
    """

    def __init__(self, noise_floor: float = 1e-4, device: torch.device | None = None) -> None:
        super().__init__()
        self.noise_floor = noise_floor
        zero = torch.zeros((), dtype=torch.float64, device=device)
        self.raw_lengthscale = nn.Parameter(zero.clone())
        self.raw_outputscale = nn.Parameter(zero.clone())
        self.raw_noise = nn.Parameter(zero.clone())
        self.constant = nn.Parameter(zero.clone())

    @torch.no_grad()
    def reset(self) -> None:
        """Every unconstrained value back to 0."""
        for parameter in self.parameters():
            parameter.zero_()

    @property
    def lengthscale(self) -> Tensor:
        """ℓ."""
        return softplus(self.raw_lengthscale)

    @property
    def outputscale(self) -> Tensor:
        """s, the prior variance."""
        return softplus(self.raw_outputscale)

    @property
    def noise(self) -> Tensor:
        """σ², never below the floor."""
        return softplus(self.raw_noise) + self.noise_floor

    def hyperparameters(self) -> dict[str, float]:
        """Current values by name."""
        return {
            "lengthscale": self.lengthscale.item(),
            "outputscale": self.outputscale.item(),
            "noise": self.noise.item(),
            "constant": self.constant.item(),
        }

    def covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Prior covariance of f between two sets of features.

        k(a, b) = s (1 + √5 r + 5r²/3) exp(−√5 r) with r = |a − b| / ℓ.

        Args:
            a: n x d.
            b: m x d.

        Returns:
            n x m.
        """
        r = distances(a, b) * (math.sqrt(5.0) / self.lengthscale)
        value: Tensor = self.outputscale * (1.0 + r + r.square() / 3.0) * torch.exp(-r)
        return value

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
        # v = L⁻¹ K(Z, Z*):  mean = m + vᵀ L⁻¹(y − m),  var = s − Σ v²
        cross = self.gp.covariance(self.features, features)
        v = torch.linalg.solve_triangular(self.cholesky, cross, upper=False)
        mean = self.gp.constant + (self.whitened.T @ v).squeeze(0)
        return mean, (self.gp.outputscale - v.square().sum(0)).clamp_min(SMALLEST_VARIANCE)

    @torch.no_grad()
    def posterior_covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Posterior covariance of f between two sets of features (n x d, m x d); n x m."""
        v_a, v_b = (
            torch.linalg.solve_triangular(
                self.cholesky, self.gp.covariance(self.features, points), upper=False
            )
            for points in (a, b)
        )
        remaining: Tensor = self.gp.covariance(a, b) - v_a.T @ v_b
        return remaining


def log_prior(gp: ExactGP, dimension: int) -> Tensor:
    """Log density of the priors for `dimension` features.

    Lengthscale ~ LogNormal(√2 + ½ log d, √3) and noise ~ LogNormal(−4, 1): Hvarfner, Hellsten
    and Nardi, ICML 2024 (arXiv 2402.02229), as in BoTorch's defaults. Outputscale ~
    LogNormal(0, 1) and constant ~ N(0, 1) keep both near the standardised targets.
    """
    lengthscale = LogNormal(2.0**0.5 + 0.5 * math.log(dimension), 3.0**0.5)
    density: Tensor = lengthscale.log_prob(gp.lengthscale)
    density = density + LogNormal(-4.0, 1.0).log_prob(gp.noise)
    density = density + LogNormal(0.0, 1.0).log_prob(gp.outputscale)
    density = density + Normal(0.0, 1.0).log_prob(gp.constant)
    return density


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances n x m of n x d and m x d, with a finite gradient at zero distance."""
    centre = a.mean(0, keepdim=True).detach()
    a, b = a - centre, b - centre
    squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2.0 * a @ b.T
    return squared.clamp_min(1e-30).sqrt()


def to_botorch(
    gp: ExactGP, features: Tensor, utility: Tensor, location: Tensor, scale: Tensor
) -> SingleTaskGP:
    """The same process as an ordinary BoTorch model on features.

    Args:
        gp: the hyperparameters.
        features: n x d.
        utility: n, in the objective's own units (larger is better).
        location: what is subtracted from utility inside the model.
        scale: what it is then divided by.

    Returns:
        A `SingleTaskGP` in eval mode whose posterior is in the units of `utility`.
    """
    likelihood = GaussianLikelihood(noise_constraint=GreaterThan(gp.noise_floor))
    model = SingleTaskGP(
        features,
        ((utility - location) / scale).unsqueeze(-1),
        likelihood=likelihood,
        mean_module=ConstantMean(),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=None,
    ).to(features)
    # Set afterwards: the constructor would learn location and scale anew from its targets.
    model.outcome_transform = _standardize(location, scale)
    model.mean_module.constant.data.fill_(gp.constant.item())
    model.covar_module.outputscale = gp.outputscale.detach()
    model.covar_module.base_kernel.lengthscale = gp.lengthscale.detach()
    likelihood.noise = gp.noise.detach().clamp_min(gp.noise_floor * (1.0 + 1e-12))
    return model.eval()


def _standardize(location: Tensor, scale: Tensor) -> Standardize:
    """BoTorch's transform with given mean and deviation, learned from two values that have them."""
    transform = Standardize(m=1, min_stdv=0.0).to(location)
    one = torch.ones((1, 1), dtype=location.dtype, device=location.device)
    transform(location + scale * torch.cat([-one, one]) / math.sqrt(2.0))
    return transform.eval()
