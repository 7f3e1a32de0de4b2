"""Records of benchmark runs that never took place."""

import numpy as np
import pandas as pd

from gollum.analysis.metrics import auc_best_so_far, best_so_far, coverage_trace

METHODS = {"random": 0.0, "one_hot": 1.0, "pllm": 2.0}


def sweep(tasks=("alpha", "beta"), methods=None, seeds=5, n_iters=12, minimize=(), size=120):
    """Records and traces of greedy searches: the higher a method's skill, the better its guesses.

    A method is called by its surrogate and guesses each candidate's utility, skill times the
    truth plus noise.
    """
    methods = METHODS if methods is None else methods
    rows, traces = [], []
    for number, task in enumerate(tasks):
        utility = np.random.default_rng(number).gumbel(size=size)
        sign = -1 if task in minimize else 1
        for seed in range(seeds):
            start = np.random.default_rng([number, seed]).permutation(size)[:5]
            for surrogate, skill in methods.items():
                rng = np.random.default_rng([number, seed, *surrogate.encode()])
                guess = skill * utility + 3 * rng.normal(size=size)
                rest = np.setdiff1d(np.arange(size), start)
                order = np.concatenate([start, rest[np.argsort(-guess[rest])][:n_iters]])
                best, found = best_so_far(utility[order]), coverage_trace(utility, order)
                key = {
                    "task": task, "group": "made up", "surrogate": surrogate,
                    "model": "minilm" if surrogate == "pllm" else "", "preset": "fast",
                    "control": "none", "seed": seed,
                }  # fmt: skip
                last = {
                    "n_init": 5, "n_iters": n_iters, "batch_size": 1,
                    "top5_coverage": found.share[-1], "top5_found": found.found[-1],
                    "best": sign * best[-1], "auc": auc_best_so_far(utility, order),
                    "seconds": 1.5, "version": "0.1.0", "commit": "abc1234",
                    "data_sha256": f"{number:064x}", "model_revision": "", "precision": "",
                    "r2": skill / 4 if skill else np.nan, "nlpd": 1.0 - skill if skill else np.nan,
                    "msll": np.nan, "calibration_error": np.nan, "latent_distance_ratio": np.nan,
                }  # fmt: skip
                rows.append(key | last)
                traces += [
                    {
                        **key,
                        "iteration": iteration,
                        "best_so_far": sign * best[4 + iteration],
                        "top5_coverage": found.share[4 + iteration],
                    }
                    for iteration in range(n_iters + 1)
                ]
    return pd.DataFrame(rows), pd.DataFrame(traces)


def judged(tasks=8, seeds=4):
    """Methods whose ℓ/d̄ says how good they are, and R² how easy a task is."""
    rng, rows = np.random.default_rng(0), []
    for task in range(tasks):
        for number, method in enumerate(("a", "b", "c", "d")):
            for seed in range(seeds):
                found = 0.1 * task + 0.1 * number + 0.01 * rng.normal()
                rows.append((f"t{task}", method, seed, found, number + 0.02 * rng.normal(),
                             task + 0.1 * rng.normal()))  # fmt: skip
    columns = ["task", "surrogate", "seed", "top5_coverage", "latent_distance_ratio", "r2"]
    return pd.DataFrame(rows, columns=columns)
