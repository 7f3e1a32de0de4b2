"""Attention for bfloat16 on processors, behind the interface that transformers offers for it."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

NAME = "gollum"


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """softmax(scaling · Q Kᵀ + mask) V.

    PyTorch's fused kernel where no gradient is wanted: its backward pass in bfloat16 takes ten
    times as long as in float32. With gradients, five matrix products of our own. A model with
    something else inside its softmax (a soft cap, sinks, dropout) gets its own plain attention.

    Args:
        module: the model's attention module.
        query: b x heads x t x d.
        key: b x key heads x t x d; the number of heads is a multiple of that of key heads.
        value: as `key`.
        attention_mask: added to the scores; broadcasts to b x heads x t x t.
        scaling: 1/√d when not given.
        dropout: of the attention weights.
        position_bias: also added to the scores (T5).
        options: what else the model passes.

    Returns:
        b x t x heads x d, and no weights.
    """
    if dropout or any(options.get(name) is not None for name in ("softcap", "s_aux")):
        plain = inspect.getmodule(type(module)).eager_attention_forward  # type: ignore[union-attr]
        if position_bias is not None:
            options["position_bias"] = position_bias
        output: tuple[Tensor, Tensor | None] = plain(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **options
        )
        return output
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    added = attention_mask
    if position_bias is not None:
        added = position_bias if added is None else position_bias + added
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    if wanted:
        mixed: Tensor = _Attention.apply(query, key, value, added, scaling)
    else:
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=added, scale=scaling
        )
    return mixed.transpose(1, 2).contiguous(), None


class _Attention(torch.autograd.Function):
    """P V with P = softmax(scaling · Q Kᵀ + added); no gradient for what is added."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, added: Tensor | None, scaling: float
    ) -> Tensor:
        query, key, value = query * scaling, key.contiguous(), value.contiguous()
        scores = query @ key.transpose(-2, -1)
        if added is not None:
            scores += added
        weights = scores.softmax(-1)
        ctx.save_for_backward(query, key, value, weights)
        ctx.scaling = scaling
        return weights @ value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        grad = grad.contiguous()
        grad_value = weights.transpose(-2, -1) @ grad
        # ∂S = P ∘ (∂P − rowsum(∂P ∘ P)) with ∂P = ∂O Vᵀ
        grad_weights = grad @ value.transpose(-2, -1)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_query = (grad_scores @ key).mul_(ctx.scaling)
        grad_key = grad_scores.transpose(-2, -1) @ query
        return grad_query, grad_key, grad_value, None, None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, eager_mask)
