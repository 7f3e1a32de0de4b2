"""What each part of the engine gains: seconds of a step and of scoring with it switched off.

python benchmarks/ablation.py --json benchmarks/results/ablation.json

Embedded MiniLM on `bh-ethyl`: one evaluation of loss and gradient at n = 35, and the features of
all candidates. Every repetition measures the whole engine next to the one with a part less, so
that a noisy machine disturbs both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from plain import provenance, reset_malloc

from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.features.representations import Setup
from gollum.files import write_text
from gollum.language import embed, loading
from gollum.language.engine import AdaptedText, Fused, Masks
from gollum.runtime import Runtime, prepare_process, seeded
from gollum.settings import LoraSettings, Settings
from gollum.surrogates.gaussian_process import DeepKernelGP
from gollum.surrogates.specs import surrogate_factory


def padded_to_the_longest(
    self: embed.Tokens, sequences: Any, pad_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, as long as the pool's longest text."""
    place = np.arange(int(self.lengths.max()))
    real = place < self.lengths[sequences, None]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = self.ids[(self.starts[sequences, None] + place)[real]]
    return torch.from_numpy(ids).to(device), torch.from_numpy(real.astype(np.int64)).to(device)


def fours(lengths: Any) -> Iterator[Any]:
    """Batches of four in file order."""
    yield from np.array_split(np.arange(len(lengths)), range(4, len(lengths), 4))


@contextmanager
def plain_batches() -> Iterator[None]:
    """Batches of four texts, all padded to the pool's longest."""
    with (
        mock.patch.object(embed.Tokens, "padded", padded_to_the_longest),
        mock.patch.object(embed, "batches", fours),
    ):
        yield


def torch_masks(self: Masks, x: torch.Tensor) -> torch.Tensor:
    """Dropout masks from PyTorch's own generator."""
    return torch.empty_like(x).bernoulli_(1.0 - self.p).div_(1.0 - self.p)


def plain_call(self: Any, x: torch.Tensor) -> torch.Tensor:
    """PEFT's own forward pass."""
    result: torch.Tensor = type(self.layer).forward(self.layer, x)
    return result


@contextmanager
def default_malloc() -> Iterator[None]:
    """Glibc as a process finds it."""
    reset_malloc()
    try:
        yield
    finally:
        prepare_process(None)


@contextmanager
def torch_attention() -> Iterator[None]:
    """PyTorch's attention, in a model that is read anew; so is the next one afterwards."""
    loading._LOADED.clear()
    try:
        with mock.patch.object(loading, "ATTENTION", "sdpa"):
            yield
    finally:
        loading._LOADED.clear()


# What is switched off, and how: before the model is built, or around the measurement.
BUILT: dict[str, Callable[[], Any]] = {
    "frozen layers computed once": lambda: mock.patch.object(
        AdaptedText, "_splits_exactly", return_value=False
    ),
    "bfloat16": nullcontext,
    "own attention": torch_attention,
}
AROUND: dict[str, Callable[[], Any]] = {
    "batches by length": plain_batches,
    "padding to multiples of 16": lambda: mock.patch.object(embed, "MULTIPLE", 1),
    "fused adapters": lambda: mock.patch.object(Fused, "__call__", plain_call),
    "masks from SFC64": lambda: mock.patch.object(Masks, "_draw", torch_masks),
    "adapters merged for scoring": lambda: mock.patch.object(Fused, "merge"),
    "memory kept by malloc": default_malloc,
}


class Measured:
    """One surrogate, timed at one step and at scoring."""

    def __init__(self, precision: str, options: argparse.Namespace, masks: bool = False) -> None:
        self.problem = load_problem(DataConfig(task="bh-ethyl"))
        self.runtime = Runtime.resolve("cpu", precision)
        settings = Settings(lora=LoraSettings(shared_masks=masks))
        self.surrogate = surrogate_factory("pllm_phi")(Setup(self.problem, settings, self.runtime))
        self.every = np.arange(len(self.problem.pool))[: options.candidates]
        self.rows = np.random.default_rng(0).permutation(self.every)[: options.rows]
        with seeded(0):
            self.surrogate.representation.reset()
            self.targets = torch.randn(len(self.rows), dtype=torch.float64)
        self.model = DeepKernelGP(self.surrogate.representation)

    def seconds(self, steps: int) -> tuple[float, float]:
        """Of one step (median of several) and of the features of all candidates."""
        text = self.surrogate.representation.inner.inner.text
        text._rows = None  # the batches of another padding
        self.model.train()
        times = []
        for _ in range(steps + 1):
            start = time.perf_counter()
            self.model.loss(self.rows, self.targets).backward()
            self.model.zero_grad()
            times.append(time.perf_counter() - start)
        self.model.eval()
        start = time.perf_counter()
        with torch.no_grad():
            self.model.features(self.every)
        return median(times[1:]), time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    """Measure every part in turn and print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=35)
    parser.add_argument("--candidates", type=int, help="how many are scored; all by default")
    options = parser.parse_args(arguments)
    prepare_process(None)
    whole = Measured("auto", options)
    lines: dict[str, dict[str, float]] = {}
    cases = [*((n, "built") for n in BUILT), *((n, "around") for n in AROUND)]
    cases.append(("masks shared between modules (fast only)", "shared"))
    for name, kind in cases:
        other, around = whole, nullcontext
        if kind == "built":
            with BUILT[name]():
                precision = "float32" if name == "bfloat16" else "auto"
                other = Measured(precision, options)
        elif kind == "around":
            around = AROUND[name]
        else:
            other = Measured("auto", options, masks=True)
        pairs = []
        for repeat in range(options.repeats + 1):
            with around():
                off = other.seconds(options.steps)
            on = whole.seconds(options.steps)
            if repeat:
                pairs.append((on, off) if kind == "shared" else (off, on))
        middle = partial(np.median, axis=0)
        off, on = middle([p[0] for p in pairs]), middle([p[1] for p in pairs])
        lines[name] = {
            "step": on[0], "step_without": off[0], "step_ratio": off[0] / on[0],
            "score": on[1], "score_without": off[1], "score_ratio": off[1] / on[1],
        }  # fmt: skip
        print(name, {k: round(float(v), 3) for k, v in lines[name].items()}, flush=True)
    if options.json:
        text = json.dumps({**provenance(), "rows": options.rows, "parts": lines}, indent=2)
        write_text(options.json, text + "\n")


if __name__ == "__main__":
    main()
