"""Pooling of token vectors into one vector per text: pure functions, padding on either side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Average of the real tokens.

    Args:
        hidden: b x t x h token vectors.
        mask: b x t, 1 for real tokens and 0 for padding.

    Returns:
        b x h.
    """
    weights = mask.to(hidden.dtype)
    return torch.einsum("bth,bt->bh", hidden, weights) / weights.sum(1, keepdim=True)


def cls(hidden: Tensor, mask: Tensor) -> Tensor:
    """Vector of the first real token; shapes as in `mean`."""
    first = mask.to(torch.int32).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), first]


def last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """Vector of the last real token; shapes as in `mean`."""
    last = mask.shape[1] - 1 - mask.to(torch.int32).flip(1).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Average of the real tokens with weights 1, 2, 3 … by position; shapes as in `mean`.

    Position-weighted pooling for decoders: Muennighoff, SGPT (arXiv 2202.08904), eq. 2.
    """
    weights = (mask.cumsum(1) * mask).to(hidden.dtype)
    return torch.einsum("bth,bt->bh", hidden, weights) / weights.sum(1, keepdim=True)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean,
    "cls": cls,
    "last_token": last_token,
    "weighted_mean": weighted_mean,
}
