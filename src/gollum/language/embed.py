"""Texts to token ids to vectors: identical texts once, batches by token budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from gollum.language.backbone import Backbone

TOKEN_BUDGET = 8192  # tokens of a batch, padding included
START = 256  # tokens that take about as long as starting a batch does
MULTIPLE = 16  # padded lengths are multiples of it: attention is then up to twice as fast
MULTIPLE_FLOAT32 = 4  # products take nearly all of its time, so padding costs what it adds
TEXTS_AT_ONCE = 10_000  # texts that the tokenizer gets at once; it needs some 10 kB for each
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token ids of the texts of a pool, distinct texts once.

    Attributes:
        ids: token ids of all distinct texts, special tokens included, one after the other.
        lengths: number of tokens of each distinct text.
        index: for each text, which of the distinct ones it is.
        limit: most tokens that the model takes.
        read: for each distinct text that was cut, by its number, how many characters were read.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    index: NDArray[np.int64]
    limit: int
    read: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def truncated(self) -> int:
        """How many of the distinct texts were cut."""
        return len(self.read)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each distinct text begins in `ids`."""
        return np.cumsum(self.lengths) - self.lengths

    def sequence(self, number: int) -> list[int]:
        """Token ids of one distinct text."""
        start = self.starts[number]
        tokens: list[int] = self.ids[start : start + self.lengths[number]].tolist()
        return tokens

    def padded(
        self,
        sequences: NDArray[np.int64],
        pad_id: int,
        device: torch.device,
        multiple: int = MULTIPLE,
    ) -> tuple[Tensor, Tensor]:
        """Token ids and mask of b distinct texts, b x t, padded on the right."""
        lengths = self.lengths[sequences, None]
        longest = int(lengths.max())
        place = np.arange(max(longest, min(padded_length(longest, multiple), self.limit)))
        real = place < lengths
        ids = np.full(real.shape, pad_id, dtype=np.int64)
        ids[real] = self.ids[(self.starts[sequences, None] + place)[real]]
        mask = torch.from_numpy(real.astype(np.int64))
        return torch.from_numpy(ids).to(device), mask.to(device)


def tokenize(backbone: Backbone, texts: Sequence[str], max_tokens: int = 512) -> Tokens:
    """Token ids of each distinct text, cut at `max_tokens` or at what the model can take.

    The model's prefix comes before each text and counts.
    """
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    distinct = list(number)
    limit = min(max_tokens, backbone.max_tokens)
    read, parts, lengths = dict[int, int](), list[NDArray[np.int32]](), list[int]()
    for start in range(0, len(distinct), TEXTS_AT_ONCE):
        ids, cut = _token_ids(backbone, distinct[start : start + TEXTS_AT_ONCE], limit)
        read |= {start + i: characters for i, characters in cut.items()}
        lengths += map(len, ids)
        parts.append(np.array([token for text in ids for token in text], dtype=np.int32))
    index = np.array([number[text] for text in texts], dtype=np.int64)
    return Tokens(
        np.concatenate(parts),
        np.array(lengths, dtype=np.int64),
        index,
        backbone.max_tokens,
        read,
    )


def _token_ids(
    backbone: Backbone, texts: list[str], limit: int
) -> tuple[list[list[int]], dict[int, int]]:
    """Token ids of some texts, and of those that were cut how many characters were read."""
    prefix, tokenizer = backbone.prefix, backbone.tokenizer
    only_ids = {"return_attention_mask": False, "return_token_type_ids": False}
    texts = [prefix + text for text in texts]
    full = tokenizer(texts, verbose=False, **only_ids)["input_ids"]
    read = {}
    if long := [i for i, ids in enumerate(full) if len(ids) > limit]:
        again = [texts[i] for i in long]
        known = {"return_offsets_mapping": True} if tokenizer.is_fast else {}
        cut = tokenizer(again, truncation=True, max_length=limit, **only_ids, **known)
        # A tokenizer that keeps no positions can't tell where it stopped.
        spans = cut["offset_mapping"] if known else [[(0, len(text))] for text in again]
        for i, ids, pieces in zip(long, cut["input_ids"], spans, strict=True):
            full[i] = ids
            read[i] = max(0, max(end for _, end in pieces) - len(prefix))
    return [ids or [backbone.blank_id] for ids in full], read


def padded_length(length: int, multiple: int = MULTIPLE) -> int:
    """Length that texts of up to `length` tokens are padded to."""
    return int(-(-length // multiple) * multiple)


def batches(
    lengths: NDArray[np.int64], budget: int = TOKEN_BUDGET, multiple: int = MULTIPLE
) -> Iterator[NDArray[np.int64]]:
    """Positions grouped by similar length so that each padded batch holds at most `budget` tokens.

    The longest come first. A batch ends where padding further texts to its length would cost more
    than starting another one. A single text longer than the budget makes a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    widths = -(-lengths[order] // multiple) * multiple
    start = 0
    while start < len(order):
        width = widths[start]
        most = max(1, budget // width)
        padding = np.cumsum(width - widths[start : start + most])
        count = max(1, int(np.searchsorted(padding, START, side="right")))
        yield order[start : start + count]
        start += count


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
        len(tokens), backbone.hidden_size, dtype=torch.float64, device=backbone.device
    )
    single = backbone.runtime.dtype == torch.float32
    done, multiple = 0, MULTIPLE_FLOAT32 if single else MULTIPLE
    for batch in batches(tokens.lengths, multiple=multiple):
        ids, mask = tokens.padded(batch, backbone.pad_id, backbone.device, multiple)
        vectors[batch] = backbone.pool(backbone.hidden(ids, mask), mask)
        done += len(batch)
        if progress:
            progress(done, len(tokens))
    if np.array_equal(tokens.index, np.arange(len(tokens))):
        return vectors  # a copy of a million rows would double the memory
    return vectors[tokens.index]


def random_vectors(backbone: Backbone, tokens: Tokens, seed: int) -> Tensor:
    """Standard normal vectors of the model's size, an independent one for each distinct text.

    Args:
        backbone: the language model, of which only the size matters.
        tokens: the N texts, tokenized.
        seed: of the draws.

    Returns:
        N x h, float64.
    """
    drawn = np.random.default_rng(seed).standard_normal((len(tokens), backbone.hidden_size))
    return torch.from_numpy(drawn[tokens.index]).to(backbone.device)
