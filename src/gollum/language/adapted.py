"""Texts of a pool through a language model whose top layers carry trainable LoRA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.language.adapters import (
    inject_lora,
    lora_parameters,
    reset_lora,
    top_layers,
    transformer_layers,
)
from gollum.language.backbone import Backbone
from gollum.language.embed import Progress, Tokens, batches, pad
from gollum.language.prefix import FrozenPrefix


class AdaptedText(nn.Module):
    """A trainable Featurizer: rows of the pool to pooled vectors of the adapted model.

    The frozen layers below the lowest adapted one run once, at construction; a model for which
    that would not be exact runs in full at every pass, and `notes` says so.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokens: Tokens,
        *,
        rank: int,
        alpha: float,
        dropout: float,
        fraction: float,
        notes: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokens = tokens
        self.size = backbone.hidden_size
        self.notes = notes
        self.revision = backbone.revision
        self._lora = inject_lora(
            backbone.model, rank=rank, alpha=alpha, dropout=dropout, fraction=fraction
        )
        self._lora_parameters = nn.ParameterList(lora_parameters(self._lora))
        first = top_layers(len(transformer_layers(backbone.model)), fraction)[0]
        self._prefix = FrozenPrefix(backbone, first) if self._splits_exactly(first) else None
        self._states = self._record(progress) if self._prefix else None

    def reset(self) -> None:
        """Start over from the pretrained weights, with fresh adapters."""
        reset_lora(self._lora)

    def train(self, mode: bool = True) -> AdaptedText:
        """Switch LoRA dropout on or off; the backbone's own dropout is always off."""
        self.training = mode
        for layer in self._lora:
            layer.lora_dropout.train(mode)
        return self

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Pooled vectors n x h, float64, of n rows of the pool."""
        distinct, back = np.unique(self.tokens.index[rows], return_inverse=True)
        pooled, order = [], []
        for batch in batches(self.tokens.lengths[distinct]):
            pooled.append(self._pooled(distinct[batch]))
            order.append(batch)
        place = np.argsort(np.concatenate(order))
        return torch.cat(pooled)[torch.as_tensor(place[back], device=self.backbone.device)]

    def _pooled(self, sequences: NDArray[np.int64]) -> Tensor:
        ids, mask = self._padded(sequences)
        if self._prefix is None or self._states is None:
            hidden = self.backbone.hidden(ids, mask)
        else:
            states = [self._states[i] for i in sequences]
            entering = nn.utils.rnn.pad_sequence(states, batch_first=True)
            hidden = self._prefix.resume(entering, ids, mask)
        return self.backbone.pool(hidden, mask)

    def _padded(self, sequences: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        chosen = [self.tokens.sequences[i] for i in sequences]
        return pad(chosen, self.backbone.pad_id, self.backbone.device)

    def _splits_exactly(self, first: int) -> bool:
        if first == 0:
            return False
        shortest_and_longest = np.argsort(self.tokens.lengths)[[0, -1]]
        try:
            exact = FrozenPrefix(self.backbone, first).is_exact(*self._padded(shortest_and_longest))
        except (TypeError, KeyError, IndexError, AttributeError):
            exact = False
        if not exact:
            self.notes += (
                f"{self.backbone.name}: its lower layers can't be run once and reused, so every "
                "pass runs the whole model.",
            )
        return exact

    def _record(self, progress: Progress | None) -> list[Tensor]:
        assert self._prefix is not None  # noqa: S101
        states: list[Tensor] = [torch.empty(0)] * len(self.tokens.sequences)
        done = 0
        for batch in batches(self.tokens.lengths):
            hidden = self._prefix.record(*self._padded(batch))
            for i, sequence in enumerate(batch):
                states[sequence] = hidden[i, : self.tokens.lengths[sequence]].clone()
            done += len(batch)
            if progress:
                progress(done, len(states))
        return states
