"""Several objectives: hypervolume found by each way of choosing, on tables that are measured.

    python benchmarks/hypervolume.py --json benchmarks/results/hypervolume.json
    python benchmarks/hypervolume.py --json benchmarks/results/hypervolume.json --seeds 3 \
        --tasks suzuki-edboplus reizman-1 --surrogate pllm_phi --ways front apart

From six random experiments on, six rounds of four. `front` is what campaigns do (qLogNEHVI),
`scalarization` qLogNParEGO, `first` optimizes the first objective alone, `random` is chance, and
`baybe` BayBE's Pareto objective as its users have it (extra `peers`; only if named by --ways).
`apart` is `front` with a language model for each outcome instead of one for all. What the file
holds already is not run again.
Judged is the hypervolume of what was measured, as a share of that of the whole table, down to its
worst values, after each round.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gollum.acquisition.baselines import of_problem
from gollum.acquisition.model_based import ModelBased, Modelled, make_strategy, models_of
from gollum.acquisition.policy import Policy
from gollum.acquisition.several import select_several
from gollum.acquisition.strategy import BatchRequest, Observed, unmeasured
from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.data.fronts import hypervolume
from gollum.data.outcomes import Goal, Outcome
from gollum.features.representations import Setup
from gollum.files import write_text
from gollum.runtime import Runtime, commit, prepare_process

TASKS = {
    "suzuki-edboplus": ("suzuki-edboplus-conversion", "suzuki-edboplus-selectivity"),
    "reizman-1": ("reizman-suzuki-1", "reizman-turnover-1"),
    "reizman-4": ("reizman-suzuki-4", "reizman-turnover-4"),
    "chan-lam": ("chan-lam", "chan-lam-byproduct"),
    "redox": ("redox-ered", "redox-gsol"),
    "dye-lasers": ("dye-lasers-peak", "dye-lasers-overlap"),
}
WAYS = ("front", "scalarization", "first", "random")
USUAL = "wordless"  # the surrogate, where a row names none
START, ROUNDS, BATCH = 6, 6, 4


def outcomes_of(tasks: Sequence[str], surrogate: str) -> tuple[Setup, list[Outcome], np.ndarray]:
    """The candidates of several tasks on one table, their outcomes and values N x k."""
    problems = [load_problem(DataConfig(task=task)) for task in tasks]
    first = problems[0].pool
    kept = first.table.index
    for problem in problems[1:]:
        kept = kept[kept.isin(problem.pool.table.index)]
    rows = first.positions(kept)
    values = np.stack([p.pool.values[p.pool.positions(kept)] for p in problems], axis=1)
    pool = replace(first, table=first.table.loc[kept], values=values[:, 0].copy())
    texts = tuple(problems[0].texts[i] for i in rows)
    policy = Policy.of({"surrogate": surrogate, "preset": "default"})
    setup = Setup(
        replace(problems[0], pool=pool, texts=texts, reactions=None), policy,
        Runtime.resolve("auto", "float32"),
    )  # fmt: skip
    named = zip(tasks, problems, strict=True)
    return setup, [Outcome(name=t, goal=Goal(kind=p.pool.direction)) for t, p in named], values


def run(
    setup: Setup, strategy: ModelBased, outcomes: Sequence[Outcome], values: np.ndarray,
    way: str, seed: int,
) -> list[float]:  # fmt: skip
    """Hypervolume after the start and after each round."""
    pool = strategy.pool
    merits = np.stack([o.goal.merit(values[:, j]) for j, o in enumerate(outcomes)], axis=1)
    reference = merits.min(axis=0)
    whole = hypervolume(merits, reference)
    rng = np.random.default_rng(seed)
    known = rng.choice(len(pool), START, replace=False).tolist()
    found = [hypervolume(merits[known], reference) / whole]
    for number in range(ROUNDS):
        rest = unmeasured(len(pool), np.array(known))
        if way == "random":
            known += rng.choice(rest, BATCH, replace=False).tolist()
        elif way == "baybe":
            known += recommended(setup, merits, known, (seed, number))
        else:
            known += chosen(strategy, outcomes, values, known, way, (seed, number))
        found.append(hypervolume(merits[known], reference) / whole)
    return found


def recommended(
    setup: Setup, merits: np.ndarray, known: list[int], stream: tuple[int, int]
) -> list[int]:
    """The next batch of BayBE, which maximizes all merits."""
    from baybe import Campaign
    from baybe.objectives import ParetoObjective
    from baybe.settings import Settings
    from baybe.targets import NumericalTarget

    peer, names = of_problem(setup.problem, ()), [f"merit {j}" for j in range(merits.shape[1])]
    entropy = np.random.SeedSequence(stream).generate_state(1)[0]
    results = peer.table.loc[known].assign(
        **{name: merits[known, j] for j, name in enumerate(names)}
    )
    with Settings(random_seed=int(entropy)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        campaign = Campaign(
            peer.space, ParetoObjective([NumericalTarget(name=name) for name in names]),
            allow_recommending_already_measured=False,
        )  # fmt: skip
        campaign.add_measurements(results)
        return [int(row) for row in campaign.recommend(BATCH).index]


def chosen(
    strategy: ModelBased, outcomes: Sequence[Outcome], values: np.ndarray, known: list[int],
    way: str, stream: tuple[int, int],
) -> list[int]:  # fmt: skip
    """The next batch."""
    pool = strategy.pool
    ids = pool.ids[known].tolist()
    observed = tuple(
        Observed(o, ids, values[known, j], o.scale(values[known, j]))
        for j, o in enumerate(outcomes)
    )
    first = observed[0]
    request = BatchRequest(BATCH, unmeasured(len(pool), np.array(known)), ties=stream)
    if way == "first":
        picked = strategy.choose(ids, first.utility, request, stream)
        return pool.positions(picked.ids).tolist()
    fitted, others, _ = models_of(strategy.surrogate, observed, stream, way == "apart")
    several = Modelled(observed, fitted, others).several
    by = "hypervolume" if way in ("front", "apart") else way
    return select_several(replace(several, by=by), request, stream)[0]


def main() -> None:
    """All tables, ways and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    parser.add_argument("--surrogate", default=USUAL)
    known = parser.parse_args()
    prepare_process(1)
    path = Path(known.json)
    rows = json.loads(path.read_text("utf-8"))["rows"] if path.exists() else []
    done = {(r["task"], r["way"], r["seed"], r.get("surrogate", USUAL)) for r in rows}
    for task in known.tasks:
        setup, outcomes, values = outcomes_of(TASKS[task], known.surrogate)
        strategy = make_strategy(setup, setup.settings, starts=False)
        for seed in range(known.seeds):
            for way in known.ways:
                if (task, way, seed, known.surrogate) in done:
                    continue
                began = time.perf_counter()
                volumes = run(setup, strategy, outcomes, values, way, seed)
                seconds = round(time.perf_counter() - began, 1)
                rows.append(
                    {"task": task, "way": way, "seed": seed, "surrogate": known.surrogate,
                     "seconds": seconds, "volumes": [round(v, 5) for v in volumes]}
                )  # fmt: skip
                print(task, way, seed, f"{volumes[-1]:.3f}", f"{seconds} s", flush=True)
                content = {"commit": commit(), "surrogate": USUAL, "rows": rows}
                write_text(path, json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
