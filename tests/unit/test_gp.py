import math

import gpytorch
import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior, NormalPrior

from gollum.errors import FitError
from gollum.surrogates.base import Fitted
from gollum.surrogates.fit import FitReport
from gollum.surrogates.gp import JITTER, ExactGP, distances, log_prior, to_botorch
from helpers import make_pool

NAMES = ("raw_lengthscale", "raw_outputscale", "raw_noise", "constant")


class Oracle(gpytorch.models.ExactGP):
    """The same process in GPyTorch, sharing the unconstrained values."""

    def __init__(self, features, targets, gp):
        likelihood = GaussianLikelihood(noise_constraint=GreaterThan(gp.noise_floor))
        super().__init__(features, targets, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = ScaleKernel(MaternKernel(nu=2.5))
        self.double()
        for own, name in zip(NAMES, self.raw(), strict=True):
            name.data.fill_(getattr(gp, own).item())

    def raw(self):
        return (
            self.covar_module.base_kernel.raw_lengthscale,
            self.covar_module.raw_outputscale,
            self.likelihood.noise_covar.raw_noise,
            self.mean_module.constant,
        )

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def random_gp(seed, noise_floor=1e-4):
    generator = torch.Generator().manual_seed(seed)
    gp = ExactGP(noise_floor)
    for name in NAMES:
        getattr(gp, name).data.copy_(1.5 * torch.randn((), generator=generator))
    return gp


def data(seed, n=14, d=3, repeats=0):
    rng = np.random.default_rng(seed)
    features, targets = torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.normal(size=n))
    if repeats:
        features[-repeats:] = features[:repeats]
    return features, targets


def exact():
    return gpytorch.settings.fast_computations(False, False, False)


@pytest.mark.parametrize("repeats", [0, 5])
@pytest.mark.parametrize("seed", range(6))
def test_marginal_likelihood_and_its_gradients_equal_gpytorch(seed, repeats):
    gp = random_gp(seed)
    features, targets = data(seed, repeats=repeats)
    theirs_features = features.clone().requires_grad_()
    features.requires_grad_()
    oracle = Oracle(theirs_features, targets, gp).train()
    likelihood = ExactMarginalLogLikelihood(oracle.likelihood, oracle)
    with exact(), gpytorch.settings.debug(False):
        theirs = len(targets) * likelihood(oracle(theirs_features), targets)
    theirs.backward()
    ours = gp.log_marginal_likelihood(features, targets)
    ours.backward()

    assert ours.item() == pytest.approx(theirs.item(), rel=1e-8, abs=1e-8)
    for own, other in zip(NAMES, oracle.raw(), strict=True):
        assert getattr(gp, own).grad.item() == pytest.approx(
            other.grad.sum().item(), rel=1e-8, abs=1e-8
        )
    torch.testing.assert_close(features.grad, theirs_features.grad, rtol=1e-8, atol=1e-8)


