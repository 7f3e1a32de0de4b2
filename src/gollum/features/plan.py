"""What a language model will need for a pool, told before it starts: memory and time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gollum.cachefile import amount
from gollum.data.pool import Pool
from gollum.errors import DataError, ModelError
from gollum.language.embed import Tokens
from gollum.runtime import Runtime
from gollum.settings import Settings

if TYPE_CHECKING:
    from gollum.language.backbone import Backbone

PROCESS = 2**30  # Python, PyTorch and what a batch needs, in bytes
WORTH_TELLING = 500_000  # tokens below which it takes seconds
SAMPLE = 2048  # tokens of the batch that is timed


@dataclass(frozen=True)
class Plan:
    """Needs of one pool.

    Attributes:
        memory: bytes that stay in memory, by what they are for.
        activations: bytes of the frozen layers' activations; 0 where there are none.
        allowed: bytes of memory that may be used.
    """

    memory: dict[str, int]
    activations: int
    allowed: int

    @property
    def total(self) -> int:
        """Bytes that must be in memory."""
        return sum(self.memory.values())

    @property
    def activations_budget(self) -> int:
        """Bytes of memory left for activations; what is larger goes to a file."""
        return self.allowed - self.total

    def check(self, pool: Pool) -> None:
        """Refuse what can't fit.

        Raises:
            DataError: with what needs how much, and the ways out.
        """
        if self.total <= self.allowed:
            return
        largest = sorted(self.memory.items(), key=lambda part: -part[1])
        needs = ", ".join(f"{what} {amount(size)}" for what, size in largest[:3])
        raise DataError(
            f"{pool.name}: {len(pool):,} candidates need about {amount(self.total)} of memory "
            f"({needs}), but {amount(self.allowed)} are allowed; raise --memory_gb if the machine "
            "has more, take a surrogate or a model with fewer features, or fewer candidates."
        )

    def note(self, backbone: Backbone, tokens: Tokens, adapted: bool, fraction: float) -> str:
        """One sentence with time and memory, after timing one batch; empty for small pools."""
        count = int(tokens.lengths.sum())
        if count < WORTH_TELLING:
            return ""
        once = count * _seconds_per_token(backbone, tokens)
        each = ""
        if adapted:
            from gollum.language.engine import top_layers, transformer_layers

            depth = len(transformer_layers(backbone.model))
            share = len(top_layers(depth, fraction)) / depth
            each = f" and {_duration(once * share)} in every iteration"
            once *= 1.0 - share
        stored = ""
        if self.activations > self.activations_budget:
            stored = f", and {amount(self.activations)} of disk"
        return (
            f"{len(tokens):,} different texts, {count / 1e6:.1f} million tokens: reading them "
            f"takes about {_duration(once)} once{each}, {amount(self.total)} of memory{stored}."
        )


def plan(
    pool: Pool,
    backbone: Backbone,
    tokens: Tokens,
    settings: Settings,
    *,
    adapted: bool = False,
    projected: bool = False,
) -> Plan:
    """Count what will be in memory at the same time.

    Args:
        pool: the candidates.
        backbone: the language model.
        tokens: their texts, tokenized.
        settings: every number.
        adapted: whether the language model is fine-tuned.
        projected: whether a projection follows.
    """
    size, width = len(pool), backbone.hidden_size
    weights = sum(p.numel() * p.element_size() for p in backbone.model.parameters())
    memory = {
        "the process": PROCESS,
        "the model": weights,
        "the table": int(pool.table.memory_usage(deep=True).sum()),
        "the texts": 2 * int(tokens.lengths.sum()) * 4 + len(tokens.index) * 100,
        "scores": 4 * size * 8,
    }
    if projected:
        memory["projected features"] = size * settings.projection.size * 8
    elif adapted:
        memory["features"] = size * width * 8
    if not adapted or settings.optimizer.fine_tuning:
        texts = len(tokens.index)  # one per row, or of levels
        copies = 1 if len(tokens) == texts else 2
        memory["embeddings"] = copies * texts * width * 8
    activations = 0
    if adapted:
        activations = int(tokens.lengths.sum()) * width * backbone.runtime.dtype.itemsize
    return Plan(memory, activations, round(settings.memory_gb * 1e9))


def check_weights(settings: Settings, runtime: Runtime) -> None:
    """Refuse a model that can't fit, before its weights are read.

    Raises:
        ModelError: with its size and the ways out.
    """
    from gollum.language.loading import weights_size

    model = settings.model
    size = weights_size(
        model.name, runtime.dtype, bits=model.bits, trust_remote_code=model.trust_remote_code
    )
    allowed, place = round(settings.memory_gb * 1e9), "allowed by --memory_gb"
    if runtime.device.type == "cuda":
        allowed, place = torch.cuda.mem_get_info(runtime.device)[0], "free on the GPU"
    if size > allowed:
        precision = str(runtime.dtype).removeprefix("torch.")
        raise ModelError(
            f"model '{model.name}': its weights take {amount(size)} in {precision}, but "
            f"{amount(allowed)} are {place}; take a smaller model, --model.bits 4 or 8, or a "
            "machine with more memory."
        )


@torch.no_grad()
def _seconds_per_token(backbone: Backbone, tokens: Tokens) -> float:
    """Time of the second of two passes of texts of middle length."""
    middle = np.argsort(tokens.lengths, kind="stable")[len(tokens) // 2 :]
    count = max(1, SAMPLE // int(tokens.lengths[middle[0]]))
    ids, mask = tokens.padded(middle[:count], backbone.pad_id, backbone.device)
    backbone.hidden(ids, mask)
    start = time.perf_counter()
    backbone.hidden(ids, mask)[0, 0, 0].item()  # waits for a GPU
    return (time.perf_counter() - start) / int(mask.sum())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
