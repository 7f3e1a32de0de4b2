"""What predicts a product that nobody has run: models of 60 results of each of four others.

Each model sees the results of four Buchwald-Hartwig products and predicts all of the fifth.
`combined` describes halides that only one product has by how they differ within it, as campaigns
with sources do; the others read whole rows as words: frozen (`static`), with a projection
(`pllm`), and with the language model fine-tuned as well (`pllm_phi`), both trained by the marginal
likelihood of the sources. Prints and keeps Spearman's correlation, and the share of the product's
top 5 % among as many candidates that a model likes best.

    python benchmarks/unseen.py --seeds 3 --output benchmarks/results/unseen.json
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.benchmark.transfer import with_sources
from gollum.features.related import together
from gollum.features.representations import Setup
from gollum.runtime import Runtime
from gollum.surrogates.sources import STREAM
from gollum.surrogates.specs import surrogate_factory

PRODUCTS = ("bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl")
PRESETS = {"combined": "default", "static": "fast", "pllm": "fast", "pllm_phi": "fast"}


def predicted(surrogate: str, product: str, seed: int) -> np.ndarray:
    """What a model of the other products expects of each candidate."""
    others = [other for other in PRODUCTS if other != product]
    keys = {"data.task": product, "surrogate": "combined", "protocol": "transfer", "seed": seed,
            "transfer.sources": others, "transfer.results": 60}  # fmt: skip
    config = load_config(None, keys.items())
    problem = with_sources(load_problem(config.data), config)
    own = {"data.task": product, "surrogate": surrogate, "preset": PRESETS[surrogate]}
    settings = load_config(None, own.items())
    runtime = Runtime.resolve("cpu", settings.model.precision)
    factory = surrogate_factory(surrogate)
    if surrogate == "combined":
        fitted = factory(Setup(problem, settings, runtime)).fit([], np.array([]), STREAM)
        return fitted.standardised(np.arange(len(problem.pool)))[0].numpy()
    joined, task = together(problem, problem.sources)
    texts = tuple(
        t for s in (problem, *map(_as_problem(problem), problem.sources)) for t in s.texts
    )
    joined = replace(joined, texts=texts)
    values = np.concatenate([source.standardised for source in problem.sources])
    model = factory(Setup(joined, settings, runtime))
    fitted = model.fit([*joined.pool.ids[task > 0]], values, (seed, 0))
    return fitted.standardised(np.flatnonzero(task == 0))[0].detach().cpu().numpy()


def _as_problem(problem):
    return lambda source: replace(problem, texts=problem.texts_of(source.table))


def main() -> None:
    """Run what is not in the file yet, and print means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--surrogates", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/unseen.json"))
    known = parser.parse_args()
    rows = json.loads(known.output.read_text("utf-8")) if known.output.exists() else []
    done = {(row["surrogate"], row["task"], row["seed"]) for row in rows}
    for seed in range(known.seeds):
        for product in PRODUCTS:
            for surrogate in known.surrogates:
                if (surrogate, product, seed) in done:
                    continue
                began = time.perf_counter()
                mean = predicted(surrogate, product, seed)
                config = load_config(None, {"data.task": product, "surrogate": "random"}.items())
                utility = load_problem(config.data).pool.utility
                count = round(0.05 * len(utility))
                best = set(np.argsort(-utility)[:count]) & set(np.argsort(-mean)[:count])
                rows.append({
                    "surrogate": surrogate, "task": product, "seed": seed,
                    "spearman": round(float(spearmanr(mean, utility).statistic), 4),
                    "top5": round(len(best) / count, 4),
                    "seconds": round(time.perf_counter() - began, 1),
                })  # fmt: skip
                print(rows[-1], flush=True)
                known.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    for surrogate in known.surrogates:
        own = [row for row in rows if row["surrogate"] == surrogate]
        for what in ("spearman", "top5"):
            print(surrogate, what, round(float(np.mean([row[what] for row in own])), 3))


if __name__ == "__main__":
    main()
