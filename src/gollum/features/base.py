"""What a surrogate needs of its features, and features that never change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Featurizer(Protocol):
    """Features of the rows of one pool.

    Attributes:
        size: d, the number of features.
        notes: what a user should know, one sentence each.
        revision: hash of the language model's weights; empty without one.
    """

    size: int
    notes: tuple[str, ...]
    revision: str

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """Features n x d, float64, of n rows; differentiable where there is something to train."""
        ...

    def reset(self) -> None:
        """Draw fresh starting values of what is trained, from PyTorch's current random stream."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the marginal likelihood may train; empty for fixed features."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch what differs between fitting and predicting (dropout)."""
        ...

    def freeze(self, frozen: bool) -> bool:
        """Switch to the language model as it was before adapting; whether that differs."""
        ...


class FixedFeatures(nn.Module):
    """A matrix of features, computed once: float64, or small integers for bits."""

    matrix: Tensor

    def __init__(
        self,
        matrix: NDArray[np.float64] | NDArray[np.uint8] | Tensor,
        notes: tuple[str, ...] = (),
        revision: str = "",
    ) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.as_tensor(matrix))
        self.size = self.matrix.shape[1]
        # In pieces, and once: a mask of a million rows would be large, and takes a while.
        self.finite = all(bool(part.isfinite().all()) for part in self.matrix.split(2**14))
        self.notes = notes
        self.revision = revision

    def reset(self) -> None:
        """There is nothing to draw."""

    def freeze(self, frozen: bool) -> bool:
        """There is nothing to freeze."""
        return False

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Rows of the matrix, n x d, float64."""
        return self.matrix[torch.as_tensor(rows, device=self.matrix.device)].double()


class Projection(nn.Module):
    """ELU(P·x + b) on top of another Featurizer, in float64.

    One linear layer with Xavier-uniform weights and a constant starting bias.
    """

    def __init__(self, inner: Featurizer, size: int, bias: float) -> None:
        super().__init__()
        self.inner = inner
        self.size = size
        self.notes = inner.notes
        self.revision = inner.revision
        self.linear = nn.Linear(inner.size, size, dtype=torch.float64)
        self._bias = bias

    def reset(self) -> None:
        """Fresh inner adapters, then fresh projection weights."""
        self.inner.reset()
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.constant_(self.linear.bias, self._bias)

    def freeze(self, frozen: bool) -> bool:
        """Freeze the inner features."""
        return self.inner.freeze(frozen)

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Projected features n x size."""
        projected: Tensor = nn.functional.elu(self.linear(self.inner(rows)))
        return projected
