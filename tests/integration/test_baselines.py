"""Baselines and controls as whole runs: records, resuming, and the judgement of the last fit."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.analysis.metrics import QUALITY
from gollum.benchmark.config import load_config
from gollum.benchmark.loop import Loop
from gollum.benchmark.problem import load_problem
from gollum.benchmark.quality import quality
from gollum.benchmark.record import TIMING_COLUMNS, TRACE_COLUMNS, read_trace
from gollum.benchmark.run import run
from gollum.benchmark.spec import DataConfig
from gollum.cli import main
from gollum.language.catalog import CATALOG
from gollum.runtime import Runtime
from helpers import WIDTH, build_surrogate


class Silent:
    def __getattr__(self, name):
        return lambda *_: None


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def go(output, **keys):
    defaults = {"surrogate": "one_hot", "data.task": "bh-ethyl", "n_iters": 4, "threads": 1}
    return run(load_config(None, {**defaults, "output": str(output), **keys}.items()), Silent())


def untimed(result):
    return result.trace.drop(columns=list(TIMING_COLUMNS))


def steady(result):
    """The summary without what depends on the clock."""
    left_out = {"seconds", "quality_seconds"}
    return {k: v for k, v in result.summary.items() if k not in left_out}


# --- random search -------------------------------------------------------------------------------


def test_a_random_run_has_the_same_record_with_predictions_left_blank(tmp_path):
    result = go(tmp_path / "run", surrogate="random", n_iters=6, batch_size=2)
    trace = read_trace(tmp_path / "run" / "trace.csv")
    assert tuple(trace.columns) == TRACE_COLUMNS
    assert len(trace) == 10 + 12
    assert trace["id"].is_unique
    blank = ["predicted_mean", "predicted_sd", "acquisition", "loss", "evaluations"]
    assert trace[blank].isna().all().all()
    assert trace.loc[trace["iteration"] > 0, list(TIMING_COLUMNS)].notna().all().all()
    assert result.summary["surrogate"] == "random"
    assert result.summary["provenance"]["model_revision"] == ""


def test_all_surrogates_start_from_the_same_points(tmp_path):
    first, second = (go(tmp_path / s, surrogate=s) for s in ("random", "one_hot"))
    assert first.trace["id"].head(10).tolist() == second.trace["id"].head(10).tolist()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_lengthened_random_run_is_the_unbroken_one(tmp_path, batch_size):
    keys = {"surrogate": "random", "batch_size": batch_size, "quality": True}
    whole = go(tmp_path / "whole", n_iters=9, **keys)
    for n_iters in (2, 3, 9):
        grown = go(tmp_path / "grown", n_iters=n_iters, **keys)
    pd.testing.assert_frame_equal(untimed(grown), untimed(whole), check_exact=True)
    assert steady(grown) == steady(whole)


@pytest.mark.skipif(find_spec("baybe") is None, reason="BayBE is not installed (the 'peers' extra)")
def test_a_lengthened_run_of_baybe_is_the_unbroken_one(tmp_path):
    keys = {"surrogate": "baybe", "batch_size": 2}
    whole = go(tmp_path / "whole", n_iters=3, **keys)
    for n_iters in (1, 3):
        grown = go(tmp_path / "grown", n_iters=n_iters, **keys)
    pd.testing.assert_frame_equal(untimed(grown), untimed(whole), check_exact=True)
    assert steady(grown) == steady(whole)
    assert whole.trace["id"].is_unique
    assert whole.summary["provenance"]["model_revision"].startswith("baybe ")


def test_random_runs_use_up_a_pool(tmp_path):
    pd.DataFrame({"a": list("pqrstuvw"), "y": range(8)}).to_csv("t.csv", index=False)
    own = {"data.task": None, "data.path": "t.csv", "data.objective": "y"}
    keys = {k: v for k, v in own.items() if v is not None}
    config = load_config(
        None, {**keys, "surrogate": "random", "n_init": 3, "batch_size": 2, "output": "r"}.items()
    )
    assert sorted(run(config, Silent()).trace["objective"]) == list(range(8))


@pytest.mark.parametrize("design", ["k_medoids", "farthest_point"])
def test_designs_on_features_start_random_runs_too(tmp_path, design):
    designed = [
        go(tmp_path / s, surrogate=s, initial=design, n_iters=0) for s in ("random", "one_hot")
    ]
    assert designed[0].trace["id"].tolist() == designed[1].trace["id"].tolist()


# --- the reaction fingerprint --------------------------------------------------------------------


@pytest.fixture
def own():
    """Keys of a table with a column that the tiny model reads as a reaction, and a number."""
    i = np.arange(30)
    table = pd.DataFrame(
        {"rxn": [f"w{k % 10} w{k // 10}" for k in i], "hours": i * 7 % 30, "y": i % 10 + i % 7}
    )
    table.to_csv("own.csv", index=False)
    return {"data.path": "own.csv", "data.objective": "y", "data.reaction": "rxn"}


def config_of(own, **keys):
    return load_config(None, {**own, "n_init": 5, "n_iters": 2, "threads": 1, **keys}.items())


@pytest.fixture
def rxnfp(monkeypatch, tmp_path, model_folder):
    """A tiny model in the place of the real one."""
    shutil.copytree(model_folder("bert"), tmp_path / "models" / "rxnfp")
    monkeypatch.setenv("GOLLUM_MODELS", str(tmp_path / "models"))
    monkeypatch.setitem(CATALOG, "rxnfp", replace(CATALOG["rxnfp"], sha256=""))


def test_rxnfp_is_static_on_reactions_with_numbers_beside(rxnfp, own):
    config = config_of(own, surrogate="rxnfp", output="r")
    assert config.model.name == "rxnfp"
    problem = load_problem(config.data)
    built, static = (
        build_surrogate(problem, s, config, Runtime.resolve("cpu")).representation.matrix
        for s in ("rxnfp", "static")
    )
    assert torch.equal(built, static)
    assert built.shape == (30, WIDTH + 1)
    texts, hours = built[:, :-1], built[:, -1]
    assert texts.mean().item() == pytest.approx(0, abs=1e-9)
    assert texts.std().item() == pytest.approx(1)
    # The hours count as much as the one column that the reaction is.
    assert hours.var().item() == pytest.approx(texts.var(dim=0).sum().item())
    order = np.argsort(problem.pool.table["hours"].to_numpy())
    assert (hours[order].diff() > 0).all()
    result = run(config, Silent())
    assert len(result.trace) == 7
    assert "name: rxnfp" in (result.folder.path / "config.yaml").read_text()


def test_rxnfp_that_is_not_here_says_how_to_fetch_it(monkeypatch, tmp_path, own, capsys):
    monkeypatch.setenv("GOLLUM_MODELS", str(tmp_path / "none"))
    words = [w for key, value in own.items() for w in (f"--{key}", value)]
    assert main(["run", *words, "--surrogate", "rxnfp", "--n_init", "5", "--output", "r"]) == 2
    assert "gollum models get rxnfp" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


# --- controls ------------------------------------------------------------------------------------


def test_a_control_is_in_folder_configuration_and_summary():
    keys = {"surrogate": "random", "data.task": "bh-ethyl", "n_iters": 1, "seed": 2}
    config = load_config(None, {**keys, "control": "permuted_labels"}.items())
    assert str(config.folder) == "runs/bh-ethyl-random-default-permuted_labels-seed2"
    plain = load_config(None, keys.items())
    assert str(plain.folder) == "runs/bh-ethyl-random-default-seed2"
    results = [run(c, Silent()) for c in (config, plain)]
    assert [r.summary["control"] for r in results] == ["permuted_labels", "none"]
    prints = [r.summary["provenance"]["data_sha256"] for r in results]
    assert prints[0] != prints[1] == load_problem(DataConfig(task="bh-ethyl")).fingerprint


def test_another_control_does_not_go_on_with_a_run(tmp_path, capsys):
    words = ["--surrogate", "random", "--data.task", "bh-ethyl", "--n_iters", "1", "--output", "r"]
    assert main(["run", *words]) == 0
    assert main(["run", *words, "--control", "permuted_labels"]) == 2
    message = capsys.readouterr().err
    assert "holds a run with control = none, not permuted_labels" in message


def test_permuted_labels_are_what_is_measured(tmp_path):
    result = go(tmp_path / "r", control="permuted_labels", n_iters=3)
    pool = load_problem(DataConfig(task="bh-ethyl")).pool
    plain = pool.values[pool.positions(result.trace["id"])]
    measured = result.trace["objective"].to_numpy()
    assert (measured == result.problem.pool.values[result.order]).all()
    assert (measured != plain).sum() > 8
    assert sorted(result.problem.pool.values) == sorted(pool.values)


@pytest.mark.parametrize(
    "control",
    [
        pytest.param("shuffled_columns", marks=pytest.mark.slow),
        pytest.param("swapped_names", marks=pytest.mark.slow),
        "random_embeddings",
    ],
)
def test_controls_of_the_text_change_choices_and_no_measurement(tmp_path, control):
    keys = {"surrogate": "static", "preset": "fast", "n_iters": 3, "data.task": "bh-2-pyridyl"}
    plain, changed = (go(tmp_path / c, control=c, **keys) for c in ("none", control))
    assert changed.trace["id"].head(10).tolist() == plain.trace["id"].head(10).tolist()
    assert changed.trace["id"].tail(3).tolist() != plain.trace["id"].tail(3).tolist()
    assert changed.problem.pool.fingerprint == plain.problem.pool.fingerprint
    again = go(tmp_path / "again", control=control, **keys)
    pd.testing.assert_frame_equal(untimed(again), untimed(changed), check_exact=True)


# --- the judgement of the last fit ---------------------------------------------------------------


def test_quality_is_that_of_one_more_fit_on_what_is_left(tmp_path):
    result = go(tmp_path / "r", quality=True, n_iters=5)
    config, pool = result.config, result.problem.pool
    surrogate = build_surrogate(result.problem, "one_hot", config, Runtime.resolve("cpu"))
    rest = np.setdiff1d(np.arange(len(pool)), result.order)
    fitted = surrogate.fit(list(result.trace["id"]), pool.utility[result.order], (0, 6))
    assert result.summary["quality"] == quality(fitted, rest, pool.utility[rest])
    assert list(result.summary["quality"]) == list(QUALITY)
    assert -0.5 < result.summary["quality"]["r2"] < 1
    assert result.summary["status"] == "finished"


@pytest.mark.parametrize("surrogate", ["one_hot", "random"])
def test_quality_changes_nothing_else(tmp_path, surrogate):
    plain = go(tmp_path / "plain", surrogate=surrogate)
    judged = go(tmp_path / "judged", surrogate=surrogate, quality=True)
    pd.testing.assert_frame_equal(untimed(judged), untimed(plain), check_exact=True)
    more = {k: judged.summary[k] for k in judged.summary.keys() - plain.summary.keys()}
    assert set(more) == {"quality", "quality_seconds"}
    assert {k: v for k, v in steady(judged).items() if k != "quality"} == steady(plain)
    times = judged.trace.loc[judged.trace["iteration"] > 0, list(TIMING_COLUMNS)].sum().sum()
    assert judged.summary["seconds"] == pytest.approx(times, abs=2e-3)


def test_chance_has_no_quality(tmp_path):
    assert go(tmp_path / "r", surrogate="random", quality=True).summary["quality"] == dict.fromkeys(
        QUALITY
    )


def test_nothing_left_has_no_quality(tmp_path):
    pd.DataFrame({"a": range(8), "y": range(8)}).to_csv("t.csv", index=False)
    keys = {"data.path": "t.csv", "data.objective": "y", "surrogate": "one_hot", "n_init": 3}
    result = run(load_config(None, {**keys, "quality": True, "output": "r"}.items()), Silent())
    assert len(result.trace) == 8
    assert result.summary["quality"] == dict.fromkeys(QUALITY)


def test_a_finished_run_may_be_judged_later_and_once(tmp_path):
    whole = go(tmp_path / "whole", quality=True)
    go(tmp_path / "later")
    before = (tmp_path / "later" / "trace.csv").read_bytes()
    later = go(tmp_path / "later", quality=True)
    assert steady(later) == steady(whole)
    assert (tmp_path / "later" / "trace.csv").read_bytes() == before
    written = (tmp_path / "later" / "summary.json").stat().st_mtime_ns
    assert go(tmp_path / "later", quality=True).summary == later.summary
    assert go(tmp_path / "later", quality=False).summary == later.summary
    assert (tmp_path / "later" / "summary.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("judged", [True, False])
def test_a_run_stopped_before_it_was_judged_is_unfinished(tmp_path, monkeypatch, judged):
    whole = go(tmp_path / "whole", quality=judged)

    def stop(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "broken", quality=True)
    summary = json.loads((tmp_path / "broken" / "summary.json").read_text())
    assert (summary["status"], summary["evaluations"]) == ("running", 14)
    resumed = go(tmp_path / "broken", quality=judged)
    assert steady(resumed) == steady(whole)
    pd.testing.assert_frame_equal(untimed(resumed), untimed(whole), check_exact=True)
