import numpy as np
import pytest
from scipy.stats import hypergeom, norm
from sklearn.metrics import r2_score

from gollum.analysis.metrics import (
    auc_best_so_far,
    best_so_far,
    coverage_trace,
    msll,
    nlpd,
    quantile_counts,
    quantile_coverage_error,
    r2,
    random_search,
    top_k_found,
    top_mask,
    top_threshold,
)

HUNDRED = np.arange(100.0)


@pytest.fixture
def prediction():
    rng = np.random.default_rng(0)
    y = rng.normal(3, 2, size=50)
    return y, y + rng.normal(0, 0.5, size=50), rng.uniform(0.2, 0.6, size=50)


def test_the_top_starts_at_the_linear_quantile():
    assert top_threshold(HUNDRED) == pytest.approx(94.05)
    assert np.flatnonzero(top_mask(HUNDRED)).tolist() == [95, 96, 97, 98, 99]
    assert top_threshold(HUNDRED, 0.5) == pytest.approx(49.5)


def test_ties_at_the_threshold_all_belong_to_the_top():
    assert top_mask(np.array([4.0] * 10 + [1.0] * 10)).sum() == 10


def test_coverage_counts_each_top_candidate_once():
    trace = coverage_trace(HUNDRED, np.array([0, 99, 50, 99, 95]))
    assert trace.found.tolist() == [0, 1, 1, 1, 2]
    assert trace.total == 5
    assert trace.share.tolist() == [0, 0.2, 0.2, 0.2, 0.4]


def test_best_so_far_passes_over_missing_values():
    values = np.array([np.nan, 1, 0, np.nan, 3])
    assert best_so_far(values) == pytest.approx([np.nan, 1, 1, 1, 3], nan_ok=True)


def test_auc_is_the_mean_of_the_scaled_best():
    assert auc_best_so_far(np.array([0.0, 5, 10]), np.array([0, 1, 2])) == pytest.approx(0.5)
    assert auc_best_so_far(np.array([0.0, 5, 10]), np.array([2])) == 1.0


def test_quantile_counts():
    order = np.array([99, 99, 90, 80, 10])
    assert quantile_counts(HUNDRED, order) == {0.75: 3, 0.9: 2, 0.95: 1, 0.99: 1}


def test_top_k_with_and_without_ties():
    assert top_k_found(HUNDRED, np.array([99, 97, 95])) == {1: 1, 3: 2, 5: 3, 10: 3}
    tied = np.array([5.0, 5, 5, 1, 0])
    assert top_k_found(tied, np.array([1, 2]), ks=(1, 3, 9)) == {1: 1, 3: 2, 9: 2}


def test_r2_agrees_with_scikit_learn(prediction):
    y, mean, _ = prediction
    assert r2(y, mean) == pytest.approx(r2_score(y, mean))
    assert r2(y, np.full_like(y, y.mean())) == pytest.approx(0, abs=1e-12)


def test_log_losses_agree_with_scipy(prediction):
    y, mean, variance = prediction
    model = -norm.logpdf(y, mean, np.sqrt(variance))
    trivial = -norm.logpdf(y, 2.5, 1.5)
    assert nlpd(y, mean, variance) == pytest.approx(model.mean())
    assert msll(y, mean, variance, 2.5, 2.25) == pytest.approx((model - trivial).mean())
    assert msll(y, np.full_like(y, 2.5), np.full_like(y, 2.25), 2.5, 2.25) == 0


def test_quantile_coverage_error():
    y = np.array([0.0, 0.5, -0.5, 3.0])  # three of four within ±1.15 σ and within ±1.96 σ
    mean, variance = np.zeros(4), np.ones(4)
    assert quantile_coverage_error(y, mean, variance) == pytest.approx(0.2)
    assert quantile_coverage_error(y, mean, variance, (0.75, 0.95)) == pytest.approx(0.1)


def test_quantile_coverage_error_vanishes_for_a_calibrated_model():
    y = norm.ppf((np.arange(1000) + 0.5) / 1000)
    levels = (0.1, 0.5, 0.9)
    assert quantile_coverage_error(2 * y + 1, np.ones(1000), np.full(1000, 4.0), levels) < 1e-9


def test_random_search_expects_what_the_hypergeometric_law_says():
    start = np.array([3, 99])  # one of the five best is known already
    search = random_search(HUNDRED, start, n_iters=30, seed=0, repeats=4000)
    assert search.best.shape == search.coverage.shape == (4000, 32)
    draws = np.arange(1, 31)
    expected = (1 + hypergeom.mean(98, 4, draws)) / 5
    error = hypergeom.std(98, 4, draws) / 5 / np.sqrt(4000)
    assert (np.abs(search.coverage[:, 2:].mean(axis=0) - expected) < 4 * error).all()
    assert (search.coverage[:, :2] == [0, 0.2]).all()
    assert (search.best[:, 0] == 3).all()
    assert (search.best[:, 1:] == 99).all()


def test_random_search_is_repeatable_and_stops_with_the_pool():
    args = (HUNDRED[:12], np.array([0, 1]))
    first, second = (random_search(*args, n_iters=50, seed=5, repeats=3) for _ in range(2))
    assert first.best.shape == (3, 12)
    assert (first.best == second.best).all()
    assert (first.coverage[:, -1] == 1).all()
    assert random_search(*args, n_iters=0, seed=5, repeats=3).coverage.shape == (3, 2)
