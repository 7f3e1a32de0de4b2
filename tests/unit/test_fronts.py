"""Fronts and hypervolumes against BoTorch; desirabilities in closed form."""

import numpy as np
import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume
from botorch.utils.multi_objective.pareto import is_non_dominated

from gollum.data.fronts import desirability, hypervolume, on_front, reference_point
from gollum.data.outcomes import Goal, Outcome


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_against_botorch(k, seed):
    rng = np.random.default_rng(seed)
    merits = rng.normal(size=(25, k)).round(1)  # with ties
    flags = on_front(merits)
    np.testing.assert_array_equal(flags, is_non_dominated(torch.tensor(merits)).numpy())
    reference = np.full(k, -1.0)
    front = torch.tensor(merits[flags])
    expected = Hypervolume(torch.tensor(reference)).compute(front)
    assert hypervolume(merits, reference) == pytest.approx(expected, rel=1e-12)
    shuffled = rng.permutation(merits)
    assert hypervolume(shuffled, reference) == pytest.approx(expected, rel=1e-12)


def test_what_is_missing_is_on_no_front():
    merits = np.array([[1.0, 2.0], [np.nan, 9.0], [2.0, 1.0], [0.5, 0.5]])
    assert on_front(merits).tolist() == [True, False, True, False]
    assert hypervolume(merits[:0], np.zeros(2)) == 0.0


def test_the_reference_point_is_a_tenth_of_the_width_below_all_points():
    points = np.array([[0.0, 10.0], [4.0, 0.0]])
    np.testing.assert_allclose(reference_point(points), [-0.4, -1.0])
    np.testing.assert_allclose(reference_point(points, (None, -5.0)), [-0.4, -5.0])
    np.testing.assert_allclose(reference_point(points[:1]), [-0.1, 9.0])


def test_desirability_is_a_weighted_geometric_mean():
    outcomes = [
        Outcome(name="yield", bounds=(0, 100), weight=2.0),
        Outcome(name="cost", goal=Goal.of("minimize"), bounds=(10, 50)),
        Outcome(name="pH", goal=Goal.of("target=7"), bounds=(0, 14)),
    ]
    merits = np.array([[60.0, -20.0, -3.5], [100.0, -10.0, 0.0], [-5.0, -10.0, 0.0]])
    expected = (0.6**2 * 0.75 * 0.5) ** 0.25
    found = desirability(outcomes, merits)
    np.testing.assert_allclose(found[:2], [expected, 1.0])
    assert found[2] == pytest.approx(1e-6**0.5)
