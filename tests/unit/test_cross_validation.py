import numpy as np
import pytest
from scipy.stats import norm, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from gollum.analysis.cross_validation import errors, folds, gain, odd_share, shares_inside


def names(count):
    return [f"e{i}" for i in range(count)]


@pytest.fixture
def prediction():
    rng = np.random.default_rng(0)
    y = rng.normal(3, 2, size=40)
    return y, y + rng.normal(0, 0.5, size=40), rng.uniform(0.2, 0.6, size=40)


# --- parts ---------------------------------------------------------------------------------------


def test_few_experiments_are_left_out_one_by_one():
    assert sorted(folds(names(30), seed=0)) == list(range(30))


def test_many_experiments_are_dealt_into_ten_parts_of_equal_size():
    sizes = np.bincount(folds(names(47), seed=0))
    assert len(sizes) == 10
    assert set(sizes) == {4, 5}


@pytest.mark.parametrize("count", [5, 40])
def test_repeats_share_a_part_and_order_does_not_matter(count):
    ids = names(count) + names(3)
    part = dict(zip(ids, folds(ids, seed=4), strict=True))
    again = ids[::-1]
    assert [part[i] for i in again] == folds(again, seed=4).tolist()


def test_the_seed_decides():
    ids = names(40)
    assert folds(ids, 0).tolist() == folds(ids, 0).tolist() != folds(ids, 1).tolist()


# --- errors --------------------------------------------------------------------------------------


def test_errors_agree_with_other_libraries(prediction):
    y, mean, variance = prediction
    found = errors(y, mean, variance, np.full_like(y, y.mean()))
    assert found.measurements == 40
    assert found.rmse == pytest.approx(root_mean_squared_error(y, mean))
    assert found.mae == pytest.approx(mean_absolute_error(y, mean))
    assert found.r2 == pytest.approx(r2_score(y, mean))
    assert found.nlpd == pytest.approx(-norm.logpdf(y, mean, np.sqrt(variance)).mean())
    low, high = norm.interval(0.95, mean, np.sqrt(variance))
    assert found.inside == pytest.approx(((low <= y) & (y <= high)).mean())
    assert found.spearman == pytest.approx(spearmanr(y, mean).statistic)


def test_r2_is_zero_for_the_training_means_themselves(prediction):
    y, guess, variance = prediction
    assert errors(y, guess, variance, guess).r2 == 0


def test_what_is_not_defined_is_not_a_number():
    y, one = np.full(4, 2.0), np.ones(4)
    found = errors(y, np.arange(4.0), one, y)
    assert np.isnan([found.r2, found.spearman]).all()
    assert found.rmse == pytest.approx(np.sqrt(1.5))


def test_ranks_share_ties_as_in_scipy():
    y, mean = np.array([1.0, 2, 2, 5]), np.array([0.0, 0, 3, 3])
    found = errors(y, mean, np.ones(4), np.zeros(4))
    assert found.spearman == pytest.approx(spearmanr(y, mean).statistic)


def test_shares_of_a_calibrated_model_equal_the_levels():
    y = 5 + 2 * norm.ppf((np.arange(1000) + 0.5) / 1000)
    levels = (0.1, 0.5, 0.9)
    shares = shares_inside(y, np.full(1000, 5.0), np.full(1000, 4.0), levels)
    assert shares == pytest.approx(levels, abs=1e-9)


# --- one method against another ------------------------------------------------------------------


def test_gain_is_the_share_of_the_squared_error_that_is_gone():
    y = np.zeros(6)
    own, other = np.array([1.0, -1, 1, -1, 1, -1]), np.array([2.0, -2, 2, -2, 3, -3])
    found = gain(names(6), y, own, other)
    assert found.share == pytest.approx(1 - 6 / 34)
    assert 0 < found.low < found.share < found.high


def test_an_experiment_counts_once_however_often_it_was_measured():
    y, own, other = np.zeros(3), np.array([1.0, 3, 3]), np.array([2.0, 2, 2])
    once = gain(["a", "b"], y[:2], own[:2], other[:2])
    assert gain(["a", "b", "b"], y, own, other) == once


def test_the_interval_turns_with_the_sides(prediction):
    y, mean, _ = prediction
    worse = y + 2 * (mean - y)[::-1]
    better = gain(names(40), y, mean, worse)
    assert better.low > 0
    assert gain(names(40), y, worse, mean).high < 0


def test_equal_predictions_gain_nothing_and_have_no_interval():
    y, mean = np.zeros(5), np.ones(5)
    found = gain(names(5), y, mean, mean)
    assert found.share == 0
    assert np.isnan([found.low, found.high]).all()


def test_nothing_to_gain_over_a_method_without_error():
    assert np.isnan(gain(names(2), np.zeros(2), np.ones(2), np.zeros(2))).all()


def test_a_share_is_odd_where_chance_does_not_explain_it():
    assert odd_share(17 / 19, 19) is None
    assert odd_share(14 / 19, 19) == "too few"
    assert (odd_share(1.0, 19), odd_share(1.0, 100)) == (None, "too many")
