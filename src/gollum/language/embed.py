"""Texts to token ids to vectors: identical texts once, batches by token budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gollum.language.backbone import Backbone

TOKEN_BUDGET = 8192
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of the texts of a pool, distinct texts once.

    Attributes:
        sequences: token ids of each distinct text, special tokens included.
        index: for each text, which of the sequences is its own.
        truncated: how many of the distinct texts were cut.
    """

    sequences: tuple[list[int], ...]
    index: NDArray[np.int64]
    truncated: int

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each distinct text."""
        return np.array([len(s) for s in self.sequences], dtype=np.int64)


def tokenize(backbone: Backbone, texts: Sequence[str], max_tokens: int = 512) -> Tokens:
    """Token ids of each distinct text, cut at `max_tokens` or at what the model can take."""
    distinct = list(dict.fromkeys(texts))
    number = {text: i for i, text in enumerate(distinct)}
    limit = min(max_tokens, backbone.max_tokens)
    only_ids = {"return_attention_mask": False, "return_token_type_ids": False}
    full = backbone.tokenizer(distinct, verbose=False, **only_ids)["input_ids"]
    too_long = [i for i, ids in enumerate(full) if len(ids) > limit]
    if too_long:
        cut = backbone.tokenizer(
            [distinct[i] for i in too_long], truncation=True, max_length=limit, **only_ids
        )["input_ids"]
        for i, ids in zip(too_long, cut, strict=True):
            full[i] = ids
    full = [ids or [backbone.blank_id] for ids in full]
    index = np.array([number[t] for t in texts], dtype=np.int64)
    return Tokens(tuple(full), index, len(too_long))


def batches(lengths: NDArray[np.int64], budget: int = TOKEN_BUDGET) -> Iterator[NDArray[np.int64]]:
    """Positions grouped by similar length so that each padded batch holds at most `budget` tokens.

    A single text longer than the budget makes a batch of its own.
    """
    batch: list[int] = []
    for position in np.argsort(-lengths, kind="stable"):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield np.array(batch)
            batch = []
        batch.append(int(position))
    if batch:
        yield np.array(batch)


def pad(sequences: Sequence[list[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Right-padded b x t token ids and mask."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[i, : len(sequence)] = 1
    return ids.to(device), mask.to(device)


@torch.no_grad()
def embed(backbone: Backbone, tokens: Tokens, progress: Progress | None = None) -> Tensor:
    """Vectors of all texts from the frozen model.

    Args:
        backbone: the language model.
        tokens: the N texts, tokenized.
        progress: called with (texts done, texts in all) after each batch.

    Returns:
        N x h, float64.
    """
    vectors = torch.empty(
        len(tokens.sequences), backbone.hidden_size, dtype=torch.float64, device=backbone.device
    )
    done = 0
    for batch in batches(tokens.lengths):
        ids, mask = pad([tokens.sequences[i] for i in batch], backbone.pad_id, backbone.device)
        vectors[batch] = backbone.pool(backbone.hidden(ids, mask), mask)
        done += len(batch)
        if progress:
            progress(done, len(tokens.sequences))
    return vectors[tokens.index]
