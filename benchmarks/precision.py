"""What bfloat16 changes: the same fits in both precisions, and in float32 with another seed.

python benchmarks/precision.py --results benchmarks/results/precision.csv

`pllm_phi` is fitted to random rows of the five Buchwald–Hartwig products, once in each precision
with the same weights and dropout masks, and once more in float32 with other ones: the yardstick,
since a run takes one draw of them as readily as another. Rows of the table compare a fit with
the float32 one. Fits that are in the file already are not made again.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from gollum.acquisition.scoring import Aim, score
from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.features.representations import Setup
from gollum.runtime import Runtime, prepare_process
from gollum.surrogates.base import Fitted
from gollum.surrogates.specs import surrogate_factory

PRODUCTS = ("bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl")
OTHER = 1000  # added to the seed for other weights and masks


def compared(one: Fitted, other: Fitted, criterion: str) -> dict[str, float]:
    """How much two fits to the same measurements agree on what to measure next."""
    rows = np.setdiff1d(np.arange(len(one.pool)), one.rows)
    values = [score(fitted, rows, Aim(criterion)).numpy() for fitted in (one, other)]
    (mean, variance), (mean_other, _) = one.marginals(rows), other.marginals(rows)
    best, best_other = (np.argsort(-value) for value in values)
    utility = one.pool.utility[rows]
    return {
        "same_choice": float(best[0] == best_other[0]),
        "rank_of_choice": float(1 + np.flatnonzero(best == best_other[0])[0]),
        "top10_shared": len(np.intersect1d(best[:10], best_other[:10])) / 10,
        "rank_correlation": float(spearmanr(*values).statistic),
        "mean_shift": float(((mean_other - mean).abs() / variance.sqrt()).median()),
        "utility_gained": float(utility[best_other[0]] - utility[best[0]]),
    }


def measure(task: str, preset: str, n: int, seeds: list[int]) -> list[dict[str, object]]:
    """Rows of the table for one product, preset and number of measurements."""
    keys = {"data.task": task, "surrogate": "pllm_phi", "preset": preset}
    config = load_config(None, keys.items())
    problem = load_problem(config.data)
    ids = np.array([str(i) for i in problem.pool.ids])
    order = [np.random.default_rng(seed).permutation(len(ids))[:n] for seed in seeds]
    fits: dict[tuple[str, int], Fitted] = {}
    for precision in ("float32", "bfloat16"):
        runtime = Runtime.resolve("cpu", precision)
        surrogate = surrogate_factory("pllm_phi")(Setup(problem, config, runtime))
        for seed, rows in zip(seeds, order, strict=True):
            streams = (seed, OTHER + seed) if precision == "float32" else (seed,)
            for stream in streams:
                utility = problem.pool.utility[rows]
                fits[precision, stream] = surrogate.fit(ids[rows], utility, (stream,))
    lines = []
    for seed in seeds:
        reference = fits["float32", seed]
        for what, key in (("bfloat16", ("bfloat16", seed)), ("seed", ("float32", OTHER + seed))):
            about = {"task": task, "preset": preset, "n": n, "seed": seed, "changed": what}
            lines.append(about | compared(reference, fits[key], config.acquisition))
    return lines


def main() -> None:
    """Fit, write after every cell, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["fast", "paper"])
    parser.add_argument("--products", nargs="+", default=list(PRODUCTS))
    parser.add_argument("--counts", nargs="+", type=int, default=[10, 35, 60])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    prepare_process(options.threads)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    known = pd.read_csv(options.results) if options.results.exists() else pd.DataFrame()
    for preset, n, task in product(options.presets, options.counts, options.products):
        done = set()
        if len(known):
            same = (known.task == task) & (known.preset == preset) & (known.n == n)
            done = set(known[same].seed)
        seeds = [seed for seed in range(options.seeds) if seed not in done]
        if seeds:
            known = pd.concat([known, pd.DataFrame(measure(task, preset, n, seeds))])
            known.round(4).to_csv(options.results, index=False, lineterminator="\n")
    figures = [c for c in known if c not in ("task", "preset", "n", "seed", "changed")]
    print(known.groupby(["preset", "n", "changed"])[figures].mean().round(3).to_string())


if __name__ == "__main__":
    main()
