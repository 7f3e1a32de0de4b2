"""Texts of a pool through a language model whose top layers carry trainable LoRA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.cachefile import cache_folder
from gollum.language import embed
from gollum.language.backbone import Backbone
from gollum.language.engine.adapters import (
    checkpoint_layers,
    inject_lora,
    lora_parameters,
    merged,
    renew_masks,
    reset_lora,
    top_layers,
    transformer_layers,
    without_updates,
)
from gollum.language.engine.prefix import FrozenPrefix
from gollum.language.engine.store import States, open_states, states_key


@dataclass(frozen=True, eq=False)
class _Batch:
    """Distinct texts that go through the model together.

    Attributes:
        ids: b x t.
        mask: b x t.
        entering: b x t x h that enters the first adapted layer; None for a full pass.
    """

    ids: Tensor
    mask: Tensor
    entering: Tensor | None


class AdaptedText(nn.Module):
    """Rows of the pool to pooled vectors of the adapted model, trainable.

    The frozen layers below the lowest adapted one run once, at construction; a model for which
    that would not be exact runs in full at every pass, and `notes` says so. Where layers share
    their weights (ALBERT), the share of layers to adapt is one of the distinct ones, and each acts
    at every depth where it is used; `notes` says that too.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokens: embed.Tokens,
        *,
        rank: int,
        alpha: float,
        dropout: float,
        fraction: float,
        shared_masks: bool = False,
        checkpointing: bool = False,
        notes: tuple[str, ...] = (),
        progress: embed.Progress | None = None,
        states_budget: int = 2**62,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokens = tokens
        self.size = backbone.hidden_size
        self.notes = notes
        self.revision = backbone.revision
        self._lora = inject_lora(
            backbone.model,
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            fraction=fraction,
            shared_masks=shared_masks,
        )
        self._lora_parameters = nn.ParameterList(lora_parameters(self._lora))
        self._prefix: FrozenPrefix | None = None
        self._states: States | None = None
        layers = transformer_layers(backbone.model)
        first = top_layers(len(layers), fraction)[0]
        self._note_sharing(layers, first)
        if checkpointing:
            checkpoint_layers(layers[first:], self._lora)
        if self._splits_exactly(first):
            self._prefix = FrozenPrefix(backbone, first)
            self._states = self._recorded(self._prefix, states_budget, progress)
        self._frozen = False
        self._pretrained: Tensor | None = None
        self._rows: NDArray[np.int64] | None = None
        self._batches: list[_Batch] = []

    def reset(self) -> None:
        """Start over from the pretrained weights, with fresh adapters."""
        reset_lora(self._lora)

    def train(self, mode: bool = True) -> AdaptedText:
        """Switch LoRA dropout on or off; the backbone's own dropout is always off."""
        self.training = mode
        for layer in self._lora:
            layer.lora_dropout.train(mode)
        return self

    def freeze(self, frozen: bool) -> bool:
        """Give the pretrained model's vectors, computed once, as long as `frozen`."""
        if frozen and self._pretrained is None:
            with torch.no_grad(), without_updates(self._lora):
                self._pretrained = self._vectors(np.arange(len(self.tokens.index)))
        self._frozen = frozen
        return True

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Pooled vectors n x h, float64, of n rows of the pool."""
        if self._frozen and self._pretrained is not None:
            return self._pretrained[torch.as_tensor(rows, device=self.backbone.device)]
        if self.training or torch.is_grad_enabled():
            return self._vectors(rows)
        with merged(self._lora):
            return self._vectors(rows)

    @torch.no_grad()
    def read(self, tokens: embed.Tokens) -> Tensor:
        """Pooled vectors n x h, float64, of n other texts, by the model as it is adapted now."""
        with merged(self._lora):
            return embed.embed(self.backbone, tokens)

    def _vectors(self, rows: NDArray[np.int64]) -> Tensor:
        distinct, back = np.unique(self.tokens.index[rows], return_inverse=True)
        order = list(embed.batches(self.tokens.lengths[distinct]))
        if self.training and torch.is_grad_enabled():
            # The rows of a fit come again at every evaluation.
            if self._rows is None or not np.array_equal(rows, self._rows):
                self._rows = rows.copy()
                self._batches = [self._batch(distinct[positions]) for positions in order]
            pooled = [self._pooled(batch) for batch in self._batches]
        else:
            pooled = [self._pooled(self._batch(distinct[positions])) for positions in order]
        place = np.argsort(np.concatenate(order))
        return torch.cat(pooled)[torch.as_tensor(place[back], device=self.backbone.device)]

    def _pooled(self, batch: _Batch) -> Tensor:
        renew_masks(self._lora)
        if self._prefix is None or batch.entering is None:
            hidden = self.backbone.hidden(batch.ids, batch.mask)
        else:
            hidden = self._prefix.resume(batch.entering, batch.ids, batch.mask)
        return self.backbone.pool(hidden, batch.mask)

    def _batch(self, sequences: NDArray[np.int64]) -> _Batch:
        ids, mask = self._padded(sequences)
        entering = None
        if self._states is not None:
            entering = self._states.padded(sequences, self.backbone.device, ids.shape[1])
        return _Batch(ids, mask, entering)

    def _padded(self, sequences: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return self.tokens.padded(sequences, self.backbone.pad_id, self.backbone.device)

    @torch.no_grad()
    def _note_sharing(self, layers: nn.ModuleList, first: int) -> None:
        """Tell when a text goes through more layers than there are weights for."""
        uses, distinct = list[nn.Module](), set(layers)
        handles = [layer.register_forward_hook(lambda m, *_: uses.append(m)) for layer in distinct]
        self.backbone.hidden(*self._padded(np.argsort(self.tokens.lengths)[:1]))
        for handle in handles:
            handle.remove()
        if len(uses) > len(distinct):
            whole = "" if first else " and every pass runs the whole model"
            self.notes += (
                f"{self.backbone.name}: its {len(uses)} layers use the weights of "
                f"{len(distinct)}, so adapters act at every depth where theirs are used{whole}.",
            )

    def _splits_exactly(self, first: int) -> bool:
        if first == 0:
            return False
        shortest_and_longest = np.argsort(self.tokens.lengths)[[0, -1]]
        try:
            exact = FrozenPrefix(self.backbone, first).is_exact(*self._padded(shortest_and_longest))
        except (TypeError, KeyError, IndexError, AttributeError, ValueError, RuntimeError):
            exact = False
        if not exact:
            self.notes += (
                f"{self.backbone.name}: its lower layers can't be run once and reused, so every "
                "pass runs the whole model.",
            )
        return exact

    def _recorded(
        self, prefix: FrozenPrefix, budget: int, progress: embed.Progress | None
    ) -> States:
        """What enters the first adapted layer, for every distinct text."""
        backbone = self.backbone
        sample = prefix.record(*self._padded(np.argsort(self.tokens.lengths)[:1]))
        states = open_states(
            self.tokens.lengths,
            sample.shape[-1],
            sample.dtype,
            budget=budget,
            key=self._key(prefix.first, sample.dtype),
            folder=cache_folder("activations"),
            device=backbone.device,
        )
        self.notes += (states.note,) if states.note else ()
        if states.ready:
            return states
        done = 0
        try:
            for batch in embed.batches(self.tokens.lengths):
                states.put(batch, prefix.record(*self._padded(batch)))
                done += len(batch)
                if progress:
                    progress(done, len(self.tokens))
            states.finish()
        except BaseException:
            states.discard()
            raise
        return states

    def _key(self, first: int, dtype: torch.dtype) -> str:
        backbone = self.backbone
        settings = backbone.model.config.to_json_string(use_diff=False)
        kind = backbone.model.config._attn_implementation
        return states_key(
            self.tokens, backbone.revision, settings, kind, first, dtype, backbone.device.type
        )
