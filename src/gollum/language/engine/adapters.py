"""Which layers and modules of a language model get LoRA; the LoRA itself is PEFT's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from gollum.errors import ModelError
from gollum.language.engine.fused import ADAPTER, FastDropout, Fused, Masks

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer


def transformer_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of transformer layers: the longest list of modules that all hold linears.

    Lists inside such a list (a layer's experts, say) do not count. Where layers share weights, as
    in ALBERT, the list is shorter than the model is deep.

    Raises:
        ModelError: the module tree has no such list.
    """
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and _is_stack(m)]
    if not stacks:
        raise ModelError(
            f"{type(model).__name__} has no list of transformer layers to adapt; "
            "use a surrogate without LoRA (static or pllm)."
        )
    inside = {id(m) for stack in stacks for m in stack.modules() if m is not stack}
    return max((stack for stack in stacks if id(stack) not in inside), key=len)


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
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    fraction: float = 0.25,
    shared_masks: bool = False,
) -> list[LoraLayer]:
    """Add rank-stabilised LoRA to the top layers and freeze everything else.

    A and B are at least float32, also on a bfloat16 model, so that small steps are not rounded
    away. The update of a weight is (α/√r)·B·A (Kalajdzievski, arXiv 2312.03732). A layer that is
    used at several depths, as in ALBERT, is adapted at all of them.

    Args:
        model: the language model, changed in place.
        rank: r.
        alpha: α.
        dropout: probability of zeroing an input of A while training.
        fraction: share of the layers, counted from the top.
        shared_masks: whether modules whose inputs have the same shape drop the same elements.

    Returns:
        PEFT's LoRA modules, bottom up.

    Raises:
        ModelError: the model has no list of layers, or PEFT refuses to adapt it.
    """
    # Models that are only read need no PEFT.
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

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
        try:
            inject_adapter_in_model(config, model, ADAPTER)
        except ValueError as error:
            raise ModelError(
                f"{type(model).__name__} can't get adapters ({str(error).split('. ')[0]}); "
                "use a surrogate without LoRA (static or pllm)."
            ) from None
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    masks = Masks(dropout, shared=shared_masks)
    for layer in layers:
        layer.lora_dropout[ADAPTER] = FastDropout(masks)
        for matrix in (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]):
            matrix.to(torch.promote_types(matrix.weight.dtype, torch.float32))
        if type(layer.get_base_layer()) in (nn.Linear, Conv1D):  # others may compute otherwise
            layer.forward = Fused(layer)
    return layers


@contextmanager
def without_updates(layers: list[LoraLayer]) -> Iterator[None]:
    """Within, the model is the pretrained one."""
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def merged(layers: list[LoraLayer]) -> Iterator[None]:
    """Within, updates are part of the weights: no second product, no dropout, no gradient."""
    fused = [layer.forward for layer in layers if isinstance(layer.forward, Fused)]
    try:
        with torch.no_grad():
            for one in fused:
                one.merge()
        yield
    finally:
        for one in fused:
            one.merged = None


def reset_lora(layers: list[LoraLayer]) -> None:
    """Start over from the pretrained model: A uniform as PEFT draws it, B zero, fresh dropout.

    Draws from PyTorch's current random stream.
    """
    layers[0].lora_dropout[ADAPTER].masks.reseed()
    for layer in layers:
        nn.init.kaiming_uniform_(layer.lora_A[ADAPTER].weight, a=math.sqrt(5))
        nn.init.zeros_(layer.lora_B[ADAPTER].weight)


def renew_masks(layers: list[LoraLayer]) -> None:
    """The next batch draws its own masks, also where they are shared."""
    layers[0].lora_dropout[ADAPTER].masks.renew()


def checkpoint_layers(layers: Iterable[nn.Module], lora: list[LoraLayer]) -> None:
    """Of these layers, keep only what enters; backward passes compute the rest once more."""
    masks = lora[0].lora_dropout[ADAPTER].masks
    for layer in layers:
        layer.forward = partial(_checkpointed, layer.forward, masks)


def _checkpointed(forward: Callable[..., Any], masks: Masks, *args: Any, **kwargs: Any) -> Any:
    if "hidden_states" in kwargs:
        # Only in positional arguments, PyTorch looks for devices whose random streams to repeat.
        args = (kwargs.pop("hidden_states"), *args)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=masks.twice, **kwargs)


def lora_parameters(layers: list[LoraLayer]) -> list[nn.Parameter]:
    """A and B of every module, bottom up."""
    return [matrix[ADAPTER].weight for layer in layers for matrix in (layer.lora_A, layer.lora_B)]


def _is_stack(modules: nn.ModuleList) -> bool:
    held = [any(_is_linear(m) for m in module.modules()) for module in modules]
    return any(held) and all(held)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, Conv1D))
