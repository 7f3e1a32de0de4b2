"""The forward pass of LoRA in few passes over memory, and the dropout masks that it takes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

ADAPTER = "default"
_PIECE = 2**17
_INTEGER = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


class Masks:
    """Dropout masks of one model from NumPy's SFC64, one random byte per element.

    On processors PyTorch's own generator took a third of a fit; this one is many times as fast.
    A byte resolves probabilities to 1/256 only, so each mask takes one of the two neighbouring
    thresholds at random, such that every element is dropped with probability p.

    Attributes:
        p: probability of dropping.
        shared: whether one mask serves all inputs of the same shape until `renew`.
    """

    def __init__(self, p: float, *, shared: bool = False) -> None:
        self.p = p
        self.shared = shared
        self._bits: np.random.Generator | None = None
        self._drawn: dict[tuple[torch.Size, torch.dtype], Tensor] = {}

    def reseed(self) -> None:
        """Start a new stream, drawn from PyTorch's current random stream."""
        seed = int(torch.randint(2**63 - 1, ()).item())
        self._bits = np.random.Generator(np.random.SFC64(seed))
        self.renew()

    def renew(self) -> None:
        """Forget the shared masks: the next batch gets its own."""
        self._drawn = {}

    def twice(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts of a pass that is about to come, and of its repetition with the same masks."""
        return nullcontext(), self._at(copy.deepcopy(self._bits), self._drawn)

    @contextmanager
    def _at(
        self, bits: np.random.Generator | None, drawn: dict[tuple[torch.Size, torch.dtype], Tensor]
    ) -> Iterator[None]:
        now = self._bits, self._drawn
        self._bits, self._drawn = bits, drawn
        try:
            yield
        finally:
            self._bits, self._drawn = now

    def like(self, x: Tensor) -> Tensor:
        """0 with probability p and 1/(1 − p) otherwise, of the shape, precision and place of x."""
        if not self.shared:
            return self._draw(x)
        kind = (x.shape, x.dtype)
        if kind not in self._drawn:
            self._drawn[kind] = self._draw(x)
        return self._drawn[kind]

    def _draw(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return nn.functional.dropout(torch.ones_like(x), self.p)
        if self._bits is None:
            self.reseed()
        assert self._bits is not None  # noqa: S101
        # Written as the bit pattern of 1/(1 − p) or of 0, in pieces that stay in the cache.
        scaled = torch.tensor(1.0 / (1.0 - self.p), dtype=x.dtype).view(_INTEGER[x.dtype]).numpy()
        mask = torch.empty(x.shape, dtype=x.dtype)
        patterns = mask.flatten().view(_INTEGER[x.dtype]).numpy()
        threshold = int(256.0 * self.p + self._bits.random())
        for start in range(0, len(patterns), _PIECE):
            piece = patterns[start : start + _PIECE]
            words = self._bits.bit_generator.random_raw(-(-len(piece) // 8))
            # Compared with a byte, since NumPy would convert all bytes for a larger number.
            kept = words.view(np.uint8)[: len(piece)] >= np.uint8(min(threshold, 255))
            if threshold == 256:
                kept[:] = False
            np.multiply(kept.view(np.int8), scaled, out=piece)
        return mask


class FastDropout(nn.Module):
    """Dropout by `Masks`."""

    def __init__(self, masks: Masks) -> None:
        super().__init__()
        self.masks = masks

    def mask(self, x: Tensor) -> Tensor | None:
        """What x is multiplied by; None when nothing is dropped."""
        return self.masks.like(x) if self.training and self.masks.p > 0 else None

    def forward(self, x: Tensor) -> Tensor:
        """Zero each element with probability p and scale the others by 1/(1 − p)."""
        mask = self.mask(x)
        return x if mask is None else x * mask


class Fused:
    """The forward pass of a LoRA module on a linear layer: PEFT's, in fewer passes over memory.

    PEFT casts inputs and outputs between the model's precision and the adapters' and keeps every
    intermediate result for autograd. Here the products run in the model's precision with small
    copies of A and B, as under autocast, and sums are in place.
    """

    def __init__(self, layer: LoraLayer) -> None:
        self.layer = layer
        self.merged: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """W as out x in."""
        base = self.layer.get_base_layer()
        weight: Tensor = base.weight
        return weight.T if isinstance(base, Conv1D) else weight

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs … x out of inputs … x in."""
        layer = self.layer
        if layer.disable_adapters:
            pretrained: Tensor = layer.get_base_layer()(x)
            return pretrained
        bias = layer.get_base_layer().bias
        if self.merged is not None:
            return nn.functional.linear(x, self.merged, bias)
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        mask = layer.lora_dropout[ADAPTER].mask(x)
        scale = layer.scaling[ADAPTER]
        flags = None if mask is None else mask.flatten(0, -2)
        rows: Tensor = _LowRank.apply(x.flatten(0, -2), self.weight, bias, flags, a, b, scale)
        return rows.view(*x.shape[:-1], -1)

    def merge(self) -> None:
        """Make W + s·B·A, summed in the adapters' precision, the weight."""
        a, b = self.layer.lora_A[ADAPTER].weight, self.layer.lora_B[ADAPTER].weight
        scale = self.layer.scaling[ADAPTER]
        weight = self.weight
        self.merged = torch.addmm(weight.to(a.dtype), b, a, alpha=scale).to(weight.dtype)


class _LowRank(torch.autograd.Function):
    """x Wᵀ + bias + s · (x ∘ mask) Aᵀ Bᵀ for rows x, with gradients for x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        mask: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        low_a, low_b = a.to(x.dtype), (b * scale).to(x.dtype)
        dropped = x if mask is None else x * mask
        low = dropped @ low_a.T
        out = x @ weight.T
        if bias is None:
            out.addmm_(low, low_b.T)
        else:  # the bias as one more rank, rather than in a pass of its own
            ones = nn.functional.pad(low, (0, 1), value=1.0)
            out.addmm_(ones, torch.cat([low_b, bias.unsqueeze(1)], 1).T)
        ctx.save_for_backward(dropped, weight, mask, low, low_a, low_b, a)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        dropped, weight, mask, low, low_a, low_b, a = ctx.saved_tensors
        down = grad @ low_b
        grad_a = (down.T @ dropped).to(a.dtype)
        grad_b = (grad.T @ low).to(a.dtype) * ctx.scale
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, grad_a, grad_b, None
        grad_x = down @ low_a
        if mask is not None:
            grad_x.mul_(mask)
        grad_x.addmm_(grad, weight)  # in this order: the large product adds as it writes
        return grad_x, None, None, None, grad_a, grad_b, None
