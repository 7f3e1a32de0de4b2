from dataclasses import replace

import numpy as np
import pytest

from gollum.acquisition.batch import select
from gollum.acquisition.criteria import Aim
from gollum.benchmark.peers import STRATEGIES
from gollum.benchmark.strategies import GaussianProcess, Random, unmeasured
from gollum.features.base import FixedFeatures
from gollum.features.columns import one_hot
from gollum.surrogates.base import Surrogate
from gollum.surrogates.presets import PEERS, VARIANTS, Settings
from helpers import CPU, make_pool

N, START = 60, 10


@pytest.fixture(scope="module")
def pool():
    return make_pool(N)


@pytest.fixture
def start(pool):
    return [str(i) for i in pool.ids[:START]]


@pytest.fixture(scope="module")
def process(pool):
    surrogate = Surrogate(pool, FixedFeatures(one_hot(pool)), VARIANTS["one_hot"], Settings(), CPU)
    return GaussianProcess(surrogate, "ei", 3)


def ask(strategy, pool, ids, stream=(0, 1)):
    return strategy.choose(ids, pool.utility[pool.positions(ids)], stream)


def test_every_peer_has_a_strategy_and_none_the_name_of_a_variant():
    assert set(STRATEGIES) == set(PEERS)
    assert not set(PEERS) & set(VARIANTS)


def test_unmeasured_candidates_in_pool_order(pool):
    assert unmeasured(pool, ["c3", "c1"]).tolist() == [0, 2, *range(4, N)]
    assert unmeasured(pool, list(pool.ids)).tolist() == []


# --- chance --------------------------------------------------------------------------------------


def run_blindly(pool, seed, iterations, batch_size=1):
    strategy, ids = Random(pool, batch_size), [str(i) for i in pool.ids[:START]]
    for iteration in range(1, iterations + 1):
        ids += ask(strategy, pool, ids, (seed, iteration)).ids
    return ids


def test_chance_finds_what_drawing_without_replacement_finds(pool):
    """The number of marked candidates among T draws is hypergeometric."""
    runs, draws, marked = 600, 12, {f"c{i}" for i in range(20, 30)}
    found = [len(marked & set(run_blindly(pool, s, draws)[START:])) for s in range(runs)]
    left, k = N - START, len(marked)
    mean = draws * k / left
    variance = mean * (1 - k / left) * (left - draws) / (left - 1)
    assert np.mean(found) == pytest.approx(mean, abs=4 * np.sqrt(variance / runs))
    assert np.var(found) == pytest.approx(variance, rel=0.2)


def test_every_candidate_that_is_left_is_equally_likely(pool, start):
    runs = 5000
    picks = [ask(Random(pool, 1), pool, start, (seed, 3)).ids[0] for seed in range(runs)]
    counts = np.array([picks.count(str(i)) for i in pool.ids])
    assert not counts[:START].any()
    expected = runs / (N - START)
    chi_squared = ((counts[START:] - expected) ** 2 / expected).sum()
    assert chi_squared < 49 + 5 * np.sqrt(2 * 49)  # 49 degrees of freedom


def test_chance_depends_on_seed_and_iteration_and_not_on_what_was_measured(pool, start):
    first = ask(Random(pool, 2), pool, start)
    assert first == replace(ask(Random(pool, 2), pool, start), details=first.details)
    other = Random(pool, 2).choose(start, np.arange(START, dtype=float), (0, 1))
    assert other.ids == first.ids
    assert ask(Random(pool, 2), pool, start, (0, 2)).ids != first.ids
    assert ask(Random(pool, 2), pool, start, (1, 1)).ids != first.ids


def test_chance_takes_what_is_left(pool):
    ids = run_blindly(pool, 0, 13, batch_size=4)
    assert len(ids) == len(set(ids)) == N
    assert set(ids) == set(pool.ids)


def test_chance_predicts_nothing(pool, start):
    choice = ask(Random(pool, 2), pool, start)
    assert [set(d) for d in choice.details] == [{"fit_seconds", "acquire_seconds"}] * 2
    assert (Random(pool, 1).revision, Random(pool, 1).notes) == ("", ())
    assert Random(pool, 1).surrogate is None


# --- the Gaussian process ------------------------------------------------------------------------


def test_the_process_chooses_what_fitting_and_selecting_choose(process, pool, start):
    fitted = process.surrogate.fit(start, pool.utility[:START], (4, 2))
    rows = np.arange(START, N)
    expected = select(fitted, rows, aim=Aim("ei"), batch_size=3, seed=(4, 2))
    choice = ask(process, pool, start, (4, 2))
    assert choice.ids == expected.ids
    for detail, mean, deviation, score in zip(
        choice.details, expected.means, expected.deviations, expected.scores, strict=True
    ):
        assert detail["predicted_mean"] == mean
        assert detail["predicted_sd"] == deviation
        assert detail["acquisition"] == score
        assert detail["loss"] == fitted.report.loss
        assert detail["evaluations"] == fitted.report.evaluations
        assert detail["fit_seconds"] > 0


def test_predictions_of_a_minimised_objective_have_its_sign(process, pool, start):
    turned = replace(pool, direction="minimize", values=-pool.values)
    surrogate = replace(process.surrogate, pool=turned)
    choice = ask(replace(process, surrogate=surrogate), turned, start)
    expected = ask(process, pool, start)
    assert choice.ids == expected.ids
    for a, b in zip(choice.details, expected.details, strict=True):
        assert a["predicted_mean"] == -b["predicted_mean"]


@pytest.mark.parametrize("kind", ["process", "chance"])
def test_features_for_a_first_design(process, pool, kind):
    strategy = process if kind == "process" else Random(pool, 1)
    assert (strategy.features(0) == one_hot(pool)).all()
