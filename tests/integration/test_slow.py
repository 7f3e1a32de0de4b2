"""Long checks with the embedded model: `make test-slow`."""

import numpy as np
import pandas as pd
import pytest

from gollum.analysis.metrics import random_search
from gollum.benchmark.record import TIMING_COLUMNS, read_trace
from gollum.cli import main
from gollum.data.catalog import get_task

pytestmark = pytest.mark.slow
SEEDS, ITERATIONS = 4, 25


def final_coverage(folder, **keys):
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    assert main(["run", "--quiet", "--output", str(folder), *words]) == 0
    return read_trace(folder / "trace.csv")["top5_coverage"].iloc[-1]


def untimed(folder):
    return read_trace(folder / "trace.csv").drop(columns=list(TIMING_COLUMNS))


def test_a_projection_learns_from_true_labels_and_not_from_permuted_ones(tmp_path):
    """Negative control: with shuffled yields, pllm is random search."""
    pool = get_task("bh-2-pyridyl").load()
    common = {
        "surrogate": "pllm",
        "n_iters": ITERATIONS,
        "data.objective": "y",
        "data.template": get_task("bh-2-pyridyl").template,
    }
    permuted = np.random.default_rng(0).permutation(pool.values)
    for name, values in (("true", pool.values), ("permuted", permuted)):
        pool.table.assign(y=values).to_csv(tmp_path / f"{name}.csv", index=False)
    found = {
        name: [
            final_coverage(
                tmp_path / f"{name}{seed}",
                seed=seed,
                **{"data.path": tmp_path / f"{name}.csv", **common},
            )
            for seed in range(SEEDS)
        ]
        for name in ("true", "permuted")
    }
    blind = random_search(pool.values, np.arange(10), ITERATIONS, seed=0, repeats=2000)
    expected, spread = blind.coverage[:, -1].mean(), blind.coverage[:, -1].std()
    assert abs(np.mean(found["permuted"]) - expected) < 3 * spread / SEEDS**0.5
    assert np.mean(found["true"]) > expected + 5 * spread / SEEDS**0.5


@pytest.mark.parametrize("surrogate", ["llm_phi", "pllm_phi"])
def test_a_fine_tuned_run_repeats_and_goes_on(tmp_path, surrogate):
    keys = {"data.task": "bh-ethyl", "surrogate": surrogate, "optimizer.max_evaluations": 15}
    final_coverage(tmp_path / "whole", n_iters=3, **keys)
    final_coverage(tmp_path / "again", n_iters=3, **keys)
    final_coverage(tmp_path / "parts", n_iters=1, **keys)
    final_coverage(tmp_path / "parts", n_iters=3, **keys)
    for other in ("again", "parts"):
        pd.testing.assert_frame_equal(
            untimed(tmp_path / other), untimed(tmp_path / "whole"), check_exact=True
        )
