from dataclasses import replace

import numpy as np
import pytest

from gollum.acquisition.baselines import Random
from gollum.acquisition.batch import select
from gollum.acquisition.model_based import ModelBased
from gollum.acquisition.scoring import Aim
from gollum.acquisition.strategy import STRATEGIES, BatchRequest, unmeasured
from gollum.benchmark.loop import _details
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import one_hot
from gollum.settings import Settings
from gollum.surrogates.gaussian_process import GaussianProcess
from gollum.surrogates.specs import surrogate_names
from helpers import CPU, NAMES, make_pool

N, START = 60, 10


@pytest.fixture(scope="module")
def pool():
    return make_pool(N)


@pytest.fixture
def start(pool):
    return [str(i) for i in pool.ids[:START]]


@pytest.fixture(scope="module")
def process(pool):
    surrogate = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    return ModelBased(pool, lambda: surrogate, "ei")


def ask(strategy, pool, ids, stream=(0, 1), count=3):
    done = pool.positions(ids)
    request = BatchRequest(count, unmeasured(N, done), done=done)
    return strategy.choose(ids, pool.utility[done], request, stream)


def test_no_strategy_has_the_name_of_a_surrogate():
    assert {"random", "baybe", "baybe_chem"} <= set(STRATEGIES)
    assert set(NAMES) <= set(surrogate_names())
    assert not set(STRATEGIES) & set(surrogate_names())


def test_unmeasured_candidates_in_pool_order():
    assert unmeasured(N, np.array([3, 1])).tolist() == [0, 2, *range(4, N)]
    assert unmeasured(N, np.arange(N)).tolist() == []


# --- chance --------------------------------------------------------------------------------------


def run_blindly(pool, seed, iterations, batch_size=1):
    strategy, ids = Random(pool), [str(i) for i in pool.ids[:START]]
    for iteration in range(1, iterations + 1):
        ids += ask(strategy, pool, ids, (seed, iteration), batch_size).ids
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
    picks = [ask(Random(pool), pool, start, (seed, 3), 1).ids[0] for seed in range(runs)]
    counts = np.array([picks.count(str(i)) for i in pool.ids])
    assert not counts[:START].any()
    expected = runs / (N - START)
    chi_squared = ((counts[START:] - expected) ** 2 / expected).sum()
    assert chi_squared < 49 + 5 * np.sqrt(2 * 49)  # 49 degrees of freedom


def test_chance_depends_on_seed_and_iteration_and_not_on_what_was_measured(pool, start):
    first = ask(Random(pool), pool, start)
    again = ask(Random(pool), pool, start)
    assert first == replace(again, acquire_seconds=first.acquire_seconds)
    request = BatchRequest(3, np.arange(START, N), done=np.arange(START))
    other = Random(pool).choose(start, np.arange(START, dtype=float), request, (0, 1))
    assert other.ids == first.ids
    assert ask(Random(pool), pool, start, (0, 2)).ids != first.ids
    assert ask(Random(pool), pool, start, (1, 1)).ids != first.ids


def test_chance_takes_what_is_left(pool):
    ids = run_blindly(pool, 0, 13, batch_size=4)
    assert len(ids) == len(set(ids)) == N
    assert set(ids) == set(pool.ids)


def test_chance_predicts_nothing(pool, start):
    choice = ask(Random(pool), pool, start, count=2)
    assert choice.fitted is None
    assert choice.scores == choice.means == choice.deviations == ()
    assert [set(d) for d in _details(pool, choice)] == [{"fit_seconds", "acquire_seconds"}] * 2
    assert (Random(pool).revision, Random(pool).notes) == ("", ())
    assert Random(pool).surrogate is None


# --- the Gaussian process ------------------------------------------------------------------------


def test_the_process_chooses_what_fitting_and_selecting_choose(process, pool, start):
    fitted = process.surrogate.fit(start, pool.utility[:START], (4, 2))
    rows = np.arange(START, N)
    expected = select(fitted, rows, aim=Aim("ei"), batch_size=3, seed=(4, 2))
    choice = ask(process, pool, start, (4, 2))
    assert choice.ids == expected.ids
    assert choice.fit_seconds > 0
    details = _details(pool, choice)
    for detail, mean, deviation, score in zip(
        details, expected.means, expected.deviations, expected.scores, strict=True
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
    choice = ask(replace(process, pool=turned, build=lambda: surrogate), turned, start)
    expected = ask(process, pool, start)
    assert choice.ids == expected.ids
    for a, b in zip(_details(turned, choice), _details(pool, expected), strict=True):
        assert a["predicted_mean"] == -b["predicted_mean"]


@pytest.mark.parametrize("kind", ["process", "chance"])
def test_features_for_a_first_design(process, pool, kind):
    strategy = process if kind == "process" else Random(pool)
    assert (strategy.features(0) == one_hot(pool).matrix).all()
