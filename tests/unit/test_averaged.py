"""A process averaged over hyperparameters: closed forms, GPyTorch, and what its draws are of."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from gpytorch.kernels import AdditiveKernel, MaternKernel, ScaleKernel

from gollum.acquisition.batch import select
from gollum.acquisition.scoring import Aim
from gollum.errors import ConfigError, DataError
from gollum.features.base import FixedFeatures
from gollum.features.components import Points, squared_distances
from gollum.features.layout import Blocks, Layout, Levels, Slot
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.runtime import seeded
from gollum.settings import AveragingSettings, Settings
from gollum.surrogates.averaged import Averaged, SlotProcess, draw
from gollum.surrogates.gp import ExactGP
from gollum.surrogates.specs import SurrogateSpec, surrogate_factory
from helpers import CPU, make_pool

N, TRAIN = 36, 10
LAYOUT = Layout(
    (Slot("one_hot", ("a",), 3, "indicators", 0.4), Slot("one_hot", ("b",), 1, "number", 0.1))
)


def points(count=7, seed=0):
    rng = np.random.default_rng(seed)
    a = np.eye(3)[rng.integers(3, size=count)]
    return torch.tensor(np.hstack([a, rng.random((count, 1))]))


def process_of(layout, groups=None):
    return SlotProcess(layout, groups or tuple((s,) for s in range(len(layout))), 1e-4)


def distances_of(layout, a, b=None):
    """Between rows that share no levels, each slot a component."""
    every = [
        Points(layout, process_of(layout).groups, (), (None,) * len(layout), 0).other(x.numpy())
        for x in (a, a if b is None else b)
    ]
    return every[0].distances(every[1])


def theta(count=5, seed=1):
    means, deviations = process_of(LAYOUT).prior
    generator = torch.Generator().manual_seed(seed)
    return means + deviations * torch.randn(
        count, len(means), generator=generator, dtype=torch.float64
    )


def gpytorchs(values):
    """One particle's process in GPyTorch's own kernels."""
    weights, whole, own = values[:2].exp(), values[2].exp(), values[3:5].exp()
    wide = [(2 * s.spread / w) ** 0.5 for s, w in zip(LAYOUT, weights, strict=True)]
    both = MaternKernel(nu=2.5, ard_num_dims=4).double()
    both.lengthscale = torch.stack([*[wide[0]] * 3, wide[1]])
    parts = [ScaleKernel(both).double()]
    parts[0].outputscale = whole
    for scale, width, (_, dims) in zip(own, wide, LAYOUT.only(), strict=True):
        kernel = MaternKernel(nu=2.5, active_dims=dims).double()
        kernel.lengthscale = width
        parts.append(ScaleKernel(kernel).double())
        parts[-1].outputscale = scale
    gp = ExactGP(AdditiveKernel(*parts), 1e-5)
    gp.likelihood.noise = values[-2].exp() + 1e-4 + 1e-8
    gp.mean.constant = values[-1]
    return gp


def test_covariance_and_likelihood_are_gpytorchs():
    process, particles, x = process_of(LAYOUT), theta(), points()
    squared = distances_of(LAYOUT, x)
    targets = torch.randn(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = process.covariance(particles, squared)
    likelihood = process.log_likelihood(particles, squared, targets)
    for i, values in enumerate(particles):
        gp = gpytorchs(values)
        with torch.no_grad():
            torch.testing.assert_close(found[i], gp.covariance(x, x), rtol=1e-6, atol=1e-7)
            expected = gp.log_marginal_likelihood(x, targets).item()
        assert likelihood[i].item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    variance = process.variance(particles)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2).mean(1), variance)


def test_distances_of_bits_are_tanimotos():
    slot = Slot("morgan", ("s",), 4, "bits", 1.0)
    bits = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=np.uint8)
    found = squared_distances(slot, bits, bits)
    assert found[0].tolist() == pytest.approx([0.0, 2 * (1 - 1 / 3), 2.0])
    assert found[2].tolist() == pytest.approx([2.0, 2.0, 0.0])  # two that have none are alike
    pairs = squared_distances(slot, bits, bits[::-1], pairs=True)
    assert pairs.tolist() == pytest.approx([2.0, 0.0, 2.0])


def test_columns_that_rename_each_other_are_one_component():
    """Distances between levels, shared out to rows, are those between the rows' features."""
    rng = np.random.default_rng(0)
    codes, layout = rng.integers(4, size=30), []
    parts = [
        Levels(np.eye(4), codes),
        Levels(rng.random((30, 2))),
        Levels(rng.random((4, 3)), np.array([2, 0, 3, 1])[codes]),
        Levels((rng.random((5, 6)) < 0.5).astype(np.uint8), rng.integers(5, size=30)),
    ]
    forms = ("indicators", "vector", "vector", "bits")
    for form, part in zip(forms, parts, strict=True):
        layout.append(Slot(form, (f"c{len(layout)}",), part.values.shape[1], form))
    blocks = Blocks.of(parts, Layout(tuple(layout)), lambda table: table)
    pool = Points.of(blocks)
    assert pool.groups == ((0, 2), (1,), (3,))
    a, b = np.arange(0, 30, 2), rng.integers(30, size=25)
    process = process_of(pool.layout, pool.groups)
    means, deviations = process.prior
    particles = means + deviations * torch.randn(3, len(means)).double()
    found = process.covariance(particles, pool.at(a).distances(pool.at(b)))
    handed_out = process.cross(particles, pool.at(a).distances(pool.at(b)))
    torch.testing.assert_close(handed_out, found, rtol=1e-13, atol=1e-14)
    other = pool.other(blocks.matrix[b])
    torch.testing.assert_close(
        found, process.covariance(particles, pool.at(a).distances(other)), rtol=1e-9, atol=1e-12
    )
    expected = torch.stack(
        [
            squared_distances(slot, part.of(a), part.of(b))
            for slot, part in zip(pool.layout, parts, strict=True)
        ]
    )
    weights, whole, own = process.scales(particles)

    def matern(squared):
        r = (5.0 * squared).sqrt()
        return (1 + r + r**2 / 3) * torch.exp(-r)

    by_hand = whole[:, None, None] * matern(torch.einsum("ps,snm->pnm", weights, expected))
    for c, group in enumerate(pool.groups):
        slots = list(group)
        alone = torch.einsum("ps,snm->pnm", weights[:, slots], expected[slots])
        by_hand = by_hand + own[:, c, None, None] * matern(alone)
    torch.testing.assert_close(found, by_hand, rtol=1e-9, atol=1e-12)
    changes = pool.changes(a[:10], b[:10])
    torch.testing.assert_close(changes, expected[:, range(10), range(10)])
    falls = process.falls(particles, changes)
    only = own[:, 0] * (1 - matern(weights[:, [2]] * changes[2])).mean(-1)
    both = whole * (1 - matern(weights[:, [2]] * changes[2])).mean(-1)
    torch.testing.assert_close(falls[:, 2], (only + both) / process.variance(particles))


