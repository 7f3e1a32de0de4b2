"""A language model that turns token ids into token vectors, and those into one vector per text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gollum.language.pooling import POOLINGS
from gollum.notes import Note
from gollum.runtime import Runtime


@dataclass(frozen=True, eq=False)
class Backbone:
    """A language model that turns token ids into token vectors.

    Attributes:
        name: as the user gave it.
        model: the encoder (for encoder-decoders) or the whole model, frozen, in eval mode.
        tokenizer: its tokenizer.
        pooling: name of a function in `pooling.POOLINGS`.
        revision: sha256 of the weights, or the hub's commit.
        runtime: device and precision.
        normalize: whether pooled vectors are scaled to length 1.
        prefix: what is put before every text.
        reads: "text", or the kind of notation that it was trained on.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str
    revision: str
    runtime: Runtime
    normalize: bool = False
    prefix: str = ""
    reads: str = "text"

    def describe(self) -> Note:
        """A note: how texts become vectors, and where."""
        prefix = f"'{self.prefix}' before each text, " if self.prefix else ""
        length = " of length 1" if self.normalize else ""
        precision = str(self.runtime.dtype).removeprefix("torch.")
        told = (
            f"{prefix}{self.pooling} pooling, {self.hidden_size} features{length}, {precision} on "
            f"{self.runtime.device}."
        )
        return Note("model", self.name, told)

    @property
    def hidden_size(self) -> int:
        """Length of a token vector, read from the model."""
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.runtime.device

    @property
    def pad_id(self) -> int:
        """Token id that fills the padding; masked, so any will do where the tokenizer has none."""
        return self._first_token("pad_token_id", "eos_token_id")

    @property
    def blank_id(self) -> int:
        """Token id that stands for a text without tokens."""
        return self._first_token("eos_token_id", "bos_token_id", "pad_token_id")

    def _first_token(self, *names: str) -> int:
        """The first of these special tokens that the tokenizer has, or 0."""
        ids = (getattr(self.tokenizer, name, None) for name in names)
        return int(next((i for i in ids if i is not None), 0))

    @property
    def max_tokens(self) -> int:
        """Longest text that the model's positions and its tokenizer allow."""
        positions = getattr(self.model.config, "max_position_embeddings", None) or 0
        for name, module in self.model.named_modules():
            # RoBERTa and MPNet count positions from behind their padding index.
            offset = getattr(module, "padding_idx", None)
            if name.endswith("position_embeddings") and offset is not None:
                positions = module.num_embeddings - offset - 1
        unlimited = 10**9  # XLNet says so with −1
        return int(min(positions if positions > 0 else unlimited, self.tokenizer.model_max_length))

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token vectors b x t x h of b x t token ids and mask, in the runtime's precision."""
        # Attention is faster without a mask; on a GPU the question would cost a synchronisation.
        needed = None if mask.device.type == "cpu" and bool(mask.all()) else mask
        hidden: Tensor = self.model(input_ids=ids, attention_mask=needed).last_hidden_state
        return hidden

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Pool b x t x h token vectors (mask b x t) into b x h, float64; of length 1 if asked to.

        Sums are in twice the precision of the token vectors.
        """
        wider = torch.float32 if hidden.dtype == torch.bfloat16 else torch.float64
        pooled = POOLINGS[self.pooling](hidden.to(wider), mask).double()
        return nn.functional.normalize(pooled) if self.normalize else pooled
