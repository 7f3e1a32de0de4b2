import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.analysis.metrics import random_search
from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.benchmark.record import TIMING_COLUMNS, TRACE_COLUMNS, read_trace
from gollum.benchmark.run import run
from gollum.benchmark.spec import DataConfig
from gollum.cli import main
from gollum.data.catalog import get_task
from gollum.runtime import has_native_bfloat16

PATIENCE = 60  # seconds that a process may take to get going


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def words(output, **keys):
    keys = {"threads": 1, "output": output, **keys}
    return ["run", *(str(w) for key, value in keys.items() for w in (f"--{key}", value))]


def one_hot(output, **keys):
    usual = {"surrogate": "one_hot", "preset": "paper", "data.task": "bh-ethyl", "n_iters": 8}
    return words(output, **{**usual, **keys})


def trace_of(output):
    return read_trace(output / "trace.csv")


def untimed(output):
    return trace_of(output).drop(columns=list(TIMING_COLUMNS))


def own_table(folder, rows=40, name="own.csv"):
    """A small table with a clear best corner, written to a file."""
    i = np.arange(rows)
    table = pd.DataFrame(
        {
            "label": [f"exp-{k:03d}" for k in i],
            "ligand": np.array(["XPhos", "SPhos", "dppf", "BINAP"])[i % 4],
            "temperature_C": 20.0 + 5 * (i // 4),
            "yield": 3.0 * (i % 4) + 0.5 * (i // 4) + 0.01 * ((i * 7) % 11),
        }
    )
    file = folder / name
    table.to_csv(file, index=False)
    return file


def own(file, output, **keys):
    data = {"data.path": file, "data.objective": "yield", "data.id_column": "label"}
    return words(output, **{"surrogate": "one_hot", "n_init": 5, **data, **keys})


# --- the record of a run -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of 8 iterations; tests only read it."""
    output = tmp_path_factory.mktemp("finished") / "run"
    assert main(one_hot(output)) == 0
    return output


@pytest.fixture(scope="module")
def pool():
    return get_task("bh-ethyl").load().labelled()


def test_the_folder_holds_configuration_trace_summary_and_picture(finished):
    assert {file.name for file in finished.iterdir()} == {
        "config.yaml",
        "trace.csv",
        "summary.json",
        "progress.png",
    }
    assert (finished / "progress.png").read_bytes().startswith(b"\x89PNG")
    config = load_config(finished / "config.yaml")
    assert (config.surrogate, config.n_iters, config.data.task) == ("one_hot", 8, "bh-ethyl")
    again = load_config(None, [("output", str(finished)), *zip_words(one_hot(finished))])
    assert config == again


def zip_words(arguments):
    keys, values = arguments[1::2], arguments[2::2]
    return [(key.removeprefix("--"), value) for key, value in zip(keys, values, strict=True)]


def test_the_trace_has_a_row_per_evaluation(finished, pool):
    trace = trace_of(finished)
    assert tuple(trace.columns) == TRACE_COLUMNS
    assert trace["iteration"].tolist() == [0] * 10 + list(range(1, 9))
    assert trace["id"].is_unique
    assert trace["objective"].tolist() == pool.values[pool.positions(trace["id"])].tolist()
    assert trace["best_so_far"].tolist() == trace["objective"].cummax().tolist()
    chosen = trace[trace["iteration"] > 0]
    assert np.isfinite(chosen.drop(columns="id").to_numpy(dtype=float)).all()
    assert (chosen["predicted_sd"] > 0).all()
    assert (chosen["acquisition"] >= 0).all()
    assert trace[trace["iteration"] == 0]["loss"].isna().all()


def test_coverage_is_recounted_from_the_pool(finished, pool):
    trace = trace_of(finished)
    top = set(pool.ids[pool.values >= np.quantile(pool.values, 0.95)])
    found = np.cumsum([name in top for name in trace["id"]])
    assert trace["top5_found"].tolist() == found.tolist()
    assert trace["top5_coverage"].tolist() == (found / len(top)).tolist()


def test_the_summary_agrees_with_trace_and_pool(finished, pool):
    summary = json.loads((finished / "summary.json").read_text())
    trace = trace_of(finished)
    last = trace.iloc[-1]
    assert summary["status"] == "finished"
    assert (summary["task"], summary["surrogate"], summary["preset"], summary["seed"]) == (
        "bh-ethyl",
        "one_hot",
        "paper",
        0,
    )
    assert (summary["iterations"], summary["evaluations"]) == (8, 18)
    assert summary["top5_coverage"] == last["top5_coverage"]
    assert summary["top5_found"] == last["top5_found"]
    assert summary["best"] == trace["objective"].max()
    assert summary["best_id"] == trace["id"][trace["objective"].idxmax()]
    low, high = pool.values.min(), pool.values.max()
    scaled = (trace["objective"].cummax() - low) / (high - low)
    assert summary["auc"] == pytest.approx(scaled.mean(), abs=1e-12)
    top10 = np.sort(pool.values)[-10]
    assert summary["top_found"]["10"] == (trace["objective"] >= top10).sum()
    times = trace.loc[trace["iteration"] > 0, list(TIMING_COLUMNS)].sum().sum()
    assert summary["seconds"] == pytest.approx(times, abs=2e-3)


def test_the_summary_says_where_the_figures_come_from(finished, pool):
    provenance = json.loads((finished / "summary.json").read_text())["provenance"]
    problem = load_problem(DataConfig(task="bh-ethyl"))
    assert provenance["data_sha256"] == problem.fingerprint != pool.fingerprint
    assert provenance["precision"] == (
        "bfloat16" if has_native_bfloat16(torch.device("cpu")) else "float32"
    )
    assert {"gollum", "model_revision", "device", "threads", "python", "torch"} <= set(provenance)
    assert provenance["threads"] == 1


def test_the_run_starts_from_the_failures_that_the_method_prescribes(finished, pool):
    start = trace_of(finished).head(10)
    median = np.sort(pool.values)[(len(pool) - 1) // 2]
    assert (start["objective"] <= median).all()
    eligible = np.flatnonzero(pool.values <= median)
    drawn = eligible[np.random.default_rng(0).permutation(len(eligible))[:10]]
    assert start["id"].tolist() == pool.ids[drawn].tolist()


def test_the_same_seed_gives_the_same_trace_and_another_one_another(finished, tmp_path, capsys):
    assert main(one_hot(tmp_path / "again")) == 0
    assert main(one_hot(tmp_path / "other", seed=1)) == 0
    pd.testing.assert_frame_equal(untimed(tmp_path / "again"), untimed(finished), check_exact=True)
    other, first = untimed(tmp_path / "other"), untimed(finished)
    assert set(other["id"].head(10)) != set(first["id"].head(10))
    assert set(other["id"].tail(8)) != set(first["id"].tail(8))


# --- directions, batches, ends -------------------------------------------------------------------


def test_minimizing_starts_high_and_goes_down(tmp_path, capsys):
    output = tmp_path / "run"
    assert main(one_hot(output, **{"data.task": "freesolv", "n_iters": 3})) == 0
    trace = trace_of(output)
    pool = get_task("freesolv").load()
    assert (np.diff(trace["best_so_far"]) <= 0).all()
    worse_half = -np.sort(-pool.values)[(len(pool) - 1) // 2]
    start = trace[trace["iteration"] == 0]
    assert (start["objective"] >= worse_half).all()
    eligible = np.flatnonzero(pool.values >= worse_half)
    drawn = eligible[np.random.default_rng(0).permutation(len(eligible))[:10]]
    assert start["id"].tolist() == pool.ids[drawn].tolist()
    summary = json.loads((output / "summary.json").read_text())
    assert summary["best"] == trace["objective"].min()


def test_minimizing_is_maximizing_with_the_sign_changed(tmp_path, capsys):
    table = pd.read_csv(own_table(tmp_path))
    table.assign(**{"yield": -table["yield"]}).to_csv(tmp_path / "negated.csv", index=False)
    assert main(own(tmp_path / "own.csv", tmp_path / "up", n_iters=6)) == 0
    down = own(tmp_path / "negated.csv", tmp_path / "down", n_iters=6)
    assert main([*down, "--data.direction", "minimize"]) == 0
    up, down = untimed(tmp_path / "up"), untimed(tmp_path / "down")
    for column in ("objective", "best_so_far", "predicted_mean"):
        down[column] = -down[column]
    pd.testing.assert_frame_equal(up, down, check_exact=True)
    assert main([*own(tmp_path / "negated.csv", tmp_path / "wrong", n_iters=6)]) == 0
    assert untimed(tmp_path / "wrong")["id"].tolist() != up["id"].tolist()


def test_batches_of_four(tmp_path, capsys):
    output = tmp_path / "run"
    assert main(one_hot(output, batch_size=4, n_iters=3)) == 0
    trace = trace_of(output)
    assert trace["iteration"].tolist() == [0] * 10 + [1] * 4 + [2] * 4 + [3] * 4
    assert trace["id"].is_unique
    assert trace["best_so_far"].tolist() == trace["objective"].cummax().tolist()
    summary = json.loads((output / "summary.json").read_text())
    times = trace.groupby("iteration")[list(TIMING_COLUMNS)].first().sum().sum()
    assert summary["seconds"] == pytest.approx(times, abs=2e-3)
    assert (summary["iterations"], summary["evaluations"]) == (3, 22)


@pytest.mark.parametrize(("batch", "iterations"), [(1, 9), (4, 3)])
def test_an_exhausted_pool_ends_the_run(tmp_path, capsys, batch, iterations):
    file, output = own_table(tmp_path, rows=14), tmp_path / "run"
    command = own(file, output, n_iters=50, batch_size=batch)
    assert main(command) == 0
    trace = trace_of(output)
    assert len(trace) == 14
    assert trace["id"].is_unique
    assert trace["iteration"].iloc[-1] == iterations
    assert trace["top5_coverage"].iloc[-1] == 1.0
    summary = json.loads((output / "summary.json").read_text())
    assert summary["status"] == "finished"
    written = (output / "trace.csv").stat().st_mtime_ns
    assert main(command) == 0
    assert (output / "trace.csv").stat().st_mtime_ns == written


def test_no_iterations_measure_the_starting_points_only(tmp_path, capsys):
    output = tmp_path / "run"
    assert main(own(own_table(tmp_path), output, n_iters=0)) == 0
    assert trace_of(output)["iteration"].tolist() == [0] * 5
    assert json.loads((output / "summary.json").read_text())["status"] == "finished"
    assert (output / "progress.png").exists()


@pytest.mark.parametrize("design", ["random", "k_medoids", "farthest_point"])
def test_other_designs_start_the_run(tmp_path, capsys, design):
    output = tmp_path / "run"
    assert main(own(own_table(tmp_path), output, n_iters=1, initial=design)) == 0
    trace = trace_of(output)
    assert trace["id"].is_unique
    assert len(trace) == 6


def test_ids_of_any_kind_are_kept(tmp_path, capsys):
    file = own_table(tmp_path)
    table = pd.read_csv(file)
    table["label"] = ["NA", "None", "null", "nan", "007", "1.0", *table["label"][6:]]
    table.to_csv(file, index=False)
    output = tmp_path / "run"
    assert main(own(file, output, n_iters=15)) == 0
    assert main(own(file, output, n_iters=35)) == 0
    assert set(trace_of(output)["id"]) == set(table["label"])


# --- going on ------------------------------------------------------------------------------------


def test_a_finished_run_is_not_computed_again(tmp_path, capsys, monkeypatch):
    output = tmp_path / "run"
    command = own(own_table(tmp_path), output, n_iters=4)
    assert main(command) == 0
    kept = {name: (output / name).stat().st_mtime_ns for name in ("trace.csv", "summary.json")}
    monkeypatch.setattr("gollum.benchmark.run.make_strategy", None)  # a call would fail
    assert main(command) == 0
    assert kept == {name: (output / name).stat().st_mtime_ns for name in kept}
    assert "4/4" in capsys.readouterr().out


def test_a_run_may_be_lengthened(tmp_path, capsys):
    file = own_table(tmp_path)
    assert main(own(file, tmp_path / "long", n_iters=6)) == 0
    assert main(own(file, tmp_path / "grown", n_iters=2)) == 0
    assert main(own(file, tmp_path / "grown", n_iters=6)) == 0
    pd.testing.assert_frame_equal(
        untimed(tmp_path / "grown"), untimed(tmp_path / "long"), check_exact=True
    )
    assert "Resuming after iteration 2" in capsys.readouterr().out
    assert load_config(tmp_path / "grown" / "config.yaml").n_iters == 6


# Handles an interrupt even where whoever started the tests ignores it.
STARTER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from gollum.cli import main
sys.exit(main(sys.argv[1:]))
"""


def interrupted(command, output, how, iterations):
    """Start a run as a process and signal it once so many iterations are in its trace."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        trace = output / "trace.csv"
        while time.monotonic() < deadline and process.poll() is None:
            if trace.exists() and trace.read_text().count("\n") > iterations:
                process.send_signal(how)
                break
            time.sleep(0.005)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_broken_off_run_goes_on_as_if_it_had_not_been(tmp_path, capsys, how):
    output, whole = tmp_path / "broken", tmp_path / "whole"
    length = 25
    code, errors = interrupted(one_hot(output, n_iters=length), output, how, 10 + 3)
    assert code == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert errors.startswith("gollum: interrupted")
        assert len(errors.splitlines()) == 1
    done = int(trace_of(output)["iteration"].iloc[-1])
    assert 1 <= done < length
    assert json.loads((output / "summary.json").read_text())["status"] == "running"
    assert main(one_hot(output, n_iters=length)) == 0
    assert f"Resuming after iteration {done}" in capsys.readouterr().out
    assert main(one_hot(whole, n_iters=length)) == 0
    pd.testing.assert_frame_equal(untimed(output), untimed(whole), check_exact=True)
    broken, unbroken = (json.loads((f / "summary.json").read_text()) for f in (output, whole))
    for figures in (broken, unbroken):
        figures.pop("seconds")
    assert broken == unbroken


def test_a_killed_run_of_a_trained_surrogate_goes_on_too(tmp_path, capsys):
    file = own_table(tmp_path)
    short = {"surrogate": "pllm", "optimizer.max_evaluations": 40, "n_iters": 6}

    def command(output):
        return own(file, output, **short)

    code, _ = interrupted(command(tmp_path / "broken"), tmp_path / "broken", signal.SIGKILL, 5 + 2)
    assert code == -signal.SIGKILL
    assert 1 <= trace_of(tmp_path / "broken")["iteration"].iloc[-1] < 6
    assert main(command(tmp_path / "broken")) == 0
    assert main(command(tmp_path / "whole")) == 0
    pd.testing.assert_frame_equal(
        untimed(tmp_path / "broken"), untimed(tmp_path / "whole"), check_exact=True
    )


def test_a_table_that_changed_in_between_stops_the_run(tmp_path, capsys):
    file = own_table(tmp_path)
    assert main(own(file, tmp_path / "run", n_iters=1)) == 0
    before = (tmp_path / "run" / "trace.csv").read_bytes()
    table = pd.read_csv(file)
    table.loc[3, "yield"] += 0.001
    table.to_csv(file, index=False)
    assert main(own(file, tmp_path / "run", n_iters=2)) == 2
    assert "earlier version of this table" in capsys.readouterr().err
    assert (tmp_path / "run" / "trace.csv").read_bytes() == before


# --- does it learn, and only what there is to learn ----------------------------------------------

SEEDS = range(4)
ITERATIONS = 25


def found_with(data, output):
    """Candidates of the top found over all seeds, and what random search would find.

    Random search after starting points outside the top draws from N − n_init candidates without
    replacement, so the number found is hypergeometric.

    Returns:
        Total found, expectation and standard deviation of that total for random search.
    """
    total, mean, variance = 0, 0.0, 0.0
    for seed in SEEDS:
        keys = {
            "surrogate": "one_hot",
            "n_iters": ITERATIONS,
            "threads": 1,
            "seed": seed,
            "output": str(output / f"seed{seed}"),
            **data,
        }
        result = run(load_config(None, keys.items()))
        total += result.summary["top5_found"]
        values = result.problem.pool.utility
        top, left = int((values >= np.quantile(values, 0.95)).sum()), len(values) - 10
        share = top / left
        mean += ITERATIONS * share
        variance += ITERATIONS * share * (1 - share) * (left - ITERATIONS) / (left - 1)
    return total, mean, variance**0.5


@pytest.mark.slow
def test_true_labels_are_learned_and_permuted_ones_are_not(tmp_path):
    found, mean, deviation = found_with({"data.task": "bh-2-pyridyl"}, tmp_path / "true")
    assert found > mean + 10 * deviation
    task = get_task("bh-2-pyridyl")
    table = pd.read_csv(task.path())
    table[task.objective] = np.random.default_rng(0).permutation(table[task.objective].to_numpy())
    table.to_csv(tmp_path / "permuted.csv", index=False)
    data = {
        "data.path": str(tmp_path / "permuted.csv"),
        "data.objective": task.objective,
        "data.inputs": list(task.inputs),
    }
    found, mean, deviation = found_with(data, tmp_path / "permuted")
    assert abs(found - mean) < 3 * deviation


def test_the_baseline_of_the_picture_is_random_search(pool):
    start = np.flatnonzero(pool.values <= np.median(pool.values))[:10]
    curves = random_search(pool.utility, start, ITERATIONS, seed=0, repeats=400).coverage
    expected = ITERATIONS / (len(pool) - 10)
    assert curves[:, -1].mean() == pytest.approx(expected, abs=4 * curves[:, -1].std() / 20)