def test_draws_are_of_the_posterior():
    """Against many draws of the prior, weighted by their likelihood."""
    layout = Layout(LAYOUT.slots[:1])
    process, x = process_of(layout), points(8)[:, :3]
    generator = torch.Generator().manual_seed(0)
    targets = 1.4 * x[:, 0] - 0.9 * x[:, 1]
    targets = targets + 0.3 * torch.randn(8, generator=generator).double()
    squared = distances_of(layout, x)
    means, deviations = process.prior
    prior = means + deviations * torch.randn(60_000, len(means), generator=generator).double()
    weights = torch.softmax(process.log_likelihood(prior, squared, targets), 0)
    expected = weights @ prior
    spread = (weights @ (prior - expected).square()).sqrt()
    found = []
    for seed in range(20):
        with seeded(seed):
            theta, _, evaluations = draw(process, squared, targets, AveragingSettings())
        assert evaluations < 200
        found.append(theta)
    mean = torch.cat(found).mean(0)
    assert ((mean - expected).abs() / spread).max() < 0.25
    assert torch.cat(found).std(0) == pytest.approx(spread, rel=0.35)


@pytest.fixture(scope="module")
def pool():
    i = np.arange(N)
    return make_pool(N, values=40 + 9.0 * (i % 3) + 4 * np.sin(i / 5.0))


