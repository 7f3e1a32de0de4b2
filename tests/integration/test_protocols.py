"""Benchmarks that replay a campaign: batches, failed runs, results that arrive late."""

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gollum.acquisition.strategy import STRATEGIES, Selection
from gollum.benchmark.config import load_config
from gollum.benchmark.loop import fate
from gollum.benchmark.run import run
from gollum.errors import ConfigError, FitError
from gollum.report.console import ConsoleListener

KEYS = {"data.task": "bh-ethyl", "surrogate": "one_hot", "preset": "fast", "protocol": "campaign"}


def replay(folder, **keys):
    return run(load_config(None, {**KEYS, "output": str(folder), **keys}.items()))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return replay(tmp_path_factory.mktemp("runs") / "one", n_iters=4)


def test_its_defaults_are_those_of_a_campaign():
    config = load_config(None, KEYS.items())
    assert (config.initial, config.n_init, config.batch_size, config.n_iters) == (
        "representative", 8, 8, 6,
    )  # fmt: skip
    assert load_config(None, {**KEYS, "n_init": 3}.items()).n_init == 3
    with pytest.raises(ConfigError, match="protocol"):
        load_config(None, {**KEYS, "protocol": "campain"}.items())


def test_batches_fail_and_arrive_late(result):
    trace = result.trace
    assert trace.groupby("iteration").size().tolist() == [8] * 5
    assert trace["id"].is_unique
    assert 0 < trace["failed"].sum() < len(trace) / 2
    assert set(trace["arrives"] - trace["iteration"]) == {0, 1}
    assert trace["objective"].isna().tolist() == (trace["failed"] == 1).tolist()
    assert result.summary["failed"] == trace["failed"].sum()
    assert trace["best_so_far"].dropna().is_monotonic_increasing
    assert result.summary["best"] == trace["objective"].max()


def test_nobody_knows_a_result_before_it_arrives(tmp_path, monkeypatch):
    asked = []

    class Watching:
        revision, notes, surrogate = "", (), None

        def __init__(self, setup):
            self.random = STRATEGIES["random"](setup)

        def choose(self, ids, utility, request, stream):
            asked.append((list(ids), request.pending.tolist(), request.done.tolist(), stream))
            return self.random.choose(ids, utility, request, stream)

        def features(self, seed):
            return self.random.features(seed)

    monkeypatch.setitem(STRATEGIES._known, "watching", Watching)
    done = replay(tmp_path / "run", surrogate="watching", n_iters=3)
    rows, pool = done.trace, done.problem.pool
    for iteration, (ids, pending, run_so_far, stream) in enumerate(asked):
        before = rows[rows["iteration"] < iteration]
        known = before[(before["arrives"] < iteration) & (before["failed"] == 0)]
        late = before[before["arrives"] >= iteration]
        assert ids == known["id"].tolist()
        assert pool.ids[pending].tolist() == late["id"].tolist()
        assert pool.ids[run_so_far].tolist() == before["id"].tolist()
        assert stream == (0, iteration)


def test_fates_are_those_of_the_experiments_for_all_methods_of_a_seed(result):
    of_another = load_config(None, {**KEYS, "surrogate": "random"}.items())
    found = fate(of_another, len(result.problem.pool))
    for place, row in zip(result.order, result.trace.to_dict("records"), strict=True):
        expected = found(place, row["iteration"])
        assert (row["failed"], row["arrives"]) == (expected["failed"], expected["arrives"])
    many = fate(of_another, 20_000)
    shares = [many(place, 1) for place in range(20_000)]
    assert np.mean([s["failed"] for s in shares]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([s["arrives"] == 2 for s in shares]) == pytest.approx(0.25, abs=0.015)


def test_a_run_that_was_stopped_goes_on(result, tmp_path):
    replay(tmp_path / "run", n_iters=2)
    resumed = replay(tmp_path / "run", n_iters=4)
    timing = ["fit_seconds", "acquire_seconds"]
    pd.testing.assert_frame_equal(
        resumed.trace.drop(columns=timing), result.trace.drop(columns=timing)
    )


def test_a_replay_may_begin_as_a_campaign_does(tmp_path, result):
    keys = {"protocol": "replay", "initial": "representative", "n_init": 8, "n_iters": 0}
    begun = replay(tmp_path / "run", **keys)
    assert begun.trace["id"].tolist() == result.trace["id"].tolist()[:8]
    assert "failed" not in begun.trace


def test_a_strategy_that_chooses_nothing_or_something_else_is_stopped(tmp_path, monkeypatch):
    class Stubborn:
        revision, notes, surrogate = "", (), None

        def __init__(self, setup):
            self.pool = setup.problem.pool

        def choose(self, ids, utility, request, stream):
            chosen = self.ids
            return Selection(tuple(str(self.pool.ids[i]) for i in chosen))

        def features(self, seed):
            return np.zeros((len(self.pool), 1))

    monkeypatch.setitem(STRATEGIES._known, "stubborn", Stubborn)
    keys = {"surrogate": "stubborn", "protocol": "replay", "n_iters": 3}
    for ids, words in (((), "chose nothing"), ((0, 0), "chose what it was not asked for")):
        Stubborn.ids = ids
        with pytest.raises(FitError, match=f"strategy Stubborn {words}"):
            replay(tmp_path / words[-8:].strip(), initial="random", n_init=2, batch_size=1, **keys)


def test_a_campaign_whose_first_experiments_all_fail_goes_on(tmp_path, capsys):
    keys = {"campaign.failed": 0.9, "n_init": 2, "n_iters": 3, "batch_size": 2}
    result = replay(tmp_path / "run", **keys)
    assert len(result.trace) == 8
    console = Console(width=200)
    with ConsoleListener(console, quiet=False) as listener:
        listener.prepared(result.config, result.problem, 0)
        listener.measured([{**result.trace.iloc[0].to_dict(), "best_so_far": None}])
    assert "none yet" in capsys.readouterr().out
