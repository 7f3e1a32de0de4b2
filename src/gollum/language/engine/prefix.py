"""Frozen-prefix activations: what lies below the lowest adapted layer is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gollum.language.backbone import Backbone
from gollum.language.engine.adapters import transformer_layers

# Largest difference to the full pass, relative to the largest activation, that is rounding.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 5e-2}


class FrozenPrefix:
    """Splits a model's forward pass at a layer, without code per model.

    `record` runs the layers below and returns what enters layer `first`; `resume` runs the
    model's own forward with the layers below replaced by ones that hand that tensor on, so
    masks, rotary embeddings, final norms and everything else stay the model's own. A lower layer
    that makes something besides its hidden state (the first T5 block makes the position bias
    that all blocks share) still runs for it.
    """

    def __init__(self, backbone: Backbone, first: int) -> None:
        self.backbone = backbone
        self.first = first
        self.layers = transformer_layers(backbone.model)
        self._extras: dict[nn.Module, tuple[Any, ...] | None] | None = None

    @torch.no_grad()
    def record(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What enters layer `first`: b x t x h from b x t token ids and mask."""
        entered: list[Tensor] = []

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            entered.append(args[0] if args else kwargs["hidden_states"])
            raise _ReachedError

        handle = self.layers[self.first].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with self._noting_extras():
                self.backbone.hidden(ids, mask)
        except _ReachedError:
            pass
        finally:
            handle.remove()
        return entered[0]

    def resume(self, hidden: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """The model's output b x t x h from what `record` returned for the same ids and mask."""
        assert self._extras is not None, "record comes before resume"  # noqa: S101
        lower = list(self.layers)[: self.first]
        passing = [
            _hand_on(hidden if layer is lower[-1] else None, layer.forward, self._extras[layer])
            for layer in lower
        ]
        for layer, forward in zip(lower, passing, strict=True):
            layer.forward = forward
        try:
            return self.backbone.hidden(ids, mask)
        finally:
            for layer in lower:
                del layer.forward

    @torch.no_grad()
    def is_exact(self, ids: Tensor, mask: Tensor) -> bool:
        """Whether record and resume together equal the full pass up to rounding."""
        whole = self.backbone.hidden(ids, mask)
        entering = self.record(ids, mask)
        if entering.shape[:2] != ids.shape:
            return False  # XLNet's come as t x b x h
        split = self.resume(entering, ids, mask)
        real = mask.bool()
        error = (whole - split)[real].abs().max() / whole[real].abs().max().clamp_min(1e-30)
        return bool(error <= ROUNDING[whole.dtype])

    @contextmanager
    def _noting_extras(self) -> Iterator[None]:
        """On the first pass, see what each lower layer returns besides its hidden state."""
        if self._extras is not None:
            yield
            return
        extras: dict[nn.Module, tuple[Any, ...] | None] = {}

        def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            given = list(enumerate(args)) + list(kwargs.items())
            extras[layer] = (
                None if isinstance(out, Tensor) else tuple(_origin(e, given) for e in out[1:])
            )

        handles = [
            layer.register_forward_hook(note, with_kwargs=True)
            for layer in list(self.layers)[: self.first]
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._extras = extras


class _ReachedError(Exception):
    """Raised to leave the model's forward pass once the recorded layer is reached."""


_ABSENT, _MADE = object(), object()


def _origin(extra: Any, given: list[tuple[Any, Any]]) -> Any:
    """Where an extra output came from: nothing, one of the inputs (its key), or made here."""
    if extra is None:
        return _ABSENT
    return next((key for key, value in given if value is extra), _MADE)


def _hand_on(
    replacement: Tensor | None, original: Callable[..., Any], extras: tuple[Any, ...] | None
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        passed = hidden if replacement is None else replacement
        if extras is None:
            return passed
        made: Any = None
        if any(origin is _MADE for origin in extras):
            with torch.no_grad():
                made = original(*args, **kwargs)
        values: list[Any] = []
        for i, origin in enumerate(extras):
            if origin is _ABSENT:
                values.append(None)
            elif origin is _MADE:
                values.append(made[i + 1])
            else:
                values.append(args[origin] if isinstance(origin, int) else kwargs[origin])
        return (passed, *values)

    return forward