def surrogate(pool, name="averaged", **keys):
    setup = Setup(Problem(pool, (), structures=("start",)), Settings(**keys), CPU)
    return surrogate_factory(name)(setup)


@pytest.fixture(scope="module")
def fitted(pool):
    return surrogate(pool).fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0, 1))


def test_what_is_told_beside_others_is_what_is_told_apart(fitted):
    rows, others = np.array([30, 5]), np.array([17, 8, 2])
    mean, variance, covariance = fitted.beside(rows)(others)
    assert all(map(torch.equal, (mean, variance), fitted.standardised(others)))
    assert torch.equal(covariance, fitted.covariance(rows, others))
    whole = fitted.covariance(np.append(rows, others), np.append(rows, others))
    torch.testing.assert_close(covariance, whole[:2, 2:])
    torch.testing.assert_close(variance, whole.diagonal()[2:])


def test_its_cheaper_form_has_an_eighth_of_the_particles(fitted):
    rough, every = fitted.rough, np.arange(N)
    assert 8 * len(rough.theta) == len(fitted.theta)
    means = [one.standardised(every)[0] for one in (rough, fitted)]
    assert np.corrcoef(*means)[0, 1] > 0.95
    assert rough.thinned(len(rough.theta)) is rough


def test_the_mixture_is_that_of_its_processes(fitted):
    rows = np.array([30, 5, 17])
    features, z = fitted.points.at(rows), fitted.measured
    targets = (fitted.utility - fitted.location) / fitted.scale
    means, covariances = [], []
    for particle in fitted.theta:
        one = particle.unsqueeze(0)

        def k(a, b, one=one):
            return fitted.process.covariance(one, a.distances(b))[0]

        sigma = k(z, z) + (fitted.process.noise(one) + 1e-8) * torch.eye(TRAIN)
        gain = torch.linalg.solve(sigma, k(z, features)).T
        means.append(particle[-1] + gain @ (targets - particle[-1]))
        covariances.append(k(features, features) - gain @ k(z, features))
    means, covariances = torch.stack(means), torch.stack(covariances)
    expected = covariances.mean(0) + torch.cov(means.T, correction=0)
    mean, variance = fitted.standardised(rows)
    torch.testing.assert_close(mean, means.mean(0), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(fitted.covariance(rows, rows), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(variance, expected.diagonal(), rtol=1e-5, atol=1e-7)
    table = fitted.pool.table.iloc[rows]
    torch.testing.assert_close(fitted.posterior(table), fitted.marginals(rows))


def check_over(fitted, table):
    """Over rows of its pool and others, a model predicts what it predicts of each."""
    known = np.array([30, *np.unique(fitted.rows), 17])
    model = fitted.over(known, table)
    assert model.pool.ids.tolist() == [*fitted.pool.ids[known], *table.index]
    assert model.pool.ids[model.rows].tolist() == fitted.pool.ids[fitted.rows].tolist()
    every, rows = np.arange(len(model.pool)), np.arange(len(known))
    torch.testing.assert_close(model.marginals(rows), fitted.marginals(known))
    torch.testing.assert_close(model.marginals(every[len(known) :]), fitted.posterior(table))
    covariance = model.covariance(every, every)
    torch.testing.assert_close(covariance[: len(known)][:, : len(known)],
                               fitted.covariance(known, known))  # fmt: skip
    torch.testing.assert_close(covariance.diagonal(), model.standardised(every)[1])
    torch.testing.assert_close(Aim("ei").best(model), Aim("ei").best(fitted))
    like = np.array([4, 20])  # hours alone differ
    near = fitted.pool.table.iloc[like].assign(hours=[7.5, 0.25]).set_axis(["x1", "x2"], axis=0)
    quick = fitted.over(known, near, like).marginals(np.array([len(known), len(known) + 1]))
    torch.testing.assert_close(quick, fitted.posterior(near))


OTHERS = pd.DataFrame(
    {"ligand": ["L1", "L9", "L1"], "hours": [3.5, 7.25, 20.0],
     "start": ["CCO", "CCN", "CCO"], "product": ["CCON", "CCNN", "CCON"]},
    index=["x1", "x2", "x3"],
)  # fmt: skip


def test_the_same_model_over_other_rows(fitted, pool):
    check_over(fitted, OTHERS)
    check_over(surrogate(pool, "one_hot").fit(fitted.pool.ids[:9], pool.utility[:9], (0,)), OTHERS)
    check_over(surrogate(pool, "morgan").fit(fitted.pool.ids[:9], pool.utility[:9], (0,)), OTHERS)
    more = fitted.condition(["c30"], torch.tensor([50.0]).double())
    with pytest.raises(DataError, match="Updated predicts the candidates of its pool only"):
        more.over(np.arange(N), OTHERS)


def test_a_fit_is_a_function_of_measurements_and_seed(pool, fitted):
    again = surrogate(pool).fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0, 1))
    other = surrogate(pool).fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0, 2))
    assert torch.equal(again.theta, fitted.theta)
    assert not torch.equal(other.theta, fitted.theta)
    assert fitted.report.strategy == "smc"
    assert fitted.report.evaluations > 10
    assert "weight one_hot:ligand" in fitted.report.hyperparameters


