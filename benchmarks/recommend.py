"""Seconds of a recommendation: the default beside what a user would pick instead, in one process.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/recommend.py --json benchmarks/results/recommend.json

Full-factorial tables of 1,000, 10,000 and 100,000 candidates (words in three or four columns), 30
of them measured, batches of 1, 8 and 96. `default` is what campaigns do; `baybe` its default
recommender (extra `peers`; left out where it is not installed); `botorch` a SingleTaskGP on one-hot
features with log-EI over all candidates, one choice after the other; `embeddings` the same on a
sentence encoder's vectors of the rows. All take turns. What is done once per table (features,
BayBE's search space) is counted apart. A cell that would take longer than --most seconds, told from
the ones before, is left out, and so are `embeddings` of more than 10,000 rows; one that did take
longer is not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from math import prod
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from botorch.acquisition import qLogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.optim import optimize_acqf_discrete
from botorch.sampling import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from plain import provenance

from gollum.acquisition.baselines import of_problem
from gollum.acquisition.model_based import make_strategy
from gollum.acquisition.policy import Policy
from gollum.acquisition.strategy import BatchRequest, unmeasured
from gollum.data.pool import Pool
from gollum.features.fixed.columns import one_hot
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.features.texts import embedded
from gollum.files import write_text
from gollum.runtime import Runtime, prepare_process, seeded
from gollum.text.template import Template

SHAPES = {1_000: (10, 10, 10), 10_000: (25, 20, 20), 100_000: (25, 20, 20, 10)}
COLUMNS = ("ligand", "base", "solvent", "additive")
MEASURED, BATCHES = 30, (1, 8, 96)
READ = 10_000  # rows at most that the encoder reads: minutes per 10,000
Choose = Callable[[int, int], list[int]]  # batch and seed to positions


def candidates(shape: tuple[int, ...]) -> Problem:
    """A full-factorial table, and results that add up with some noise."""
    rng = np.random.default_rng(0)
    codes = np.array(list(product(*map(range, shape))))
    table = pd.DataFrame(
        {c: [f"{c} {i:02}" for i in codes[:, j]] for j, c in enumerate(COLUMNS[: len(shape)])}
    )
    table.index = pd.Index([f"r{i + 1}" for i in range(len(table))], name="id")
    effects = [rng.normal(size=size) for size in shape]
    values = sum(e[codes[:, j]] for j, e in enumerate(effects)) + rng.normal(size=len(codes)) / 3
    pool = Pool("full-factorial", table, "yield", "maximize", values)
    template = Template.from_columns(pool)
    return Problem(pool, tuple(template.texts(pool)), template)


def default(problem: Problem, known: np.ndarray) -> Choose:
    """What campaigns do."""
    policy = Policy.of({"preset": "default"})
    setup = Setup(problem, policy, Runtime.resolve("auto"))
    strategy = make_strategy(setup, policy, starts=False)
    _ = strategy.surrogate  # features
    return asked(strategy, problem.pool, known)


def baybe(problem: Problem, known: np.ndarray) -> Choose:
    """BayBE's default."""
    return asked(of_problem(problem, ()), problem.pool, known)


def asked(strategy, pool: Pool, known: np.ndarray) -> Choose:
    """A strategy of this package or one in its form."""
    ids, rest = pool.ids[known].tolist(), unmeasured(len(pool), known)

    def choose(count: int, seed: int) -> list[int]:
        request = BatchRequest(count, rest, ties=(seed,))
        return pool.positions(
            strategy.choose(ids, pool.utility[known], request, (seed,)).ids
        ).tolist()

    return choose


def botorch(problem: Problem, known: np.ndarray) -> Choose:
    """A process with one-hot features."""
    return on_features(torch.from_numpy(one_hot(problem.pool).matrix), problem.pool, known)


def embeddings(problem: Problem, known: np.ndarray) -> Choose:
    """A process on embeddings of the rows."""
    setup = Setup(problem, Policy.of({"preset": "default"}), Runtime.resolve("auto"))
    return on_features(embedded(setup).matrix, problem.pool, known)


def on_features(features: torch.Tensor, pool: Pool, known: np.ndarray) -> Choose:
    """BoTorch as its tutorials have it."""
    rest = torch.from_numpy(unmeasured(len(pool), known))
    y = torch.from_numpy(pool.utility[known].copy()).unsqueeze(1)

    def choose(count: int, seed: int) -> list[int]:
        with seeded(seed):
            model = SingleTaskGP(features[torch.from_numpy(known)].double(), y)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            sampler = SobolQMCNormalSampler(torch.Size([128]), seed=seed)
            criterion = qLogExpectedImprovement(model, y.max(), sampler=sampler)
            choices = features[rest].double()
            picked, _ = optimize_acqf_discrete(criterion, count, choices, max_batch_size=2048)
        return [int((choices == row).all(dim=1).nonzero()[0]) for row in picked]

    return choose


def main() -> None:
    """All sizes, batches and packages in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--most", type=float, default=300.0, help="seconds of a cell")
    options = parser.parse_args()
    prepare_process(None)
    warnings.simplefilter("ignore")
    every = {"default": default, "baybe": baybe, "botorch": botorch, "embeddings": embeddings}
    if find_spec("baybe") is None:
        del every["baybe"]
    seconds: dict[str, dict] = {path: {"once": {}, "recommend": {}} for path in every}
    for size in options.sizes:
        problem = candidates(SHAPES[size])
        known = np.random.default_rng(1).choice(prod(SHAPES[size]), MEASURED, replace=False)
        made: dict[str, Choose] = {}
        paths = {p: make for p, make in every.items() if p != "embeddings" or size <= READ}
        for path, make in paths.items():
            start = time.perf_counter()
            made[path] = make(problem, known)
            seconds[path]["once"][size] = time.perf_counter() - start
        for count in options.batches:
            taken: dict[str, list[float]] = {path: [] for path in paths}
            for repeat, path in product(range(options.repeats), paths):
                foreseen = expected(seconds[path]["recommend"], size, count)
                if max([foreseen, *taken[path]]) > options.most:
                    continue
                start = time.perf_counter()
                picked = made[path](count, repeat)
                if len(set(picked)) != count:
                    sys.exit(f"{path}, {size}: asked for {count}, got {picked}.")
                taken[path].append(time.perf_counter() - start)
                print(f"{path}, {size}, q = {count}: {taken[path][-1]:.3g} s", flush=True)
            for path, values in taken.items():
                if values:
                    seconds[path]["recommend"].setdefault(size, {})[count] = median(values)
            save(options.json, seconds)


def expected(known: dict[int, dict[int, float]], size: int, count: int) -> float:
    """Seconds of a cell at most, if they grow with candidates and batch."""
    near = [
        taken * max(1, size / s) * max(1, count / c)
        for s, row in known.items()
        for c, taken in row.items()
    ]
    return min(near, default=0.0)


def save(path: Path | None, seconds: dict[str, dict]) -> None:
    """What is known so far."""
    if path is not None:
        ratios = {
            peer: {
                size: {
                    q: taken / seconds["default"]["recommend"][size][q] for q, taken in row.items()
                }
                for size, row in found["recommend"].items()
            }
            for peer, found in seconds.items()
            if peer != "default"
        }
        record = {**provenance(), "measured": MEASURED, "seconds": seconds, "ratio": ratios}
        values = json.loads(json.dumps(record), parse_float=lambda x: float(f"{float(x):.4g}"))
        write_text(path, json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
