"""Which scale percentages are best learned on: what is found, and how honest intervals are.

    python benchmarks/scales.py --json benchmarks/results/scales.json

Tables whose results are percentages, from ten poor experiments on, ten rounds of five. `identity`
learns results as they are, `logit` between the bounds, `auto` on the scale that predicts left-out
results best. Judged are the share of the top 5 % found and, at the end, predictions of all that was
not measured: the share inside 95 % intervals, the share of these intervals that leaves 0 to 100,
and the log probability of results to the accuracy of their digits, with bounds and without.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gollum.acquisition.model_based import ModelBased, make_strategy
from gollum.acquisition.policy import Policy
from gollum.acquisition.strategy import BatchRequest, unmeasured
from gollum.analysis.metrics import top_mask
from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.campaign.calibration import INTERVAL
from gollum.data.initial import below_median
from gollum.data.outcomes import Outcome, Scale
from gollum.features.representations import Setup
from gollum.files import write_text
from gollum.runtime import Runtime, commit, prepare_process
from gollum.surrogates.scales import best_scale

TASKS = (
    "bh-cf3", "bh-methoxy", "bh-ethyl", "bh-2-pyridyl", "bh-3-pyridyl", "deoxyfluorination",
    "amide-coupling", "suzuki-phosphines", "n-alkylation", "reductive-amination",
    "suzuki-informer", "suzuki-edboplus-conversion", "suzuki-edboplus-selectivity",
    "reizman-suzuki-1", "suzuki-process",
)  # fmt: skip
SCALES = ("identity", "logit", "auto")
START, ROUNDS, BATCH = 10, 10, 5


def run(strategy: ModelBased, values: np.ndarray, transform: str, seed: int) -> dict[str, Any]:
    """One optimization, and what its last fit says of the rest."""
    pool, top = strategy.pool, top_mask(values)
    known = below_median(values, START, seed).tolist()
    outcome = Outcome(name="y", bounds=(0.0, max(100.0, values.max())), transform=transform)
    used = list[str]()
    began = time.perf_counter()
    for number in range(ROUNDS + 1):
        ids, y, stream = pool.ids[known], values[known], (seed, number)
        scale = best_scale(strategy.surrogate, outcome, ids, y, stream)
        used.append(scale.transform)
        if number == ROUNDS:
            break
        request = BatchRequest(BATCH, unmeasured(len(pool), np.array(known)))
        chosen = strategy.choose(ids, scale.utility(y), request, stream)
        known += pool.positions(chosen.ids).tolist()
    seconds = time.perf_counter() - began
    rest = unmeasured(len(pool), np.array(known))
    return {
        "found": float(top[known].sum() / top.sum()),
        "seconds": round(seconds, 2),
        "logit_rounds": used.count("logit"),
        **judged(strategy, pool.ids[known], values[known], rest, values[rest], scale, seed),
    }


def judged(
    strategy: ModelBased, ids: Any, y: Any, rest: Any, truth: Any, scale: Scale, seed: int
) -> dict[str, float]:
    """Predictions of what was not measured, without and with bounds."""
    fitted = strategy.surrogate.fit(ids, scale.utility(y), (seed, ROUNDS))
    mean, variance = fitted.marginals(rest)
    deviation = (variance + fitted.noise * fitted.scale.square()).sqrt().numpy()
    mean, found = mean.numpy(), dict[str, float]()
    for name, used in (("open", Scale(scale.transform)), ("bounded", scale)):
        if name == "open" and scale.transform != "identity":
            continue
        low, high = used.interval(mean, INTERVAL * deviation)
        found |= {
            f"inside_{name}": float(((low <= truth) & (truth <= high)).mean()),
            f"outside_{name}": float(((low < 0) | (high > 100)).mean()),
            f"width_{name}": float((high - low).mean()),
            f"log_probability_{name}": float(used.log_probability(truth, mean, deviation).mean()),
            f"mae_{name}": float(np.abs(used.values(mean) - truth).mean()),
        }
    return found


def main() -> None:
    """All tasks, scales and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--surrogate", default="wordless")
    known = parser.parse_args()
    prepare_process(1)
    rows = []
    for task in known.tasks:
        problem = load_problem(DataConfig(task=task))
        policy = Policy.of({"surrogate": known.surrogate, "preset": "default"})
        problem = replace(problem, pool=problem.pool.labelled())
        strategy = make_strategy(
            Setup(problem, policy, Runtime.resolve("auto", "float32")), policy, starts=False
        )
        for seed in range(known.seeds):
            for transform in SCALES:
                values = np.clip(problem.pool.values, 0.0, None)
                rows.append(
                    {"task": task, "seed": seed, "scale": transform}
                    | run(strategy, values, transform, seed)
                )
                print(rows[-1], flush=True)
        content = {"commit": commit(), "surrogate": known.surrogate, "rows": rows}
        write_text(Path(known.json), json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