def test_marginal_likelihood_of_one_point_is_a_normal_density():
    gp = random_gp(0)
    variance = (gp.outputscale + gp.noise).item()
    expected = -0.5 * (0.7 - gp.constant.item()) ** 2 / variance
    expected -= 0.5 * math.log(2 * math.pi * variance)
    value = gp.log_marginal_likelihood(
        torch.zeros(1, 2).double(), torch.tensor([0.7], dtype=torch.float64)
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_gradient_of_the_likelihood_is_the_finite_difference():
    gp = random_gp(3)
    features, targets = data(3, n=6, d=2)
    assert torch.autograd.gradcheck(
        lambda z: gp.log_marginal_likelihood(z, targets), features.requires_grad_()
    )


@pytest.mark.parametrize("chunk", [1, 7, 16384])
@pytest.mark.parametrize("seed", range(3))
def test_marginals_equal_gpytorch(seed, chunk):
    gp = random_gp(seed)
    features, targets = data(seed, repeats=2)
    grid = torch.cat([data(seed + 50, n=30)[0], features[:3]])
    oracle = Oracle(features, targets, gp).eval()
    with exact(), torch.no_grad():
        theirs = oracle(grid)
    mean, variance = gp.condition(features, targets).marginals(grid, chunk)
    torch.testing.assert_close(mean, theirs.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, theirs.variance, rtol=1e-6, atol=1e-6)


def test_marginals_interpolate_and_return_to_the_prior():
    gp = random_gp(1, noise_floor=1e-6)
    gp.raw_noise.data.fill_(-30.0)
    features, targets = data(1)
    conditioned = gp.condition(features, targets)
    mean, variance = conditioned.marginals(torch.cat([features, features[:1] + 1e6]))
    torch.testing.assert_close(mean[:-1], targets, rtol=1e-3, atol=1e-3)
    assert (variance[:-1] < 1e-4).all()
    assert (variance > 0).all()
    assert mean[-1].item() == pytest.approx(gp.constant.item())
    assert variance[-1].item() == pytest.approx(gp.outputscale.item())


@pytest.mark.parametrize("n", [1, 2, 14])
def test_botorch_model_has_the_same_posterior_in_original_units(n):
    gp = random_gp(4)
    features, _ = data(4, n=40)
    pool = make_pool(40)
    utility = torch.tensor(30.0 + 7.0 * pool.values[:n])
    location = utility.mean()
    scale = utility.std() if n > 1 else torch.tensor(1.0).double()
    process = gp.condition(features[:n], (utility - location) / scale)
    report = FitReport("lbfgs", (0.0,), 0.0, {}, 0.0)
    fitted = Fitted(pool, features, process, np.arange(n), utility, location, scale, report)

    assert isinstance(fitted.model, SingleTaskGP)
    with torch.no_grad():
        theirs = fitted.model.posterior(features)
    mean, variance = fitted.marginals(features)
    torch.testing.assert_close(mean, theirs.mean.squeeze(-1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, theirs.variance.squeeze(-1), rtol=1e-6, atol=1e-6)
    by_id = fitted.posterior(pool.ids[[5, 2]])
    torch.testing.assert_close(by_id[0], mean[[5, 2]])
    torch.testing.assert_close(by_id[1], variance[[5, 2]])


def test_botorch_model_keeps_hyperparameters_at_the_noise_floor():
    gp = random_gp(4)
    gp.raw_noise.data.fill_(-60.0)
    features, targets = data(4)
    model = to_botorch(gp, features, targets, torch.tensor(0.0), torch.tensor(1.0))
    kernel = model.covar_module
    assert model.likelihood.noise.item() == pytest.approx(1e-4, rel=1e-6)
    assert kernel.outputscale.item() == pytest.approx(gp.outputscale.item(), rel=1e-9)
    assert kernel.base_kernel.lengthscale.item() == pytest.approx(gp.lengthscale.item(), rel=1e-9)
    assert model.mean_module.constant.item() == pytest.approx(gp.constant.item(), rel=1e-9)


@pytest.mark.parametrize("n", [1, 14])
def test_botorch_model_keeps_a_location_and_scale_that_its_data_do_not_have(n):
    gp = random_gp(4)
    features, targets = data(4)
    location, scale = torch.tensor(10.0).double(), torch.tensor(4.0).double()
    model = to_botorch(gp, features[:n], location + scale * targets[:n], location, scale)
    mean, variance = gp.condition(features[:n], targets[:n]).marginals(features)
    with torch.no_grad():
        theirs = model.posterior(features)
    torch.testing.assert_close(theirs.mean.squeeze(-1), location + scale * mean)
    torch.testing.assert_close(theirs.variance.squeeze(-1), scale**2 * variance)


@pytest.mark.parametrize("dimension", [1, 64, 2048])
def test_priors_equal_gpytorchs(dimension):
    gp = random_gp(7)
    lengthscale = LogNormalPrior(2**0.5 + 0.5 * math.log(dimension), 3**0.5)
    expected = (
        lengthscale.log_prob(gp.lengthscale)
        + LogNormalPrior(-4.0, 1.0).log_prob(gp.noise)
        + LogNormalPrior(0.0, 1.0).log_prob(gp.outputscale)
        + NormalPrior(0.0, 1.0).log_prob(gp.constant)
    )
    assert log_prior(gp, dimension).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_distances_equal_cdist(offset):
    a, b = data(0, n=9, d=5)[0] + offset, data(1, n=4, d=5)[0] + offset
    expected = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(distances(a, b), expected, rtol=1e-9, atol=1e-9)


def test_distance_zero_has_a_finite_gradient():
    a = data(0, n=4)[0]
    a[3] = a[0]
    a.requires_grad_()
    found = distances(a, a)
    assert found.diagonal().abs().max() < 1e-7
    assert found[0, 3] < 1e-7
    found.sum().backward()
    assert a.grad.isfinite().all()


def test_jitter_is_added_only_when_the_covariance_needs_it(monkeypatch):
    gp = random_gp(2)
    features, targets = data(2)
    assert gp.condition(features, targets).jitter == 0.0

    # A covariance whose smallest eigenvalue is −5e-7: of the steps, 1e-6 is the first to mend it.
    vectors = torch.linalg.qr(torch.randn(14, 14, generator=torch.Generator().manual_seed(0)))[0]
    values = torch.linspace(1.0, 2.0, 14).double()
    values[0] = -5e-7
    broken = (vectors.double() * values) @ vectors.double().T
    noise = gp.noise.detach() * torch.eye(14).double()
    monkeypatch.setattr(gp, "covariance", lambda a, b: 0.5 * (broken + broken.T) - noise)
    conditioned = gp.condition(features, targets)
    assert conditioned.jitter == 1e-6
    assert conditioned.jitter in JITTER
    mended = broken + 1e-6 * torch.eye(14).double()
    factor = conditioned.cholesky
    torch.testing.assert_close(factor @ factor.T, mended, rtol=0, atol=1e-10)


def test_unusable_features_are_refused_and_hyperparameters_named():
    gp = random_gp(2)
    features, targets = data(2)
    features[3, 1] = torch.nan
    with pytest.raises(FitError, match=r"14 observations can't be factorised.*lengthscale"):
        gp.log_marginal_likelihood(features, targets)
    with pytest.raises(FitError, match="infinite or missing features"):
        gp.condition(features, targets)


def test_hyperparameters_start_at_raw_zero():
    half = math.log(2.0)
    assert ExactGP(1e-4).hyperparameters() == pytest.approx(
        {"lengthscale": half, "outputscale": half, "noise": half + 1e-4, "constant": 0.0}
    )
    assert [p.dtype for p in ExactGP().parameters()] == [torch.float64] * 4
    assert {name for name, _ in ExactGP().named_parameters()} == set(NAMES)


def test_hyperparameters_start_where_gpytorchs_modules_do():
    features, targets = data(0)
    fresh = SingleTaskGP(
        features,
        targets.unsqueeze(-1),
        likelihood=GaussianLikelihood(noise_constraint=GreaterThan(1e-4)),
        covar_module=ScaleKernel(MaternKernel(nu=2.5)),
        outcome_transform=None,
    )
    ours = ExactGP(1e-4).hyperparameters()
    assert fresh.covar_module.outputscale.item() == pytest.approx(ours["outputscale"], rel=1e-6)
    assert fresh.likelihood.noise.item() == pytest.approx(ours["noise"], rel=1e-6)
    assert fresh.covar_module.base_kernel.lengthscale.item() == pytest.approx(
        ours["lengthscale"], rel=1e-6
    )
