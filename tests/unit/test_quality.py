import math
from dataclasses import replace

import gpytorch
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import norm
from sklearn.metrics import r2_score

from gollum.analysis.metrics import QUALITY
from gollum.benchmark.quality import quality
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import one_hot
from gollum.settings import Settings
from gollum.surrogates import gaussian_process as module
from gollum.surrogates.gaussian_process import GaussianProcess
from helpers import CPU, make_pool

N, TRAIN = 50, 20


@pytest.fixture(scope="module")
def pool():
    i = np.arange(N)
    noise = np.random.default_rng(1).normal(size=N)
    return make_pool(N, values=100 + 5 * (i % 3) + 0.2 * i + noise)


@pytest.fixture(scope="module")
def fitted(pool):
    surrogate = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    return surrogate.fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0, 1))


def test_the_figures_are_those_of_other_libraries(fitted, pool):
    rest = np.arange(TRAIN, N)
    figures = quality(fitted, rest, pool.utility[rest])
    train = pool.utility[:TRAIN]
    location, scale = train.mean(), train.std(ddof=1)
    y = (pool.utility[rest] - location) / scale
    with torch.no_grad():
        model = fitted.model
        posterior = model.posterior(fitted.features_at(rest), observation_noise=True)
    mean = (posterior.mean.squeeze(-1).numpy() - location) / scale
    deviation = posterior.variance.squeeze(-1).sqrt().numpy() / scale
    density = -norm.logpdf(y, mean, deviation).mean()
    assert list(figures) == list(QUALITY)
    assert figures["r2"] == pytest.approx(r2_score(y, mean), abs=1e-5)
    assert figures["nlpd"] == pytest.approx(density, abs=1e-5)
    assert figures["msll"] == pytest.approx(density + norm.logpdf(y).mean(), abs=1e-5)
    inside = np.abs(y - mean) <= norm.ppf(0.975) * deviation
    assert figures["calibration_error"] == pytest.approx(abs(inside.mean() - 0.95))
    predicted = gpytorch.distributions.MultivariateNormal(
        torch.from_numpy(mean), torch.diag(torch.from_numpy(deviation) ** 2)
    )
    theirs = gpytorch.metrics.quantile_coverage_error(predicted, torch.from_numpy(y))
    assert figures["calibration_error"] == pytest.approx(theirs.item(), abs=1e-6)


def test_the_ratio_of_lengthscale_and_distance(fitted, monkeypatch):
    lengthscale = fitted.report.hyperparameters["lengthscale"]
    expected = lengthscale / pdist(fitted.features.numpy()).mean()
    assert quality(fitted, np.array([30]), np.array([1.0]))["latent_distance_ratio"] == (
        fitted.latent_distance_ratio()
    )
    assert fitted.latent_distance_ratio() == pytest.approx(expected)
    monkeypatch.setattr(module, "SAMPLE", 40)
    assert fitted.latent_distance_ratio() == pytest.approx(expected, rel=0.1)
    assert fitted.latent_distance_ratio() != pytest.approx(expected, rel=1e-9)


def test_the_ratio_is_that_of_one_lengthscale_and_of_features_that_differ(fitted):
    report = replace(fitted.report, hyperparameters={"lengthscale": 3.0})
    three = replace(fitted, pool=make_pool(3), report=report)
    apart = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    ratio = replace(three, features=apart).latent_distance_ratio()
    assert ratio == pytest.approx(3.0 / (4.0 / 3.0))
    assert math.isnan(replace(three, features=torch.zeros(3, 1)).latent_distance_ratio())
    alone = replace(three, pool=make_pool(1), features=apart[:1])
    assert math.isnan(alone.latent_distance_ratio())


@pytest.mark.parametrize("kernel", ["ard", "slot_ard", "additive", "product"])
def test_the_ratio_of_several_lengthscales_is_not_defined(pool, kernel):
    features = FixedFeatures(one_hot(pool))
    surrogate = GaussianProcess(pool, features, Settings(), CPU, kernel)
    several = surrogate.fit(pool.ids[:TRAIN], pool.utility[:TRAIN], (0, 1))
    assert math.isnan(several.latent_distance_ratio())
    figures = quality(several, np.arange(TRAIN, N), pool.utility[TRAIN:])
    assert figures.pop("latent_distance_ratio") is None
    assert all(isinstance(value, float) for value in figures.values())


def test_what_is_not_defined_is_none(fitted, pool):
    one = quality(fitted, np.array([30]), pool.utility[[30]])
    assert one["r2"] is None
    assert all(isinstance(one[name], float) for name in QUALITY if name != "r2")


def test_figures_do_not_depend_on_the_unit(pool, fitted):
    rest = np.arange(TRAIN, N)
    surrogate = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    moved = surrogate.fit(pool.ids[:TRAIN], 7 * pool.utility[:TRAIN] - 3, (0, 1))
    plain = quality(fitted, rest, pool.utility[rest])
    assert quality(moved, rest, 7 * pool.utility[rest] - 3) == pytest.approx(plain, abs=1e-4)