def test_it_learns_which_column_matters(pool):
    values = 10.0 * (np.arange(N) % 3)  # the ligand, and nothing else
    found = surrogate(pool).fit(pool.ids[:20], values[:20], (0, 1))
    weights = found.weights()
    assert max(weights, key=weights.get) == "one_hot:ligand"
    ends = found.weight_intervals()
    assert all(low <= weights[name] <= high for name, (low, high) in ends.items())
    assert ends["one_hot:ligand"][0] > 0.5
    assert sum(weights.values()) == pytest.approx(1.0)
    rest = np.arange(20, N)
    mean, variance = found.marginals(rest)
    assert np.corrcoef(mean.numpy(), values[rest])[0, 1] > 0.97
    assert variance.min() > 0


def test_batches_pending_and_repeats(pool, fitted):
    rest = np.arange(TRAIN, N)
    batch = select(
        fitted, rest, aim=Aim("q_log_ei"), batch_size=4, seed=(0,), pending=np.array([20])
    )
    assert len(set(batch.ids)) == 4
    repeated = surrogate(pool).fit(["c0", "c0", "c1"], np.array([1.0, 2.0, 5.0]), (0, 0))
    assert all(v.isfinite().all() for v in repeated.marginals(np.arange(N)))
    one = surrogate(pool).fit(["c0"], np.array([1.0]), (0, 0))
    assert one.marginals(rest)[1].min() > 0
    assert one.posterior([])[0].shape == (0,)


def test_what_can_not_be_averaged_is_refused(pool):
    with pytest.raises(ConfigError, match="leave key 'kernel' out"):
        SurrogateSpec(("one_hot",), "ard", averaged=True)
    with pytest.raises(DataError, match="no measured value"):
        surrogate(pool).fit(["c0"], np.array([math.nan]), (0, 0))
    matrix = np.ones((N, 1))
    matrix[3] = math.inf
    blocks = Blocks(matrix, Layout((Slot("odd", ("ligand",), 1, spread=1.0),)), lambda t: matrix)
    with pytest.raises(DataError, match="'c3', column 'ligand': a feature of 'odd' is not finite"):
        SurrogateSpec((lambda setup: blocks,), averaged=True)(
            Setup(Problem(pool, ()), Settings(), CPU)
        )


def test_more_particles_are_as_sure(pool, fitted):
    many = surrogate(pool, averaging=AveragingSettings(particles=256))
    found = many.fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0, 1))
    rest = np.arange(TRAIN, N)
    mean, variance = found.standardised(rest)
    few = fitted.standardised(rest)
    assert (mean - few[0]).abs().max() < 0.5
    assert (variance / few[1]).log().abs().max() < 1.0
    assert isinstance(many, Averaged)
    assert isinstance(many.representation, FixedFeatures)
