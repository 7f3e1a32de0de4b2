"""Results that are no plain number: intervals and errors, from a cell to the model."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from test_sources import CPU, KEYS

from gollum.data.extents import Extent, Extents
from gollum.data.outcomes import Scale
from gollum.data.pool import Pool
from gollum.data.spreadsheets.inexact import inexact
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.settings import Settings
from gollum.surrogates.base import fit_to
from gollum.surrogates.censored import Sites, truncated_moments
from gollum.surrogates.specs import surrogate_factory

X = np.linspace(0.0, 1.0, 9)
Y = 40 + 30 * np.sin(3 * X)


def surrogate(name="averaged"):
    table = pd.DataFrame({"x": X}, index=pd.Index([f"r{i}" for i in range(9)], name="id"))
    pool = Pool("line", table, "y", "maximize", Y)
    return surrogate_factory(name)(Setup(Problem(pool, ()), Settings.of(KEYS), CPU))


def known(**by_row):
    return Extents.of([by_row.get(f"r{i}") for i in range(9)])


@pytest.mark.parametrize(
    ("text", "extent"),
    [
        ("<5", Extent(low=0, high=5)),
        (">99", Extent(low=99, high=100)),
        ("2–4", Extent(low=2, high=4)),
        ("12 ± 1", Extent(error=1)),
        ("trace", Extent(low=0, high=1)),
    ],
)
def test_what_cells_tell(text, extent):
    assert inexact(text, "%", (0.0, 100.0)).extent == extent


def test_an_interval_without_a_bound_behind_it_is_open():
    assert inexact("<5", "", (None, None)).extent == Extent(high=5)
    assert inexact(">5", "", (0.0, None)).extent == Extent(low=5)


def test_plain_numbers_have_no_extents():
    assert Extents.of([None, None]) is None


def test_on_a_scale_ends_at_a_bound_are_open_and_minimizing_turns_them_round():
    extents = Extents.of([Extent(low=0, high=5), Extent(low=2, high=4), Extent(error=3), None])
    values = np.array([2.5, 3.0, 50.0, 7.0])
    up = extents.on(Scale("identity", (0.0, 100.0)), values)
    assert up.low.tolist()[:2] == [-math.inf, 2.0]
    assert up.high.tolist()[:2] == [5.0, 4.0]
    assert up.error.tolist() == [0.0, 0.0, 3.0, 0.0]
    assert np.isnan(up.low[2:]).all()
    down = extents.on(Scale("identity", (0.0, 100.0), -1.0), values)
    assert down.low.tolist()[:2] == [-5.0, -4.0]
    assert down.high.tolist()[:2] == [math.inf, -2.0]
    logs = extents.on(Scale("log"), values)
    assert logs.low.tolist()[:2] == pytest.approx([-math.inf, math.log(2)])
    assert logs.error[2] == pytest.approx(3 / 50)


def test_errors_keep_their_size_at_bounds_and_below_zero():
    extents, values = Extents.of([Extent(error=3), Extent(error=2)]), np.array([99.0, 0.5])
    assert extents.on(Scale("identity", (0.0, 100.0)), values).error.tolist() == [3.0, 2.0]
    assert extents.on(Scale("log"), values).error == pytest.approx([3 / 99, 4.0])
    share = (values + 0.5) / 101  # p = (y + h) / (100 + 2h), and dT/dy = 1 / (101 p (1 − p))
    found = extents.on(Scale("logit", (0.0, 100.0)), values).error
    assert found == pytest.approx(np.array([3, 2]) / (101 * share * (1 - share)), rel=1e-5)


@pytest.mark.parametrize(
    ("mean", "variance", "low", "high"),
    [
        (0.3, 1.7, -1.0, 0.5),
        (0.0, 1.0, -np.inf, 0.0),
        (2.0, 0.5, 1.0, np.inf),
        (0.0, 1.0, 2.0, 3.0),
    ],
)
def test_truncated_moments_are_those_of_the_integral(mean, variance, low, high):
    deviation = variance**0.5
    ends = max(low, mean - 12 * deviation), min(high, mean + 12 * deviation)
    moment = [
        quad(lambda y, k=k: y**k * norm.pdf(y, mean, deviation), *ends, epsabs=1e-12)[0]
        for k in range(3)
    ]
    expected = moment[1] / moment[0], moment[2] / moment[0] - (moment[1] / moment[0]) ** 2
    found = truncated_moments(*(np.array([v]) for v in (mean, variance, low, high)))
    assert [part[0] for part in found] == pytest.approx(expected, rel=1e-6)


def test_far_beyond_an_interval_its_nearest_end_is_what_is_left():
    mean, variance = truncated_moments(
        np.array([0.0]), np.ones(1), np.array([60.0]), np.array([61.0])
    )
    assert mean[0] == pytest.approx(60.0, abs=0.05)
    assert 0 < variance[0] < 0.01


def test_site_times_cavity_has_the_moments_of_the_truncated_cavity():
    sites = Sites.of(torch.tensor([0.5]).double(), Extents.of([Extent(low=0, high=1)]), 0.0, 1.0)
    assert sites.variance.item() == pytest.approx(1 / 12)  # of a uniform variable
    mean, variance = torch.tensor([1.4]).double(), torch.tensor([0.8]).double()
    moved = sites.moved(mean, variance)
    inside, left = truncated_moments(np.array([1.4]), np.array([0.8]), np.zeros(1), np.ones(1))
    precision = 1 / 0.8 + 1 / moved.variance.item()
    both = (1.4 / 0.8 + moved.targets.item() / moved.variance.item()) / precision
    assert 1 / precision == pytest.approx(left[0])
    assert both == pytest.approx(inside[0])


def test_an_error_is_a_variance_beside_the_noise():
    """Against the posterior of a process with this noise, written out."""
    extents = known(r2=Extent(error=9.0), r5=Extent(error=2.0))
    fitted = surrogate().fit([f"r{i}" for i in range(9)], Y, (0, 1), extents)
    error = torch.tensor(extents.error / fitted.scale.item()).square()
    process, theta, points = fitted.process, fitted.theta, fitted.points
    prior = process.covariance(theta, process.distances(points, points))
    means = []
    for k, particle in enumerate(theta):
        sigma = prior[k] + torch.diag(error + process.noise(theta)[k] + 1e-8)
        weights = torch.linalg.solve(sigma, fitted.sites.targets - particle[-1])
        means.append(particle[-1] + prior[k] @ weights)
    torch.testing.assert_close(
        fitted.standardised(np.arange(9))[0], torch.stack(means).mean(0), rtol=1e-7, atol=1e-7
    )
    plain = surrogate().fit([f"r{i}" for i in range(9)], Y, (0, 1))
    assert fitted.standardised(np.array([2]))[1] > plain.standardised(np.array([2]))[1]


def test_without_extents_nothing_changes():
    ids = [f"r{i}" for i in range(9)]
    nothing = Extents(np.full(9, np.nan), np.full(9, np.nan), np.zeros(9))
    fits = surrogate().fit(ids, Y, (0, 1)), surrogate().fit(ids, Y, (0, 1), nothing)
    assert torch.equal(fits[0].theta, fits[1].theta)
    for a, b in zip(*(fit.marginals(np.arange(9)) for fit in fits), strict=True):
        assert torch.equal(a, b)


def test_an_interval_pulls_no_further_than_its_end():
    """'Above 60' is 69; what counts as its middle (80) would pull the curve up."""
    ids, values = [f"r{i}" for i in range(9)], Y.copy()
    values[4] = 80.0
    low = known(r4=Extent(low=60.0))
    found = surrogate().fit(ids, values, (0, 1), low)
    middle = surrogate().fit(ids, values, (0, 1))
    off = [abs(fit.marginals(np.array([4]))[0].item() - Y[4]) for fit in (found, middle)]
    assert off[0] < 2.0 < off[1]
    mean, variance = found.left_out()
    assert ((found.location + found.scale * mean)[4] - Y[4]).abs() < 8
    assert (variance > 0).all()


def test_an_interval_that_the_curve_would_miss_draws_it_in():
    ids = [f"r{i}" for i in range(9)]
    values = np.append(Y[:8], 20.0)
    found = surrogate().fit(ids, values, (0, 1), known(r8=Extent(high=25.0)))
    assert found.marginals(np.array([8]))[0].item() < 30  # the curve alone ends at 44


def test_rows_without_a_value_take_their_extents_along():
    ids, values = [f"r{i}" for i in range(9)], Y.copy()
    values[0] = np.nan
    fitted = surrogate().fit(ids, values, (0, 1), known(r3=Extent(error=4.0)))
    assert fitted.sites.variance.nonzero().flatten().tolist() == [2]


def test_other_surrogates_take_the_numbers_that_they_count_as():
    ids = [f"r{i}" for i in range(9)]
    fits = [
        fit_to(surrogate("one_hot"), ids, Y, (0, 1), extents).marginals(np.arange(9))[0]
        for extents in (None, known(r3=Extent(low=0, high=99)))
    ]
    assert torch.equal(*fits)
