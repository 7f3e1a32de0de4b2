"""A kernel on learned features: k(t, t') = k_θ(scale(g_φ(t)), scale(g_φ(t')))."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.features.base import Featurizer
from gollum.surrogates.gp import ExactGP

BOUND = 0.95


class BoundsScaler(nn.Module):
    """Scale to [−0.95, 0.95] by one global minimum and maximum of the training features.

    While training, the bounds are those of the features at hand (and are differentiated
    through); afterwards the last ones hold, and features are clamped to them first. This is
    GPyTorch's ScaleToBounds(−1, 1), except that equal bounds do not divide by zero.
    """

    low: Tensor
    high: Tensor

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(-BOUND, dtype=torch.float64, device=device))
        self.register_buffer("high", torch.tensor(BOUND, dtype=torch.float64, device=device))

    def forward(self, features: Tensor) -> Tensor:
        """Scaled features, same shape."""
        low, high = self.low, self.high
        if self.training:
            low, high = features.min(), features.max()
            self.low, self.high = low.detach(), high.detach()
        else:
            features = features.clamp(low, high)
        width = (high - low).clamp_min(torch.finfo(features.dtype).tiny)
        return (features - low) * (2.0 * BOUND / width) - BOUND


class DeepKernelGP(nn.Module):
    """Featurizer, optional scaling and Gaussian process, with the loss that trains them all."""

    def __init__(
        self, featurizer: Featurizer, noise_floor: float, scaled: bool, device: torch.device
    ) -> None:
        super().__init__()
        self.featurizer = featurizer
        self.scaler = BoundsScaler(device) if scaled else nn.Identity()
        self.gp = ExactGP(noise_floor, device)

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        """What the kernel sees of n rows: n x d."""
        scaled: Tensor = self.scaler(self.featurizer(rows))
        return scaled

    def loss(self, rows: NDArray[np.int64], targets: Tensor) -> Tensor:
        """−L/n for n rows and their n standardised targets."""
        likelihood = self.gp.log_marginal_likelihood(self.features(rows), targets)
        return -likelihood / len(targets)
