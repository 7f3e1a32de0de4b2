"""What another busy process costs: seconds of fits beside one, over seconds alone.

python benchmarks/beside.py --json     measure, and keep the figures in results/beside.json

Every laptop has another busy process. Each cell is a process of its own: fits of PLLMφ to ten
reactions with as many threads as there are cores, whose waiting threads sleep (as this package has
it) or spin (as OpenMP has it by itself), alone or beside a process that counts. Cells take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).resolve().parent / "results" / "beside.json"
WAITING = {
    "sleep": {},
    "spin": {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
}


def fits(surrogate: str, count: int) -> None:
    """Print seconds of some fits, the first of which only warms up."""
    import numpy as np

    from gollum.benchmark.config import load_config
    from gollum.benchmark.problem import load_problem
    from gollum.features.representations import Setup
    from gollum.runtime import Runtime, prepare_process
    from gollum.surrogates.specs import surrogate_factory

    prepare_process(None)
    config = load_config(None, {"data.task": "bh-ethyl", "preset": "fast"}.items())
    problem = load_problem(config.data)
    made = surrogate_factory(surrogate)(Setup(problem, config, Runtime.resolve("cpu")))
    rows = np.random.default_rng(0).permutation(len(problem.pool))[:10]
    ids, utility = [str(i) for i in problem.pool.ids[rows]], problem.pool.utility[rows]
    made.fit(ids, utility, (0,))
    start = time.perf_counter()
    for seed in range(count):
        made.fit(ids, utility, (seed,))
    print(time.perf_counter() - start)


def count_forever() -> None:
    """Keep a core busy."""
    while True:
        sum(range(100_000))


def measured(options: argparse.Namespace, waiting: str, busy: bool) -> float:
    """Seconds of one cell."""
    command = [sys.executable, __file__, "--cell", options.surrogate, "--fits", str(options.fits)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    other = multiprocessing.Process(target=count_forever, daemon=True)
    if busy:
        other.start()
    try:
        answer = subprocess.check_output(command, env={**environment, **WAITING[waiting]})
    finally:
        if busy:
            other.terminate()
    return float(answer.split()[-1])


def main() -> None:
    """Measure all cells in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surrogate", default="pllm_phi_levels")
    parser.add_argument("--fits", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        fits(options.cell, options.fits)
        return
    from plain import provenance

    seconds: dict[str, list[float]] = {}
    for _, waiting, busy in product(range(options.repeats), WAITING, (False, True)):
        name = f"{waiting}, {'beside a busy process' if busy else 'alone'}"
        seconds.setdefault(name, []).append(measured(options, waiting, busy))
        print(f"{name}: {seconds[name][-1]:.3g} s", flush=True)
    middle = {name: median(values) for name, values in seconds.items()}
    ratios = {w: middle[f"{w}, beside a busy process"] / middle[f"{w}, alone"] for w in WAITING}
    print({waiting: round(ratio, 2) for waiting, ratio in ratios.items()})
    if options.json:
        about = {**provenance(), "surrogate": options.surrogate, "fits": options.fits}
        record = {"about": about, "seconds": seconds, "ratio_to_alone": ratios}
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
