"""What surrogates of old names choose has not changed: candidate by candidate.

`traces.csv` was written by version 0.1.0 before kernels became GPyTorch modules (float32 language
model); the other traces are those of the committed benchmark records.
"""

from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch

from gollum.benchmark.config import load_config
from gollum.benchmark.run import run
from gollum.data.catalog import get_task
from gollum.errors import DataError

HERE = Path(__file__).parent
RECORDS = HERE.parents[1] / "benchmarks" / "results" / "records"
GOLDEN = pd.read_csv(HERE / "traces.csv", dtype={"id": str})
RUNS = list(GOLDEN.groupby(["task", "surrogate", "preset", "seed"], sort=False).groups)
# Reading 790 texts in float32 takes a while, and fine-tuning minutes.
SLOW = [r for r in RUNS if r[1] in ("llm_phi", "pllm_phi", "static", "pllm")]
# Records of one task per surrogate, and how many iterations the fast tests repeat.
COMMITTED = [
    ("buchwald-hartwig", "bh-ethyl", "one_hot", 50),
    ("buchwald-hartwig", "bh-ethyl", "drfp", 20),
    ("buchwald-hartwig", "bh-ethyl", "random", 50),
    ("paper19", "photoswitch", "morgan", 50),
    pytest.param("buchwald-hartwig", "bh-ethyl", "static", 20, marks=pytest.mark.slow),
    ("buchwald-hartwig", "bh-ethyl", "pllm", 10),
    pytest.param("buchwald-hartwig", "bh-ethyl", "pllm_phi", 3, marks=pytest.mark.slow),
]


def need(task):
    try:
        get_task(task).load()
    except DataError as error:
        pytest.skip(str(error))


def replayed(folder, task, surrogate, preset, seed, iterations, **keys):
    need(task)
    given = {
        "data.task": task, "surrogate": surrogate, "preset": preset, "seed": seed,
        "n_iters": iterations, "output": str(folder), **keys,
    }  # fmt: skip
    return run(load_config(None, given.items())).trace


@cache
def committed(name):
    return pd.read_csv(RECORDS / f"{name}-traces.csv.gz", keep_default_na=False)


@pytest.mark.parametrize(
    "known",
    [pytest.param(r, marks=pytest.mark.slow) if r in SLOW else r for r in RUNS],
    ids=lambda r: "-".join(map(str, r)),
)
def test_choices_are_those_of_the_version_before(known, tmp_path):
    task, surrogate, preset, seed = known
    rows = GOLDEN[(GOLDEN[["task", "surrogate", "preset", "seed"]] == list(known)).all(axis=1)]
    iterations = int(rows["iteration"].max())
    precise = {"model.precision": "float32"}
    trace = replayed(tmp_path / "run", task, surrogate, preset, seed, iterations, **precise)
    assert trace["id"].tolist() == rows["id"].tolist()
    scale = trace["objective"].std()
    expected = rows["predicted_mean"].to_numpy()
    assert abs(trace["predicted_mean"] - expected).max() < 1e-3 * scale


@pytest.mark.parametrize(("records", "task", "surrogate", "iterations"), COMMITTED)
def test_committed_records_are_repeated(records, task, surrogate, iterations, tmp_path):
    table = committed(records)
    known = table[(table["task"] == task) & (table["surrogate"] == surrogate)]
    known = known[(known["seed"] == 0) & (known["iteration"] <= iterations)]
    language = surrogate in ("static", "pllm", "pllm_phi")
    if language and not torch.cpu._is_amx_tile_supported():
        pytest.skip("the records' embeddings are AMX's bfloat16, and AVX512's differ in last bits")
    trace = replayed(tmp_path / "run", task, surrogate, "fast", 0, iterations)
    last = trace.groupby("iteration").last()
    assert len(known) == len(last) == iterations + 1
    best = known["best_so_far"].to_numpy()
    assert last["best_so_far"].to_numpy() == pytest.approx(best, rel=1e-6)
    assert last["top5_coverage"].to_numpy() == pytest.approx(known["top5_coverage"].to_numpy())
