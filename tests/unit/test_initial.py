import numpy as np
import pytest

from gollum.data.initial import (
    DESIGNS,
    below_median,
    farthest_point,
    initial_design,
    k_medoids,
    random_design,
)
from gollum.errors import ConfigError, DataError


def never():
    raise AssertionError("features are not needed")


@pytest.fixture
def utility():
    return np.random.default_rng(1).normal(size=40)


@pytest.fixture
def features():
    return np.random.default_rng(2).normal(size=(40, 3))


def test_below_median_is_the_protocol_of_the_paper(utility):
    eligible = np.flatnonzero(utility <= np.sort(utility)[19])
    expected = eligible[np.random.default_rng(7).permutation(len(eligible))[:10]]
    assert below_median(utility, 10, 7).tolist() == expected.tolist()


def test_below_median_takes_the_lower_median_and_its_ties():
    assert sorted(below_median(np.array([3.0, 1, 2, 4]), 2, 0)) == [1, 2]
    assert sorted(below_median(np.array([2.0, 1, 2, 2]), 4, 0)) == [0, 1, 2, 3]


def test_below_median_never_draws_an_unknown_value():
    assert sorted(below_median(np.array([np.nan, 5, np.nan, 1, 9]), 2, 0)) == [1, 3]


def test_k_medoids_picks_one_of_each_cluster():
    centres = np.array([[0.0, 0], [10, 0], [0, 10]])
    noise = np.random.default_rng(0).normal(scale=0.1, size=(30, 2))
    points = np.repeat(centres, 10, axis=0) + noise
    assert sorted(k_medoids(points, 3, 0) // 10) == [0, 1, 2]


def test_farthest_point_is_greedy_in_the_smallest_distance():
    line = np.arange(9.0)[:, None]
    chosen = farthest_point(line, 4, 3)
    assert chosen[1] in (0, 8)
    assert all(
        np.min(np.abs(line[chosen[i]] - line[chosen[:i]]))
        == max(np.min(np.abs(line[j] - line[chosen[:i]])) for j in range(9))
        for i in range(1, 4)
    )


@pytest.mark.parametrize("name", ["k_medoids", "farthest_point"])
def test_equal_rows_are_told_apart_by_the_seed(name):
    def design(seed):
        twins = np.zeros((30, 2))
        return initial_design(name, utility=np.zeros(30), features=lambda: twins, n=5, seed=seed)

    assert len(set(design(0).tolist())) == 5
    assert design(0).tolist() != [0, 1, 2, 3, 4]
    assert design(0).tolist() != design(1).tolist()


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_is_distinct_and_repeatable(name, utility, features):
    def design(seed):
        return initial_design(name, utility=utility, features=lambda: features, n=8, seed=seed)

    assert design(3).shape == (8,)
    assert design(3).dtype == np.int64
    assert len(set(design(3).tolist())) == 8
    assert design(3).tolist() == design(3).tolist()
    assert design(3).tolist() != design(4).tolist()


@pytest.mark.parametrize("name", ["below_median", "random"])
def test_features_are_made_only_when_needed(name, utility):
    assert len(initial_design(name, utility=utility, features=never, n=5, seed=0)) == 5


@pytest.mark.parametrize("name", DESIGNS)
def test_too_few_candidates_are_refused_with_both_numbers(name):
    with pytest.raises(DataError, match=r"5 starting points.*only 4 candidates.*--n_init"):
        initial_design(name, utility=np.arange(4.0), features=never, n=5, seed=0)


def test_too_few_failures_are_refused_with_both_numbers():
    with pytest.raises(DataError, match=r"3 starting points.*only 2 candidates .*median.*--n_init"):
        below_median(np.arange(4.0), 3, 0)
    with pytest.raises(DataError, match="only 0 candidates"):
        below_median(np.full(4, np.nan), 1, 0)


def test_wrong_requests_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'below_median'"):
        initial_design("below_medain", utility=np.arange(4.0), features=never, n=1, seed=0)
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        random_design(4, 0, 0)
