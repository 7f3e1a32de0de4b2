"""Which layers and modules of a language model get LoRA; the LoRA itself is PEFT's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gollum.errors import ModelError

ADAPTER = "default"


def transformer_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of transformer layers: the longest list of equal modules that hold linears.

    Raises:
        ModelError: the module tree has no such list.
    """
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and _is_stack(m)]
    if not stacks:
        raise ModelError(
            f"{type(model).__name__} has no list of transformer layers to adapt; "
            "use a surrogate without LoRA (static or pllm)."
        )
    return max(stacks, key=len)


def top_layers(count: int, fraction: float = 0.25) -> range:
    """Indices of the top layers to adapt: max(1, round(fraction · L)), halves to even."""
    return range(count - max(1, round(fraction * count)), count)


def target_modules(model: nn.Module, fraction: float = 0.25) -> list[str]:
    """Full names of all linear modules inside the top layers."""
    layers = transformer_layers(model)
    chosen = [layers[i] for i in top_layers(len(layers), fraction)]
    linears = {id(m) for layer in chosen for m in layer.modules() if _is_linear(m)}
    return [name for name, module in model.named_modules() if id(module) in linears]


def inject_lora(
    model: nn.Module, *, rank: int, alpha: float, dropout: float, fraction: float = 0.25
) -> list[LoraLayer]:
    """Add rank-stabilised LoRA to the top layers and freeze everything else.

    A and B are at least float32, also on a bfloat16 model, so that small steps are not rounded
    away. The update of a weight is (α/√r)·B·A (Kalajdzievski, arXiv 2312.03732).

    Args:
        model: the language model, changed in place.
        rank: r.
        alpha: α.
        dropout: probability of zeroing an input of A while training.
        fraction: share of the layers, counted from the top.

    Returns:
        PEFT's LoRA modules, bottom up.
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        use_rslora=True,
        target_modules=target_modules(model, fraction),
        bias="none",
    )
    with warnings.catch_warnings():
        # PEFT remarks on fan_in_fan_out for GPT-2's Conv1D and then sets it itself.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        inject_adapter_in_model(config, model, ADAPTER)
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    for layer in layers:
        layer.lora_dropout[ADAPTER] = FastDropout(dropout)
        for matrix in (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]):
            matrix.to(torch.promote_types(matrix.weight.dtype, torch.float32))
    return layers


class FastDropout(nn.Module):
    """Dropout whose masks come from NumPy's SFC64, 16 random bits per element.

    On processors PyTorch's own generator took a third of a fit; this one is about 17 times as
    fast. The probability of dropping is p rounded to a multiple of 2⁻¹⁶.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._bits: np.random.Generator | None = None

    def reseed(self) -> None:
        """Start a new stream of masks, drawn from PyTorch's current random stream."""
        seed = int(torch.randint(2**63 - 1, ()).item())
        self._bits = np.random.Generator(np.random.SFC64(seed))

    def forward(self, x: Tensor) -> Tensor:
        """Zero each element with probability p and scale the others by 1/(1 − p)."""
        if not self.training or self.p == 0.0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        return x * self._mask(x.shape).to(x.dtype).mul_(1.0 / (1.0 - self.p))

    def _mask(self, shape: torch.Size) -> Tensor:
        if self._bits is None:
            self.reseed()
        assert self._bits is not None  # noqa: S101
        count = shape.numel()
        words = self._bits.integers(2**64 - 1, size=-(-count // 4), dtype=np.uint64, endpoint=True)
        kept = words.view(np.uint16)[:count] >= round(self.p * 2**16)
        return torch.from_numpy(kept).view(shape)


def reset_lora(layers: list[LoraLayer]) -> None:
    """Start over from the pretrained model: A uniform as PEFT draws it, B zero, fresh dropout.

    Draws from PyTorch's current random stream.
    """
    for layer in layers:
        layer.lora_dropout[ADAPTER].reseed()
        nn.init.kaiming_uniform_(layer.lora_A[ADAPTER].weight, a=math.sqrt(5))
        nn.init.zeros_(layer.lora_B[ADAPTER].weight)


def lora_parameters(layers: list[LoraLayer]) -> list[nn.Parameter]:
    """A and B of every module, bottom up."""
    return [matrix[ADAPTER].weight for layer in layers for matrix in (layer.lora_A, layer.lora_B)]


def _is_stack(modules: nn.ModuleList) -> bool:
    kinds = {type(m) for m in modules}
    return len(kinds) == 1 and any(_is_linear(m) for m in modules[0].modules())


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, Conv1D)) and not isinstance(module, torch.nn.Identity)
